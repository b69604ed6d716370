// A place's cells and their H3 parents, cut into chunks whose corners are computed when they come into view.
// Where a cell is smaller than a pixel its parents are drawn, in the mean colour of their cells: no map of a nation
// asks for a million outlines to show a few thousand pixels. Outlines are exact: deck.gl's one hexagon for all cells
// leaves pinholes.
import {cellToBoundary, cellToLatLng, getHexagonEdgeLengthAvg} from 'h3-js';
import {near} from './cells.js';
import {toCommon} from './geometry.js';

const CHUNK = 8192; // cells
// So many cells are built while the page waits, about 0.1 s; more come in pieces, over their parents.
export const AT_ONCE = 20000;
const LEAST_PIXELS = 1; // width of the smallest cell worth drawing

// The bits below resolution `r` of an index are ones in an ancestor of that resolution: three for each finer digit.
function ancestry(from, to) {
  let ones = 0n;
  for (let r = to + 1; r <= from; r++) ones |= 7n << BigInt(3 * (15 - r));
  return {low: Number(ones & 0xffffffffn), high: Number(ones >> 32n), resolution: to};
}

const ancestorOf = (low, high, {low: ml, high: mh, resolution}) => [
  (low | ml) >>> 0,
  ((high & ~(15 << 20)) | (resolution << 20) | mh) >>> 0,
];

class Level {
  constructor(pyramid, up) {
    this.pyramid = pyramid;
    this.resolution = pyramid.resolution - up;
    this.edge = getHexagonEdgeLengthAvg(this.resolution, 'm');
    if (up === 0) [this.cells, this.n, this.starts] = [pyramid.cells, pyramid.n, null];
    else this.gather(ancestry(pyramid.resolution, this.resolution));
    this.parts = null;
  }

  // Sorted cells have sorted ancestors: children of one parent lie together, from starts[i] to starts[i + 1].
  gather(mask) {
    const {cells, n} = this.pyramid;
    const parents = new Uint32Array(cells.length);
    const starts = new Uint32Array(n + 1);
    let p = 0;
    for (let i = 0; i < n; i++) {
      const [low, high] = ancestorOf(cells[2 * i], cells[2 * i + 1], mask);
      if (p && parents[2 * p - 2] === low && parents[2 * p - 1] === high) continue;
      parents[2 * p] = low;
      parents[2 * p + 1] = high;
      starts[p++] = i;
    }
    starts[p] = n;
    [this.cells, this.n, this.starts] = [parents.slice(0, 2 * p), p, starts.slice(0, p + 1)];
  }

  get chunks() {
    if (!this.parts) {
      this.parts = [];
      for (let start = 0; start < this.n; start += CHUNK) {
        this.parts.push({level: this, start, end: Math.min(start + CHUNK, this.n), box: null, positions: null});
      }
      for (const chunk of this.parts) chunk.box = this.roughBox(chunk);
    }
    return this.parts;
  }

  // Of the grandparents, with room for the cells that stick out of them.
  roughBox({start, end}) {
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    if (this.resolution < 2) return box.map((edge) => -edge);
    const mask = ancestry(this.resolution, this.resolution - 2);
    let last = [0, 0];
    for (let i = start; i < end; i++) {
      const cell = ancestorOf(this.cells[2 * i], this.cells[2 * i + 1], mask);
      if (cell[0] === last[0] && cell[1] === last[1]) continue;
      last = cell;
      const own = [Infinity, Infinity, -Infinity, -Infinity];
      for (const [lat, lng] of cellToBoundary(cell)) stretch(own, ...toCommon(near(lng, this.pyramid.reference), lat));
      const [dx, dy] = [0.25 * (own[2] - own[0]), 0.25 * (own[3] - own[1])];
      stretch(box, own[0] - dx, own[1] - dy);
      stretch(box, own[2] + dx, own[3] + dy);
    }
    return box;
  }

  visible([west, south, east, north]) {
    return this.chunks.filter(({box}) => box[0] < east && box[2] > west && box[1] < north && box[3] > south);
  }

  pixels(view) {
    return (Math.sqrt(3) * this.edge) / view.metresPerPixel;
  }
}

function stretch(box, x, y) {
  if (x < box[0]) box[0] = x;
  if (y < box[1]) box[1] = y;
  if (x > box[2]) box[2] = x;
  if (y > box[3]) box[3] = y;
}

// How much of a box the view shows.
function share([west, south, east, north], view) {
  if (!(east - west < Infinity)) return 1;
  const across = (Math.min(east, view[2]) - Math.max(west, view[0])) / (east - west);
  return (across * (Math.min(north, view[3]) - Math.max(south, view[1]))) / (north - south);
}

