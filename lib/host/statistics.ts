/** Quantiles, and the ratio of a benchmark's times with its confidence interval. */
import { quantileSorted } from "d3-array";
import { uniform } from "./random.js";

/**
 * The quantile `q` of the values, by linear interpolation (R's type 7, NumPy's default); NaN if there are none.
 */
export function quantile(values: Iterable<number>, q: number): number {
  const sorted: ArrayLike<number> = Float64Array.from(values).sort();
  return quantileSorted(sorted as number[], q) ?? Number.NaN; // its types allow only arrays
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** A ratio of medians and its 95 % confidence interval. */
export interface RatioInterval {
  readonly ratio: number;
  readonly low: number;
  readonly high: number;
}

/**
 * median(numerator) / median(denominator). Both are lists of rounds of times; the interval comes from 2,000 bootstrap
 * samples of the rounds (Efron 1979). Rounds that were measured together are resampled together, since a disturbance of
 * the machine affects both.
 */
export function medianRatio(
  numerator: readonly (readonly number[])[],
  denominator: readonly (readonly number[])[],
  { together = true, seed = 0 }: { together?: boolean; seed?: number } = {},
): RatioInterval {
  const ratio = median(numerator.flat()) / median(denominator.flat());
  const resamplings = 2000;
  const pick = (rounds: readonly (readonly number[])[], use: string, index: number) =>
    rounds.flatMap((_, i) => rounds[Math.floor(uniform(seed, use, index, i) * rounds.length)]!);
  const ratios = Array.from({ length: resamplings }, (_, index) => {
    const above = pick(numerator, "bench-rounds", index);
    const below = pick(denominator, together ? "bench-rounds" : "bench-rounds-2", index);
    return median(above) / median(below);
  });
  return { ratio, low: quantile(ratios, 0.025), high: quantile(ratios, 0.975) };
}
