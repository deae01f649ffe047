/**
 * Draws figures as static SVG with Observable Plot, each line labelled at its end: for notebooks, and for pages that
 * run no scripts (GitHub, print). It needs no browser. The figure is its only input, so that the picture and the
 * interactive chart agree. Shown in notebooks/01-train and 08-scaling-laws.
 */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { type Axis, type Dash, type ErrorBars, type Figure, grey, type Shape, type Trace } from "./figure.js";
import { drawNames, roomAtRight } from "./figure-labels.js";
import { figureWords } from "./figure-words.js";
import { escapeHtml } from "./html-page.js";
import { extentOf } from "./log-ticks.js";

/** Size of a static picture, in pixels. */
export interface SvgSize {
  readonly width?: number;
  readonly height?: number;
}

const marginBottom = 46;
const marginTop = 44;

/**
 * The figure as a static SVG document on white, each line labelled at its end, with a description in words. Needs no
 * browser. Default 720 × 400.
 */
export function toSvg(figure: Figure, { width = 720, height = 400 }: SvgSize = {}): string {
  const across = figure.layout.shapes.filter(({ xref }) => xref === "paper");
  const marginRight = Math.min(roomAtRight(figure, across, shareOfWidth(figure)), width / 2);
  const marginLeft = roomAtLeft(figure);
  const plot = drawPlot(figure, { width, height, marginLeft, marginRight, marginBottom });
  const pixelOf =
    (which: "x" | "y", { type }: Axis) =>
    (value: number) =>
      plot.scale(which)!.apply(type === "log" ? Math.log10(value) : value) as number;
  const place = { x: pixelOf("x", figure.layout.xaxis), y: pixelOf("y", figure.layout.yaxis) };
  const area = { left: marginLeft, right: width - marginRight, top: marginTop, bottom: height - marginBottom, width };
  const names = drawNames(figure, across, place, area);
  const title = escapeHtml(figure.layout.title.text);
  const heading = `<text x="16" y="24" text-anchor="start" font-size="15" font-weight="600">${title}</text>`;
  const words = `<desc>${escapeHtml(figureWords(figure))}</desc>`;
  // Edited as text, since linkedom's setters write HTML, which is not always valid XML.
  return (plot as unknown as { outerHTML: string }).outerHTML
    .replace(
      /^<svg ([^>]*)>/,
      (_, rest) => `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${title}" ${rest}>${words}`,
    )
    .replace(/<\/svg>$/, () => `${heading}${names}</svg>`);
}

/** Where a value is on the x axis, from 0 to 1. */
function shareOfWidth({ data, layout }: Figure): (x: number) => number {
  const [low, high] = extent(figureXs({ data, layout }), layout.xaxis);
  const scale = layout.xaxis.type === "log" ? Math.log : (value: number) => value;
  return (x) => (scale(x) - scale(low)) / (scale(high) - scale(low) || 1);
}

/** Room for the numbers of the y axis and its title. */
function roomAtLeft({ layout: { yaxis } }: Figure): number {
  if (yaxis.showticklabels === false) return 24;
  return Math.max(62, 34 + 7 * Math.max(0, ...(yaxis.ticktext ?? []).map((text) => text.length)));
}

function drawPlot(
  { data, layout }: Figure,
  size: { width: number; height: number; marginLeft: number; marginRight: number; marginBottom: number },
) {
  const { document } = parseHTML("<html><body></body></html>");
  const nice = layout.yaxis.type === "linear" && layout.yaxis.range === undefined;
  const upright = layout.shapes.filter(({ xref }) => xref === "x");
  const clip = layout.xaxis.range !== undefined || layout.yaxis.range !== undefined;
  const rule = { stroke: grey, strokeWidth: 1.5, strokeDasharray: "2 4" };
  const name = { fill: "#5f6770", frameAnchor: "top", dy: -12 } as const;
  return Plot.plot({
    document,
    ...size,
    marginTop,
    style: { fontSize: "12px", background: "white", color: "#24292f" },
    x: { ...axis(layout.xaxis, extent(figureXs({ data, layout }), layout.xaxis), size.width / 110), tickSize: 4 },
    y: {
      ...axis(layout.yaxis, extent(figureYs({ data, layout }), layout.yaxis), size.height / 55),
      tickSize: 0,
      grid: true,
      nice,
    },
    marks: [
      Plot.frame({ anchor: "bottom", stroke: "#b8bec5" }),
      Plot.ruleY(
        layout.shapes.filter(({ xref }) => xref === "paper").map(({ y0 }) => y0),
        rule,
      ),
      Plot.ruleX(upright, { x: "x0", ...rule }),
      Plot.text(upright, { x: "x0", text: ({ label }: Shape) => label.text, ...name }),
      ...data.flatMap((trace) => marks(trace, clip)),
    ],
  });
}

