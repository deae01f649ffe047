/** A value's gradient against finite differences. */
import { uniform } from "../../host/random.js";
import type { ValueName } from "../../model/activations.js";
import { type LookedAt, look } from "../look.js";
import { softmax } from "../probabilities.js";

export interface GradientCheck {
  readonly name: ValueName;
  /** The derivative of the loss in the direction, by the gradient. */
  readonly gradient: number;
  /** The same by central differences, with the best of the three step sizes. */
  readonly difference: number;
  /** The step, as a share of the value's own size. */
  readonly step: number;
  /** |gradient − difference| / the larger of both. */
  readonly relativeError: number;
}

/** Shares of the value's size: smaller ones drown in float32's rounding, larger ones in curvature. */
const steps = [1e-1, 1e-2, 1e-3];

/**
 * Compares a value's gradient with differences of the loss: `(L(x + εd) − L(x − εd)) / 2ε ≈ ∇L · d` for a random direction d.
 * @param options.seed of the direction; part of it is the gradient itself, so that the derivative is not near 0
 * @throws {RangeError} as look(); for a text of one token, which has no loss
 * @example
 * (await checkGradient(openCheckpoint("out"), "ROMEO", "h.0.attn.q")).relativeError;
 */
export async function checkGradient(
  model: LookedAt,
  text: string | readonly number[],
  name: ValueName,
  { seed = 0 }: { readonly seed?: number } = {},
): Promise<GradientCheck> {
  const { values, ids } = await look(model, text, [name], { gradientOf: "loss" });
  if (ids.length < 2) throw new RangeError("Cannot check a gradient: the text has one token; a loss needs two.");
  const seen = values[name];
  if (!seen?.gradient) throw new Error(`Cannot check a gradient: look() gave none of ${name}.`);
  const { values: x, gradient, shape } = seen;
  const size = norm(x) || 1;
  const slope = norm(gradient) || 1;
  const random = Float64Array.from(x, (_, i) => uniform(seed, "direction", i) - 0.5);
  const spread = norm(random) || 1;
  const direction = random.map((r, i) => (gradient[i]! / slope + r / spread) / 2);
  const wanted = direction.reduce((sum, d, i) => sum + d * gradient[i]!, 0);
  const lossAt = async (epsilon: number) => {
    const moved = Float32Array.from(x, (at, i) => at + epsilon * direction[i]!);
    const edits = { [name]: { to: { dtype: "float32" as const, shape, values: moved } } };
    const { values } = await look(model, ids, ["logits"], { edits });
    return lossOf(values.logits.values, ids);
  };
  const tried: GradientCheck[] = [];
  for (const share of steps) {
    const epsilon = share * size;
    const difference = ((await lossAt(epsilon)) - (await lossAt(-epsilon))) / (2 * epsilon);
    const relativeError = Math.abs(wanted - difference) / Math.max(Math.abs(wanted), Math.abs(difference), 1e-30);
    tried.push({ name, gradient: wanted, difference, step: share, relativeError });
  }
  return tried.reduce((best, one) => (one.relativeError < best.relativeError ? one : best));
}

const norm = (values: ArrayLike<number>) =>
  Math.sqrt(Array.prototype.reduce.call(values, (sum, x) => (sum as number) + (x as number) ** 2, 0) as number);

/** Mean loss of the next tokens in double precision: differences of float32 losses would have few digits. */
function lossOf(logits: Float32Array, ids: readonly number[]): number {
  const V = logits.length / ids.length;
  let sum = 0;
  for (let t = 0; t + 1 < ids.length; t++) sum -= Math.log(softmax(logits.subarray(t * V, (t + 1) * V))[ids[t + 1]!]!);
  return sum / (ids.length - 1);
}
