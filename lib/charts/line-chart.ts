/**
 * Makes figures with lines, points, intervals and bands. A figure is a plain Plotly specification (data and layout), so
 * it can be stored and tested without a browser. toSvg() of figure-svg.ts renders it for pages that run no scripts
 * (GitHub, print); toHtml() makes an interactive page (html-page.ts). Shown in notebooks/01-train and 08-scaling-laws.
 */
import {
  type Axis,
  type Dash,
  type ErrorBars,
  type Figure,
  grey,
  type MarkerSymbol,
  palette,
  type Shape,
  type Trace,
} from "./figure.js";
import { svgImage, toSvg } from "./figure-svg.js";
import { htmlPage } from "./html-page.js";
import { extentOf, letterTick, logTicks, powerTick } from "./log-ticks.js";

/** One line of a chart, or points; `x` and `y` have the same length. A `y` that is not finite leaves a gap. */
export interface Series {
  readonly name: string;
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** Default solid. */
  readonly dash?: Dash;
  /** From 0 to 1, default 1. */
  readonly opacity?: number;
  /** In pixels, default 2. */
  readonly width?: number;
  /** Dots at the points, default false; "only": dots and no line. */
  readonly markers?: boolean | "only";
  /** Shape of a dot, default "circle". */
  readonly symbol?: MarkerSymbol;
  /** Diameter of a dot, in pixels, default 6. */
  readonly size?: number;
  /** A CSS colour, #rrggbb, default the next of the palette. Related series share a colour. */
  readonly color?: string;
  /** Error bars: an interval around each x, or around each y; a point whose interval is not finite has none. */
  readonly xInterval?: readonly (readonly [low: number, high: number])[];
  readonly yInterval?: readonly (readonly [low: number, high: number])[];
  /** A shaded band: an interval of y at each x. */
  readonly band?: readonly (readonly [low: number, high: number])[];
  /** Where its name is shown: at the plot's edge and in the legend (default); at its last point; or nowhere. */
  readonly label?: "edge" | "end" | "none";
  /** On which side of the last point; default right. */
  readonly labelSide?: "right" | "above" | "below";
}

/** A horizontal or vertical line for comparison. */
export type ReferenceLine =
  /** In the interactive figure, the label stands above the line's middle, or above its start, where falling curves are high. */
  | { readonly y: number; readonly label: string; readonly labelAt?: "middle" | "start" }
  | { readonly x: number; readonly label: string };

/** What lineChart() draws. Axis titles include the unit: "loss (nats per token)". */
export interface LineChart {
  readonly title: string;
  readonly xLabel: string;
  /** If empty, the axis has neither title nor numbers. */
  readonly yLabel: string;
  readonly logX?: boolean;
  readonly logY?: boolean;
  /** The range shown of an axis, default all. */
  readonly xRange?: readonly [low: number, high: number];
  readonly yRange?: readonly [low: number, high: number];
  /** Numbers of a logarithmic axis: powers of ten (default), or with letters: 2 M, 1 B. */
  readonly xNumbers?: "powers" | "letters";
  readonly yNumbers?: "powers" | "letters";
  /** What the pointer shows: all series at its x (default), or the nearest point. */
  readonly hover?: "x" | "point";
  readonly series: readonly Series[];
  readonly lines?: readonly ReferenceLine[];
}

/** A line chart as a Plotly figure. @throws {RangeError} when a series' x and y differ in length. */
export function lineChart(chart: LineChart): Figure {
  const { series, lines = [] } = chart;
  const xs = [...series.flatMap(({ x, xInterval = [] }) => [...x, ...xInterval.flat()]), ...valuesOf(lines, "x")];
  const ys = [
    ...series.flatMap(({ y, yInterval = [], band = [] }) => [...y, ...yInterval.flat(), ...band.flat()]),
    ...valuesOf(lines, "y"),
  ];
  const { xLabel, logX, xRange, xNumbers, yLabel, logY, yRange, yNumbers } = chart;
  return {
    data: series.flatMap((one, i) => traces(one, palette[i % palette.length]!, chart)),
    layout: {
      title: { text: chart.title },
      xaxis: axis({ text: xLabel, log: logX, range: xRange, numbers: xNumbers, values: xs, most: 7 }),
      yaxis: axis({ text: yLabel, log: logY, range: yRange, numbers: yNumbers, values: ys, most: 6 }),
      shapes: lines.map(referenceShape),
      ...(chart.hover === "point" && { hovermode: "closest" as const }),
    },
  };
}

const valuesOf = (lines: readonly ReferenceLine[], which: "x" | "y") =>
  lines.flatMap((line: { readonly x?: number; readonly y?: number }) => line[which] ?? []);

interface AxisOptions {
  readonly text: string;
  readonly log: boolean | undefined;
  readonly range: readonly [low: number, high: number] | undefined;
  readonly numbers: "powers" | "letters" | undefined;
  /** The values along it. */
  readonly values: readonly number[];
  /** Approximate largest number of ticks. */
  readonly most: number;
}

function axis({ text, log = false, range, numbers, values, most }: AxisOptions): Axis {
  const [low, high] = range ?? extentOf(values, log);
  const ticks = log ? logTicks(low, high, most) : [];
  return {
    title: { text },
    type: log ? "log" : "linear",
    zeroline: false,
    // Between the powers of ten, Plotly labels the ticks of a logarithmic axis with single digits.
    ...(log && { tickvals: ticks, ticktext: ticks.map(numbers === "letters" ? letterTick : powerTick) }),
    ...(range && { range: log ? [Math.log10(low), Math.log10(high)] : [low, high] }),
    ...(text === "" && { showticklabels: false }),
  };
}

