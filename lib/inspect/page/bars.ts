/** Named numbers as bars, to both sides of zero if some are negative: attribution, probabilities. */

import { useState } from "preact/hooks";
import type { Kind } from "./kind.js";
import { type Element, h } from "./parts/element.js";
import { shortNumber } from "./parts/numbers.js";
import { cssColor } from "./parts/scale.js";
import { Choice, Controls } from "./parts/widgets.js";

export interface Bar {
  readonly label: string;
  readonly value: number;
  /** Drawn with an outline. */
  readonly marked?: boolean;
}

export interface BarsProps {
  /** Names the picture; drawn in a still one. */
  readonly title: string;
  readonly still?: boolean;
  readonly rows: readonly Bar[];
  readonly axis: string;
  readonly write?: (value: number) => string;
}

const font = 12;
const character = 0.602 * font;
const line = 22;

/** The bars as an SVG element. */
export function bars({ title, rows, axis, write = shortNumber, still = false }: BarsProps): Element {
  const left = 20 + Math.min(220, Math.max(...rows.map(({ label }) => [...label].length), 4) * character);
  const [low, high] = [Math.min(0, ...rows.map((row) => row.value)), Math.max(0, ...rows.map((row) => row.value))];
  const length = 420;
  const at = (value: number) => left + 60 * Number(low < 0) + ((value - low) / (high - low || 1)) * length;
  const width = left + length + 130;
  const top = still ? 34 : 8;
  const height = top + 24 + rows.length * line;
  return h(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "img",
      "aria-label": title,
      style: `--w: ${width}`,
    },
    still && h("text", { x: 8, y: 18, class: "heading" }, title),
    rows.map(({ label, value, marked }, index) => {
      const y = top + index * line;
      const [from, to] = [Math.min(at(0), at(value)), Math.max(at(0), at(value))];
      const fill = cssColor(value < 0 ? -1 : 1, { label: "", high: 1, signed: true });
      const number = value < 0 ? { x: from - 5, "text-anchor": "end" } : { x: to + 5 };
      return h(
        "g",
        {},
        h("text", { x: left - 8, y: y + 13, class: "label", "text-anchor": "end" }, cut(label)),
        h("rect", {
          x: from,
          y: y + 2,
          width: Math.max(0.5, to - from),
          height: line - 6,
          fill,
          ...(marked && { class: "chosen" }), // an attribute without a value is no XML, and no picture is shown
        }),
        h("text", { ...number, y: y + 13, class: "label" }, write(value)),
      );
    }),
    h("line", { x1: at(0), x2: at(0), y1: top - 4, y2: height - 22, class: "rule" }),
    h("text", { x: at(0), y: height - 6, class: "title" }, axis),
  );
}

const cut = (label: string) => ([...label].length > 30 ? `${[...label].slice(0, 29).join("")}…` : label);

export interface BarsData {
  readonly title: string;
  readonly axis: string;
  readonly rows: readonly { readonly label: string; readonly value: number }[];
  /** What the bars add up to, and its name. */
  readonly sum?: { readonly label: string; readonly value: number };
}

const orders = ["as in the model", "largest first", "largest by size first"];

function sorted(rows: BarsData["rows"], order: number): BarsData["rows"] {
  if (order === 0) return rows;
  const key = (value: number) => (order === 1 ? value : Math.abs(value));
  return [...rows].sort((a, b) => key(b.value) - key(a.value));
}

const withSum = ({ sum }: BarsData, rows: BarsData["rows"]): Bar[] => [
  ...rows,
  ...(sum ? [{ ...sum, marked: true }] : []),
];

function View({ data }: { data: BarsData }): Element {
  const [order, setOrder] = useState(0);
  const { title, axis, rows } = data;
  return h(
    "div",
    {},
    h(Controls, {}, h(Choice, { label: "order", options: orders, value: order, onValue: setOrder })),
    bars({ title, axis, rows: withSum(data, sorted(rows, order)) }),
  );
}

function text(data: BarsData): string {
  const rows = withSum(data, data.rows);
  const width = Math.max(...rows.map(({ label }) => [...label].length));
  const lines = rows.map(({ label, value }) => `  ${label.padEnd(width)}  ${shortNumber(value)}`);
  return [`${data.title} (${data.axis})`, ...lines].join("\n");
}

export const namedBars: Kind<BarsData> = {
  View,
  picture: (data) => bars({ title: data.title, axis: data.axis, rows: withSum(data, data.rows), still: true }),
  text,
};
