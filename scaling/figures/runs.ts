/**
 * Charts of the runs: loss against compute with the envelope (approach 1), IsoFLOP curves with their vertices
 * (approach 2), and the residuals of a law. Notebook 08-scaling-laws shows them.
 */

import { type Figure, grey, palette, rampColor } from "../../lib/charts/figure.js";
import { lineChart, type Series } from "../../lib/charts/line-chart.js";
import { letterTick, powerTick } from "../../lib/charts/log-ticks.js";
import { computeOf, toData } from "../fit/columns.js";
import { budgetsOf } from "../fit/methods/profiles.js";
import { akimaCurve } from "../fit/search/akima.js";
import { fitParabola } from "../fit/search/line-fit.js";
import { vertexInterval } from "../fit/uncertainty/vertices.js";
import type { BudgetOptimum, Fit, Interval, Point } from "../points.js";
import { bySize, fittedLaw, logSpace, rangeOf, titles } from "./common.js";

const optimumColor = palette[1];

/** Loss against compute, one line per model size (or per run with a curve), the envelope, and a law's optimum. */
export function lossByCompute({ points, envelope, law, title = "Loss against compute" }: LossByCompute): Figure {
  const sizes = bySize(points);
  const lines = sizes.filter(({ points: same }) => same.length > 1);
  const every = Math.ceil(lines.length / 9);
  const series = lines.flatMap(({ name, color, points: same }, i): Series[] =>
    curvesOf(same).map((curve, k) => ({
      name: `N = ${name}`,
      x: curve.map(computeOf),
      y: curve.map(({ loss }) => loss),
      color,
      width: 1,
      opacity: 0.8,
      markers: curve.length < 12,
      size: 5,
      label: k === 0 && (i % every === 0 || i === lines.length - 1) ? "end" : "none",
    })),
  );
  const single = sizes.filter(({ points: same }) => same.length === 1).flatMap(({ points: same }) => same);
  if (single.length > 0) series.push(...bandSeries(single, computeOf, ({ loss }) => loss));
  if (law) series.push(frontier(law, points));
  if (envelope?.optima) series.push(optimaSeries("envelope", envelope.optima));
  return lineChart({
    title,
    xLabel: titles.c(points),
    yLabel: titles.loss,
    logX: true,
    hover: "point",
    series,
  });
}

export interface LossByCompute {
  readonly points: readonly Point[];
  /** Approach 1's fit. */
  readonly envelope?: Fit;
  /** A fit that predicts losses. */
  readonly law?: Fit;
  readonly title?: string;
}

/** The runs of a size as curves: one per group of several points, and one of all single points. */
function curvesOf(points: readonly Point[]): Point[][] {
  const groups = new Map<string, Point[]>();
  for (const point of points) groups.set(point.group ?? "", [...(groups.get(point.group ?? "") ?? []), point]);
  const all = [...groups.values()];
  const curves = all.filter((curve) => curve.length > 1);
  const single = all.filter((curve) => curve.length === 1).flat();
  return single.length > 0 ? [...curves, single] : curves;
}

function frontier(law: Fit, points: readonly Point[]): Series {
  const { optimum } = fittedLaw(law, points);
  const x = logSpace(rangeOf(points.map(computeOf)), 60);
  return { name: "law at its optimum", x, y: x.map((c) => optimum(c).loss), color: grey, dash: "dash" };
}

const optimaSeries = (name: string, optima: readonly BudgetOptimum[]): Series => ({
  name,
  x: optima.map(({ c }) => c),
  y: optima.map(({ loss }) => loss),
  color: optimumColor,
  markers: true,
  symbol: "diamond",
  size: 8,
  width: 1.5,
});

/**
 * Loss against N at each budget, with its parabola and its vertex, whose 80 % interval is the fit's: from the
 * scatter of the points, with the parabola's bias inside it. A budget without an optimum in the fit is dashed and has no vertex.
 */
export function isoflopCurves({ points, fit, tolerance = 0.1, title, yRange }: IsoflopCurves): Figure {
  const data = toData(points);
  const budgets = budgetsOf(data, tolerance);
  const optima = fit.optima ?? [];
  const series = budgets.flatMap(({ c, indices }, i): Series[] => {
    const own = indices.map((index) => points[index]!);
    const color = rampColor(i / Math.max(1, budgets.length - 1));
    const vertex = optima.find((optimum) => Math.abs(Math.log(optimum.c / c)) < 1e-6);
    const name = `${powerTick(Number(c.toPrecision(2)))} FLOPs`;
    return [
      profileCurve(own, fit.profile, {
        name: vertex ? name : `${name}: no optimum`,
        color,
        dash: vertex ? "solid" : "dash",
      }),
      {
        name,
        x: own.map(({ n }) => n),
        y: own.map(({ loss }) => loss),
        color,
        markers: "only",
        label: "none",
      },
    ];
  });
  series.push(verticesSeries(optima, (c) => budgetPoints(points, budgets, c)));
  return lineChart({
    title: title ?? "IsoFLOP curves",
    xLabel: titles.n(points),
    yLabel: titles.loss,
    logX: true,
    ...(yRange && { yRange }),
    xNumbers: "letters",
    hover: "point",
    series,
  });
}