/** A series' band, if it has one, then its line or points. */
function traces(series: Series, nextColor: string, { logX, logY }: LineChart): Trace[] {
  const { name, x, y, dash = "solid", opacity = 1, width = 2, size = 6, color = nextColor } = series;
  for (const [what, values] of Object.entries({
    y,
    xInterval: series.xInterval,
    yInterval: series.yInterval,
    band: series.band,
  })) {
    if (values === undefined || values.length === x.length) continue;
    throw new RangeError(
      `Cannot draw ${name}: it has ${x.length} values of x and ${values.length} of ${what}; give equally many.`,
    );
  }
  // JSON has no NaN, and a logarithmic axis cannot show 0 or less: both are gaps.
  const drawable = (i: number) =>
    Number.isFinite(x[i]) && Number.isFinite(y[i]) && !(logX && x[i]! <= 0) && !(logY && y[i]! <= 0);
  const main: Trace = {
    type: "scatter",
    mode: series.markers === "only" ? "markers" : series.markers ? "lines+markers" : "lines",
    name,
    x: [...x],
    y: y.map((value, i) => (drawable(i) ? value : null)),
    opacity,
    line: { color, width, dash },
    marker: { color, size, ...(series.symbol && { symbol: series.symbol }) },
    ...(series.xInterval && { error_x: errorBars(x, series.xInterval, color) }),
    ...(series.yInterval && { error_y: errorBars(y, series.yInterval, color) }),
    ...(series.label && series.label !== "edge" && { showlegend: false }),
  };
  if (series.label === "end") Object.assign(main, endLabel(main, series.labelSide ?? "right"));
  return series.band ? [bandTrace(main, series.band), main] : [main];
}

/** The name at a line's last point. */
function endLabel({ mode, name, y, line }: Trace, side: "right" | "above" | "below"): Partial<Trace> {
  const last = y.findLastIndex((value) => value !== null);
  return {
    mode: `${mode}+text` as Trace["mode"],
    text: y.map((_, i) => (i === last ? (side === "right" ? `\u2002${name}` : name) : "")),
    textposition: ({ right: "middle right", above: "top right", below: "bottom right" } as const)[side],
    cliponaxis: false,
    textfont: { color: line.color, size: 12 },
  };
}

function errorBars(
  at: readonly number[],
  intervals: readonly (readonly [low: number, high: number])[],
  color: string,
): ErrorBars {
  const distance = (from: number, to: number) => (Number.isFinite(to - from) ? Math.max(0, to - from) : null);
  return {
    type: "data",
    symmetric: false,
    array: at.map((value, i) => distance(value, intervals[i]![1])),
    arrayminus: at.map((value, i) => distance(intervals[i]![0], value)),
    color,
    thickness: 1.5,
    width: 3,
  };
}

function bandTrace({ name, x, line }: Trace, band: readonly (readonly [low: number, high: number])[]): Trace {
  const edge = x.flatMap((at, i) => (band[i]!.every(Number.isFinite) ? [[at, ...band[i]!] as const] : []));
  return {
    type: "scatter",
    mode: "lines",
    name: `${name}, interval`,
    x: [...edge.map(([at]) => at), ...edge.toReversed().map(([at]) => at)],
    y: [...edge.map(([, low]) => low), ...edge.toReversed().map(([, , high]) => high)],
    opacity: 1,
    line: { color: line.color, width: 0, dash: "solid" },
    marker: { color: line.color, size: 0 },
    fill: "toself",
    fillcolor: `${line.color}2e`, // 18 %
    showlegend: false,
    hoverinfo: "skip",
  };
}

function referenceShape(reference: ReferenceLine): Shape {
  const across = "y" in reference;
  const [x0, x1] = across ? [0, 1] : [reference.x, reference.x];
  const [y0, y1] = across ? [reference.y, reference.y] : [0, 1];
  return {
    type: "line",
    xref: across ? "paper" : "x",
    yref: across ? "y" : "paper",
    x0,
    x1,
    y0,
    y1,
    line: { color: grey, width: 1.5, dash: "dot" },
    label: {
      text: reference.label,
      textposition: across ? (reference.labelAt ?? "middle") : "end",
      yanchor: "bottom",
      ...(!across && { textangle: 0 as const }),
    },
  };
}

/** A place for a figure in an htmlPage(): a static picture where scripts do not run. */
export function interactiveFigure(figure: Figure): string {
  const json = JSON.stringify(figure).replaceAll("<", "\\u003c"); // so that no text in it can end the script element
  return `<div class="figure"><script type="application/json">${json}</script></div><noscript>${svgImage(toSvg(figure))}</noscript>`;
}

/** One offline HTML page with interactive figures (about 1.5 MB, mostly Plotly); it makes no network requests. */
export function toHtml(figures: Figure | readonly Figure[], { title }: { readonly title: string }): string {
  const all = Array.isArray(figures) ? (figures as readonly Figure[]) : [figures as Figure];
  return htmlPage({ title, body: all.map((figure) => interactiveFigure(figure)).join("\n") });
}
