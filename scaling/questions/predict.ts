/**
 * Predictions of a fitted law for new trainings, with the interval of the law (how well the points determine it) and that
 * of a run (with the scatter of single runs about the law). `folio scaling predict` prints them.
 */
import { computeOf, toData } from "../fit/columns.js";
import { scatterAt } from "../fit/uncertainty/scatter.js";
import { extrapolationWarning } from "../fit/warnings.js";
import type { Fit, FitWarning, Holdout, Interval, Point } from "../points.js";
import { predictorOf, scatterOfFit, spreadOf } from "./law-spread.js";

/** A training whose loss may be known: NaN if it is not. */
export type Place = Point;

/** The loss of a training by a law, in nats per token. */
export interface Prediction {
  readonly n: number;
  readonly d: number;
  readonly c: number;
  readonly loss: number;
  /** Intervals of the law at this training. */
  readonly law: Readonly<Record<"ci80" | "ci95", Interval>> | null;
  /** Intervals of the measured loss of one run. */
  readonly run: Readonly<Record<"ci80" | "ci95", Interval>> | null;
  /** The measured loss, and predicted / measured − 1. */
  readonly measured?: number;
  readonly error?: number;
}

export interface Predictions {
  readonly rows: readonly Prediction[];
  /** The source of the law's intervals, or why there are none. */
  readonly from: string;
  readonly warnings: readonly FitWarning[];
}

/**
 * The losses of trainings by a fit.
 * @throws {RangeError} for a method that predicts no losses, or trainings that lack a number that the law needs
 * @example
 * predict(fit, [{ n: 1e9, d: 20e9, loss: Number.NaN }]).rows[0].run.ci80;
 */
export function predict(fit: Fit, places: readonly Place[]): Predictions {
  const data = toData(places.map((place) => ({ ...place, loss: 1 })));
  const fitter = predictorOf(fit, data);
  const predicted = fitter.predict(fit.params, data);
  const wrong = predicted.findIndex((value) => !Number.isFinite(value));
  if (wrong >= 0) throw new RangeError(`Cannot predict point ${wrong}: ${lacking(fit, places[wrong]!)}.`);
  const spread = spreadOf(fit, fitter, data, predicted);
  const scatter = scatterOfFit(fit, fitter);
  const rows = places.map((place, i): Prediction => {
    const { n, d, loss: measured } = place;
    const reach = (level: "ci80" | "ci95") => spread?.at(level, i);
    return {
      ...{ n, d, c: computeOf(place), loss: Math.exp(predicted[i]!) },
      law: bothLevels((level) => reach(level)?.map(Math.exp)),
      run: bothLevels((level) => {
        const half = scatter && scatterAt(scatter, level, computeOf(place));
        return withScatter(predicted[i]!, reach(level), half);
      }),
      ...(Number.isFinite(measured) && { measured, error: Math.expm1(predicted[i]! - Math.log(measured)) }),
    };
  });
  const largest = rows.reduce((most, { c }) => (c > most ? c : most), 0);
  const far = extrapolationWarning(fit, largest);
  return {
    rows,
    from: spread?.from ?? "the fit has neither refits nor a covariance",
    warnings: [...fit.warnings, ...(far ? [far] : [])],
  };
}

/**
 * The root mean square and the mean of predicted / measured − 1, from those of ln(predicted / measured), as of normal
 * errors: exact if all are the same, else up to their third power.
 */
export function relativeErrors({ rms, bias }: Pick<Holdout, "rms" | "bias">): { rms: number; bias: number } {
  const variance = Math.max(0, rms * rms - bias * bias);
  const mean = Math.expm1(bias + variance / 2);
  return { rms: Math.sqrt(Math.max(0, Math.expm1(2 * bias + 2 * variance) - 2 * mean)), bias: mean };
}

function lacking({ method, over = "c" }: Fit, { n, d, unique }: Place): string {
  if (method === "power" || method === "broken") return `it has no ${over.toUpperCase()}, which the law depends on`;
  if (!Number.isFinite(n)) return "it has no N; name the column of parameters with --n";
  if (!Number.isFinite(d)) return "it has no D; name the column of tokens with --d, or of FLOPs with --c";
  return `by this law its loss is not a number (N ${n}, D ${d}${unique === undefined ? "" : `, unique ${unique}`})`;
}

/** The law's interval and the scatter of runs, which are independent: their squares add up. */
function withScatter(at: number, law: Interval | undefined, scatter: number | undefined): number[] | undefined {
  if (!law || scatter === undefined) return undefined;
  const [low, high] = law;
  return [Math.exp(at - Math.hypot(at - low, scatter)), Math.exp(at + Math.hypot(high - at, scatter))];
}

function bothLevels(of: (level: "ci80" | "ci95") => readonly number[] | undefined): Prediction["law"] {
  const [ci80, ci95] = [of("ci80"), of("ci95")];
  return ci80 && ci95 ? { ci80: ci80 as unknown as Interval, ci95: ci95 as unknown as Interval } : null;
}
