/**
 * The bootstrap of pairs (Efron 1979), by clusters where points share a run: each refit weighs a cluster by how often it
 * was drawn. Draws are counter-based, so refit r is the same whichever thread makes it. What this file is not: it makes
 * no intervals (intervals.ts) and starts no threads (pool.ts).
 */
import { uniform } from "../../lib/random.js";
import type { Data } from "./data.js";
import { createFitter } from "./fitters.js";
import { type Estimate, type MethodOptions, named } from "./method.js";

/** What a thread is to do. */
export interface BootstrapJob {
  readonly data: Data;
  readonly options: MethodOptions;
  readonly estimate: Estimate;
  readonly seed: number;
  readonly from: number;
  readonly to: number;
}

/** Weights of the points in refit `refit`: how often each cluster was drawn. */
export function drawWeights(data: Data, seed: number, refit: number): Float64Array {
  const counts = new Float64Array(data.clusters);
  for (let draw = 0; draw < data.clusters; draw++) {
    counts[Math.floor(uniform(seed, "bootstrap", refit, draw) * data.clusters)]!++;
  }
  return Float64Array.from(data.cluster, (cluster) => counts[cluster]!);
}

/** Refits from … to − 1, as rows of numbers [refits × names], NaN where the points drawn do not do. */
export function bootstrapRows({ data, options, estimate, seed, from, to }: BootstrapJob): Float64Array {
  const fitter = createFitter(data, options);
  const names = Object.keys(named(estimate));
  const rows = new Float64Array((to - from) * names.length).fill(Number.NaN);
  for (let refit = from; refit < to; refit++) {
    const made = fitter.refit(drawWeights(data, seed, refit), estimate);
    if (!made) continue;
    const values = named(made);
    for (let k = 0; k < names.length; k++) rows[(refit - from) * names.length + k] = values[names[k]!]!;
  }
  return rows;
}
