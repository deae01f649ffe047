/**
 * What the charts of scaling laws share: titles of axes with their conventions, the law that a fit is, intervals of what
 * its refits predict, and colours by size. Pure functions of points and fits; it draws nothing.
 */
import { rampColor } from "../../lib/charts/figure.js";
import { letterTick } from "../../lib/charts/log-ticks.js";
import { quantile } from "../../lib/host/statistics.js";
import { computeOf } from "../fit/columns.js";
import { type KaplanLaw, kaplanLoss, kaplanSurface, type Surface, surfaceLoss } from "../laws.js";
import { optimumOfBudget } from "../optimum.js";
import type { BudgetOptimum, Fit, Interval, Point } from "../points.js";

/** What a fit says at a budget, or at N and D; a fit of optima alone (approaches 1 and 2) knows no loss. */
export interface Law {
  readonly optimum: (c: number) => BudgetOptimum;
  readonly loss?: (n: number, d: number) => number;
}

type Params = Readonly<Record<string, number>>;

/**
 * The law that a fit's parameters are, or a refit's.
 * @param flopsPerProduct C / (N·D) of the points, 6 unless they count otherwise
 * @throws {RangeError} for a method that says nothing of an optimum
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
    throw new RangeError(`Cannot draw an optimum of a fit by ${method}: it says nothing of one.`);
  return { optimum: (c) => ({ c, n: nScale * c ** a, d: dScale * c ** b, loss: Number.NaN }) };
}

/** A fit's own law. */
export const fittedLaw = (fit: Fit, points: readonly Point[]): Law =>
  lawOf(fit, { ...fit.params, ...fit.exponents }, flopsPerProduct(points));

/** C / (N·D): 6 where C is 6ND; the points' median where it is counted otherwise. */
export function flopsPerProduct(points: readonly Point[]): number {
  const ratios = points.map((point) => computeOf(point) / (point.n * point.d)).sort((x, y) => x - y);
  return ratios[Math.floor(ratios.length / 2)] ?? 6;
}

/** The middle 80 % of what refits predict; undefined where the fit has none. */
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

/** `count` numbers from low to high, evenly in their logarithm. */
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

/** "compute (FLOPs, PaLM)": an axis with how its quantity was counted. */
export const titles = {
  c: (points: readonly Point[]) => `compute C (FLOPs${counted(points, "flopsConvention", "6ND")})`,
  n: (points: readonly Point[]) => `parameters N${parenthesis(counted(points, "nConvention", ""))}`,
  d: () => "training tokens D",
  loss: "loss (nats a token)",
} as const;

function counted(points: readonly Point[], which: "nConvention" | "flopsConvention", otherwise: string): string {
  const names = [...new Set(points.map((point) => point[which] ?? otherwise))];
  const name = names.length > 1 ? `mixed: ${names.join(", ")}` : (names[0] ?? otherwise);
  return name === "" ? "" : `, ${name}`;
}

const parenthesis = (text: string) => (text === "" ? "" : ` (${text.slice(2)})`);
