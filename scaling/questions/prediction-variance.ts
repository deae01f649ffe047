/**
 * What further runs would leave of the variance of a law's prediction (c-optimality; Pukelsheim 1993). With x the
 * derivatives of ln L in the constants, w the weight of a run in the fit and σ² the variance of ln L between runs, the
 * variance at the target t of the least-squares fit of old and new runs is
 *
 *   xₜᵀ·B⁻¹·M·B⁻¹·xₜ,  B = Σ w·x·xᵀ,  M = Σ w·σ²·x·xᵀ,
 *
 * which is σ²·xₜᵀ(XᵀX)⁻¹xₜ for the same noise everywhere. The law is not linear, so this is judged at the fitted constants
 * and at those of some refits.
 */
import { computeOf, toData } from "../fit/columns.js";
import { dot, inverse } from "../fit/search/cholesky.js";
import { scatterAt } from "../fit/uncertainty/scatter.js";
import { normalQuantile } from "../fit/uncertainty/student-quantile.js";
import type { Fit, Point } from "../points.js";
import { predictorOf, scatterOfFit, slopesOf } from "./law-spread.js";

/** A training and its FLOPs. */
export interface Place {
  readonly n: number;
  readonly d: number;
  readonly c: number;
}

/** The share of the standard error that some runs leave, and that one more at a place would leave. */
export interface After {
  readonly left: number;
  and(place: number): number;
}

export interface PredictionVariance {
  /** @param runs indices of places, with repetitions */
  after(runs: readonly number[]): After;
}

/** Refits at whose constants a design is judged, beside those of the fit. */
const judges = 8;

/** @throws {RangeError} if the fit has no scatter, or its points do not determine its constants */
export function predictionVariance(
  fit: Fit,
  trainings: readonly Omit<Point, "loss">[],
  { target, places }: { readonly target: Place; readonly places: readonly Place[] },
): PredictionVariance {
  const all = [...trainings, target, ...places].map((place) => ({ ...place, loss: 1 }) as Point);
  const data = toData(all);
  const fitter = predictorOf(fit, data);
  const scatter = scatterOfFit(fit, fitter);
  const groups = fitter.free ?? Object.keys(fit.params).map((name) => [name]);
  const refits = (fit.bootstrap ?? []).slice(0, judges).map((refit) => ({ ...fit.params, ...refit }));
  const rows = all.map(({ weight = 1, ...place }) => {
    const sigma = scatter ? scatterAt(scatter, "ci80", computeOf(place)) / normalQuantile(0.9) : Number.NaN;
    return { weight, noise: sigma ** 2 };
  });
  const local = [fit.params, ...refits].flatMap((params) => {
    const losses = fitter.residual?.scale === "linear" ? fitter.predict(params, data).map(Math.exp) : undefined;
    const slopes = slopesOf(fitter, params, data, groups);
    const variance = localVariance(slopes, { rows, losses, olds: trainings.length });
    const before = variance([]).left;
    return before > 0 && Number.isFinite(before) ? [{ variance, before }] : [];
  });
  if (local.length === 0) {
    throw new RangeError(
      "Cannot plan runs by this fit: its points do not determine its constants, or it fits them exactly.",
    );
  }
  /** The root of the geometric mean over the judges. */
  const share = (of: (k: number) => number) =>
    Math.exp(local.reduce((sum, { before }, k) => sum + Math.log(of(k) / before), 0) / (2 * local.length));
  return {
    after(runs) {
      const states = local.map(({ variance }) => variance(runs));
      return { left: share((k) => states[k]!.left), and: (place) => share((k) => states[k]!.and(place)) };
    },
  };
}

interface LocalOptions {
  readonly rows: readonly { readonly weight: number; readonly noise: number }[];
  /** For residuals of L itself: the losses, by which the rows are multiplied. */
  readonly losses: Float64Array | undefined;
  /** The number of old runs; the target follows, then the places. */
  readonly olds: number;
}

/** The variance at one set of constants. */
function localVariance(
  slopes: readonly Float64Array[],
  { rows, losses, olds }: LocalOptions,
): (runs: readonly number[]) => After {
  const size = slopes.length;
  // Columns scaled to the same size, because A and alpha differ in magnitude.
  const scales = slopes.map((column) => Math.sqrt(column.reduce((sum, value) => sum + value * value, 0)) || 1);
  const x = rows.map((_, i) => Float64Array.from(slopes, (column, k) => column[i]! / scales[k]!));
  const target = x[olds]!;
  const [bread, meat] = [new Float64Array(size * size), new Float64Array(size * size)];
  const add = (b: Float64Array, m: Float64Array, i: number) => {
    const { weight, noise } = rows[i]!;
    const pull = weight * (losses ? losses[i]! ** 2 : 1);
    const spread = pull * noise * (losses ? losses[i]! ** 2 : 1);
    for (let j = 0; j < size; j++) {
      for (let k = 0; k < size; k++) {
        const product = x[i]![j]! * x[i]![k]!;
        b[j * size + k]! += pull * product;
        m[j * size + k]! += spread * product;
      }
    }
  };
  for (let i = 0; i < olds; i++) add(bread, meat, i);
  return (runs) => {
    const [b, m] = [bread.slice(), meat.slice()];
    for (const place of runs) add(b, m, olds + 1 + place);
    const inverted = inverse(b, size);
    if (!inverted) return { left: Number.NaN, and: () => Number.NaN };
    const v = product(inverted, target);
    const mv = product(m, v);
    const left = dot(v, mv);
    return {
      left,
      and(place) {
        // Sherman and Morrison's formula for (B + w·x·xᵀ)⁻¹·xₜ = v − f·B⁻¹x.
        const i = olds + 1 + place;
        const { weight, noise } = rows[i]!;
        const square = losses ? losses[i]! ** 2 : 1;
        const pull = weight * square;
        const own = product(inverted, x[i]!);
        const across = dot(x[i]!, v);
        const f = (pull * across) / (1 + pull * dot(x[i]!, own));
        const kept = across / (1 + pull * dot(x[i]!, own));
        return left - 2 * f * dot(own, mv) + f * f * dot(own, product(m, own)) + pull * square * noise * kept * kept;
      },
    };
  };
}

/** A·x, for A [size × size]. */
function product(a: Float64Array, x: Float64Array): Float64Array {
  const size = x.length;
  const result = new Float64Array(size);
  for (let row = 0; row < size; row++) {
    let sum = 0;
    for (let k = 0; k < size; k++) sum += a[row * size + k]! * x[k]!;
    result[row] = sum;
  }
  return result;
}
