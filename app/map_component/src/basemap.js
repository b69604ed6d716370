// Pictures of a tile server that the user named; without one, none. Plain images under the transparent canvas.

const MOST = 40;

export class Basemap {
  constructor(host) {
    this.host = host;
    this.tiles = new Map();
    this.url = '';
  }

  set({url, attribution} = {url: '', attribution: ''}) {
    if (this.url !== url) this.clear();
    [this.url, this.attribution] = [url, attribution];
  }

  clear() {
    for (const image of this.tiles.values()) image.remove();
    this.tiles.clear();
  }

  // Tiles of 256 pixels: their zoom is one more than that of a world of 512.
  place(view, shifts) {
    if (!this.url) return;
    const zoom = Math.max(0, Math.min(19, Math.round(Math.log2(view.scale)) + 1));
    const count = 2 ** zoom;
    const size = 512 / count; // in common units
    const [west, south, east, north] = view.box;
    const wanted = new Set();
    for (const shift of shifts) {
      for (let x = Math.floor(west / size); x <= Math.floor(east / size); x++) {
        for (let y = Math.max(0, Math.floor((512 - north) / size)); y <= Math.min(count - 1, Math.floor((512 - south) / size)); y++) {
          const key = `${zoom}/${x}/${y}/${shift}`;
          if (wanted.size === MOST) continue;
          wanted.add(key);
          const image = this.tiles.get(key) ?? this.fetch(key, zoom, ((x % count) + count) % count, y);
          const [left, top] = view.pixel(x * size, 512 - y * size);
          const side = size * view.scale;
          image.style.width = image.style.height = `${side + 0.5}px`;
          image.style.transform = `translate(${left + shift}px, ${top}px)`;
          image.style.clipPath = shifts.length > 1 ? inside(left, side, view.width) : '';
        }
      }
    }
    for (const [key, image] of this.tiles) {
      if (wanted.has(key)) continue;
      image.remove();
      this.tiles.delete(key);
    }
  }

  fetch(key, z, x, y) {
    const image = new Image();
    image.alt = '';
    image.draggable = false;
    image.crossOrigin = 'anonymous'; // so that the exported picture may contain it
    image.onerror = () => {
      if (image.crossOrigin === null) return;
      image.crossOrigin = null; // a server that does not allow it: shown, but left out of the picture
      image.src = image.src;
    };
    image.src = this.url.replace('{z}', z).replace('{x}', x).replace('{y}', y);
    this.tiles.set(key, image);
    this.host.append(image);
    return image;
  }

  picture(context, root) {
    if (!this.url) return;
    const frame = root.getBoundingClientRect();
    context.globalAlpha = 0.6;
    for (const image of this.tiles.values()) {
      if (!image.complete || !image.naturalWidth || image.crossOrigin === null) continue;
      const box = image.getBoundingClientRect();
      context.drawImage(image, box.left - frame.left, box.top - frame.top, box.width, box.height);
    }
    context.globalAlpha = 1;
  }
}

const inside = (left, side, width) => `inset(0 ${Math.max(0, left + side - width)}px 0 ${Math.max(0, -left)}px)`;
