/**
 * Draws figures as static SVG with Observable Plot, each line labelled at its end: for notebooks, and for pages that
 * run no scripts (GitHub, print). It needs no browser. The figure is its only input, so that the picture and the
 * interactive chart agree. Shown in notebooks/01-train and 08-scaling-laws.
 */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { type Axis, type Dash, type ErrorBars, type Figure, grey, type Shape, type Trace } from "./figure.js";
import { escapeHtml } from "./html-page.js";
import { extentOf } from "./log-ticks.js";

/** Size of a static picture, in pixels. */
export interface SvgSize {
  readonly width?: number;
  readonly height?: number;
}

const marginBottom = 46;
const marginTop = 44;

/** The figure as a static SVG document on white, each line labelled at its end. Needs no browser. Default 720 × 400. */
export function toSvg(figure: Figure, { width = 720, height = 400 }: SvgSize = {}): string {
  const across = figure.layout.shapes.filter(({ xref }) => xref === "paper");
  const marginRight = roomAtRight(figure, across, width);
  const right = width - marginRight;
  const plot = drawPlot(figure, { width, height, marginRight, marginBottom });
  const pixelOf =
    (which: "x" | "y", { type }: Axis) =>
    (value: number) =>
      plot.scale(which)!.apply(type === "log" ? Math.log10(value) : value) as number;
  const place = { x: pixelOf("x", figure.layout.xaxis), y: pixelOf("y", figure.layout.yaxis) };
  // Lines that end at the edge are labelled there, with overlapping labels moved apart; others are labelled at their
  // end.
  const atEdge = ({ showlegend, x, y, text }: Trace) =>
    showlegend !== false || (text && place.x(x[lastOf(y)]!) > right - 8);
  const inside = figure.data.filter((trace) => trace.text && !atEdge(trace));
  const ends = labels(endsOf(figure.data.filter(atEdge), across, place.y), right, height - marginBottom);
  const within = inside.map((trace) => insideLabel(trace, place)).join("");
  const title = escapeHtml(figure.layout.title.text);
  const heading = `<text x="16" y="24" text-anchor="start" font-size="15" font-weight="600">${title}</text>`;
  // Edited as text, since linkedom's setters write HTML, which is not always valid XML.
  return (plot as unknown as { outerHTML: string }).outerHTML
    .replace(/^<svg /, () => `<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="${title}" `)
    .replace(/<\/svg>$/, () => `${heading}${within}${ends}</svg>`);
}

const letterWidth = 6.6; // px: a wide letter at 12 px

/** Room for the longest label at the edge, and for labels that begin before it and extend beyond it. */
function roomAtRight({ data, layout }: Figure, across: readonly Shape[], width: number): number {
  const names = [...data.filter(({ showlegend }) => showlegend !== false).map(({ name }) => name)];
  const longest = Math.max(0, ...[...names, ...across.map(({ label }) => label.text)].map((name) => name.length));
  const [low, high] = extent(figureXs({ data, layout }), layout.xaxis);
  const scale = layout.xaxis.type === "log" ? Math.log : (value: number) => value;
  const over = data.map(({ text, name, x, y }) => {
    const share = (scale(x[lastOf(y)] ?? low) - scale(low)) / (scale(high) - scale(low) || 1);
    return text ? 24 + letterWidth * name.length - (1 - share) * 0.7 * width : 0;
  });
  return Math.min(Math.max(24 + letterWidth * longest, ...over), width / 2);
}

const lastOf = (y: readonly (number | null)[]) => y.findLastIndex((value) => value !== null);

function insideLabel(
  { name, x, y, line, textposition }: Trace,
  place: Record<"x" | "y", (value: number) => number>,
): string {
  const last = lastOf(y);
  if (last < 0) return "";
  const [left, top] = [place.x(x[last]!), place.y(y[last]!)];
  const [dx, dy] = textposition === "top right" ? [2, -8] : textposition === "bottom right" ? [4, 14] : [8, 0];
  const at = `x="${(left + dx).toFixed(1)}" y="${(top + dy).toFixed(1)}" dy="0.32em" text-anchor="start"`;
  return `<text ${at} fill="${line.color}" stroke="white" stroke-width="3" paint-order="stroke">${escapeHtml(name)}</text>`;
}

function drawPlot(
  { data, layout }: Figure,
  size: { width: number; height: number; marginRight: number; marginBottom: number },
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
    marginLeft: layout.yaxis.showticklabels === false ? 24 : 62,
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

interface Label {
  text: string;
  color: string;
  /** Pixel at which the line ends, and position of the label. */
  end: number;
  at: number;
  /** For points without a line: a dot before the name instead of a leader line. */
  dot?: boolean;
}

/** Labels of lines at their ends, and of dots in a list at the top. */
function endsOf(data: readonly Trace[], shapes: readonly Shape[], toPixel: (y: number) => number): Label[] {
  const dotted = data.filter(({ mode }) => mode === "markers");
  const ends = data.flatMap((trace): Label[] => {
    const { name, y, line } = trace;
    const last = y[lastOf(y)];
    if (last == null) return [];
    const listed = dotted.indexOf(trace);
    const end = listed >= 0 ? marginTop + gap * listed : toPixel(last);
    return [{ text: name, color: line.color, end, at: end, dot: listed >= 0 }];
  });
  const lines = shapes.map(({ label, y0 }) => ({
    text: label.text,
    color: "#5f6770",
    end: toPixel(y0),
    at: toPixel(y0),
  }));
  return [...ends, ...lines];
}

const gap = 15;

/** Labels right of the plot, moved apart where they would overlap, each with a leader line to its end. */
function labels(ends: Label[], right: number, bottom: number): string {
  ends.sort((a, b) => a.end - b.end);
  for (let i = 1; i < ends.length; i++) ends[i]!.at = Math.max(ends[i]!.at, ends[i - 1]!.at + gap);
  let limit = bottom;
  for (const label of ends.toReversed()) {
    label.at = Math.min(label.at, limit);
    limit = label.at - gap;
  }
  const one = ({ text, color, end, at, dot }: Label) =>
    (dot
      ? `<circle cx="${right + 7}" cy="${at.toFixed(1)}" r="3.5" fill="${color}"/>`
      : `<path d="M${right},${end.toFixed(1)}L${right + 10},${at.toFixed(1)}" stroke="${color}" fill="none" stroke-opacity="0.6"/>`) +
    `<text x="${right + 14}" y="${at.toFixed(1)}" dy="0.32em" text-anchor="start" fill="${color}">${escapeHtml(text)}</text>`;
  return ends.map(one).join("");
}

/** An `<img>` with the picture inside, for notebooks: GitHub shows it but may ignore an SVG output. */
export function svgImage(svg: string): string {
  const label = /aria-label="([^"]*)"/.exec(svg)?.[1] ?? "chart"; // the document's own label, already escaped
  return `<img src="data:image/svg+xml;base64,${Buffer.from(svg).toString("base64")}" alt="${label}">`;
}
