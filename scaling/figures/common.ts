/**
 * What the charts of scaling laws share: axis titles with conventions, the law of a fit, intervals of its refits'
 * predictions, and colours by model size.
 */
import { rampColor } from "../../lib/charts/figure.js";
import { letterTick } from "../../lib/charts/log-ticks.js";
import { quantile } from "../../lib/host/statistics.js";
import { computeOf } from "../fit/columns.js";
import { type KaplanLaw, kaplanLoss, kaplanSurface, type Surface, surfaceLoss } from "../laws.js";
import { optimumOfBudget } from "../optimum.js";
import type { BudgetOptimum, Fit, Interval, Point } from "../points.js";

/** A fit as functions: the optimum of a budget, and the loss at N and D, if the method predicts losses. */
export interface Law {
  readonly optimum: (c: number) => BudgetOptimum;
  readonly loss?: (n: number, d: number) => number;
}

type Params = Readonly<Record<string, number>>;

/**
 * The law with the parameters of a fit or a refit.
 * @param flopsPerProduct C / (N·D) of the points; 6 by default
 * @throws {RangeError} for a method without an optimum
 */
export function lawOf({ method }: Pick<Fit, "method">, params: Params, flopsPerProduct = 6): Law {
  if (method === "parametric" || method === "projection") {
    const surface = params as unknown as Surface;
    return {
      optimum: (c) => optimumOfBudget(surface, c, { flopsPerProduct }),
      loss: (n, d) => surfaceLoss(surface, n, d),
    };
  }
  if (method === "kaplan") {
    const law = params as unknown as KaplanLaw;
    const optimum = (c: number): BudgetOptimum => {
      const { n, d } = optimumOfBudget(kaplanSurface(law), c, { flopsPerProduct });
      return { c, n, d, loss: kaplanLoss(law, n, d) };
    };
    return { optimum, loss: (n, d) => kaplanLoss(law, n, d) };
  }
  const { nScale, dScale, a, b } = params;
  if (nScale === undefined || dScale === undefined || a === undefined || b === undefined)
    throw new RangeError(`Cannot draw an optimum of a fit by ${method}: this method gives none.`);
  return { optimum: (c) => ({ c, n: nScale * c ** a, d: dScale * c ** b, loss: Number.NaN }) };
}

/** The law with a fit's estimates. */
export const fittedLaw = (fit: Fit, points: readonly Point[]): Law =>
  lawOf(fit, { ...fit.params, ...fit.exponents }, flopsPerProduct(points));

/** C / (N·D): 6 if C is 6ND, else the median of the points. */
export function flopsPerProduct(points: readonly Point[]): number {
  const ratios = points.map((point) => computeOf(point) / (point.n * point.d)).sort((x, y) => x - y);
  return ratios[Math.floor(ratios.length / 2)] ?? 6;
}

/** The interval of the refits' predictions, by default the middle 80 %; undefined if there are too few refits. */
export function predictedInterval(
  fit: Fit,
  points: readonly Point[],
  of: (law: Law) => number,
  share = 0.8,
): Interval | undefined {
  const perProduct = flopsPerProduct(points);
  const values = (fit.bootstrap ?? []).map((params) => of(lawOf(fit, params, perProduct))).filter(Number.isFinite);
  if (values.length < 20) return undefined;
  const tail = (1 - share) / 2;
  return [quantile(values, tail), quantile(values, 1 - tail)];
}

/** `count` numbers from low to high, evenly spaced in their logarithm. */
export function logSpace([low, high]: Interval, count: number): number[] {
  const step = Math.log(high / low) / (count - 1);
  return Array.from({ length: count }, (_, i) => (i === count - 1 ? high : low * Math.exp(step * i)));
}

/** The smallest and the largest. */
export function rangeOf(values: readonly number[]): Interval {
  return [values.reduce((x, y) => Math.min(x, y)), values.reduce((x, y) => Math.max(x, y))];
}

/** Points by N, rising, each with its colour and name. */
export function bySize(points: readonly Point[]): { n: number; name: string; color: string; points: Point[] }[] {
  const sizes = [...new Set(points.map(({ n }) => n))].sort((x, y) => x - y);
  return sizes.map((n, i) => ({
    n,
    name: letterTick(n),
    color: rampColor(i / Math.max(1, sizes.length - 1)),
    points: points.filter((point) => point.n === n).sort((x, y) => computeOf(x) - computeOf(y)),
  }));
}

/** Axis titles with the convention of the quantity, such as "compute (FLOPs, PaLM)". */
export const titles = {
  c: (points: readonly Point[]) => `compute C (FLOPs${counted(points, "flopsConvention", "6ND")})`,
  n: (points: readonly Point[]) => `parameters N${parenthesis(counted(points, "nConvention", ""))}`,
  d: () => "training tokens D",
  loss: "loss (nats per token)",
} as const;

function counted(points: readonly Point[], which: "nConvention" | "flopsConvention", otherwise: string): string {
  const names = [...new Set(points.map((point) => point[which] ?? otherwise))];
  const name = names.length > 1 ? `mixed: ${names.join(", ")}` : (names[0] ?? otherwise);
  return name === "" ? "" : `, ${name}`;
}

const parenthesis = (text: string) => (text === "" ? "" : ` (${text.slice(2)})`);
