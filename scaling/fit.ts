/**
 * Fits: points of finished trainings → a law with intervals and warnings. Methods: approach 1 (envelope), approach 2
 * (isoflop), approach 3 (parametric: Hoffmann's robust objective; projection: least squares), Kaplan's L(N, D), single
 * power laws, the law of repeated data, and the broken law. The parts are in fit/. Notebook 08-scaling-laws shows it.
 */
import { availableParallelism } from "node:os";
import { checkIdentifiable, checkPoints, checkResampling } from "./fit/checks.js";
import { computeOf, type Data, extent, toData } from "./fit/columns.js";
import { isFree } from "./fit/forms/constraints.js";
import { createFitter, isAdapted, residualOf } from "./fit/methods/fitters.js";
import { biasOnSurface, type Surface, type SurfaceBias, windowedBudgets } from "./fit/methods/isoflop.js";
import { type Estimate, type Fitter, type MethodOptions, named } from "./fit/methods/method.js";
import { complete, type FitOptions } from "./fit/options.js";
import { createProjection } from "./fit/search/variable-projection.js";
import { toRefits } from "./fit/uncertainty/bootstrap.js";
import { runBootstrap } from "./fit/uncertainty/bootstrap-threads.js";
import { positive, type Spread, sandwich, standardErrors } from "./fit/uncertainty/covariance.js";
import {
  warnOfCorrelation,
  warnOfFewGroups,
  warnOfFewPoints,
  warnOfFewSizes,
  warnOfLooseExponents,
  warnOfRefits,
  warnOfUnseenBreak,
  warnOfWidth,
} from "./fit/uncertainty/interval-warnings.js";
import { bootstrapIntervals, errorsOfIntervals, type Refit, tIntervals } from "./fit/uncertainty/intervals.js";
import { deletions, holdOut, jackknife } from "./fit/uncertainty/leave-out.js";
import { scatterOf } from "./fit/uncertainty/scatter.js";
import { optimalLoss, withIntervals } from "./fit/uncertainty/vertices.js";
import {
  extrapolationWarning,
  warnOfBias,
  warnOfBounds,
  warnOfBudgets,
  warnOfOutliers,
  warnOfPoints,
} from "./fit/warnings.js";
import type { BudgetOptimum, Counting, Fit, FitWarning, Interval, ParabolaBias, Point } from "./points.js";

export type { FitOptions } from "./fit/options.js";
export { chinchillaStarts } from "./fit/search/chinchilla-starts.js";
export type { Start } from "./fit/search/huber-objective.js";
export { extrapolationWarning, roundingWarning, warningKinds } from "./fit/warnings.js";
export { fitTable, refitsTable } from "./tables/fit-table.js";

/**
 * A law fitted to points.
 * @throws {RangeError} if the points do not determine the law, or a point cannot be a training
 * @example
 * const { params, exponents, ci80, warnings } = await fitLaw(points, { method: "projection", bootstrap: 1000 });
 */
export async function fitLaw(points: readonly Point[], options: FitOptions = {}): Promise<Fit> {
  const settings = complete(options);
  options.onProgress?.(0, options.bootstrap ?? 0);
  const work = prepare(points, settings, options);
  const { bootstrap: refits = 0, seed = 1337, threads = availableParallelism() } = options;
  checkResampling({ bootstrap: refits, threads });
  if (refits === 0) return finish(work);
  const { data, estimate } = work;
  const { onProgress } = options;
  const rows = await runBootstrap(
    { data, options: settings, estimate, seed },
    { refits, threads: Math.min(threads, refits), onProgress: onProgress && ((done) => onProgress(done, refits)) },
  );
  return finish(work, toRefits(rows, Object.keys(named(estimate))));
}

/** The same without a bootstrap, synchronously. */
export function fitLawNow(
  points: readonly Point[],
  options: Omit<FitOptions, "bootstrap" | "seed" | "threads"> = {},
): Fit {
  return finish(prepare(points, complete(options), options));
}

/**
 * The bias that the width of an IsoFLOP grid causes in approach 2, without any noise: the difference of the optimum by
 * parabolas through a surface's losses at the points' N and D from the optimum of the surface. Undefined if fewer than
 * two budgets give a vertex.
 */