function axis(
  { title, type, range, tickvals, ticktext, showticklabels }: Axis,
  domain: [number, number],
  count: number,
) {
  const common = { label: title.text || null, type, labelArrow: "none" as const, labelAnchor: "center" as const };
  if (type === "log" && tickvals) {
    // Plot's own logarithmic scale drops tick labels, whatever format it is given.
    const names = tickvals.map((value, i) => [Math.log10(value), ticktext?.[i] ?? ""] as const);
    const text = (at: number) => names.find(([power]) => Math.abs(power - at) < 1e-9)?.[1] ?? "";
    const [low, high] = domain.map(Math.log10);
    const ticks = names.map(([power]) => power);
    return { ...common, type: "linear" as const, transform: Math.log10, domain: [low, high], ticks, tickFormat: text };
  }
  const ticks = showticklabels === false ? [] : Math.max(3, count);
  return { ...common, ticks, ...(range && { domain }) };
}

const figureXs = ({ data, layout }: Figure) => [
  ...data.flatMap(({ x, error_x }) => [...x, ...whiskers(x, error_x)]),
  ...layout.shapes.filter(({ xref }) => xref === "x").map(({ x0 }) => x0),
];
const figureYs = ({ data, layout }: Figure) => [
  ...data.flatMap(({ y, error_y }) => [...y, ...whiskers(y, error_y)]),
  ...layout.shapes.filter(({ yref }) => yref === "y").map(({ y0 }) => y0),
];

const whiskers = (at: readonly (number | null)[], bars?: ErrorBars) =>
  bars ? at.flatMap((value, i) => [value! - (bars.arrayminus[i] ?? 0), value! + (bars.array[i] ?? 0)]) : [];

/** An axis's range: its own, or that of the values that it can show. */
function extent(values: readonly (number | null)[], { type, range }: Axis): [number, number] {
  if (!range) {
    const [low, high] = extentOf(values, type === "log");
    // Padding, so that dots at the edge are not cut.
    return type === "log" ? [low * (low / high) ** 0.012, high * (high / low) ** 0.012] : [low, high];
  }
  return type === "log" ? [10 ** range[0], 10 ** range[1]] : range;
}

function marks(trace: Trace, clip: boolean): Plot.Markish[] {
  const { x, y, mode, line, opacity, fill, fillcolor } = trace;
  const points = x.map((value, i) => ({ x: value, y: y[i] ?? Number.NaN }));
  const at = { x: "x", y: "y", clip: clip || null } as const;
  if (fill) return [Plot.line(points, { ...at, fill: line.color, fillOpacity: opacityOf(fillcolor), stroke: "none" })];
  const style = { stroke: line.color, strokeWidth: line.width, strokeOpacity: opacity, ...dashes[line.dash] };
  const drawn: Plot.Markish[] = whiskerMarks(trace, clip);
  if (mode.startsWith("lines")) drawn.push(Plot.line(points, { ...at, ...style }));
  if (mode.includes("markers")) drawn.push(dots(trace, points, clip));
  return drawn;
}

function dots({ marker, opacity }: Trace, points: { x: number; y: number }[], clip: boolean) {
  const { color, size, symbol = "circle" } = marker;
  const at = { x: "x", y: "y", r: (5 / 12) * size, clip: clip || null, opacity } as const;
  if (symbol === "circle-open") return Plot.dot(points, { ...at, stroke: color, strokeWidth: 1.5, fill: "white" });
  if (symbol === "x") return Plot.dot(points, { ...at, symbol: "times", stroke: color, strokeWidth: 2 });
  return Plot.dot(points, { ...at, symbol, fill: color });
}

function whiskerMarks({ x, y, error_x, error_y, line, opacity }: Trace, clip: boolean): Plot.Markish[] {
  const bars = (at: readonly (number | null)[], { array, arrayminus }: ErrorBars) =>
    at.flatMap((value, i) => {
      const known = value !== null && array[i] != null && arrayminus[i] != null;
      return known ? [{ x: x[i]!, y: y[i]!, low: value - arrayminus[i]!, high: value + array[i]! }] : [];
    });
  const style = { stroke: line.color, strokeWidth: 1.5, strokeOpacity: opacity, clip: clip || null } as const;
  return [
    ...(error_x ? [Plot.ruleY(bars(x, error_x), { y: "y", x1: "low", x2: "high", ...style })] : []),
    ...(error_y ? [Plot.ruleX(bars(y, error_y), { x: "x", y1: "low", y2: "high", ...style })] : []),
  ];
}

/** The opacity in #rrggbbaa. */
const opacityOf = (color = "#000000ff") => Number.parseInt(color.slice(7, 9) || "ff", 16) / 255;

const dashes: Record<Dash, Plot.MarkOptions> = {
  solid: {},
  dot: { strokeDasharray: "1 4", strokeLinecap: "round" },
  dash: { strokeDasharray: "6 4" },
};

/**
 * An `<img>` with the picture inside, for notebooks: GitHub shows it but may ignore an SVG output. Its alternative text
 * is the picture's description, or else its label.
 */
export function svgImage(svg: string, words?: string): string {
  // The document's own words are already escaped.
  const own = /<desc>([^<]*)<\/desc>/.exec(svg)?.[1] ?? /aria-label="([^"]*)"/.exec(svg)?.[1] ?? "chart";
  const alt = words === undefined ? own : escapeHtml(words);
  return `<img src="data:image/svg+xml;base64,${Buffer.from(svg).toString("base64")}" alt="${alt}">`;
}
