// Single cells: by id, by place on the map, their outline. An id is 15 hexadecimal digits, in arrays two 32-bit words.
import {cellToBoundary, cellToLatLng, latLngToCell} from 'h3-js';

// Longitudes continue across the date line instead of jumping by 360 degrees.
export const near = (lng, reference) => {
  if (lng - reference > 180) return lng - 360;
  if (lng - reference < -180) return lng + 360;
  return lng;
};

export const splitCell = (id) => {
  const hex = id.padStart(16, '0');
  return [parseInt(hex.slice(8), 16), parseInt(hex.slice(0, 8), 16)];
};

// Row of a cell in the sorted cell list, or -1.
export function rowOf(pyramid, id) {
  const {cells, n} = pyramid;
  const [low, high] = splitCell(id);
  let a = 0;
  let b = n - 1;
  while (a <= b) {
    const m = (a + b) >> 1;
    const h = cells[2 * m + 1];
    const l = cells[2 * m];
    if (h === high && l === low) return m;
    if (h < high || (h === high && l < low)) a = m + 1;
    else b = m - 1;
  }
  return -1;
}

export const idAt = (pyramid, [lng, lat]) =>
  lat > -90 && lat < 90 ? latLngToCell(lat, lng, pyramid.resolution) : null;

export function cellAt(pyramid, lnglat) {
  const id = idAt(pyramid, lnglat);
  const row = id === null ? -1 : rowOf(pyramid, id);
  return row < 0 ? null : {id, row};
}

export const outline = (pyramid, id) => {
  const ring = cellToBoundary(splitCell(id)).map(([lat, lng]) => [near(lng, pyramid.reference), lat]);
  return [...ring, ring[0]];
};

export const centre = (pyramid, id) => {
  const [lat, lng] = cellToLatLng(splitCell(id));
  return [near(lng, pyramid.reference), lat];
};
