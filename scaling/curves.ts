/**
 * Laws of whole loss curves under a learning-rate schedule: fitted to two or three curves, they predict the curve of
 * another schedule. The annealing law (Tissue 2024) and the multi-power law (Luo 2025) are in fit/curves/. `folio scaling
 * curve` fits runs; scaling/methods.md describes the laws.
 */
import { readRunLog, readRunSettings } from "../lib/runs/run-folder.js";
import type { Settings } from "../lib/settings/settings.js";
import { learningRate } from "../lib/train/optimizers/schedule.js";
import { toData } from "./fit/columns.js";
import { annealingForm } from "./fit/curves/annealing.js";
import { type Curve, type CurveData, type CurvePoint, toCurveData } from "./fit/curves/curve-data.js";
import { multiPowerForm } from "./fit/curves/multi-power.js";
import { fallsOf, type Rates } from "./fit/curves/schedule.js";
import { formFitter } from "./fit/forms/fit-form.js";
import type { Form } from "./fit/forms/form.js";
import type { FitWarning } from "./points.js";

export type { Curve, CurvePoint } from "./fit/curves/curve-data.js";
export type { Rates } from "./fit/curves/schedule.js";

/** The laws by name. */
export const curveLaws = {
  annealing: { formula: "L0 + A S1^-alpha - C S2(memory)", form: annealingForm },
  "multi-power": { formula: "L0 + A S1^-alpha - K sum of falls G(C, beta, gamma) / beta", form: multiPowerForm },
} as const satisfies Readonly<Record<string, { formula: string; form: (data: CurveData) => Form }>>;

export type CurveLaw = keyof typeof curveLaws;

/** Predicted minus measured losses of a curve, as shares of the measured ones. */
export interface CurveErrors {
  readonly name: string;
  /** The mean of the absolute values. */
  readonly mean: number;
  readonly largest: number;
  /** At the last point, with its sign: above 0 if the prediction is too high. */
  readonly end: number;
}

export interface CurveFit {
  readonly law: CurveLaw;
  readonly params: Readonly<Record<string, number>>;
  readonly converged: boolean;
  /** The sum of squares of ln(predicted / measured). */
  readonly objective: number;
  readonly points: number;
  /** Of the fitted curves. */
  readonly errors: readonly CurveErrors[];
  readonly warnings: readonly FitWarning[];
}

export interface CurveOptions {
  /** Constants with a given value, such as { gamma: 0.5 }. */
  readonly fix?: Readonly<Record<string, number>>;
  /** Groups of constants with one common value, such as [["beta", "gamma"]]. */
  readonly tie?: readonly (readonly string[])[];
  /** The start of the search, instead of the law's own. */
  readonly from?: Readonly<Record<string, number>>;
  readonly maxIterations?: number;
}

/**
 * A law of loss curves, fitted by squares of ln L.
 * @throws {RangeError} if no rate falls after the warm-up, or there are fewer than two points per constant
 * @example
 * const fit = fitCurves([readCurve("out-cosine"), readCurve("out-constant")], "multi-power");
 * predictCurve(fit, wsd, [8000]); // its loss at step 8000
 */
export function fitCurves(
  curves: readonly Curve[],
  law: CurveLaw = "multi-power",
  options: CurveOptions = {},
): CurveFit {
  const data = toCurveData(curves);
  checkCurves(curves, law, data);
  const columns = toData(Array.from(data.loss, (loss) => ({ n: 1, d: 1, loss })));
  const { from, maxIterations = 300, ...constraints } = options;
  const fitter = formFitter(columns, () => curveLaws[law].form(data), {
    ...{ maxIterations, constraints, residual: { loss: "squared", scale: "log", asymmetry: 0.5, delta: 1 } },
    ...(from && { from: [from] }),
  });
  const { params, converged, objective, warnings: found } = fitter.estimate();
  const warnings = [...found, ...warnOfFalls(curves)];
  const fit = { law, params, converged, objective, points: data.loss.length, warnings };
  return { ...fit, errors: curves.map((curve) => curveErrors(fit, curve)) };
}

/** The least fall of a rate, as a share of the highest one, that shows what a fall does to the loss. */
const leastFall = 0.2;

/** The warning if the curves do not determine the effect of a fall, without which no other schedule can be predicted. */
function warnOfFalls(curves: readonly Curve[]): FitWarning[] {
  const fallen = curves.map(fallOf).reduce((most, fall) => Math.max(most, fall), 0);
  if (fallen >= leastFall) return [];
  const message = `These runs do not determine what a fall of the learning rate does: their rates fall by only ${(100 * fallen).toPrecision(2)} %. Their own curves may be fitted well, but another schedule cannot be predicted; add a run whose rate falls to a tenth or less by its last step, as with a cosine schedule over all of its steps.`;
  return [{ kind: undeterminedFall, message }];
}

/** The kind of the warning that the effect of a fall is unknown. */
export const undeterminedFall = "undetermined-fall";

/** How far the rate falls below its highest value after the warm-up, up to the last point, as a share of it. */
function fallOf({ rates, warmup, points }: Curve): number {
  const last = points.reduce((most, { step }) => Math.max(most, step), 0);
  let [highest, fallen] = [0, 0];
  for (let k = warmup; k < Math.min(rates.length, last + 1); k++) {
    highest = Math.max(highest, rates[k]!);
    fallen = Math.max(fallen, 1 - rates[k]! / highest);
  }
  return fallen;
}

