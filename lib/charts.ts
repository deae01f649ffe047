/**
 * Rows → figures: a figure is a plain Plotly specification (data and layout), so it can be stored, tested and shown
 * without a browser. toSvg() is the static rendering, for pages that run no script (GitHub, print); toHtml() the
 * interactive one, in a file of its own (page.ts). It draws lines and nothing else, and knows nothing of runs but the
 * records of a training log. Shown in notebooks/01-train.
 */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { escapeHtml, htmlPage } from "./page.js";

/** One line of a chart; `x` and `y` are equally long. A `y` that is not finite leaves a gap. */
export interface Series {
  readonly name: string;
  readonly x: readonly number[];
  readonly y: readonly number[];
  /** Default solid. */
  readonly dash?: "solid" | "dot" | "dash";
  /** From 0 to 1, default 1. */
  readonly opacity?: number;
  /** In pixels, default 2. */
  readonly width?: number;
  /** Dots at the points, default false. */
  readonly markers?: boolean;
  /** A CSS colour, default the next of the palette. Series that belong together share one. */
  readonly color?: string;
}

/** A horizontal line to compare with. */
export interface ReferenceLine {
  readonly y: number;
  readonly label: string;
}

/** What lineChart() draws. Axis titles carry the unit: "loss (nats a token)". */
export interface LineChart {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly logX?: boolean;
  readonly logY?: boolean;
  readonly series: readonly Series[];
  readonly lines?: readonly ReferenceLine[];
}

/** A line of a Plotly figure. */
export interface Trace {
  type: "scatter";
  mode: "lines" | "lines+markers";
  name: string;
  x: number[];
  y: (number | null)[];
  opacity: number;
  line: { color: string; width: number; dash: "solid" | "dot" | "dash" };
  marker: { color: string; size: number };
}

/** An axis of a Plotly figure. */
export interface Axis {
  title: { text: string };
  type: "linear" | "log";
  zeroline: false;
}

/** A horizontal reference line of a Plotly figure. */
export interface Shape {
  type: "line";
  xref: "paper";
  x0: 0;
  x1: 1;
  y0: number;
  y1: number;
  line: { color: string; width: number; dash: "dot" };
  label: { text: string; textposition: "middle"; yanchor: "bottom" };
}

/** A Plotly figure: `Plotly.newPlot(element, figure.data, figure.layout)` draws it. */
export interface Figure {
  data: Trace[];
  layout: { title: { text: string }; xaxis: Axis; yaxis: Axis; shapes: Shape[] };
}

/** What lossCurve() reads of a line of log.jsonl; every record that train() yields is one. */
export interface LossRecord {
  readonly kind: string;
  readonly step: number;
  readonly loss?: number;
  readonly trainLoss?: number;
  readonly valLoss?: number;
}

/** Told apart with any colour vision, on white and on black: after Okabe and Ito 2008, evened out in lightness. */
const palette = ["#2b7bba", "#d9662c", "#1f9a76", "#b5628f", "#a88400", "#5c6bc0"] as const;
const grey = "#808890";

/** A line chart as a Plotly figure. @throws {RangeError} when a series' x and y differ in length. */
export function lineChart(chart: LineChart): Figure {
  const axis = (text: string, log = false): Axis => ({
    title: { text },
    type: log ? "log" : "linear",
    zeroline: false,
  });
  return {
    data: chart.series.map((series, i) => trace(series, palette[i % palette.length]!, chart)),
    layout: {
      title: { text: chart.title },
      xaxis: axis(chart.xLabel, chart.logX),
      yaxis: axis(chart.yLabel, chart.logY),
      shapes: (chart.lines ?? []).map(referenceShape),
    },
  };
}

function trace(series: Series, nextColor: string, { logX, logY }: LineChart): Trace {
  const { name, x, y, dash = "solid", opacity = 1, width = 2, markers = false, color = nextColor } = series;
  if (x.length !== y.length) {
    throw new RangeError(
      `Cannot draw ${name}: it has ${x.length} values of x and ${y.length} of y; give as many of each.`,
    );
  }
  // JSON has no NaN, and a logarithmic axis no place for 0 or less: both are gaps.
  const drawable = (i: number) =>
    Number.isFinite(x[i]) && Number.isFinite(y[i]) && !(logX && x[i]! <= 0) && !(logY && y[i]! <= 0);
  return {
    type: "scatter",
    mode: markers ? "lines+markers" : "lines",
    name,
    x: [...x],
    y: y.map((value, i) => (drawable(i) ? value : null)),
    opacity,
    line: { color, width, dash },
    marker: { color, size: 6 },
  };
}

