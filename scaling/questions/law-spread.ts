/**
 * How uncertain a fitted law's losses are: their intervals and covariance at given trainings, from the refits or from the
 * covariance of the constants, and the scatter of single runs about the law. predict.ts and next.ts use them.
 */
import { quantile } from "../../lib/host/statistics.js";
import type { Data } from "../fit/columns.js";
import { createFitter } from "../fit/methods/fitters.js";
import type { Fitter } from "../fit/methods/method.js";
import { complete } from "../fit/options.js";
import { scatterOf } from "../fit/uncertainty/scatter.js";
import { studentQuantile } from "../fit/uncertainty/student-quantile.js";
import type { Fit, Interval, Scatter } from "../points.js";

/** The fewest refits for quantiles. */
const leastRefits = 20;

/** A fitter whose law predicts losses. */
export type Predictor = Fitter & Required<Pick<Fitter, "predict">>;

/**
 * The law of a fit, for predictions.
 * @throws {RangeError} for a fit that predicts no losses
 */
export function predictorOf(fit: Fit, data: Data): Predictor {
  const { method, over, constraints, objective, params } = fit;
  if ((method === "power" || method === "broken") && over === undefined) {
    throw new RangeError(
      `Cannot predict by this fit: it was written before fits named the variable of ${method}; fit again.`,
    );
  }
  const breaks = Object.keys(params).filter((name) => /^d\d+$/.test(name)).length;
  const settings = complete({
    ...{ method, offset: params.E !== undefined, breaks: Math.max(1, breaks) },
    ...(over && { over }),
    ...constraints,
    ...(objective && { objective: objective.loss, scale: objective.scale, asymmetry: objective.asymmetry }),
    ...(method === "isoflop" && { curve: "parabola" as const }),
  });
  const fitter = createFitter(data, settings);
  if (fitter.predict) return fitter as Predictor;
  throw new RangeError(
    `Cannot predict losses by a fit by ${method}: it has only optima; \`folio scaling optimum\` shows them, and parametric or projection fit a law of the loss.`,
  );
}

export interface LawSpread {
  readonly from: string;
  /** The interval of ln L at a place. */
  at(level: "ci80" | "ci95", i: number): Interval;
}

const levels = { ci80: 0.8, ci95: 0.95 } as const;

/** From the refits, if there are enough, else from the covariance of the constants. */
export function spreadOf(fit: Fit, fitter: Predictor, data: Data, predicted: Float64Array): LawSpread | undefined {
  const { bootstrap = [], covariance, params } = fit;
  if (bootstrap.length >= leastRefits) {
    const refits = bootstrap.map((refit) => fitter.predict({ ...params, ...refit }, data));
    const at = (i: number) => refits.map((values) => values[i]!).filter(Number.isFinite);
    const columns = Array.from(predicted, (_, i) => at(i));
    return {
      from: `${bootstrap.length} bootstrap refits`,
      at: (level, i) => [
        quantile(columns[i]!, (1 - levels[level]) / 2),
        quantile(columns[i]!, (1 + levels[level]) / 2),
      ],
    };
  }
  if (!covariance) return undefined;
  const errors = errorsOf(fit, fitter, data);
  const freedom = Math.max(1, fit.points - parametersOf(fit, fitter));
  return {
    from: "the covariance of the constants",
    at(level, i) {
      const reach = studentQuantile(0.5 + levels[level] / 2, freedom) * errors[i]!;
      return [predicted[i]! - reach, predicted[i]! + reach];
    },
  };
}

/** Standard errors of ln L by the delta method. */
function errorsOf(fit: Fit, fitter: Predictor, data: Data): Float64Array {
  const { names, matrix } = fit.covariance!;
  const used = names.filter((name) => fit.params[name] !== undefined);
  const slopes = slopesOf(
    fitter,
    fit.params,
    data,
    used.map((name) => [name]),
  );
  const at = used.map((name) => names.indexOf(name));
  return Float64Array.from({ length: data.size }, (_, i) => {
    const variance = slopes.reduce(
      (sum, one, j) => sum + slopes.reduce((s, other, k) => s + one[i]! * other[i]! * matrix[at[j]!]![at[k]!]!, 0),
      0,
    );
    return Math.sqrt(Math.max(0, variance));
  });
}

/** The derivatives of ln L at each place with respect to each constant, or to the common value of tied ones. */
export function slopesOf(
  fitter: Predictor,
  params: Readonly<Record<string, number>>,
  data: Data,
  groups: readonly (readonly string[])[],
): Float64Array[] {
  return groups.map((group) => {
    const step = 1e-5 * (Math.abs(params[group[0]!]!) || 1);
    const moved = (by: number) =>
      fitter.predict({ ...params, ...Object.fromEntries(group.map((name) => [name, params[name]! + by])) }, data);
    const [high, low] = [moved(step), moved(-step)];
    return high.map((value, i) => (value - low[i]!) / (2 * step));
  });
}

export const parametersOf = ({ params }: Fit, { free }: Fitter) => free?.length ?? Object.keys(params).length;

/** The scatter about the law; that of a fit which did not record it is taken as the same everywhere. */
export function scatterOfFit(fit: Fit, fitter: Fitter): Scatter | undefined {
  const { scatter, residuals = [] } = fit;
  if (scatter || residuals.length === 0) return scatter;
  const unknown = residuals.map(() => Number.NaN);
  return scatterOf(unknown, residuals, parametersOf(fit, fitter));
}