export interface IsoflopCurves {
  readonly points: readonly Point[];
  /** Approach 2's fit. */
  readonly fit: Fit;
  /** Budgets that differ by less than this share count as one; use the value that the fit was given. */
  readonly tolerance?: number;
  readonly title?: string;
  /** Of the loss; by default that of the runs. */
  readonly yRange?: Interval;
}

function budgetPoints(
  points: readonly Point[],
  budgets: readonly { readonly c: number; readonly indices: readonly number[] }[],
  c: number,
): Point[] {
  const budget = budgets.find((one) => Math.abs(Math.log(one.c / c)) < 1e-6);
  return (budget?.indices ?? []).map((index) => points[index]!);
}

function verticesSeries(optima: readonly BudgetOptimum[], own: (c: number) => Point[]): Series {
  return {
    ...optimaSeries("optimum, 80 % interval", optima),
    x: optima.map(({ n }) => n),
    dash: "dot",
    label: "end",
    labelSide: "below",
    xInterval: optima.map(({ c, ci80 }) => ci80?.n ?? vertexInterval(own(c), 0.8) ?? [Number.NaN, Number.NaN]),
  };
}

/** The curve that the fit went through: a parabola, of the sizes in the window, or Akima's interpolation. */
function profileCurve(
  points: readonly Point[],
  profile: Fit["profile"],
  style: Pick<Series, "name" | "color" | "dash">,
): Series {
  const sorted = [...points].sort((one, other) => one.n - other.n);
  const [low, high] = rangeOf(sorted.map(({ n }) => n));
  const one = sorted.filter(({ n }, k) => k === 0 || n > sorted[k - 1]!.n);
  if (profile?.curve === "akima" && one.length > 2) {
    const x = one.map(({ n }) => Math.log(n));
    const y = one.map(({ n }) => {
      const same = sorted.filter((point) => point.n === n);
      return Math.log(same.reduce((sum, { loss }) => sum + loss, 0) / same.length);
    });
    const sizes = logSpace([low, high], 80);
    const at = sizes.map((n) => Math.min(x.at(-1)!, Math.max(x[0]!, Math.log(n))));
    return { ...style, x: sizes, y: akimaCurve(x, y, at).map(Math.exp), width: 1.5, label: "end" };
  }
  const lowest = sorted.reduce((best, point) => (point.loss < best.loss ? point : best));
  const { window = Number.POSITIVE_INFINITY } = profile ?? {};
  const near = sorted.filter(({ n }) => Math.abs(Math.log(n / lowest.n)) <= Math.log(window) * (1 + 1e-9));
  const { vertex, height, bend } = fitParabola(
    near.map(({ n }) => Math.log(n)),
    near.map(({ loss }) => loss),
  );
  const sizes = logSpace(rangeOf(near.map(({ n }) => n)), 40);
  const y = sizes.map((n) => height + bend * (Math.log(n) - vertex) ** 2);
  return { ...style, x: sizes, y, width: 1.5, label: "end" };
}

/** The residuals of a law at each fitted run. They have no pattern if the form of the law is right. */
export function residualPlot({ points, fit, title = "Residuals" }: ResidualPlot): Figure {
  if (!fit.residuals) throw new RangeError(`Cannot draw residuals of a fit by ${fit.method}: it predicts no losses.`);
  const left = new Set(fit.dropped);
  const kept = points.filter((_, i) => !left.has(i));
  const percent = new Map(kept.map((point, i) => [point, 100 * Math.expm1(fit.residuals![i]!)]));
  return lineChart({
    title,
    xLabel: titles.c(points),
    yLabel: "predicted / measured loss − 1 (%)",
    logX: true,
    hover: "point",
    lines: [{ y: 0, label: "measured" }],
    series: bandSeries(kept, computeOf, (point) => percent.get(point)!),
  });
}

/** Points as dots, coloured by ranges of N. */
function bandSeries(points: readonly Point[], x: (point: Point) => number, y: (point: Point) => number): Series[] {
  const groups = sizeBands(points, 5);
  return groups.map(({ name, points: own }, i) => ({
    name,
    x: own.map(x),
    y: own.map(y),
    color: rampColor(i / Math.max(1, groups.length - 1)),
    markers: "only",
    size: 7,
  }));
}

export interface ResidualPlot {
  readonly points: readonly Point[];
  readonly fit: Fit;
  readonly title?: string;
}

/** Ranges of N, `most` at the most, with about the same number of sizes in each. */
function sizeBands(points: readonly Point[], most: number): { name: string; points: Point[] }[] {
  const sizes = bySize(points);
  const count = Math.min(most, sizes.length);
  return Array.from({ length: count }, (_, band) => {
    const own = sizes.slice(Math.round((band * sizes.length) / count), Math.round(((band + 1) * sizes.length) / count));
    const [first, last] = [own[0]!, own.at(-1)!];
    const name = `N = ${first.name}${first === last ? "" : ` … ${letterTick(last.n)}`}`;
    return { name, points: own.flatMap(({ points: same }) => same) };
  });
}
