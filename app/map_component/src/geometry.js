// Web Mercator as deck.gl has it: a world of 512 units, x to the east, y to the north.
const WORLD = 512;
const RADIANS = Math.PI / 180;
const METRES_AROUND = 40075017;

// Of `View.around`: how much smaller the map may get, in zoom levels; the share of the place under cards that is as bad
// as one level; and tries from the middle to either side.
const LEAST_ZOOM = 0.6;
const COST = 0.12;
const STEPS = 4;

export function toCommon(lng, lat) {
  const phi = Math.max(-89.9, Math.min(89.9, lat)) * RADIANS; // a pole is infinitely far away
  return [(WORLD * (lng + 180)) / 360, WORLD * (0.5 + Math.log(Math.tan(Math.PI / 4 + phi / 2)) / (2 * Math.PI))];
}

export const toLngLat = (x, y) => [
  (360 * x) / WORLD - 180,
  (2 * Math.atan(Math.exp((y / WORLD - 0.5) * 2 * Math.PI)) - Math.PI / 2) / RADIANS,
];

// What one map shows: a centre, a zoom and a size in CSS pixels.
export class View {
  constructor({longitude, latitude, zoom}, width, height) {
    this.width = width;
    this.height = height;
    this.scale = 2 ** zoom;
    this.metresPerPixel = (METRES_AROUND / WORLD / this.scale) * Math.cos(latitude * RADIANS);
    this.centre = toCommon(longitude, latitude);
    const [dx, dy] = [width / 2 / this.scale, height / 2 / this.scale];
    this.box = [this.centre[0] - dx, this.centre[1] - dy, this.centre[0] + dx, this.centre[1] + dy];
  }

  pixel(x, y) {
    return [this.width / 2 + (x - this.centre[0]) * this.scale, this.height / 2 - (y - this.centre[1]) * this.scale];
  }

  project([lng, lat]) {
    return this.pixel(...toCommon(lng, lat));
  }

  unproject([x, y]) {
    return toLngLat(this.centre[0] + (x - this.width / 2) / this.scale, this.centre[1] + (this.height / 2 - y) / this.scale);
  }

  // All of a box, as large as it can be, without `points` of it under the `cards` [left, top, right, bottom] that lie
  // over the map: moved aside where there is room, smaller where that is worth it. Both in common units and pixels.
  static around([west, south, east, north], width, height, points = [], cards = []) {
    const padding = Math.min(28, width / 6, height / 6);
    const [wide, high] = [Math.max(east - west, 1e-9), Math.max(north - south, 1e-9)];
    const most = Math.max(0, Math.min(14, Math.log2(Math.min((width - 2 * padding) / wide, (height - 2 * padding) / high))));
    let best = {cost: Infinity};
    for (let smaller = 0; smaller <= LEAST_ZOOM && best.cost > COST * smaller; smaller += LEAST_ZOOM / 12) {
      const scale = 2 ** Math.max(0, most - smaller);
      const [roomX, roomY] = [(width - wide * scale) / 2 - padding, (height - high * scale) / 2 - padding];
      for (let i = -STEPS; i <= STEPS; i++) {
        for (let j = -STEPS; j <= STEPS; j++) {
          const [left, top] = [padding + roomX * (1 + i / STEPS), padding + roomY * (1 + j / STEPS)];
          const hidden = ([x, y]) => {
            const [px, py] = [left + (x - west) * scale, top + (north - y) * scale];
            return cards.some((card) => px > card[0] && px < card[2] && py > card[1] && py < card[3]);
          };
          const covered = points.length ? points.filter(hidden).length / points.length : 0;
          const cost = covered + COST * smaller + 1e-5 * (i * i + j * j); // the middle, where nothing speaks against it
          if (cost < best.cost) best = {cost, scale, left, top};
        }
      }
    }
    const {scale, left, top} = best;
    const [longitude, latitude] = toLngLat(west + (width / 2 - left) / scale, north - (height / 2 - top) / scale);
    return {longitude, latitude, zoom: Math.log2(scale)};
  }
}
