/** Fits without some of the points: the influence of each point, and the error on held-out budgets. */
import type { Holdout } from "../../points.js";
import type { Data } from "../columns.js";
import type { Estimate, Fitter } from "../methods/method.js";
import { budgetsOf } from "../methods/profiles.js";

/** The main result of a method: exponent a, or the exponent of its law. */
export function mainExponent({ exponents, params }: Pick<Estimate, "exponents" | "params">): number {
  return exponents?.a ?? params.alpha ?? params.eta ?? params.c0 ?? Number.NaN;
}

/** A fit without one point. */
export interface Deletion {
  /** The change of the main exponent. */
  readonly shift: number;
  /** ln(predicted / measured) at the point that was left out; NaN for methods that predict no losses. */
  readonly residual: number;
}

/** With more points, leaving out each in turn would take too long, and no single point has much influence. */
const mostDeletions = 5000;

/** Refits without each point in turn; none for more than 5,000 points. */
export function deletions(fitter: Fitter, data: Data, estimate: Estimate): Deletion[] {
  if (data.size > mostDeletions) return [];
  const weights = new Float64Array(data.size).fill(1);
  const exponent = mainExponent(estimate);
  return Array.from({ length: data.size }, (_, i) => {
    weights[i] = 0;
    const refit = fitter.refit(weights, estimate);
    weights[i] = 1;
    if (!refit) return { shift: Number.NaN, residual: Number.NaN };
    const residual = fitter.predict ? fitter.predict(refit.params, data)[i]! - data.lnLoss[i]! : Number.NaN;
    return { shift: exponent - mainExponent(refit), residual };
  });
}

const mostBlocks = 1000;

/** Jackknife standard errors by clusters (Tukey 1958), for methods without a gradient. */
export function jackknife(
  fitter: Fitter,
  data: Data,
  estimate: Estimate,
  names: readonly string[],
): Record<string, number> {
  const weights = new Float64Array(data.size);
  const rows: Record<string, number>[] = [];
  // If there are many clusters, several are left out together, evenly spaced.
  const blocks = Math.min(data.clusters, mostBlocks);
  for (let block = 0; block < blocks; block++) {
    for (let i = 0; i < data.size; i++) weights[i] = data.cluster[i]! % blocks === block ? 0 : 1;
    const refit = fitter.refit(weights, estimate);
    if (refit) rows.push({ ...refit.params, ...refit.exponents });
  }
  return Object.fromEntries(
    names.map((name) => {
      const mean = rows.reduce((sum, row) => sum + row[name]! / rows.length, 0);
      const square = rows.reduce((sum, row) => sum + (row[name]! - mean) ** 2, 0);
      return [name, Math.sqrt((square * (rows.length - 1)) / rows.length)];
    }),
  );
}

/** The fewest points for a fit with a held-out part. */
const leastFitted = 8;

/**
 * The error on the largest budget when it is held out (if points do not lie on budgets, on the tenth of largest
 * compute).
 * @returns undefined if too few points are left, or the method predicts no losses
 */
export function holdOut(fitter: Fitter, data: Data, estimate: Estimate, tolerance: number): Holdout | undefined {
  if (!fitter.predict) return undefined;
  const budgets = budgetsOf(data, tolerance);
  const order = Array.from(data.lnC.keys()).sort((i, j) => data.lnC[j]! - data.lnC[i]!);
  const onBudgets = budgets.length * 3 <= data.size && budgets.at(-1)!.indices.length >= 3;
  const held = onBudgets ? budgets.at(-1)!.indices : order.slice(0, Math.ceil(data.size / 10));
  // Earlier points of a held-out run would reveal its loss, so they are held out, too.
  const gone = new Set(held.map((i) => data.cluster[i]!));
  const weights = Float64Array.from(data.cluster, (cluster) => (gone.has(cluster) ? 0 : 1));
  const left = weights.reduce((sum, weight) => sum + weight, 0);
  if (left < leastFitted) return undefined;
  const refit = fitter.refit(weights, estimate);
  if (!refit) return undefined;
  const predicted = fitter.predict(refit.params, data);
  const errors = held.map((i) => predicted[i]! - data.lnLoss[i]!);
  const fitted = Array.from(data.lnC).filter((_, i) => weights[i]! > 0);
  return {
    points: held.length,
    factor: Math.exp(
      data.lnC[order[0]!]! - fitted.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY),
    ),
    rms: Math.sqrt(errors.reduce((sum, error) => sum + error * error, 0) / errors.length),
    bias: errors.reduce((sum, error) => sum + error, 0) / errors.length,
    largest: errors.reduce((most, error) => Math.max(most, Math.abs(error)), 0),
  };
}