export function parabolaBias(
  surface: Surface,
  points: readonly Omit<Point, "loss">[],
  budgetTolerance = 0.1,
): ParabolaBias | undefined {
  return biasOnSurface(surface, toData(points.map((point) => ({ ...point, loss: 1 }))), budgetTolerance)?.optimum;
}

/** Everything that does not need the bootstrap. */
interface Work {
  readonly points: readonly Point[];
  readonly data: Data;
  readonly settings: MethodOptions;
  readonly options: FitOptions;
  readonly fitter: Fitter;
  readonly estimate: Estimate;
  readonly dropped: readonly number[];
  /** Indices of the fitted points among those given. */
  readonly kept: readonly number[];
}

function prepare(given: readonly Point[], settings: MethodOptions, options: FitOptions): Work {
  const dropped = highest(given, options.dropHighest ?? 0);
  const out = new Set(dropped);
  const kept = Array.from(given.keys()).filter((index) => !out.has(index));
  const points = kept.map((index) => given[index]!);
  checkPoints(given, settings, points.length);
  const data = toData(points, scaleOf(settings));
  checkIdentifiable(data, settings);
  const fitter = createFitter(data, settings);
  return { points, data, settings, options, fitter, estimate: fitter.estimate(), dropped, kept };
}

/** The scale of a fit's residuals. */
const scaleOf = (settings: MethodOptions) =>
  settings.method === "isoflop" ? "linear" : (residualOf(settings)?.scale ?? "log");

/** Indices of the points of highest loss, ascending. */
function highest(points: readonly Point[], count: number): number[] {
  const order = Array.from(points.keys()).sort((i, j) => points[j]!.loss - points[i]!.loss);
  return order.slice(0, count).sort((i, j) => i - j);
}

function finish(work: Work, refits?: readonly Refit[]): Fit {
  const { data, settings, options, fitter, estimate, dropped } = work;
  const bias = settings.method === "isoflop" ? biasOf(data, settings) : undefined;
  const spread = spreadOf(work, bias, refits);
  const residuals = fitter.predict?.(estimate.params, data).map((predicted, i) => predicted - data.lnLoss[i]!);
  const { diagnostics = true } = options;
  const deleted = diagnostics ? deletions(fitter, data, estimate) : [];
  const error = spread.se[mainName(estimate)] ?? Number.NaN;
  const range = rangeOf(work.points);
  const holdout = diagnostics ? holdOut(fitter, data, estimate, settings.budgetTolerance) : undefined;
  const optima = optimaOf(work, bias);
  const warnings = [
    ...estimate.warnings,
    ...warnOfPoints(work.points),
    ...(fitter.predict ? warnOfFewPoints(data.size, parametersOf(fitter, estimate), settings.method) : []),
    ...(isSurface(settings) ? warnOfFewSizes(data) : []),
    ...warnOfFewGroups(data),
    ...warnOfBounds(estimate.params),
    ...warnOfOutliers(deleted, error, work.kept),
    ...(residuals ? warnOfCorrelation(data, residuals) : []),
    ...(residuals && settings.method === "broken" ? warnOfUnseenBreak(data, settings, residuals) : []),
    ...(fitter.predict ? warnOfLooseExponents(estimate.params, spread.ci80) : []),
    ...(estimate.optima ? warnOfBudgets(estimate.optima.length, range.c[1] / range.c[0]) : []),
    ...warnOfBias(bias?.optimum),
    ...spread.warnings,
    ...maybe(options.budgetFlops && extrapolationWarning({ range }, options.budgetFlops)),
  ];
  return {
    method: settings.method,
    params: estimate.params,
    ...(estimate.exponents ? { exponents: estimate.exponents } : {}),
    huberSum: estimate.objective,
    converged: estimate.converged,
    se: spread.se,
    ci80: spread.ci80,
    ci95: spread.ci95,
    intervals: spread.intervals,
    points: data.size,
    dropped,
    // Without noise, both are only rounding errors.
    influence: deleted.map(({ shift }) => (Math.abs(shift) < 1e-9 ? 0 : shift / error)),
    warnings,
    range,
    counting: countingOf(work.points),
    trainings: trainingsOf(work),
    ...adaptations(settings),
    ...(spread.covariance ? { covariance: spread.covariance } : {}),
    ...(estimate.gradient === undefined ? {} : { gradient: estimate.gradient }),
    ...(residuals ? { residuals: [...residuals] } : {}),
    ...(residuals ? { scatter: scatterOf(data.lnC, residuals, parametersOf(fitter, estimate)) } : {}),
    ...(holdout ? { holdout } : {}),
    ...optima,
    ...(bias ? { bias: bias.optimum } : {}),
    ...(spread.refits ? { bootstrap: spread.refits } : {}),
  };
}

