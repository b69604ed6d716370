// One buffer = u32 header length (little endian) | JSON header | blobs, each at a multiple of 8 bytes.
// Streamlit passes raw bytes only at the top level of `data=`, hence the hand-made envelope.

export function decode(bytes) {
  const copy = bytes.slice(); // own, aligned memory: typed views below need 8-byte offsets
  const headerLength = new DataView(copy.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(copy.subarray(4, 4 + headerLength)));
  const blob = (name, Type) => {
    const span = header.blobs[name];
    if (!span) return null;
    return new Type(copy.buffer, span[0], span[1] / Type.BYTES_PER_ELEMENT);
  };
  return {
    header,
    cells: blob('cells', Uint32Array), // uint64 little endian, as pairs low, high
    context: blob('context', Uint8Array), // GeoJSON text
    area: blob('area', Uint8Array), // a bit per cell
    sides: [[header, ''], [header.other, 'other_']].filter(([side]) => side).map(([{colours: id, legend, tip}, prefix]) => ({
      id, legend, tip,
      colours: blob(`${prefix}colours`, Uint8Array),
      palette: blob(`${prefix}palette`, Uint32Array),
      values: blob(`${prefix}values`, Uint8Array),
    })),
  };
}

// RGBA of each cell in one word. `colours` is an index into the palette, RGB or RGBA.
export function unpack({colours, palette}, n) {
  const out = new Uint32Array(n);
  if (palette) for (let i = 0; i < n; i++) out[i] = palette[colours[i]];
  else if (colours.length === 3 * n) {
    for (let i = 0, o = 0; i < n; i++, o += 3) out[i] = ((255 << 24) | (colours[o + 2] << 16) | (colours[o + 1] << 8) | colours[o]) >>> 0;
  } else new Uint8Array(out.buffer).set(colours);
  return out;
}

// What lies outside the area, mixed towards the ground.
export function veil(rgba, area, ground) {
  const share = 0.72;
  const [r0, g0, b0] = ground.map((c) => share * c);
  for (let i = 0; i < rgba.length; i++) {
    if (area[i >> 3] & (1 << (i & 7))) continue;
    const c = rgba[i];
    const mix = (c0, shift) => Math.round(c0 + (1 - share) * ((c >>> shift) & 255));
    rgba[i] = ((c & 0xff000000) | (mix(b0, 16) << 16) | (mix(g0, 8) << 8) | mix(r0, 0)) >>> 0;
  }
}

// Values are single precision without its last 8 bits: 3 bytes, exact to 2^-16.
const word = new DataView(new ArrayBuffer(4));
export function valueAt({values}, row) {
  if (!values) return null;
  word.setUint32(0, (values[3 * row] << 8) | (values[3 * row + 1] << 16) | (values[3 * row + 2] << 24));
  return word.getFloat32(0);
}
