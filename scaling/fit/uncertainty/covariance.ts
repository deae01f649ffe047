/**
 * The covariance of an estimate: the sandwich H⁻¹MH⁻¹ of an M-estimator (Huber 1967), with M summed by cluster if
 * points share a run (Liang and Zeger 1986), and, by the delta method, that of the optimum's exponents. For every law,
 * gradients are central differences of the predictions.
 */
import type { Data } from "../columns.js";
import type { Estimate, Fitter } from "../methods/method.js";
import { inverse } from "../search/cholesky.js";
import { sideWeight } from "../search/residual-loss.js";

export interface Spread {
  readonly names: readonly string[];
  /** [names × names] */
  readonly matrix: number[][];
}

/** ln(predicted / measured loss). */
export function residualsOf(fitter: Fitter, data: Data, { params }: Pick<Estimate, "params">): Float64Array {
  return fitter.predict!(params, data).map((ln, i) => ln - data.lnLoss[i]!);
}

export interface SandwichOptions {
  /** The weight of each point: how often it was drawn. */
  readonly weights?: Float64Array;
  /**
   * For errors that are only compared with each other, such as those of an estimate and its refits: E ψ′ is taken as 1,
   * since a common factor cancels, but the noise of its estimates would not.
   */
  readonly studentizing?: boolean;
}

/** The covariance of parameters and exponents; undefined if the points do not determine them all. */
export function sandwich(
  fitter: Fitter,
  data: Data,
  estimate: Estimate,
  options: SandwichOptions = {},
): Spread | undefined {
  const { weights } = options;
  const names = Object.keys(estimate.params);
  const free = fitter.free ?? names.map((name) => [name]);
  const size = free.length;
  const { residuals, jacobian } = linearized(fitter, data, estimate.params, free);
  // Columns scaled to the same size, because A and alpha differ in magnitude.
  const scales = jacobian.map((column) => Math.sqrt(column.reduce((sum, value) => sum + value * value, 0)) || 1);
  const { delta, sides } = robustness(fitter, data, residuals);
  const slopes = slopesOf(residuals, options.studentizing ? undefined : delta, size);
  const weigh = (i: number) => (weights ? weights[i]! : 1) * slopes[i]! * sides[i]!;
  jacobian.forEach((column, k) => {
    for (let i = 0; i < column.length; i++) column[i]! /= scales[k]!;
  });
  const bread = new Float64Array(size * size);
  for (let j = 0; j < size; j++) {
    for (let k = 0; k < size; k++)
      bread[j * size + k] = jacobian[j]!.reduce((sum, value, i) => sum + weigh(i) * value * jacobian[k]![i]!, 0);
  }
  const inverted = inverse(bread, size);
  if (!inverted) return undefined;
  const meat = clusterMeat(jacobian, residuals, data, { delta, sides, weights });
  const covariance = sandwiched(inverted, meat, size);
  // Constants that are tied have the same error, and those that are fixed have none.
  const groupOf = names.map((name) => free.findIndex((group) => group.includes(name)));
  const matrix = groupOf.map((j) =>
    groupOf.map((k) => (j < 0 || k < 0 ? 0 : covariance[j * size + k]! / (scales[j]! * scales[k]!))),
  );
  return estimate.exponents ? withExponents({ names, matrix }, estimate.params) : { names, matrix };
}

/** The residuals that the fit minimises, and their derivatives with respect to the free constants. */
function linearized(
  fitter: Fitter,
  data: Data,
  params: Readonly<Record<string, number>>,
  free: readonly (readonly string[])[],
): { residuals: Float64Array; jacobian: Float64Array[] } {
  const residuals = residualsOf(fitter, data, { params });
  const jacobian = free.map((group) => derivative(fitter, data, params, group));
  if (fitter.residual?.scale !== "linear") return { residuals, jacobian };
  const predicted = residuals.map((r, i) => Math.exp(r) * data.loss[i]!);
  return {
    residuals: predicted.map((loss, i) => loss - data.loss[i]!),
    jacobian: jacobian.map((column) => column.map((value, i) => value * predicted[i]!)),
  };
}

/** Huber's δ, if the objective has one, and each point's own weight times that of the side on which it lies. */
function robustness({ residual }: Fitter, data: Data, residuals: Float64Array) {
  const delta = residual?.loss === "huber" ? residual.delta : undefined;
  const sides = residuals.map((r, i) => data.weight[i]! * (residual ? sideWeight(r, residual.asymmetry) : 1));
  return { delta, sides };
}

/** ∂ ln L̂ / ∂ the common value of the constants of a group, at each point. */
function derivative(
  fitter: Fitter,
  data: Data,
  params: Readonly<Record<string, number>>,
  group: readonly string[],
): Float64Array {
  const step = 1e-5 * (Math.abs(params[group[0]!]!) || 1);
  const moved = (by: number) =>
    fitter.predict!({ ...params, ...Object.fromEntries(group.map((name) => [name, params[name]! + by])) }, data);
  const [high, low] = [moved(step), moved(-step)];
  return high.map((value, i) => (value - low[i]!) / (2 * step));
}