/** The vertices with their intervals, and the law of their losses. */
function optimaOf(
  { estimate: { optima }, settings, data, points }: Work,
  bias: SurfaceBias | undefined,
): Pick<Fit, "optima" | "optimalLoss"> {
  if (!optima || settings.method !== "isoflop") return optima ? { optima } : {};
  const budgets = windowedBudgets(data, settings);
  const pointsOf = ({ c }: BudgetOptimum) =>
    (budgets.find((budget) => budget.c === c)?.indices ?? []).map((i) => ({
      ...points[i]!,
      weight: data.weight[i]!,
    }));
  const found = withIntervals(optima, pointsOf, bias?.vertices);
  const known = optima.every(({ nError }) => nError !== undefined);
  const law = optimalLoss(found, known);
  return { optima: found, ...(law && { optimalLoss: law }) };
}

const isSurface = ({ method }: MethodOptions) =>
  method === "parametric" || method === "projection" || method === "muennighoff" || method === "gadre";

/** The number of constants that were estimated. */
const parametersOf = (fitter: Fitter, { params }: Estimate) => fitter.free?.length ?? Object.keys(params).length;

/** The uncertainty of a fit. */
interface FitSpread extends Pick<Fit, "se" | "ci80" | "ci95" | "intervals"> {
  readonly covariance?: Spread;
  readonly refits?: readonly Readonly<Record<string, number>>[];
  readonly warnings: readonly FitWarning[];
}

/** What a reader of the fit must know to predict by it, or to repeat it. */
function adaptations(settings: MethodOptions): Pick<Fit, "over" | "constraints" | "objective" | "profile"> {
  const { method, constraints = {}, over, profile } = settings;
  const own = profile && ((profile.curve !== "parabola" || profile.window) ?? profile.seedNoise);
  const residual = isAdapted(settings) || method === "gadre" ? residualOf(settings) : undefined;
  return {
    ...(method === "power" || method === "broken" ? { over } : {}),
    ...(isFree(constraints) ? {} : { constraints }),
    ...(residual ? { objective: residual } : {}),
    ...(method === "isoflop" && profile && own ? { profile } : {}),
  };
}

/** The fewest refits for quantiles. */
const leastRefits = 20;

/**
 * Intervals and standard errors of an estimate. With enough refits, the intervals come from them, and the errors are
 * those of a normal distribution with the same 80 % intervals; otherwise both come from the covariance. The bias of the
 * parabolas is subtracted from both.
 */
function spreadOf(work: Work, bias: SurfaceBias | undefined, made?: readonly Refit[]): FitSpread {
  const { estimate } = work;
  const values = named(estimate);
  const { covariance, se, freedom, studentizing } = errorsOf(work);
  const without = (level: number) => unbiased(tIntervals(values, se, level, freedom), bias);
  const found = { ...(covariance ? { covariance } : {}) };
  const good = made?.filter((refit) => Object.values(refit.values).every(Number.isFinite));
  const refits = good && { refits: good.map((refit) => unbiasedRefit(refit.values, bias)) };
  const few = made ? warnOfRefits(made.length, good!.length) : [];
  if (good === undefined || good.length < leastRefits) {
    return { ...found, ...refits, se, ci80: without(0.8), ci95: without(0.95), intervals: "covariance", warnings: few };
  }
  const at = (level: number) => unbiased(bootstrapIntervals(values, good, { errors: studentizing, level }), bias);
  const ci80 = at(0.8);
  const narrow = covariance ? warnOfWidth(ci80, without(0.8)) : [];
  const warnings = [...narrow, ...few];
  return {
    ...found,
    ...refits,
    se: errorsOfIntervals(ci80, values),
    ci80,
    ci95: at(0.95),
    intervals: "bootstrap",
    warnings,
  };
}

