/** Chinchilla's grid of 4,500 starts (Hoffmann 2022, appendix D.3), and the search from all of them. */
import type { HuberObjective, Start } from "./huber-objective.js";
import type { Enough, Minimizer, Minimum } from "./quasi-newton.js";

const range = (from: number, step: number, count: number) => Array.from({ length: count }, (_, k) => from + k * step);

/** α, β ∈ {0, .5, …, 2}, e ∈ {−1, −.5, …, 1}, a, b ∈ {0, 5, …, 25}. */
export function chinchillaStarts(): Start[] {
  const exponents = range(0, 0.5, 5);
  const heights = range(0, 5, 6);
  return exponents.flatMap((alpha) =>
    exponents.flatMap((beta) =>
      range(-1, 0.5, 5).flatMap((e) => heights.flatMap((a) => heights.map((b): Start => [a, b, e, alpha, beta]))),
    ),
  );
}

/** The results of all searches: the distinct minima, lowest first. */
export interface Searched {
  readonly value: number;
  readonly theta: Float64Array;
  readonly end: Minimum;
  /** False if its search was cut short by `maxIterations`. */
  readonly stopped: boolean;
}

/** A rough tolerance, because the lowest minima are refined afterwards. */
const roughly = 1e-4;
/** A search continues only if its model predicts at least this share of the improvement needed to reach the lowest. */
const hopeless = 0.01;
/** The number of minima kept: the lowest, and others that may be lowest for resampled points. */
const kept = 4;

/**
 * A quasi-Newton search from every start. A search that reaches a point where another has been, or flattens out far
 * above the lowest minimum, is abandoned, since it cannot find a lower one.
 */
export function searchFrom(
  starts: readonly Start[],
  objective: HuberObjective,
  minimizer: Minimizer,
  maxIterations: number,
): Searched[] {
  const minima: Searched[] = [];
  const been = (theta: Float64Array, value: number) =>
    minima.some((minimum) => value - minimum.value < 1e-3 * minimum.value + 1e-6 && near(theta, minimum.theta));
  const enough: Enough = (theta, value, within) =>
    minima.length > 0 && (within < hopeless * (value - minima[0]!.value) || been(theta, value));
  for (const start of starts) {
    const theta = objective.inward(start);
    const found = minimizer.descend(objective, theta, { tolerance: roughly, maxIterations }, enough);
    if (!Number.isFinite(found.value) || been(theta, found.value)) continue;
    const stopped = found.gradient > roughly && found.iterations >= maxIterations;
    minima.push({ value: found.value, theta, end: found, stopped });
    minima.sort((one, other) => one.value - other.value);
    minima.length = Math.min(minima.length, kept);
  }
  return minima;
}

function near(one: Float64Array, other: Float64Array): boolean {
  for (let k = 0; k < one.length; k++) if (Math.abs(one[k]! - other[k]!) > 0.02) return false;
  return true;
}
