/**
 * Charts of the uncertainty of a fit: clouds of its bootstrap refits, exponents of several methods with their
 * intervals, and predictions beyond the points, with bands and held-out runs. Notebook 08-scaling-laws shows them.
 */

import { type Figure, grey, palette } from "../../lib/charts/figure.js";
import { lineChart, type ReferenceLine, type Series } from "../../lib/charts/line-chart.js";
import { computeOf } from "../fit/columns.js";
import type { Fit, Interval, Point } from "../points.js";
import { fittedLaw, type Law, logSpace, predictedInterval, rangeOf, titles } from "./common.js";

/** A fit and its name in the chart. */
export interface NamedFit {
  readonly name: string;
  readonly fit: Fit;
}

/** Published values to compare with. */
export interface NamedValue {
  readonly name: string;
  readonly values: Readonly<Record<string, number>>;
}

export interface BootstrapCloud {
  readonly fits: readonly NamedFit[];
  /** Names of parameters or exponents: alpha, beta, a, b, E, A, B … */
  readonly x: string;
  readonly y: string;
  readonly references?: readonly NamedValue[];
  /** The largest number of refits to draw; 400 by default. */
  readonly most?: number;
  readonly title?: string;
}

/** Two parameters: each refit as a dot, the 95 % ellipse of a normal distribution, and the estimate. */
export function bootstrapCloud({ fits, x, y, references = [], most = 400, ...rest }: BootstrapCloud): Figure {
  const series = fits.flatMap(({ name, fit }, i): Series[] => {
    const color = palette[i % palette.length]!;
    const refits = (fit.bootstrap ?? []).filter((row) => Number.isFinite(row[x]) && Number.isFinite(row[y]));
    if (refits.length < 20)
      throw new RangeError(
        `Cannot draw the refits of ${name}: only ${refits.length} have ${x} and ${y}; fit with bootstrap: 200 or more.`,
      );
    const all = refits.map((row) => [row[x]!, row[y]!] as const);
    const shown = all.filter((_, index) => index % Math.ceil(all.length / most) === 0);
    const own: Readonly<Record<string, number>> = { ...fit.params, ...fit.exponents };
    return [
      points(`${name}: refits`, shown, { color, opacity: 0.45, size: 4, label: "none" }),
      line(`${name}: 95 %`, ellipse(all), { color, width: 1.5, label: "none" }),
      points(name, [[own[x]!, own[y]!]], { color, size: 9, symbol: "diamond", label: "end" }),
    ];
  });
  for (const { name, values } of references) {
    series.push(points(name, [[values[x]!, values[y]!]], { color: grey, size: 9, symbol: "x", label: "end" }));
  }
  const title = rest.title ?? `Refits of resampled points: ${symbol(x)} and ${symbol(y)}`;
  return lineChart({ title, xLabel: symbol(x), yLabel: symbol(y), hover: "point", series });
}

type Pair = readonly [x: number, y: number];

const line = (name: string, pairs: readonly Pair[], style: Partial<Series>): Series => ({
  ...style,
  name,
  x: pairs.map(([x]) => x),
  y: pairs.map(([, y]) => y),
});
const points = (name: string, pairs: readonly Pair[], style: Partial<Series>): Series =>
  line(name, pairs, { markers: "only", ...style });

/**
 * The ellipse that holds 95 % of a normal distribution with the mean and covariance of the points: radius √(−2 ln .05).
 */
function ellipse(pairs: readonly Pair[]): Pair[] {
  const mean = (of: (pair: Pair) => number) => pairs.reduce((sum, pair) => sum + of(pair), 0) / pairs.length;
  const [mx, my] = [mean(([x]) => x), mean(([, y]) => y)];
  const xx = Math.sqrt(mean(([x]) => (x - mx) ** 2));
  const xy = mean(([x, y]) => (x - mx) * (y - my)) / (xx || 1);
  const yy = Math.sqrt(Math.max(0, mean(([, y]) => (y - my) ** 2) - xy ** 2));
  const reach = Math.sqrt(-2 * Math.log(0.05));
  return Array.from({ length: 73 }, (_, i) => {
    const [u, v] = [reach * Math.cos((i * Math.PI) / 36), reach * Math.sin((i * Math.PI) / 36)];
    return [mx + xx * u, my + xy * u + yy * v];
  });
}

const symbols: Readonly<Record<string, string>> = {
  alpha: "α, exponent of N",
  beta: "β, exponent of D",
  a: "a, in N* ∝ C^a",
  b: "b, in D* ∝ C^b",
  E: "E, the irreducible loss (nats per token)",
};
const symbol = (name: string) => symbols[name] ?? name;

export interface ExponentIntervals {
  readonly fits: readonly NamedFit[];
  /** The exponent; `a` by default. */
  readonly of?: string;
  readonly references?: readonly NamedValue[];
  readonly title?: string;
  /** Of the exponent; by default it holds the intervals and the references. */
  readonly xRange?: Interval;
}

