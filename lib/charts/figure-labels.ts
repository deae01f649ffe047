/**
 * Where the names of a figure's lines stand in its static picture: in a column at the right edge, or beside the last
 * point of a line that ends inside the plot. Names keep clear of the axis, of the picture's edges and of one another.
 */
import type { Figure, Shape, Trace } from "./figure.js";
import { escapeHtml } from "./html-page.js";

/** The plot inside the picture, in pixels. */
export interface PlotArea {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
  /** Width of the whole picture. */
  readonly width: number;
}

/** The pixel of a value on an axis. */
export type Place = Readonly<Record<"x" | "y", (value: number) => number>>;

/** Height of a line of names, and width of a wide letter, at 12 px. */
const lineHeight = 15;
const letterWidth = 6.6;

/** The room that names need right of the plot: for the longest at the edge, and for those that reach beyond it. */
export function roomAtRight({ data, layout }: Figure, across: readonly Shape[], share: (x: number) => number): number {
  const names = [...data.filter(({ showlegend }) => showlegend !== false).map(({ name }) => name)];
  const longest = Math.max(0, ...[...names, ...across.map(({ label }) => label.text)].map((name) => name.length));
  const upright = layout.shapes.filter(({ xref }) => xref === "x");
  const over = [
    ...data.flatMap(({ text, name, x, y }) => (text ? [after(name, share(x[lastOf(y)] ?? Number.NaN))] : [])),
    ...upright.map(({ label, x0 }) => after(label.text, share(x0)) - (letterWidth * label.text.length) / 2),
  ];
  return Math.max(24 + letterWidth * longest, ...over.filter(Number.isFinite));
}

/** How far a name that begins at this share of the plot's width reaches beyond it; the plot is at least 450 px wide. */
const after = (name: string, share: number) => 24 + letterWidth * name.length - (1 - share) * 450;

/** The last point of a line that has a value. */
export const lastOf = (y: readonly (number | null)[]) => y.findLastIndex((value) => value !== null);

/** The names of all lines, as SVG. */
export function drawNames({ data }: Figure, across: readonly Shape[], place: Place, area: PlotArea): string {
  const isAtEdge = ({ showlegend, x, y, text }: Trace) =>
    showlegend !== false || (text && place.x(x[lastOf(y)]!) > area.right - 8);
  const column = columnOf(endsOf(data.filter(isAtEdge), across, place.y, area), area);
  const taken = column.map(({ text, at }): Box => boxOf(text, area.right + 14, at));
  const inside = data.filter((trace) => trace.text && !isAtEdge(trace));
  const dots = data.flatMap(({ x, y }) =>
    x.flatMap((at, i): Dot[] => (y[i] == null ? [] : [[place.x(at), place.y(y[i])]])),
  );
  return `${inside.map((trace) => nameInside(trace, dots, place, area, taken)).join("")}${column.map((end) => atEdge(end, area)).join("")}`;
}

interface Box {
  readonly x: number;
  /** Its middle. */
  readonly y: number;
  readonly width: number;
}

const boxOf = (text: string, x: number, y: number): Box => ({ x, y, width: letterWidth * text.length });

/**
 * Beside, above or below the last point: of the places that are free, the one that covers the fewest points and is
 * nearest to the wanted one; a line of text farther away counts as much as a point.
 */
function nameInside(trace: Trace, dots: readonly Dot[], place: Place, area: PlotArea, taken: Box[]): string {
  const { name, x, y, line, textposition } = trace;
  const last = lastOf(y);
  if (last < 0) return "";
  const [left, top] = [place.x(x[last]!), place.y(y[last]!)];
  const steps = { "middle right": [8, 0], "top right": [2, -8], "bottom right": [4, 14] } as const;
  const aside = [0, -14, 14, -28, 28, -42, 42, -56, 56].map((dy) => [8, dy] as const);
  const boxes = [steps[textposition ?? "middle right"], ...aside].map(([dx, dy]) => boxOf(name, left + dx, top + dy));
  const wanted = boxes[0]!;
  const cost = (box: Box) => dots.filter((dot) => holds(box, dot)).length + Math.abs(box.y - wanted.y) / lineHeight;
  const free = boxes.filter((box) => isFree(box, area, taken));
  const least = Math.min(...free.map(cost));
  const box = free.find((one) => cost(one) === least) ?? wanted;
  taken.push(box);
  const at = `x="${box.x.toFixed(1)}" y="${box.y.toFixed(1)}" dy="0.32em" text-anchor="start"`;
  return `<text ${at} fill="${line.color}" stroke="white" stroke-width="3" paint-order="stroke">${escapeHtml(name)}</text>`;
}

type Dot = readonly [x: number, y: number];

const holds = ({ x, y, width }: Box, [left, top]: Dot) =>
  left > x && left < x + width && Math.abs(top - y) < lineHeight / 2;

function isFree({ x, y, width }: Box, { top, bottom, width: whole }: PlotArea, taken: readonly Box[]): boolean {
  if (y - lineHeight / 2 < top - lineHeight || y + lineHeight / 2 > bottom || x + width > whole) return false;
  return taken.every(
    (other) => Math.abs(other.y - y) >= 0.9 * lineHeight || other.x > x + width + 4 || x > other.x + other.width + 4,
  );
}

interface End {
  readonly text: string;
  readonly color: string;
  /** Pixel at which the line ends, and position of the name. */
  readonly end: number;
  at: number;
  /** For points without a line: a dot before the name instead of a leader line. */
  readonly dot: boolean;
}

/** Names of lines at their ends, and of dots in a list at the top. */
function endsOf(data: readonly Trace[], shapes: readonly Shape[], toPixel: Place["y"], { top }: PlotArea): End[] {
  const dotted = data.filter(({ mode }) => mode === "markers");
  const ends = data.flatMap((trace): End[] => {
    const last = trace.y[lastOf(trace.y)];
    if (last == null) return [];
    const listed = dotted.indexOf(trace);
    const end = listed >= 0 ? top + lineHeight * listed : toPixel(last);
    return [{ text: trace.name, color: trace.line.color, end, at: end, dot: listed >= 0 }];
  });
  const lines = shapes.map(({ label, y0 }) => {
    return { text: label.text, color: "#5f6770", end: toPixel(y0), at: toPixel(y0), dot: false };
  });
  return [...ends, ...lines];
}

/** Moves names apart where they would overlap. */
function columnOf(ends: readonly End[], { bottom }: PlotArea): End[] {
  const sorted = [...ends].sort((a, b) => a.end - b.end);
  for (let i = 1; i < sorted.length; i++) sorted[i]!.at = Math.max(sorted[i]!.at, sorted[i - 1]!.at + lineHeight);
  let limit = bottom;
  for (const end of sorted.toReversed()) {
    end.at = Math.min(end.at, limit);
    limit = end.at - lineHeight;
  }
  return sorted;
}

/** A name at the edge, with a leader line to the end of its line. */
function atEdge({ text, color, end, at, dot }: End, { right }: PlotArea): string {
  const mark = dot
    ? `<circle cx="${right + 7}" cy="${at.toFixed(1)}" r="3.5" fill="${color}"/>`
    : `<path d="M${right},${end.toFixed(1)}L${right + 10},${at.toFixed(1)}" stroke="${color}" fill="none" stroke-opacity="0.6"/>`;
  return `${mark}<text x="${right + 14}" y="${at.toFixed(1)}" dy="0.32em" text-anchor="start" fill="${color}">${escapeHtml(text)}</text>`;
}