/** The end of an interval, or a number of a refit, minus the bias that parabolas have on a surface without noise. */
function unbiasedValue(name: string, value: number, bias: SurfaceBias): number {
  const off = (bias.line as Readonly<Record<string, number>>)[name] ?? 0;
  return positive.has(name) ? value * Math.exp(-off) : value - off;
}

function unbiased(intervals: Record<string, Interval>, bias: SurfaceBias | undefined): Record<string, Interval> {
  if (bias === undefined) return intervals;
  return Object.fromEntries(
    Object.entries(intervals).map(([name, [low, high]]) => [
      name,
      [unbiasedValue(name, low, bias), unbiasedValue(name, high, bias)],
    ]),
  );
}

function unbiasedRefit(values: Refit["values"], bias: SurfaceBias | undefined): Refit["values"] {
  if (bias === undefined) return values;
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, unbiasedValue(name, value, bias)]));
}

function maybe(warning: FitWarning | undefined | 0): FitWarning[] {
  return warning ? [warning] : [];
}

function mainName({ exponents, params }: Estimate): string {
  return exponents ? "a" : (["alpha", "eta", "c0"].find((name) => params[name] !== undefined) ?? "alpha");
}

interface Errors {
  readonly covariance?: Spread;
  readonly se: Record<string, number>;
  /** Degrees of freedom. */
  readonly freedom: number;
  /** In the same scale as the refits' errors. */
  readonly studentizing: Record<string, number>;
}

/** Standard errors: from the sandwich covariance, else from the method, else from the jackknife. */
function errorsOf({ data, fitter, estimate }: Work): Errors {
  const freedom = Math.max(1, data.clusters - parametersOf(fitter, estimate));
  if (fitter.predict) {
    const covariance = sandwich(fitter, data, estimate);
    const studentizing = sandwich(fitter, data, estimate, { studentizing: true });
    if (!covariance || !studentizing) return { se: {}, freedom, studentizing: {} };
    return { covariance, se: standardErrors(covariance), freedom, studentizing: standardErrors(studentizing) };
  }
  if (estimate.se) return { se: { ...estimate.se }, freedom: estimate.freedom!, studentizing: {} };
  return { se: jackknife(fitter, data, estimate, Object.keys(named(estimate))), freedom, studentizing: {} };
}

/** The bias on the surface that projection fits to the same points. */
function biasOf(data: Data, { budgetTolerance, profile }: MethodOptions): SurfaceBias | undefined {
  if (data.size <= 5) return undefined;
  const surface = createProjection(data, data.lnN, data.lnD).fit();
  if (!surface.converged || !(surface.alpha > 0) || !(surface.beta > 0) || surface.A === 0 || surface.B === 0)
    return undefined;
  return biasOnSurface(surface, data, budgetTolerance, profile);
}

function countingOf(points: readonly Point[]): Counting {
  const agreed = (of: "nConvention" | "flopsConvention") => {
    const names = new Set(points.map((point) => point[of]));
    return names.size === 1 ? [...names][0] : undefined;
  };
  const [parameters, flops] = [agreed("nConvention"), agreed("flopsConvention")];
  const ratios = points.map((point) => computeOf(point) / (point.n * point.d)).sort((x, y) => x - y);
  // The points of a law of C alone have no N and D.
  const middle = ratios[Math.floor(ratios.length / 2)]!;
  const flopsPerProduct = Number.isFinite(middle) ? middle : 6;
  return { ...(parameters && { parameters }), ...(flops && { flops }), flopsPerProduct };
}

/** The fitted points without their losses; a weight of 1 is left out. */
function trainingsOf({ points, data }: Work): Omit<Point, "loss">[] {
  return points.map(({ n, d, c, unique }, i) => ({
    ...{ n, d },
    ...(c !== undefined && { c }),
    ...(unique !== undefined && { unique }),
    ...(data.weight[i] !== 1 && { weight: data.weight[i]! }),
  }));
}

function rangeOf(points: readonly Point[]): Fit["range"] {
  const ends = (of: (point: Point) => number): Interval => extent(points.map(of));
  return { n: ends(({ n }) => n), d: ends(({ d }) => d), c: ends(computeOf) };
}
