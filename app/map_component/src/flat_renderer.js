// The map without WebGL 2: parents of the cells, few enough for a 2-D canvas. While it moves the last picture is
// shifted and stretched; it is drawn anew when the hand rests.
import {css} from './theme.js';

const MOST = 20000; // cells in view
const REST = 90; // ms

export class FlatRenderer {
  constructor(map) {
    this.map = map;
    this.canPan = true;
    this.canvas = document.createElement('canvas');
    this.canvas.style.cssText = 'position:absolute;inset:0;width:100%;height:100%;touch-action:none;transform-origin:0 0;cursor:crosshair';
    map.parts.canvas.append(this.canvas);
    this.listen(map.parts.canvas);
  }

  listen(host) {
    const fingers = new Map();
    const spread = () => {
      const [a, b] = [...fingers.values()];
      return {x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, gap: Math.hypot(a[0] - b[0], a[1] - b[1])};
    };
    host.addEventListener('pointerdown', (event) => fingers.set(event.pointerId, this.map.pixel(event)));
    this.onMove = (event) => {
      if (!fingers.has(event.pointerId)) return;
      const before = fingers.size === 2 ? spread() : null;
      const [x, y] = this.map.pixel(event);
      const [x0, y0] = fingers.get(event.pointerId);
      fingers.set(event.pointerId, [x, y]);
      if (before) {
        const after = spread();
        this.map.panBy(before.x - after.x, before.y - after.y);
        this.map.zoomBy(Math.log2(after.gap / Math.max(1, before.gap)), [after.x, after.y]);
      } else if (this.canPan) this.map.panBy(x0 - x, y0 - y);
    };
    this.onUp = (event) => fingers.delete(event.pointerId);
    window.addEventListener('pointermove', this.onMove);
    window.addEventListener('pointerup', this.onUp);
    window.addEventListener('pointercancel', this.onUp);
    host.addEventListener('wheel', (event) => {
      event.preventDefault();
      this.map.zoomBy(-event.deltaY / 300, this.map.pixel(event));
    }, {passive: false});
  }

  arrange({canPan}) {
    this.canPan = canPan;
  }

  setView() {
    const {canvas, drawn, map} = this;
    if (drawn && drawn.width === map.halfView().width) {
      const now = map.halfView();
      const [x, y] = now.pixel(drawn.box[0], drawn.box[3]);
      canvas.style.transform = map.split === 'side' ? '' : `translate(${x}px, ${y}px) scale(${now.scale / drawn.scale})`;
    }
    clearTimeout(this.later);
    this.later = setTimeout(() => this.draw(), REST);
  }