interface MeatOptions {
  readonly delta: number | undefined;
  readonly sides: Float64Array;
  readonly weights: Float64Array | undefined;
}

/** Σ over clusters of (Σ ψ·gradient)(…)ᵀ, with the correction for few clusters. */
function clusterMeat(
  jacobian: readonly Float64Array[],
  residuals: Float64Array,
  data: Data,
  { delta, sides, weights }: MeatOptions,
): Float64Array {
  const size = jacobian.length;
  const scores = new Float64Array(data.clusters * size);
  for (let i = 0; i < data.size; i++) {
    const clipped = delta === undefined ? residuals[i]! : Math.max(-delta, Math.min(delta, residuals[i]!));
    const psi = sides[i]! * clipped;
    for (let k = 0; k < size; k++) scores[data.cluster[i]! * size + k]! += psi * jacobian[k]![i]!;
  }
  const meat = new Float64Array(size * size);
  // A cluster that was drawn twice counts as two.
  const drawn = new Float64Array(data.clusters).fill(1);
  if (weights)
    data.cluster.forEach((cluster, i) => {
      drawn[cluster] = weights[i]!;
    });
  for (let cluster = 0; cluster < data.clusters; cluster++) {
    for (let j = 0; j < size; j++) {
      for (let k = 0; k < size; k++)
        meat[j * size + k]! += drawn[cluster]! * scores[cluster * size + j]! * scores[cluster * size + k]!;
    }
  }
  const few = (data.clusters / (data.clusters - 1)) * ((data.size - 1) / Math.max(1, data.size - size));
  return meat.map((value) => value * few);
}

/**
 * E ψ′ at each point: the probability that its residual is within ±δ. With δ far below the noise, few residuals are, so
 * it is estimated as 2δ times the density of residuals at 0, with each point represented by its own residual (Powell
 * 1991), which is valid even if the noise differs between points. The window is Silverman's (1986, eq. 3.31).
 */
function slopesOf(residuals: Float64Array, delta: number | undefined, parameters: number): Float64Array {
  if (delta === undefined) return new Float64Array(residuals.length).fill(1);
  const n = residuals.length;
  const sizes = Array.from(residuals, Math.abs).sort((a, b) => a - b);
  // The fit makes as many residuals 0 as there are parameters; they are no evidence of the density there.
  const middle = sizes[Math.min(n - 1, Math.floor((n + parameters) / 2))]!;
  const root = Math.sqrt(residuals.reduce((sum, r) => sum + r * r, 0) / Math.max(1, n - parameters));
  const window = Math.max(delta, 0.9 * Math.min(root, 1.4826 * middle) * n ** -0.2);
  return residuals.map((r) =>
    Math.min(1, (2 * delta * Math.exp(-0.5 * (r / window) ** 2)) / (window * Math.sqrt(2 * Math.PI))),
  );
}

function sandwiched(bread: Float64Array, meat: Float64Array, size: number): Float64Array {
  const half = new Float64Array(size * size);
  const result = new Float64Array(size * size);
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++)
      for (let k = 0; k < size; k++) half[i * size + j]! += bread[i * size + k]! * meat[k * size + j]!;
  for (let i = 0; i < size; i++)
    for (let j = 0; j < size; j++)
      for (let k = 0; k < size; k++) result[i * size + j]! += half[i * size + k]! * bread[k * size + j]!;
  return result;
}

/** The delta method for a = β/(α + β) and b = 1 − a; in Kaplan's law, α and β are αN and αD. */
function withExponents({ names, matrix }: Spread, params: Record<string, number>): Spread {
  const [ofN, ofD] = names.includes("alphaN") ? ["alphaN", "alphaD"] : ["alpha", "beta"];
  const [alpha, beta] = [params[ofN!]!, params[ofD!]!];
  const total = (alpha + beta) ** 2;
  const gradient = names.map((name) => (name === ofN ? -beta / total : name === ofD ? alpha / total : 0));
  const withA = matrix.map((row) => row.reduce((sum, value, k) => sum + value * gradient[k]!, 0));
  const variance = withA.reduce((sum, value, k) => sum + value * gradient[k]!, 0);
  return {
    names: [...names, "a", "b"],
    matrix: [
      ...matrix.map((row, k) => [...row, withA[k]!, -withA[k]!]),
      [...withA, variance, -variance],
      [...withA.map((value) => -value), -variance, variance],
    ],
  };
}

export function standardErrors({ names, matrix }: Spread): Record<string, number> {
  return Object.fromEntries(names.map((name, k) => [name, Math.sqrt(matrix[k]![k]!)]));
}

/** Names of positive, skewed parameters: their intervals are those of their logarithms. */
export const positive: ReadonlySet<string> = new Set(["A", "B", "nScale", "dScale", "Nc", "Dc", "rStar", "rStarN"]);
