/**
 * The surface L(N, D) as lines of equal loss, with lines of equal compute and the efficient frontier, which meets each
 * of those at its lowest loss. The lines are computed by bisection, exact to the pixel, so a figure takes only a few
 * kilobytes. Notebook 08-scaling-laws shows it.
 */

import { type Figure, grey, palette, rampColor } from "../../lib/charts/figure.js";
import { lineChart, type Series } from "../../lib/charts/line-chart.js";
import { powerTick } from "../../lib/charts/log-ticks.js";
import type { Interval, Point } from "../points.js";
import { type Law, logSpace, rangeOf, titles } from "./common.js";

export interface LossContour {
  /** The law to draw: `lawOf(fit, fit.params)` or any other that predicts losses. */
  readonly law: Law;
  /** The runs. The chart shows a little more than their range, unless n and d are given. */
  readonly points?: readonly Point[];
  readonly n?: Interval;
  readonly d?: Interval;
  /** Losses to draw; about ten round numbers by default. */
  readonly levels?: readonly number[];
  /** Compute budgets to draw; powers of ten by default. */
  readonly budgets?: readonly number[];
  readonly title?: string;
}

/** @throws {RangeError} if the law predicts no losses, or there are neither points nor ranges of N and D */
export function lossContour({
  law,
  points = [],
  title = "Loss by parameters and tokens",
  ...given
}: LossContour): Figure {
  const { loss } = law;
  if (!loss) throw new RangeError("Cannot draw lines of equal loss: this law predicts no losses; fit by approach 3.");
  if (points.length === 0 && !(given.n && given.d))
    throw new RangeError("Cannot draw lines of equal loss: the range is missing; give points, or the ranges n and d.");
  const n = given.n ?? widened(rangeOf(points.map((point) => point.n)));
  const d = given.d ?? widened(rangeOf(points.map((point) => point.d)));
  const levels = given.levels ?? roundLevels([loss(n[1], d[1]), loss(n[0], d[0])]);
  const series = [
    ...computeLines(law, { n, d }, given.budgets),
    ...levels.map((level, i) => equalLoss(loss, level, { n, d }, rampColor(1 - i / Math.max(1, levels.length - 1)))),
    frontier(law, { n, d }),
  ].filter(({ x }) => x.length > 1);
  if (points.length > 0) series.push(runs(points));
  return lineChart({
    title,
    xLabel: titles.n(points),
    yLabel: titles.d(),
    logX: true,
    logY: true,
    xRange: n,
    yRange: d,
    xNumbers: "letters",
    yNumbers: "letters",
    hover: "point",
    series,
  });
}

interface Area {
  readonly n: Interval;
  readonly d: Interval;
}

const widened = ([low, high]: Interval): Interval => [low / 1.25, high * 1.25];

/** Round losses, a dozen at most. */
function roundLevels([low, high]: Interval): number[] {
  const rough = (high - low) / 12;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough)!;
  const first = Math.ceil(low / step);
  const count = Math.floor(high / step) - first + 1;
  return Array.from({ length: Math.max(0, count) }, (_, i) => Number(((first + i) * step).toPrecision(6)));
}

/** Where the loss is `level`: D at each of many N, and N at each of many D, because the line is steep at one end. */
function equalLoss(loss: (n: number, d: number) => number, level: number, { n, d }: Area, color: string): Series {
  const line = [
    ...logSpace(n, 60).map((at) => [at, whereFalling((other) => loss(at, other), level, d)] as const),
    ...logSpace(d, 60).map((at) => [whereFalling((other) => loss(other, at), level, n), at] as const),
  ]
    .filter((point): point is readonly [number, number] => point[0] !== undefined && point[1] !== undefined)
    .sort(([x1, y1], [x2, y2]) => x1 - x2 || y2 - y1);
  return {
    name: `loss ${level}`,
    x: line.map(([x]) => x),
    y: line.map(([, y]) => y),
    color,
    width: 1.5,
    label: "end",
    labelSide: (line.at(-1)?.[0] ?? 0) > n[1] * 0.99 ? "right" : "above",
  };
}

/** Where a decreasing function of a positive number equals `level`, by bisection of the number's logarithm. */
function whereFalling(of: (x: number) => number, level: number, [from, to]: Interval): number | undefined {
  if (!(of(from) >= level && of(to) <= level)) return undefined;
  let [low, high] = [Math.log(from), Math.log(to)];
  for (let i = 0; i < 50; i++) {
    const middle = (low + high) / 2;
    if (of(Math.exp(middle)) > level) low = middle;
    else high = middle;
  }
  return Math.exp((low + high) / 2);
}

/** The visible part of the efficient frontier. */
function frontier({ optimum }: Law, area: Area): Series {
  const path = logSpace(computeRange(optimum, area), 80)
    .map((c) => optimum(c))
    .filter(({ n, d }) => n >= area.n[0] && n <= area.n[1] && d >= area.d[0] && d <= area.d[1]);
  return {
    name: "efficient frontier",
    x: path.map(({ n }) => n),
    y: path.map(({ d }) => d),
    color: palette[1],
    width: 2.5,
    label: "end",
  };
}

/** A line of equal compute; it is straight on logarithmic axes. */
const productAt = (optimum: Law["optimum"], c: number) => {
  const { n, d } = optimum(c);
  return n * d;
};

const computeRange = (optimum: Law["optimum"], { n, d }: Area): Interval => {
  const perProduct = 1e18 / productAt(optimum, 1e18);
  return [perProduct * n[0] * d[0], perProduct * n[1] * d[1]];
};

function computeLines({ optimum }: Law, area: Area, budgets?: readonly number[]): Series[] {
  const [low, high] = computeRange(optimum, area);
  const powers = Array.from({ length: 60 }, (_, i) => 10 ** i).filter((c) => c > 1.5 * low && c < high / 1.5);
  return (budgets ?? powers).map((c) => {
    const product = productAt(optimum, c);
    // From bottom right to top left, so that its label is at the top, where lines of equal loss have none.
    const x = logSpace(
      [Math.max(area.n[0], product / area.d[1]), Math.min(area.n[1], product / area.d[0])],
      2,
    ).reverse();
    const name = `${powerTick(c)} FLOPs`;
    return {
      name,
      x,
      y: x.map((n) => product / n),
      color: grey,
      dash: "dash",
      width: 1,
      opacity: 0.7,
      label: "end",
      labelSide: "above",
    };
  });
}

const runs = (points: readonly Point[]): Series => ({
  name: "runs",
  x: points.map(({ n }) => n),
  y: points.map(({ d }) => d),
  color: grey,
  markers: "only",
  size: 5,
  label: "none",
});
