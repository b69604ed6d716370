// Web Mercator as deck.gl has it: a world of 512 units, x to the east, y to the north.
const WORLD = 512;
const RADIANS = Math.PI / 180;
const METRES_AROUND = 40075017;

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

  static around([west, south, east, north], width, height) {
    const padding = Math.min(28, width / 6, height / 6);
    const across = Math.min((width - 2 * padding) / Math.max(east - west, 1e-9), (height - 2 * padding) / Math.max(north - south, 1e-9));
    const [longitude, latitude] = toLngLat((west + east) / 2, (south + north) / 2);
    return {longitude, latitude, zoom: Math.max(0, Math.min(14, Math.log2(across)))};
  }
}
