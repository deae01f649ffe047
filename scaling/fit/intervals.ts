/**
 * Intervals of an estimate: quantiles of its bootstrap refits, or estimate ± Student's t × standard error, on the
 * logarithm where a parameter is positive and skewed (A, B). Notebook 08-scaling-laws shows how often they cover.
 */
import type { Interval } from "../points.js";
import { positive } from "./covariance.js";
import { studentQuantile } from "./student.js";

type Numbers = Readonly<Record<string, number>>;

export function tInterval(name: string, value: number, error: number, level: number, freedom: number): Interval {
  const t = studentQuantile(0.5 + level / 2, Math.max(1, freedom));
  if (positive.has(name) && value > 0) {
    const factor = Math.exp((t * error) / value);
    return [value / factor, value * factor];
  }
  return [value - t * error, value + t * error];
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

export function bootstrapIntervals(
  values: Numbers,
  refits: readonly Numbers[],
  level: number,
): Record<string, Interval> {
  return Object.fromEntries(
    Object.keys(values).map((name) => {
      const sorted = Float64Array.from(refits, (refit) => refit[name]!).sort();
      return [name, [quantile(sorted, (1 - level) / 2), quantile(sorted, (1 + level) / 2)]];
    }),
  );
}
