/** Arrays for views in a page that computes them itself, in place of ../views/pack.ts: they stay as they are in memory. */
import { type Packed, sizeOf } from "../page/parts/numbers.js";

/** @throws {RangeError} when the number of values is not that of the shape */
export function pack(values: ArrayLike<number>, shape: readonly number[]): Packed {
  if (values.length !== sizeOf(shape)) {
    throw new RangeError(`Cannot show an array: it has ${values.length} values; wanted [${shape.join(", ")}].`);
  }
  return { shape, values: values instanceof Float32Array ? values : Float32Array.from(values) };
}
