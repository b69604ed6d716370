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
    colours: blob('colours', Uint8Array),
    values: blob('values', Float32Array),
  };
}