/** One exponent by several methods: the estimate, its 80 % interval (thick) and its 95 % interval (thin). */
export function exponentIntervals({ fits, of = "a", references = [], title, xRange }: ExponentIntervals): Figure {
  const rows = fits.length;
  const series = fits.flatMap(({ name, fit }, i): Series[] => {
    const color = palette[i % palette.length]!;
    const value = { ...fit.params, ...fit.exponents }[of];
    if (value === undefined)
      throw new RangeError(`Cannot compare the exponent ${of}: the fit ${name} does not have it.`);
    const [at, ci80, ci95] = [rows - i, fit.ci80[of], fit.ci95[of]];
    const named = `${name}: ${value.toFixed(3)}${ci80 ? ` (80 %: ${ci80.map((end) => end.toFixed(3)).join(" to ")})` : ""}`;
    return [
      ...(ci80
        ? [
            line(
              `${name}, 80 %`,
              [
                [ci80[0], at],
                [ci80[1], at],
              ],
              { color, width: 6, opacity: 0.45, label: "none" },
            ),
          ]
        : []),
      // The label is above the left end of the interval, where there is room.
      points(named, [[value, at]], {
        color,
        size: 9,
        symbol: "diamond",
        label: "none",
        ...(ci95 && { xInterval: [ci95] }),
      }),
      points(named, [[ci95?.[0] ?? value, at + 0.32]], { color, size: 0.01, label: "end" }),
    ];
  });
  return lineChart({
    title: title ?? `Exponent ${of} by method, with 80 % and 95 % intervals`,
    xLabel: symbol(of),
    yLabel: "",
    yRange: [0.5, rows + 0.75],
    ...(xRange && { xRange }),
    hover: "point",
    series,
    lines: references.map(({ name, values }) => ({ x: values[of]!, label: name })),
  });
}

export interface Prediction {
  readonly points: readonly Point[];
  /** Runs left out of the fits. */
  readonly heldOut?: readonly Point[];
  /** The largest compute drawn; ten times that of the points by default. */
  readonly upTo?: number;
  readonly title?: string;
}

/** The loss at the optimum, extrapolated over compute, with the band of its refits and held-out runs. */
export function lossPrediction({
  fit,
  points: seen,
  heldOut = [],
  ...rest
}: Prediction & { readonly fit: Fit }): Figure {
  const { loss } = fittedLaw(fit, seen);
  if (!loss)
    throw new RangeError(
      `Cannot predict losses with a fit by ${fit.method}: this method predicts none; fit by approach 3.`,
    );
  const series: Series[] = [
    predictionSeries("optimum, 80 % band", { fit, points: seen, ...rest }, ({ optimum }, c) => optimum(c).loss),
    points(
      "runs",
      seen.map((point) => [computeOf(point), point.loss] as const),
      { color: grey, size: 5, label: "none" },
    ),
  ];
  if (heldOut.length > 0) series.push(...heldOutSeries(fit, seen, heldOut));
  return lineChart({
    title: rest.title ?? "Predicted loss beyond the fitted runs",
    xLabel: titles.c(seen),
    yLabel: titles.loss,
    logX: true,
    hover: "point",
    series,
    lines: [endOfData(seen)],
  });
}

/** Each held-out run: the prediction for its N and D, with its interval, and the measured loss. */
function heldOutSeries(fit: Fit, seen: readonly Point[], heldOut: readonly Point[]): Series[] {
  const { loss } = fittedLaw(fit, seen);
  const none: Interval = [Number.NaN, Number.NaN];
  const predicted = heldOut.map((point) => [computeOf(point), loss!(point.n, point.d)] as const);
  const intervals = heldOut.map(({ n, d }) => predictedInterval(fit, seen, (law) => law.loss!(n, d)) ?? none);
  const measured = heldOut.map((point) => [computeOf(point), point.loss] as const);
  return [
    points("held-out run, predicted", predicted, {
      color: palette[0],
      symbol: "circle-open",
      size: 9,
      yInterval: intervals,
    }),
    points("held-out run, measured", measured, { color: palette[1], symbol: "x", size: 9 }),
  ];
}

/** The optimal N against compute by several methods, with bands; the optima of single budgets as dots. */
export function optimumPrediction({
  fits,
  points: seen,
  of = "n",
  ...rest
}: Prediction & { readonly fits: readonly NamedFit[]; readonly of?: "n" | "d" }): Figure {
  const series = fits.flatMap(({ name, fit }, i): Series[] => {
    const color = palette[i % palette.length]!;
    const path = predictionSeries(name, { fit, points: seen, ...rest }, ({ optimum }, c) => optimum(c)[of]);
    const optima = (fit.optima ?? []).map((optimum) => [optimum.c, optimum[of]] as const);
    return [
      { ...path, color },
      ...(optima.length > 0
        ? [points(`${name}: optima`, optima, { color, size: 6, symbol: "diamond", label: "none" })]
        : []),
    ];
  });
  const what = of === "n" ? "parameters" : "tokens";
  return lineChart({
    title: rest.title ?? `Optimal number of ${what} against compute, with 80 % bands`,
    xLabel: titles.c(seen),
    yLabel: of === "n" ? titles.n(seen) : titles.d(),
    logX: true,
    logY: true,
    yNumbers: "letters",
    hover: "point",
    series,
    lines: [endOfData(seen)],
  });
}

function predictionSeries(
  name: string,
  { fit, points: seen, upTo }: Prediction & { readonly fit: Fit },
  of: (law: Law, c: number) => number,
): Series {
  const [low, high] = rangeOf(seen.map(computeOf));
  const law = fittedLaw(fit, seen);
  const x = logSpace([low, upTo ?? 10 * high], 40);
  const band = x.map((c) => predictedInterval(fit, seen, (refit) => of(refit, c)));
  return {
    name,
    x,
    y: x.map((c) => of(law, c)),
    ...(band.every((interval) => interval !== undefined) && { band }),
  };
}

function endOfData(points: readonly Point[]): ReferenceLine {
  const [, high] = rangeOf(points.map(computeOf));
  return { x: high, label: "largest fitted run" };
}
