/**
 * Checks for weights that are not finite, from a training run that diverged, and for values too large for a 16-bit
 * format. Both are refused before anything is computed with them or written.
 */
import type { HostTensors } from "../engine/host-tensors.js";
import type { FloatFormat } from "./safetensors-bytes.js";

/** @throws {Error} naming the first tensor with NaN or infinite values, and what to use instead */
export function checkFinite(params: HostTensors, from: string): void {
  for (const [name, { values, dtype }] of Object.entries(params)) {
    if (dtype !== "float32") continue;
    const wrong = countNotFinite(values);
    if (wrong === 0) continue;
    throw new Error(
      `Cannot use the model of ${from}: ${wrong} of the ${values.length} values of ${name} are NaN or infinite; training diverged before it was saved. Use an earlier checkpoint, or train again with a lower learningRate.`,
    );
  }
}

function countNotFinite(values: ArrayLike<number>): number {
  let wrong = 0;
  for (let index = 0; index < values.length; index++) if (!Number.isFinite(values[index])) wrong++;
  return wrong;
}

/** Values from here on round to infinity. */
const overflows = { float32: Number.POSITIVE_INFINITY, float16: 65_520, bfloat16: 3.396e38 } as const;

/** @throws {RangeError} naming a tensor with values that are too large for the format */
export function checkRange(params: HostTensors, floats: FloatFormat): void {
  const limit = overflows[floats];
  for (const [name, { values }] of Object.entries(params)) {
    let largest = 0;
    for (let index = 0; index < values.length; index++) largest = Math.max(largest, Math.abs(values[index]!));
    if (largest < limit) continue;
    throw new RangeError(
      `${name} has the value ${largest}, but the largest in ${floats} is ${floats === "float16" ? 65_504 : 3.39e38}: it would become infinite; use ${floats === "float16" ? "bfloat16 or float32" : "float32"}.`,
    );
  }
}
