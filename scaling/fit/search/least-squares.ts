/**
 * Nonlinear least squares with a few parameters (Levenberg 1944, Marquardt 1963), for Kaplan's law, the law of repeated
 * data and the broken law, which provide residuals and gradients. The search allocates nothing.
 */
import { cholesky, choleskySolve } from "./cholesky.js";

/** The residuals of a law with unconstrained parameters. */
export interface Residuals {
  readonly size: number;
  readonly parameters: number;
  /** The weight of each point, in addition to those of a refit; 1 by default. */
  readonly weight?: Float64Array;
  /** The residual of point i; its gradient is written to `gradient`. */
  at(i: number, x: Float64Array, gradient: Float64Array): number;
}

export interface LeastSquares {
  /** Σ w·r². */
  value: number;
  /** The largest cosine between a column of the Jacobian and the residuals: 0 at a minimum. */
  gradient: number;
  converged: boolean;
}

/** The cosine below which a point counts as a minimum. */
const tolerance = 1e-7;

/** The lowest result of searches from several starts. */
export function lowestFrom(
  search: ReturnType<typeof createLeastSquares>,
  starts: readonly Float64Array[],
  { maxIterations, weights }: { maxIterations: number; weights?: Float64Array | undefined },
): { x: Float64Array; end: LeastSquares } {
  const ends = starts.map((start) => {
    const x = start.slice();
    return { x, end: search(x, maxIterations, weights) };
  });
  return ends.reduce((best, other) => (other.end.value < best.end.value ? other : best));
}

/** A minimiser of such sums with preallocated memory; it writes the result to `x`. */
export function createLeastSquares(law: Residuals) {
  const { size, parameters: count } = law;
  const normal = new Float64Array(count * count);
  const factor = new Float64Array(count * count);
  const right = new Float64Array(count);
  const step = new Float64Array(count);
  const trial = new Float64Array(count);
  const row = new Float64Array(count);

  const weightOf = (i: number, weights: Float64Array | undefined) =>
    (weights ? weights[i]! : 1) * (law.weight ? law.weight[i]! : 1);

  function sums(x: Float64Array, weights: Float64Array | undefined): number {
    normal.fill(0);
    right.fill(0);
    let value = 0;
    for (let i = 0; i < size; i++) {
      const w = weightOf(i, weights);
      if (w === 0) continue;
      const r = law.at(i, x, row);
      value += w * r * r;
      for (let j = 0; j < count; j++) {
        right[j]! -= w * r * row[j]!;
        for (let k = 0; k <= j; k++) normal[j * count + k]! += w * row[j]! * row[k]!;
      }
    }
    return value;
  }

  function valueAt(x: Float64Array, weights: Float64Array | undefined): number {
    let value = 0;
    for (let i = 0; i < size; i++) {
      const w = weightOf(i, weights);
      if (w > 0) value += w * law.at(i, x, row) ** 2;
    }
    return Number.isNaN(value) ? Number.POSITIVE_INFINITY : value;
  }

  return (x: Float64Array, maxIterations: number, weights?: Float64Array): LeastSquares => {
    let value = sums(x, weights);
    let [damping, gradient] = [1e-3, cosine(value)];
    for (let iteration = 0; iteration < maxIterations && damping < 1e12; iteration++) {
      if (gradient < 1e-12 || value < 1e-28 * size) break;
      factor.set(normal);
      for (let k = 0; k < count; k++) factor[k * (count + 1)]! *= 1 + damping;
      // A parameter without effect does not change.
      for (let k = 0; k < count; k++) if (!(factor[k * (count + 1)]! > 0)) factor[k * (count + 1)] = 1;
      step.set(right);
      if (!cholesky(factor, count)) {
        damping *= 10;
        continue;
      }
      choleskySolve(factor, count, step);
      for (let k = 0; k < count; k++) trial[k] = x[k]! + step[k]!;
      const next = valueAt(trial, weights);
      if (next <= value) {
        const still = next > value * (1 - 1e-14);
        x.set(trial);
        value = sums(x, weights);
        gradient = cosine(value);
        damping = Math.max(1e-12, damping / 10);
        if (still && gradient < tolerance) break;
      } else damping *= 10;
    }
    return { value, gradient, converged: gradient < tolerance || value < 1e-24 * size };
  };

  function cosine(value: number): number {
    let most = 0;
    for (let k = 0; k < count; k++) {
      const length = Math.sqrt(normal[k * (count + 1)]! * value);
      if (length > 0) most = Math.max(most, Math.abs(right[k]!) / length);
    }
    return most;
  }
}
