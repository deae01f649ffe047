/** What a fit becomes without some of its points: the influence of each, and the error on budgets it has not seen. */
import type { Holdout } from "../../points.js";
import type { Data } from "../columns.js";
import { budgetsOf } from "../methods/isoflop.js";
import type { Estimate, Fitter } from "../methods/method.js";

/** The number that a method's users come for. */
export function mainExponent({ exponents, params }: Pick<Estimate, "exponents" | "params">): number {
  return exponents?.a ?? params.alpha ?? params.c0 ?? Number.NaN;
}

/** A fit without one point. */
export interface Deletion {
  /** By how much the main exponent then differs from the fit's. */
  readonly shift: number;
  /** ln(predicted / measured) of the point by the fit that has not seen it; NaN of methods that predict none. */
  readonly residual: number;
}

/** Points beyond which a refit without each in turn would take the square of a long time; none of them then moves much. */
const mostDeletions = 5000;

/** A refit without each point in turn; none of more than 5,000 points. */
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

/** The jackknife's standard errors, by clusters (Tukey 1958); of methods without a gradient. */
export function jackknife(
  fitter: Fitter,
  data: Data,
  estimate: Estimate,
  names: readonly string[],
): Record<string, number> {
  const weights = new Float64Array(data.size);
  const rows: Record<string, number>[] = [];
  // Of many clusters several are left out together, every so many-th.
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

/** Fewer points than these cannot be fitted and leave some to hold out. */
const leastFitted = 8;

/**
 * The largest budget held out, or as many of the points of largest compute as make a tenth where points do not lie on
 * budgets. @returns undefined where too few points are left, or the method predicts no losses
 */
export function holdOut(fitter: Fitter, data: Data, estimate: Estimate, tolerance: number): Holdout | undefined {
  if (!fitter.predict) return undefined;
  const budgets = budgetsOf(data, tolerance);
  const order = Array.from(data.lnC.keys()).sort((i, j) => data.lnC[j]! - data.lnC[i]!);
  const onBudgets = budgets.length * 3 <= data.size && budgets.at(-1)!.indices.length >= 3;
  const held = onBudgets ? budgets.at(-1)!.indices : order.slice(0, Math.ceil(data.size / 10));
  // Points of a run that is held out say what it will come to: they go too.
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
