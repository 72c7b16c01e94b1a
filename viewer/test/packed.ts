/** Two layers, tokens 0 and 2: of token 2 after layer 2, 0.75 stays and 0.25 is from token 0; below, all stay. */
export const PATHS = Float32Array.from([2, 2, 0, 2, 0.25, 0.75, 0.25, 0.75, 0, 1, 0.25, 0, 0, 0.75, 0, 0, 0.25, 0.75]);

/** The layout of pack.py, written independently: header, then arrays at multiples of 8. */
export function packed(heads = 2, tokens = ["a", "b", "c"], asked = false): ArrayBuffer {
  const n = tokens.length;
  const arrays: [string, string, number[], ArrayBufferView][] = [
    ["pooled", "uint8", [1, heads, 3, 3], Uint8Array.from({ length: heads * 9 }, (_, i) => (i === 4 ? 255 : i))],
    ["scale", "float32", [1, heads], Float32Array.from({ length: heads }, (_, i) => 0.5 / (i + 1))],
    ["received", "uint16", [1, heads, n], Uint16Array.from({ length: heads * n }, (_, i) => i * 1000)],
    ["indices", "uint16", [1, heads, n, 2], Uint16Array.from({ length: heads * n * 2 }, (_, i) => i % 2)],
    ["weights", "uint16", [1, heads, n, 2], Uint16Array.from({ length: heads * n * 2 }, (_, i) => (i % 2 ? 13107 : 52428))],
    ["measure:entropy", "float32", [1, heads], Float32Array.from({ length: heads }, (_, i) => i + 0.25)],
  ];
  if (asked)
    arrays.push(
      ["space", "uint16", [1, heads, 2, n, 2], Uint16Array.from({ length: heads * n * 4 }, (_, i) => i * 1000)],
      ["share", "float32", [1, heads], Float32Array.from({ length: heads }, (_, i) => 0.5 + i / 4)],
      ["rollout", "float32", [n], Float32Array.from({ length: n }, (_, i) => (i + 1) / 8)],
      ["paths", "float32", [18], PATHS],
    );
  const places: Record<string, unknown> = {};
  let size = 0;
  for (const [name, type, shape, data] of arrays) {
    size = Math.ceil(size / 8) * 8;
    places[name] = { type, shape, at: size };
    size += data.byteLength;
  }
  const header = new TextEncoder().encode(
    JSON.stringify({ model: "tiny", tokens, spans: { rule: [1] }, sites: [["text.0.self", 0]], arrays: places }),
  );
  const start = Math.ceil((12 + header.length) / 8) * 8;
  const bytes = new Uint8Array(start + size).fill(32, 12, start);
  bytes.set(new TextEncoder().encode("SACCADE1"));
  new DataView(bytes.buffer).setUint32(8, start - 12, true);
  bytes.set(header, 12);
  for (const [name, , , data] of arrays)
    bytes.set(new Uint8Array(data.buffer), start + (places[name] as { at: number }).at);
  return bytes.buffer;
}
