// Cells -> triangles. Exact outlines of every cell (deck.gl's low-precision hexagons leave pinholes),
// computed once per place; a recolour only refills the colour buffer.
import {cellToBoundary, cellToLatLng, latLngToCell} from 'h3-js';

const near = (lng, reference) => {
  // Longitudes continue across the date line instead of jumping by 360 degrees.
  if (lng - reference > 180) return lng - 360;
  if (lng - reference < -180) return lng + 360;
  return lng;
};

export function buildMesh(cells) {
  const n = cells.length / 2;
  const starts = new Uint32Array(n + 1);
  // Six corners almost always; pentagons and cells on an icosahedron edge have 5 to 10: grow when needed.
  let positions = new Float64Array(n * 12 + 64);
  const split = [0, 0];
  let reference = null;
  let v = 0;
  let [west, south, east, north] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let i = 0; i < n; i++) {
    split[0] = cells[2 * i];
    split[1] = cells[2 * i + 1];
    const ring = cellToBoundary(split);
    reference ??= ring[0][1];
    if (positions.length < 2 * (v + ring.length)) {
      const grown = new Float64Array(positions.length + Math.max(4096, n));
      grown.set(positions);
      positions = grown;
    }
    for (const [lat, lng] of ring) {
      const x = near(lng, reference);
      positions[2 * v] = x;
      positions[2 * v + 1] = lat;
      v++;
      if (x < west) west = x;
      if (x > east) east = x;
      if (lat < south) south = lat;
      if (lat > north) north = lat;
    }
    starts[i + 1] = v;
  }
  const indices = new Uint32Array(3 * (v - 2 * n)); // a fan of corners - 2 triangles per cell
  let t = 0;
  for (let i = 0; i < n; i++) {
    for (let k = starts[i] + 1; k < starts[i + 1] - 1; k++) {
      indices[t++] = starts[i];
      indices[t++] = k;
      indices[t++] = k + 1;
    }
  }
  return {cells, n, starts, positions: positions.subarray(0, 2 * v), indices, reference,
    bounds: [[west, south], [east, north]]};
}

export function vertexColours(mesh, colours) {
  const channels = colours.length / mesh.n; // 3, or 4 with opacity
  const out = new Uint32Array(mesh.positions.length / 2); // RGBA packed, little endian
  for (let i = 0; i < mesh.n; i++) {
    const o = channels * i;
    const alpha = channels === 4 ? colours[o + 3] : 255;
    const packed = ((alpha << 24) | (colours[o + 2] << 16) | (colours[o + 1] << 8) | colours[o]) >>> 0;
    out.fill(packed, mesh.starts[i], mesh.starts[i + 1]);
  }
  return new Uint8Array(out.buffer);
}

export const splitCell = (id) => {
  const hex = id.padStart(16, '0');
  return [parseInt(hex.slice(8), 16), parseInt(hex.slice(0, 8), 16)];
};

// Row of a cell in the sorted cell list, or -1.
export function rowOf(mesh, id) {
  const [low, high] = splitCell(id);
  let a = 0;
  let b = mesh.n - 1;
  while (a <= b) {
    const m = (a + b) >> 1;
    const h = mesh.cells[2 * m + 1];
    const l = mesh.cells[2 * m];
    if (h === high && l === low) return m;
    if (h < high || (h === high && l < low)) a = m + 1;
    else b = m - 1;
  }
  return -1;
}

export function cellAt(mesh, resolution, lng, lat) {
  if (!(lat > -90 && lat < 90)) return null;
  const id = latLngToCell(lat, lng, resolution);
  const row = rowOf(mesh, id);
  return row < 0 ? null : {id, row};
}

export const outline = (mesh, id) => {
  const ring = cellToBoundary(splitCell(id)).map(([lat, lng]) => [near(lng, mesh.reference), lat]);
  return [...ring, ring[0]];
};

export const centre = (mesh, id) => {
  const [lat, lng] = cellToLatLng(splitCell(id));
  return [near(lng, mesh.reference), lat];
};