/** The losses before the updates of given steps, by a fitted law. */
export function predictCurve(
  { law, params }: Pick<CurveFit, "law" | "params">,
  schedule: Rates,
  steps: readonly number[],
): number[] {
  const data = toCurveData([{ ...schedule, name: "", points: steps.map((step) => ({ step, loss: 1 })) }]);
  const form = curveLaws[law].form(data);
  // Exact also for very small constants, to which a search is free to go.
  const theta = Float64Array.from(form.names, (name) =>
    form.positive.has(name) ? Math.log(params[name]!) : params[name]!,
  );
  return steps.map((_, i) => form.lossAt(i, theta));
}

/** How far a law's predictions of a curve are from its points. */
export function curveErrors(fit: Pick<CurveFit, "law" | "params">, curve: Curve): CurveErrors {
  const predicted = predictCurve(
    fit,
    curve,
    curve.points.map(({ step }) => step),
  );
  const off = curve.points.map(({ loss }, k) => predicted[k]! / loss - 1);
  const sizes = off.map(Math.abs);
  return {
    name: curve.name,
    mean: sizes.reduce((sum, size) => sum + size, 0) / sizes.length,
    largest: sizes.reduce((most, size) => Math.max(most, size), 0),
    end: off.at(-1)!,
  };
}

/** Each curve predicted from the others: the errors to expect for a schedule that was not fitted. */
export function crossCheck(curves: readonly Curve[], law: CurveLaw, options: CurveOptions = {}): CurveErrors[] {
  return curves.flatMap((curve, k) => {
    const others = curves.filter((_, index) => index !== k);
    if (others.length === 0 || !others.some(falls)) return [];
    return [curveErrors(fitCurves(others, law, options), curve)];
  });
}

const falls = (schedule: Rates) => fallsOf(schedule).some(({ by }) => by > 0);

function checkCurves(curves: readonly Curve[], law: CurveLaw, { loss }: CurveData): void {
  const constants = law === "annealing" ? 5 : 7;
  if (loss.length < 2 * constants) {
    throw new RangeError(
      `Cannot fit the ${law} law: ${loss.length} points for ${constants} constants; give longer curves, or more windows.`,
    );
  }
  const wrong = curves.find(({ points }) => points.some((point) => !(point.loss > 0) || !(point.step > 0)));
  if (wrong) throw new RangeError(`Cannot fit ${wrong.name}: it has a loss, or a step, that is not above 0.`);
  const beyond = curves.find(({ points, rates }) => points.some(({ step }) => step > rates.length));
  if (beyond)
    throw new RangeError(
      `Cannot fit ${beyond.name}: it has losses beyond the ${beyond.rates.length} steps of its schedule.`,
    );
  if (curves.some(falls)) return;
  throw new RangeError(
    `Cannot fit the ${law} law: no rate of ${curves.map(({ name }) => name).join(", ")} falls after the warm-up, so that what a fall does is unknown; add a run with a cosine, linear or wsd schedule.`,
  );
}

/** How a run's log becomes a curve. */
export interface ReadCurveOptions {
  /** The means over this many equal windows are the points; 100 by default. */
  readonly windows?: number;
  /** The share of the steps, at the beginning, that is left out; .1 by default, and the warm-up at least. */
  readonly skip?: number;
}

/** The rates of a run's settings. */
export function ratesOf(settings: Settings): Rates {
  const { maxIters, decayLr, warmupIters } = settings;
  return {
    rates: Float64Array.from({ length: maxIters }, (_, step) => learningRate(step, settings)),
    warmup: decayLr ? Math.min(warmupIters, maxIters) : 0,
  };
}

/**
 * The curve of a run: its training losses, of batches that it had not seen, averaged over windows of steps.
 * @throws {Error} if the folder has no run, or its log too few losses
 */
export function readCurve(outDir: string, options: ReadCurveOptions = {}): Curve {
  const settings = readRunSettings(outDir);
  const losses = readRunLog(outDir).flatMap((record) =>
    record.kind === "iter" ? [{ step: record.step, loss: record.loss }] : [],
  );
  const schedule = ratesOf(settings);
  const points = windowMeans(losses, schedule, options);
  if (points.length >= leastPoints) return { ...schedule, name: outDir, points };
  const few =
    losses.length < leastPoints || (options.windows ?? 100) >= leastPoints
      ? "train it further or with a smaller log_interval, or leave out less (--skip)"
      : `ask for more windows (--windows=${leastPoints} or more)`;
  throw new Error(
    `Cannot read the curve of ${outDir}: the ${losses.length} losses in its log give ${points.length} points after the warm-up, and a curve needs ${leastPoints}; ${few}.`,
  );
}

/** The fewest points of a curve. */
const leastPoints = 5;

/** Means over equal windows of the steps, at the mean step of each. */
export function windowMeans(
  losses: readonly CurvePoint[],
  { rates, warmup }: Rates,
  { windows = 100, skip = 0.1 }: ReadCurveOptions = {},
): CurvePoint[] {
  const first = Math.max(warmup, Math.floor(skip * rates.length), 1);
  const kept = losses.filter(({ step, loss }) => step >= first && step < rates.length && Number.isFinite(loss));
  const width = (rates.length - first) / windows;
  return Array.from({ length: windows }, (_, w) => {
    const within = kept.filter(({ step }) => Math.floor((step - first) / width) === w);
    const mean = (of: (point: CurvePoint) => number) => within.reduce((sum, p) => sum + of(p), 0) / within.length;
    return { count: within.length, step: mean(({ step }) => step), loss: mean(({ loss }) => loss) };
  }).flatMap(({ count, step, loss }) => (count > 0 ? [{ step, loss }] : []));
}
