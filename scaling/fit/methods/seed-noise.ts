/**
 * Vertices under known noise between seeds, as Porian 2024 finds them: the losses of a budget are disturbed by this noise
 * many times, and each time the lowest point is found again. Their spread is the error of the vertex; the power law
 * through the vertices weights each by 1 / error².
 */

import { uniform } from "../../../lib/host/random.js";
import { quantile } from "../../../lib/host/statistics.js";
import type { BudgetOptimum, Interval } from "../../points.js";
import { fitParabola } from "../search/line-fit.js";
import { normalQuantile } from "../uncertainty/student-quantile.js";
import type { Draws } from "./method.js";
import { type Budget, nearLowest, type ProfileData, type ProfileOptions, type Vertex, vertexOf } from "./profiles.js";

/** Disturbed profiles per budget. */
const disturbances = 1000;
const seed = 1337;
/** The least error of a vertex between interpolated sizes, as a share of their mean distance in ln N (Porian's code). */
const leastShare = 0.33;

/** The noise between seeds at each point. */
export interface SeedNoise {
  /** The standard deviation of each point's loss. */
  readonly deviation: Float64Array;
  /** The standard normal number of point i in disturbance `draw`. */
  readonly normal: (draw: number, i: number) => number;
}

/** The noise if it is known: the points' own errors, else the noise of all. */
export function noiseOf(error: Float64Array | undefined, size: number, seedNoise?: number): SeedNoise | undefined {
  if (!error && seedNoise === undefined) return undefined;
  const drawn = new Float64Array(disturbances * size).fill(Number.NaN);
  return {
    deviation: error ?? new Float64Array(size).fill(seedNoise!),
    normal(draw, i) {
      const at = draw * size + i;
      // 1 − u is above 0, so the quantile is finite.
      if (Number.isNaN(drawn[at]!)) drawn[at] = normalQuantile(1 - uniform(seed, "vertex", draw, i));
      return drawn[at]!;
    },
  };
}

/** Losses that another set of seeds could have given: about the parabola, or about the measured ones if interpolated. */
export function disturbed(
  data: ProfileData,
  { indices }: Budget,
  {
    deviation,
    curve,
    normal,
  }: { deviation: Float64Array; curve: ProfileOptions["curve"]; normal: (i: number) => number },
): Float64Array {
  const loss = data.loss.slice();
  const smooth = curve === "parabola" ? smoothLosses(data, indices) : undefined;
  indices.forEach((i, k) => {
    loss[i] = (smooth ? smooth[k]! : loss[i]!) + deviation[i]! * normal(i);
  });
  return loss;
}

function smoothLosses(data: ProfileData, indices: readonly number[]): number[] {
  const x = indices.map((i) => data.lnN[i]!);
  const { vertex, height, bend } = fitParabola(
    x,
    indices.map((i) => data.loss[i]!),
    indices.map((i) => data.weight[i]!),
  );
  return x.map((value) => height + bend * (value - vertex) ** 2);
}

/** The vertex of a budget with its error and intervals; for an interpolation, the median of the disturbed ones. */
export function vertexUnderNoise(
  data: ProfileData,
  budget: Budget,
  { noise, options, drawn }: { noise: SeedNoise; options: ProfileOptions; drawn?: Float64Array | undefined },
): Vertex {
  const own = vertexOf(data, budget, options, drawn);
  if ("kind" in own) return own;
  // The window stays where it is: about the lowest measured loss.
  const near = { ...budget, indices: nearLowest(data, budget.indices, options.window) };
  const { curve } = options;
  const { deviation } = noise;
  const ones = drawn ?? new Float64Array(data.loss.length).fill(1);
  const found: BudgetOptimum[] = [];
  for (let draw = 0; draw < disturbances; draw++) {
    const normal = (i: number) => noise.normal(draw, i);
    const loss = disturbed(data, near, { deviation, curve, normal });
    const vertex = vertexOf({ ...data, loss }, near, { curve }, ones);
    if (!("kind" in vertex)) found.push(vertex);
  }
  if (found.length < disturbances / 2) {
    return {
      kind: "uncertain-minimum",
      why: `with the noise between seeds, its minimum is at an end of the sizes in ${disturbances - found.length} of ${disturbances} draws: add sizes there`,
    };
  }
  const lnN = found.map(({ n }) => Math.log(n));
  const loss = found.map((vertex) => vertex.loss);
  const interpolated = curve === "akima";
  const least = interpolated ? leastShare * spacing(data, budget) : 0;
  // Draws without a minimum are lost evidence.
  const nError = Math.max(spreadOf(lnN), least) * (disturbances / found.length);
  const at = interpolated ? Math.exp(quantile(lnN, 0.5)) : own.n;
  const ends = (level: number) => ({
    n: between(lnN, level).map(Math.exp) as unknown as Interval,
    loss: between(loss, level),
  });
  return {
    ...own,
    n: at,
    d: (own.d * own.n) / at,
    loss: interpolated ? quantile(loss, 0.5) : own.loss,
    ...{ nError, ci80: ends(0.8), ci95: ends(0.95) },
  };
}

function between(values: readonly number[], level: number): Interval {
  return [quantile(values, (1 - level) / 2), quantile(values, (1 + level) / 2)];
}

function spreadOf(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
}

/** The mean distance of neighbouring sizes in ln N. */
function spacing({ lnN }: ProfileData, { indices }: Budget): number {
  const sizes = [...new Set(indices.map((i) => lnN[i]!))].sort((one, other) => one - other);
  return (sizes.at(-1)! - sizes[0]!) / (sizes.length - 1);
}

/** The weights of vertices in the power law through them; undefined unless each has an error. */
export function weightsOfVertices(optima: readonly BudgetOptimum[]): number[] | undefined {
  if (!optima.every(({ nError }) => nError !== undefined && nError > 0)) return undefined;
  return optima.map(({ nError }) => 1 / nError! ** 2);
}

/**
 * The vertices of disturbed budgets, whose points are those of their windows, with the errors that the estimate's vertices
 * have. A budget without an optimum in the estimate has none in its refits.
 */
export function disturbedVertices(
  data: ProfileData,
  budgets: readonly Budget[],
  { noise, curve, draws, optima }: Disturbance,
): Vertex[] {
  const errors = new Map(optima.map(({ c, nError }) => [c, nError]));
  const ones = new Float64Array(data.loss.length).fill(1);
  const normal = (i: number) => draws.normal("seed noise", i);
  return budgets.map((budget) => {
    const loss = disturbed(data, budget, { deviation: noise.deviation, curve, normal });
    const vertex = vertexOf({ ...data, loss }, budget, { curve }, ones);
    if ("kind" in vertex) return vertex;
    const nError = errors.get(vertex.c);
    return nError === undefined ? { kind: "uncertain-minimum", why: "the estimate has none" } : { ...vertex, nError };
  });
}

interface Disturbance {
  readonly noise: SeedNoise;
  readonly curve: ProfileOptions["curve"];
  readonly draws: Draws;
  /** The vertices of the estimate. */
  readonly optima: readonly BudgetOptimum[];
}
