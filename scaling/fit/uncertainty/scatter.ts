/**
 * The scatter of single runs about a law, which the interval of a run needs. Small runs are often noisier than large ones,
 * so the scatter may change with the compute: ln r² is regressed on ln C (Harvey 1976), and its slope is used if it is
 * significant. Beyond the fitted range it does not change further.
 */
import { quantile } from "../../../lib/host/statistics.js";
import type { Scatter } from "../../points.js";
import { extent } from "../columns.js";
import { fitLine } from "../search/line-fit.js";
import { studentQuantile } from "./student-quantile.js";

/** The fewest residuals for quantiles of their sizes. */
const leastResiduals = 40;
/** The variance of ln χ² with one degree of freedom, π² / 2: that of ln r² of normal residuals. */
const varianceOfLn = Math.PI ** 2 / 2;
const significant = 1.96;
/** Residuals that are 0, because the law goes through the point, count as this share of the usual square. */
const leastShare = 1e-4;

/**
 * @param lnC ln of the compute of each point; without it (NaN), the scatter is the same everywhere
 * @param parameters the number of constants that were fitted
 */
export function scatterOf(lnC: ArrayLike<number>, residuals: ArrayLike<number>, parameters: number): Scatter {
  const sizes = Array.from(residuals, Math.abs);
  const places = Array.from(lnC);
  const center = places.reduce((sum, value) => sum + value, 0) / places.length;
  const slope = Number.isFinite(center) ? slopeOf(places, sizes) : 0;
  const standard = sizes.map((size, i) => size / (slope === 0 ? 1 : Math.exp(slope * (places[i]! - center))));
  const freedom = Math.max(1, sizes.length - parameters);
  const at = (level: number) =>
    sizes.length >= leastResiduals
      ? quantile(standard, level) * Math.sqrt(sizes.length / freedom)
      : studentQuantile(0.5 + level / 2, freedom) *
        Math.sqrt(standard.reduce((sum, size) => sum + size * size, 0) / freedom);
  return { slope, ...(slope === 0 ? {} : { center, ends: extent(places) }), ci80: at(0.8), ci95: at(0.95) };
}

/** The slope of ln of the standard deviation in ln C; 0 if it is not significant. */
function slopeOf(lnC: readonly number[], sizes: readonly number[]): number {
  const floor = leastShare * quantile(sizes, 0.5) ** 2;
  if (!(floor > 0)) return 0;
  const { slope } = fitLine(
    lnC,
    sizes.map((size) => Math.log(Math.max(size * size, floor))),
  );
  const mean = lnC.reduce((sum, value) => sum + value, 0) / lnC.length;
  const spread = lnC.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.abs(slope) > significant * Math.sqrt(varianceOfLn / spread) ? slope / 2 : 0;
}

/** How far ln L of a run of compute C may be from the law. */
export function scatterAt(scatter: Scatter, level: "ci80" | "ci95", c: number): number {
  const { slope, center = 0, ends: [low, high] = [0, 0] } = scatter;
  if (slope === 0 || !(c > 0)) return scatter[level];
  return scatter[level] * Math.exp(slope * (Math.min(high, Math.max(low, Math.log(c))) - center));
}
