/**
 * Intervals of an estimate: from its bootstrap refits, or estimate ± Student's t × standard error; about the logarithm
 * where a parameter is positive and skewed (A, B). Notebook 08-scaling-laws shows them.
 */
import type { Interval } from "../../points.js";
import { positive } from "./covariance.js";
import { studentQuantile } from "./student-quantile.js";

type Numbers = Readonly<Record<string, number>>;

export function tInterval(name: string, value: number, error: number, level: number, freedom: number): Interval {
  const t = studentQuantile(0.5 + level / 2, Math.max(1, freedom));
  return about(name, value, t * error);
}

function about(name: string, value: number, half: number): Interval {
  if (!positive.has(name) || !(value > 0)) return [value - half, value + half];
  const factor = Math.exp(half / value);
  return [value / factor, value * factor];
}

export function tIntervals(values: Numbers, se: Numbers, level: number, freedom: number): Record<string, Interval> {
  return Object.fromEntries(
    Object.entries(values)
      .filter(([name]) => Number.isFinite(se[name]))
      .map(([name, value]) => [name, tInterval(name, value, se[name]!, level, freedom)]),
  );
}

/** The quantile of sorted values, between neighbours (R's type 7). */
export function quantile(sorted: ArrayLike<number>, p: number): number {
  const at = Math.min(Math.max(p, 0), 1) * (sorted.length - 1);
  const low = Math.floor(at);
  const [below, above] = [sorted[low]!, sorted[Math.min(low + 1, sorted.length - 1)]!];
  return below + (at - low) * (above - below);
}

/** A refit of resampled points. */
export interface Refit {
  readonly values: Numbers;
  /** NaN of methods without a gradient. */
  readonly errors: Numbers;
}

/**
 * Intervals from refits. With standard errors the symmetric bootstrap-t (Hall 1988): estimate ± q·error, q the quantile of
 * |refit − estimate| / the refit's own error, whatever errors are all measured in. With few points or few runs it covers
 * about as often as it says, where quantiles of the refits cover too often for a robust objective
 * (test/proofs/scaling-coverage.ts). Without errors, those quantiles.
 */
export function bootstrapIntervals(
  values: Numbers,
  refits: readonly Refit[],
  { errors, level }: { errors: Numbers; level: number },
): Record<string, Interval> {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => {
      const log = positive.has(name) && value > 0;
      const scores = refits
        .map((refit) => {
          const [other, error] = [refit.values[name]!, refit.errors[name]!];
          return log ? (Math.log(other / value) * other) / error : (other - value) / error;
        })
        .filter(Number.isFinite);
      if (scores.length < refits.length / 2) {
        const sorted = Float64Array.from(refits, (refit) => refit.values[name]!).sort();
        return [name, [quantile(sorted, (1 - level) / 2), quantile(sorted, (1 + level) / 2)]];
      }
      const sizes = Float64Array.from(scores, Math.abs).sort();
      const q = sizes[Math.min(sizes.length, Math.ceil((sizes.length + 1) * level)) - 1]!;
      return [name, about(name, value, q * errors[name]!)];
    }),
  );
}