function referenceShape({ y, label }: ReferenceLine): Shape {
  return {
    type: "line",
    xref: "paper",
    x0: 0,
    x1: 1,
    y0: y,
    y1: y,
    line: { color: grey, width: 1.5, dash: "dot" },
    label: { text: label, textposition: "middle", yanchor: "bottom" },
  };
}

/**
 * The curve of a training log: the loss of each logged step, thin; the same smoothed; the evaluations of both splits;
 * and reference lines, such as what counting trigrams reaches. A log of any length becomes at most 2,000 points a line.
 * @example toSvg(lossCurve(records, { lines: [{ y: 2.05, label: "trigram" }] }), { width: 720, height: 400 })
 */
export function lossCurve(
  records: Iterable<LossRecord>,
  { title = "Loss while training", unit = "nats a token", lines = [] }: LossCurveOptions = {},
): Figure {
  const iters: Point[] = [];
  const train: Point[] = [];
  const val: Point[] = [];
  for (const { kind, step, loss, trainLoss, valLoss } of records) {
    if (kind === "iter" && loss !== undefined) iters.push([step, loss]);
    if (kind !== "eval") continue;
    if (trainLoss !== undefined) train.push([step, trainLoss]);
    if (valLoss !== undefined) val.push([step, valLoss]);
  }
  const [trainColor, valColor] = palette;
  const series = [
    line("training, each step", thin(iters), { color: trainColor, opacity: 0.45, width: 1 }),
    line("training, smoothed", thin(smooth(iters)), { color: trainColor }),
    line("training, evaluated", thin(train), { color: trainColor, dash: "dot", markers: true }),
    line("validation", thin(val), { color: valColor, markers: true }),
  ].filter(({ x }) => x.length > 0);
  return lineChart({ title, xLabel: "step", yLabel: `loss (${unit})`, series, lines });
}

/** Options of lossCurve(). */
export interface LossCurveOptions {
  readonly title?: string;
  /** Default "nats a token". */
  readonly unit?: string;
  readonly lines?: readonly ReferenceLine[];
}

type Point = readonly [x: number, y: number];

const line = (name: string, points: readonly Point[], style: Partial<Series>): Series => ({
  ...style,
  name,
  x: points.map(([x]) => x),
  y: points.map(([, y]) => y),
});

/** Every k-th point and the last. */
function thin(points: readonly Point[], most = 2000): readonly Point[] {
  const k = Math.ceil(points.length / most);
  return k <= 1 ? points : points.filter((_, i) => i % k === 0 || i === points.length - 1);
}

/** Exponential average over about a 25th of the log, without the bias towards zero at its start (Kingma 2015). */
function smooth(points: readonly Point[]): Point[] {
  const keep = 1 - 1 / Math.max(1, points.length / 25);
  let sum = 0;
  let weight = 0;
  return points.flatMap(([x, y]) => {
    if (!Number.isFinite(y)) return [];
    sum = keep * sum + (1 - keep) * y;
    weight = keep * weight + (1 - keep);
    return [[x, sum / weight] as const];
  });
}

/** Size of a static picture, in pixels. */
export interface SvgSize {
  readonly width?: number;
  readonly height?: number;
}

/** The figure as a static SVG document on white, each line labelled at its end. Needs no browser. Default 720 × 400. */
export function toSvg(figure: Figure, { width = 720, height = 400 }: SvgSize = {}): string {
  const { data, layout } = figure;
  const names = [...data.map(({ name }) => name), ...layout.shapes.map(({ label }) => label.text)];
  const longest = Math.max(0, ...names.map((name) => name.length));
  const marginRight = Math.min(24 + 6.6 * longest, width / 2); // 6.6 px: a wide letter at 12 px
  const plot = drawPlot(figure, { width, height, marginRight, marginBottom });
  const toPixel = (y: number) => plot.scale("y")!.apply(y) as number;
  const ends = labels(endsOf(data, layout.shapes, toPixel), width - marginRight, height - marginBottom);
  const title = escapeHtml(layout.title.text);
  const heading = `<text x="16" y="24" text-anchor="start" font-size="15" font-weight="600">${title}</text>`;
  // As text, for linkedom's setters escape and close elements as HTML, which is not always XML.
  return (plot as unknown as { outerHTML: string }).outerHTML
    .replace(/^<svg /, () => `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${title}" `)
    .replace(/<\/svg>$/, () => `${heading}${ends}</svg>`);
}

const marginBottom = 46;

