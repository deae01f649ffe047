/**
 * Intervals of an estimate: from its bootstrap refits, or estimate ± Student's t × standard error; for positive, skewed
 * parameters (A, B), on the logarithm. Notebook 08-scaling-laws shows them.
 */
import { quantile } from "../../../lib/host/statistics.js";
import type { Interval } from "../../points.js";
import { positive } from "./covariance.js";
import { normalQuantile, studentQuantile } from "./student-quantile.js";

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

/** Parameters that cannot be negative, so that their intervals end at 0. */
const notNegative = new Set(["E", "A", "B", "Nc", "Dc", "nScale", "dScale", "rStar", "rStarN"]);

function bounded(name: string, values: Numbers): boolean {
  // In the broken law also a, b, and the places and widths of breaks; in other laws a and b are exponents.
  return notNegative.has(name) || (values.c0 !== undefined && /^[abdf]\d*$/.test(name));
}

function within(name: string, [low, high]: Interval, values: Numbers): Interval {
  return bounded(name, values) ? [Math.max(0, low), Math.max(0, high)] : [low, high];
}

/** The standard error of a normal distribution with these 80 % intervals (of the logarithm, if they are on it). */
export function errorsOfIntervals(ci80: Readonly<Record<string, Interval>>, values: Numbers): Record<string, number> {
  const reach = normalQuantile(0.9);
  return Object.fromEntries(
    Object.entries(ci80).map(([name, [low, high]]) => {
      const value = values[name]!;
      if (positive.has(name) && low > 0) return [name, (value * Math.log(high / low)) / (2 * reach)];
      // If the estimate is at its bound, only the upper end is informative.
      return [name, low === 0 && bounded(name, values) ? (high - value) / reach : (high - low) / (2 * reach)];
    }),
  );
}

export function tIntervals(values: Numbers, se: Numbers, level: number, freedom: number): Record<string, Interval> {
  return Object.fromEntries(
    Object.entries(values)
      .filter(([name]) => Number.isFinite(se[name]))
      .map(([name, value]) => [name, within(name, tInterval(name, value, se[name]!, level, freedom), values)]),
  );
}

/** A refit of resampled points. */
export interface Refit {
  readonly values: Numbers;
  /** NaN for methods without a gradient. */
  readonly errors: Numbers;
}

/**
 * Intervals from refits. With standard errors, the symmetric bootstrap-t (Hall 1988): estimate ± q·error, where q is
 * the quantile of |refit − estimate| / the refit's error. Even with few points or runs, its coverage is about as
 * stated, while plain quantiles of the refits cover too often for a robust objective (test/proofs/scaling-coverage.ts).
 * Without errors, plain quantiles are used.
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
        const found = refits.map((refit) => refit.values[name]!);
        return [name, [quantile(found, (1 - level) / 2), quantile(found, (1 + level) / 2)]];
      }
      const sizes = Float64Array.from(scores, Math.abs).sort();
      const q = sizes[Math.min(sizes.length, Math.ceil((sizes.length + 1) * level)) - 1]!;
      return [name, within(name, about(name, value, q * errors[name]!), values)];
    }),
  );
}
