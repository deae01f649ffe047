/**
 * The bytes of a safetensors file (the Hugging Face format: a length, a JSON header, raw little-endian values). safetensors.ts
 * writes them to files and reads them; a page offers them for download. It imports nothing from Node.
 */
import type { HostTensors, TensorSpecs } from "../engine/host-tensors.js";
import { type HalfFormat, toHalf } from "../host/sixteen-bit.js";

export const typeNames = { float32: "F32", int32: "I32", bool: "BOOL", float16: "F16", bfloat16: "BF16" } as const;
export const bytesPerValue = { float32: 4, int32: 4, bool: 1, float16: 2, bfloat16: 2 } as const;

export interface HeaderEntry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** How floats are stored in a file: as in memory, or rounded to 16 bits. */
export type FloatFormat = "float32" | HalfFormat;

/** A file's first bytes, up to its values, which begin at a multiple of 8. @throws {RangeError} for a tensor's name that the format reserves */
export function safetensorsHeader(
  tensors: TensorSpecs,
  metadata: Readonly<Record<string, string>>,
  floats: FloatFormat,
): Uint8Array {
  let offset = 0;
  const entries = Object.entries(tensors).map(([name, { dtype, shape }]): [string, HeaderEntry] => {
    if (name === "__metadata__") throw new RangeError(`no tensor may be called ${name}`);
    const from = offset;
    const stored = dtype === "float32" ? floats : dtype;
    offset += shape.reduce((product, axis) => product * axis, bytesPerValue[stored]);
    return [name, { dtype: typeNames[stored], shape: [...shape], data_offsets: [from, offset] }];
  });
  // fromEntries can make a property "__proto__", unlike an assignment.
  const json = JSON.stringify(Object.fromEntries<unknown>([["__metadata__", metadata], ...entries]));
  const text = new TextEncoder().encode(json);
  const header = new Uint8Array(8 + Math.ceil(text.length / 8) * 8).fill(0x20);
  new DataView(header.buffer).setBigUint64(0, BigInt(header.length - 8), true);
  header.set(text, 8);
  return header;
}

/** The bytes of each tensor's values, in order. */
export function* valueBytes(tensors: HostTensors, floats: FloatFormat): Generator<Uint8Array> {
  for (const { values } of Object.values(tensors)) {
    const stored = values instanceof Float32Array && floats !== "float32" ? toHalf(floats, values) : values;
    yield new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
  }
}