// Six corners an entry. A pentagon repeats one; a cell that an edge of the icosahedron crosses has up to ten and gets
// a second entry at the end, whose colour is that of row `extras[i]`.
export function buildChunk(chunk) {
  const {level, start, end} = chunk;
  const {reference} = level.pyramid;
  const count = end - start;
  let positions = new Float32Array(12 * (count + 64));
  const extras = [];
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  const split = [0, 0];
  let origin = null;
  const put = (entry, corner, [x, y]) => {
    positions[12 * entry + 2 * corner] = x - origin[0]; // small numbers: single precision is enough at every zoom
    positions[12 * entry + 2 * corner + 1] = y - origin[1];
  };
  for (let i = 0; i < count; i++) {
    split[0] = level.cells[2 * (start + i)];
    split[1] = level.cells[2 * (start + i) + 1];
    const ring = cellToBoundary(split);
    for (let k = 0; k < ring.length; k++) {
      ring[k] = toCommon(near(ring[k][1], reference), ring[k][0]);
      stretch(box, ring[k][0], ring[k][1]);
    }
    origin ??= ring[0];
    for (let k = 0; k < 6; k++) put(i, k, ring[Math.min(k, ring.length - 1)]);
    if (ring.length > 6) {
      const entry = count + extras.length;
      extras.push(i);
      if (positions.length < 12 * (entry + 1)) {
        const grown = new Float32Array(2 * positions.length);
        grown.set(positions);
        positions = grown;
      }
      put(entry, 0, ring[0]);
      for (let k = 1; k < 6; k++) put(entry, k, ring[Math.min(k + 4, ring.length - 1)]);
    }
  }
  chunk.entries = count + extras.length;
  Object.assign(chunk, {positions: positions.slice(0, 12 * chunk.entries), extras, origin, box});
}

export class Pyramid {
  constructor(cells, resolution) {
    this.cells = cells; // pairs low, high, sorted
    this.n = cells.length / 2;
    this.resolution = resolution;
    this.reference = this.n ? cellToLatLng([cells[0], cells[1]])[1] : 0;
    this.levels = [new Level(this, 0)];
    while (this.levels.at(-1).n > AT_ONCE && this.levels.length <= resolution) {
      this.levels.push(new Level(this, this.levels.length));
    }
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    for (const chunk of this.levels.at(-1).chunks) {
      buildChunk(chunk);
      stretch(box, chunk.box[0], chunk.box[1]);
      stretch(box, chunk.box[2], chunk.box[3]);
    }
    this.box = box;
  }

  // Where some of the cells are, in common units.
  sample() {
    const {chunks, n} = this.levels.at(-1);
    const each = Math.ceil(n / 400);
    return chunks.flatMap(({positions, entries, origin}) =>
      Array.from({length: Math.floor(entries / each)}, (_, i) => [origin[0] + positions[12 * each * i], origin[1] + positions[12 * each * i + 1]]));
  }

  // What to draw for a view: `layers` of chunks, the coarse ones first, of which every corner is known, and the chunks
  // that are `missing` for full detail.
  cover(view, most = Infinity) {
    const {levels} = this;
    const last = levels.length - 1;
    const seen = levels.map(() => null);
    const visible = (k) => (seen[k] ??= levels[k].visible(view.box));
    const size = (k) => visible(k).reduce((sum, {start, end, box}) => sum + (end - start) * share(box, view.box), 0);
    let wanted = 0;
    while (wanted < last && (levels[wanted].pixels(view) < LEAST_PIXELS || size(wanted) > most)) wanted++;
    const missing = visible(wanted).filter((chunk) => !chunk.positions);
    if (missing.length === 0) return {layers: [visible(wanted)], missing};
    if (missing.reduce((sum, {start, end}) => sum + end - start, 0) <= AT_ONCE) {
      missing.forEach(buildChunk);
      return {layers: [visible(wanted)], missing: []};
    }
    // The coarsest level is always there.
    let under = wanted + 1;
    while (under < last && visible(under).some((chunk) => !chunk.positions)) under++;
    return {layers: [visible(under), visible(wanted).filter((chunk) => chunk.positions)], missing};
  }
}

// One colouring: RGBA of each cell in one word, little endian, and the means of parents when they are asked for.
export class Tone {
  constructor(rgba) {
    this.rgba = rgba;
    this.means = new Map();
  }

  of(level) {
    if (!level.starts) return this.rgba;
    if (!this.means.has(level)) this.means.set(level, means(this.rgba, level.starts));
    return this.means.get(level);
  }

  // One word for each entry of a chunk.
  entries({level, start, end, extras, entries}, room) {
    const rgba = this.of(level);
    const out = new Uint32Array(Math.max(room, entries));
    out.set(rgba.subarray(start, end));
    for (let i = 0; i < extras.length; i++) out[end - start + i] = rgba[start + extras[i]];
    return out;
  }
}

function means(rgba, starts) {
  const out = new Uint32Array(starts.length - 1);
  for (let p = 0; p < out.length; p++) {
    let [r, g, b, a] = [0, 0, 0, 0];
    for (let i = starts[p]; i < starts[p + 1]; i++) {
      const c = rgba[i];
      const w = c >>> 24;
      r += w * (c & 255);
      g += w * ((c >>> 8) & 255);
      b += w * ((c >>> 16) & 255);
      a += w;
    }
    if (a) out[p] = ((Math.round(a / (starts[p + 1] - starts[p])) << 24) | (Math.round(b / a) << 16) | (Math.round(g / a) << 8) | Math.round(r / a)) >>> 0;
  }
  return out;
}
