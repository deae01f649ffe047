/** What there is to see in a figure, in words: the alternative text of its picture. */
import type { Axis, Figure, Trace } from "./figure.js";
import { powerTick } from "./log-ticks.js";

/** Lines that are described one by one; of more, only the names are given. */
const mostDescribed = 8;

/**
 * Title, axes, and for each line where it begins and ends and, if it is not an end, its lowest point.
 * @example figureWords(lossCurve(records)) // "Loss while training. loss (nats per token) against step. training: from 4.5 at 0 to …"
 */
export function figureWords({ data, layout }: Figure): string {
  const named = data.filter(({ fill, y }) => fill === undefined && y.some((value) => value !== null));
  const described = named.slice(0, mostDescribed).map(lineWords);
  const rest = named.length - described.length;
  const references = layout.shapes.map(({ label, xref, x0, y0 }) =>
    xref === "paper" ? `${label.text}: a line at ${shown(y0)}` : `${label.text}: at ${shown(x0)}`,
  );
  const parts = [...described, ...(rest > 0 ? [`and ${rest} more`] : []), ...references];
  return `${layout.title.text}. ${axesWords(layout.xaxis, layout.yaxis)}${parts.length > 0 ? `. ${parts.join("; ")}` : ""}.`;
}

function axesWords(x: Axis, y: Axis): string {
  const scale = ({ type }: Axis) => (type === "log" ? ", logarithmic" : "");
  return y.title.text === ""
    ? `${x.title.text}${scale(x)}`
    : `${y.title.text}${scale(y)} against ${x.title.text}${scale(x)}`;
}

function lineWords({ name, mode, x, y }: Trace): string {
  const points = x.flatMap((at, i) => (y[i] == null ? [] : [{ at, value: y[i] }]));
  const [first, last] = [points[0]!, points.at(-1)!];
  const at = (point: typeof first) => `${shown(point.value)} at ${shown(point.at)}`;
  if (points.length === 1) return `${name}: ${at(first)}`;
  const low = points.reduce((lowest, point) => (point.value < lowest.value ? point : lowest));
  const high = points.reduce((highest, point) => (point.value > highest.value ? point : highest));
  if (mode === "markers")
    return `${name}: ${points.length} points between ${shown(low.value)} and ${shown(high.value)}`;
  const inside = low.value < Math.min(first.value, last.value) ? `, lowest ${at(low)}` : "";
  return `${name}: from ${at(first)} to ${at(last)}${inside}`;
}

function shown(value: number): string {
  if (value === 0) return "0";
  return value < 0 ? `−${shown(-value)}` : powerTick(Number(value.toPrecision(3)));
}