  draw() {
    const {map, canvas} = this;
    if (!map.place || !map.view) return;
    clearTimeout(this.later);
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const {clientWidth: width, clientHeight: height} = map.root;
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    canvas.style.transform = '';
    const context = canvas.getContext('2d');
    context.scale(ratio, ratio);
    const view = map.halfView();
    this.drawn = view;
    const line = map.at * width;
    const parts = {
      '': [[0, 0, width, 0]], swipe: [[0, 0, line, 0], [1, line, width, 0]], side: [[0, 0, view.width, 0], [1, view.width, width, view.width]],
    }[map.split];
    for (const [slot, from, to, shift] of parts) {
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, height);
      context.clip();
      context.translate(shift, 0);
      this.drawSide(context, view, map.tones[slot]);
      context.restore();
    }
    map.root.dataset.detail = 'full';
    map.painted();
  }

  drawSide(context, view, tone) {
    const {map} = this;
    const {theme} = map;
    const trace = (rings) => {
      context.beginPath();
      for (const ring of rings) ring.forEach((point, i) => (i ? context.lineTo(...view.project(point)) : context.moveTo(...view.project(point))));
    };
    const stroke = (rings, colour, width) => {
      trace(rings);
      context.lineWidth = width;
      context.strokeStyle = css(colour);
      context.stroke();
    };
    const {filled, lines} = map.place.context;
    if (!map.basemap.url) {
      for (const {geometry, properties} of filled) {
        trace(ringsOf(geometry));
        context.fillStyle = css(properties?.kind === 'water' ? theme.water : theme.land);
        context.fill('evenodd');
      }
    }
    context.globalAlpha = map.basemap.url ? 0.75 : 1;
    const {layers} = map.place.pyramid.cover(view, MOST);
    for (const chunk of layers.flat()) hexagons(context, view, chunk, tone.entries(chunk, 0));
    context.globalAlpha = 1;
    for (const {geometry, properties} of lines) {
      stroke(ringsOf(geometry), theme[{river: 'river', road: 'road', coast: 'coast'}[properties?.kind] ?? 'border'], 1);
    }
    const {results, marks, chosen} = map.shapes;
    for (const [shapes, width, casing] of [[results, 2, 4.5], [marks, 3, 5], [chosen, 3.5, 7]]) {
      for (const {ring, colour} of shapes) {
        stroke([ring], theme.casing, casing);
        stroke([ring], colour ?? theme.mark, width);
      }
    }
    context.textAlign = 'center';
    context.textBaseline = 'middle';
    for (const {position, colour, sign} of marks) {
      if (!sign) continue;
      disc(context, view.project(position), 8, colour);
      context.fillStyle = '#fff';
      context.font = '700 15px system-ui, sans-serif';
      context.fillText(sign, ...view.project(position));
    }
    for (const {position} of chosen) disc(context, view.project(position), 11, null, theme.mark);
    context.font = '600 13px system-ui, sans-serif';
    context.lineWidth = 3;
    for (const {name, position, rank} of map.texts) {
      const [x, y] = view.project(position);
      context.strokeStyle = css(theme.halo);
      context.strokeText(name, x, y - (rank ? 14 : 0));
      context.fillStyle = css(theme.label);
      context.fillText(name, x, y - (rank ? 14 : 0));
    }
  }

  refresh() {
    this.draw();
  }

  picture(context, width, height) {
    this.draw();
    context.drawImage(this.canvas, 0, 0, width, height);
  }

  finalize() {
    clearTimeout(this.later);
    window.removeEventListener('pointermove', this.onMove);
    window.removeEventListener('pointerup', this.onUp);
    window.removeEventListener('pointercancel', this.onUp);
  }
}

function hexagons(context, view, {positions, entries, origin}, rgba) {
  const [x0, y0] = view.pixel(...origin);
  const {scale, width, height} = view;
  for (let i = 0; i < entries; i++) {
    const x = x0 + positions[12 * i] * scale;
    const y = y0 - positions[12 * i + 1] * scale;
    // A cell is at most a few pixels where most are out of view; a margin as large as the map itself is safe.
    if (x < -width || y < -height || x > 2 * width || y > 2 * height) continue;
    context.beginPath();
    context.moveTo(x, y);
    for (let k = 1; k < 6; k++) context.lineTo(x0 + positions[12 * i + 2 * k] * scale, y0 - positions[12 * i + 2 * k + 1] * scale);
    context.closePath();
    const c = rgba[i];
    const colour = css([c & 255, (c >>> 8) & 255, (c >>> 16) & 255, c >>> 24]);
    context.fillStyle = colour;
    context.fill();
    if (c >>> 24 === 255) { // no seams between neighbours
      context.strokeStyle = colour;
      context.lineWidth = 0.6;
      context.stroke();
    }
  }
}

function disc(context, [x, y], radius, fill, line = [255, 255, 255]) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  if (fill) {
    context.fillStyle = css(fill);
    context.fill();
  }
  context.lineWidth = fill ? 1.5 : 2.5;
  context.strokeStyle = css(line);
  context.stroke();
}

function ringsOf({type, coordinates}) {
  return {
    Polygon: () => coordinates, MultiPolygon: () => coordinates.flat(), LineString: () => [coordinates], MultiLineString: () => coordinates,
  }[type]?.() ?? [];
}