function drawPlot(
  { data, layout }: Figure,
  size: { width: number; height: number; marginRight: number; marginBottom: number },
) {
  const { document } = parseHTML("<html><body></body></html>");
  const axis = ({ title, type }: Axis) => ({
    label: title.text,
    type,
    labelArrow: "none" as const,
    labelAnchor: "center" as const,
    ...(type === "log" && { tickFormat: logTick }),
  });
  const nice = layout.yaxis.type === "linear";
  return Plot.plot({
    document,
    ...size,
    marginTop: 44,
    marginLeft: 62,
    style: { fontSize: "12px", background: "white", color: "#24292f" },
    x: { ...axis(layout.xaxis), ticks: Math.max(3, size.width / 110), tickSize: 4 },
    y: { ...axis(layout.yaxis), ticks: Math.max(3, size.height / 55), tickSize: 0, grid: true, nice },
    marks: [
      Plot.frame({ anchor: "bottom", stroke: "#b8bec5" }),
      Plot.ruleY(
        layout.shapes.map(({ y0 }) => y0),
        { stroke: grey, strokeWidth: 1.5, strokeDasharray: "2 4" },
      ),
      ...data.flatMap(marks),
    ],
  });
}

/** Powers of ten as such, nothing between them, once numbers are too long for a tick. */
function logTick(value: number): string {
  if (value < 1e5 && value > 1e-4) return String(Number(value.toPrecision(3)));
  const power = Math.round(Math.log10(value));
  if (Math.abs(value / 10 ** power - 1) > 1e-6) return "";
  return `10${String(power).replace(/./g, (digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]!))}`;
}

function marks({ x, y, mode, line, opacity }: Trace) {
  const points = x.map((value, i) => ({ x: value, y: y[i] ?? Number.NaN }));
  const style = { stroke: line.color, strokeWidth: line.width, strokeOpacity: opacity, ...dashes[line.dash] };
  const dots = { x: "x", y: "y", r: 2.5, fill: line.color };
  return [Plot.line(points, { x: "x", y: "y", ...style }), ...(mode === "lines" ? [] : [Plot.dot(points, dots)])];
}

const dashes = {
  solid: {},
  dot: { strokeDasharray: "1 4", strokeLinecap: "round" },
  dash: { strokeDasharray: "6 4" },
} as const;

interface Label {
  text: string;
  color: string;
  /** Pixel at which the line ends, and at which the label stands. */
  end: number;
  at: number;
}

function endsOf(data: readonly Trace[], shapes: readonly Shape[], toPixel: (y: number) => number): Label[] {
  const ends = data.flatMap(({ name, y, line }) => {
    const last = y.findLast((value) => value !== null);
    return last == null ? [] : [{ text: name, color: line.color, y: last }];
  });
  const lines = shapes.map(({ label, y0 }) => ({ text: label.text, color: "#5f6770", y: y0 }));
  return [...ends, ...lines].map(({ y, ...rest }) => ({ ...rest, end: toPixel(y), at: toPixel(y) }));
}

/** Labels right of the plot, moved apart by a line's height where they would overlap, each with a leader to its line. */
function labels(ends: Label[], right: number, bottom: number): string {
  const gap = 15;
  ends.sort((a, b) => a.end - b.end);
  for (let i = 1; i < ends.length; i++) ends[i]!.at = Math.max(ends[i]!.at, ends[i - 1]!.at + gap);
  let limit = bottom;
  for (const label of ends.toReversed()) {
    label.at = Math.min(label.at, limit);
    limit = label.at - gap;
  }
  const one = ({ text, color, end, at }: Label) =>
    `<path d="M${right},${end.toFixed(1)}L${right + 10},${at.toFixed(1)}" stroke="${color}" fill="none" stroke-opacity="0.6"/>` +
    `<text x="${right + 14}" y="${at.toFixed(1)}" dy="0.32em" text-anchor="start" fill="${color}">${escapeHtml(text)}</text>`;
  return ends.map(one).join("");
}

/** `<img>` with the picture inside, for notebooks: GitHub shows it and may ignore an SVG output. */
export function svgImage(svg: string): string {
  const label = /aria-label="([^"]*)"/.exec(svg)?.[1] ?? "chart"; // of the document itself, escaped already
  return `<img src="data:image/svg+xml;base64,${Buffer.from(svg).toString("base64")}" alt="${label}">`;
}

/** A place for a figure in an htmlPage(): a static picture where scripts do not run. */
export function interactiveFigure(figure: Figure): string {
  const json = JSON.stringify(figure).replaceAll("<", "\\u003c"); // so that no text in it can end the element
  return `<div class="figure"><script type="application/json">${json}</script></div><noscript>${svgImage(toSvg(figure))}</noscript>`;
}

/** One offline HTML page (about 1.5 MB, of which Plotly is nearly all) with interactive figures; no request leaves it. */
export function toHtml(figures: Figure | readonly Figure[], { title }: { readonly title: string }): string {
  const all = Array.isArray(figures) ? (figures as readonly Figure[]) : [figures as Figure];
  return htmlPage({ title, body: all.map((figure) => interactiveFigure(figure)).join("\n") });
}
