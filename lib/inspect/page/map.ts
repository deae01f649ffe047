/** A matrix with words in its cells and details of the chosen one: a logit lens, activation patching. */

import { useState } from "preact/hooks";
import type { Kind } from "./kind.js";
import { type Element, h } from "./parts/element.js";
import { type Cell, Matrix, type MatrixProps } from "./parts/matrix.js";
import { open, type Packed, percent, shortNumber } from "./parts/numbers.js";
import { scaleOf } from "./parts/scale.js";
import { stack } from "./parts/stack.js";
import { Readout } from "./parts/widgets.js";

export interface MapData {
  readonly title: string;
  readonly rowTitle: string;
  readonly columnTitle: string;
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  /** [rows, columns] */
  readonly values: Packed;
  /** What the values are. */
  readonly unit: string;
  readonly signed: boolean;
  /** Values are shares, written as per cent, and the colours end at 1. */
  readonly shares: boolean;
  /** A word for each cell, row by row. */
  readonly words?: readonly string[];
  /** A sentence for each cell, row by row, shown when it is chosen. */
  readonly details?: readonly string[];
}

function matrix(data: MapData, more: Pick<MatrixProps, "cursor" | "onCursor"> = {}): Element {
  const { rows, columns, words, unit, signed, shares } = data;
  const values = open(data.values).read(0, rows.length * columns.length);
  const underText = words !== undefined;
  const scale = shares && !signed ? { label: unit, high: 1, underText } : scaleOf(unit, values, { signed, underText });
  return Matrix({
    ...{ label: data.title, values, rows, columns, rowTitle: data.rowTitle, columnTitle: data.columnTitle },
    ...{ scale, shares },
    ...(words && {
      words: ({ row, column }: Cell) => words[row * columns.length + column] ?? "",
      ...{ cellWidth: Math.max(24, Math.min(72, 900 / columns.length)), cellHeight: 24 },
    }),
    ...more,
  });
}

/** What is chosen first: the largest value by size; of predictions, the model's last one. */
function firstCell({ rows, columns, values, details }: MapData): Cell {
  if (details) return { row: 0, column: columns.length - 1 };
  const sizes = Array.from(open(values).read(0, rows.length * columns.length), Math.abs);
  const index = sizes.reduce((best, size, i) => (size > sizes[best]! ? i : best), 0);
  return { row: Math.floor(index / columns.length), column: index % columns.length };
}

function View({ data }: { data: MapData }): Element {
  const [chosen, setCell] = useState<Cell>(() => firstCell(data));
  const { columns, rows, shares, details, unit } = data;
  const cell = { row: Math.min(chosen.row, rows.length - 1), column: Math.min(chosen.column, columns.length - 1) };
  const index = cell.row * columns.length + cell.column;
  const value = open(data.values).read(index, 1)[0]!;
  const place = `${rows[cell.row]}, ${columns[cell.column]} (${cell.column})`;
  return h(
    "div",
    {},
    matrix(data, { cursor: cell, onCursor: setCell }),
    h(
      Readout,
      {},
      `${place}: ${unit} ${(shares ? percent : shortNumber)(value)}${details ? `. ${details[index]}` : ""}`,
    ),
  );
}

function text({ title, rows, columns, values, words, shares }: MapData): string {
  const read = open(values).read(0, rows.length * columns.length);
  const high = read.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const all = read.map((x) => (Math.abs(x) < 1e-6 * high ? 0 : x)); // what rounding leaves of a 0
  const width = Math.max(...rows.map((row) => [...row].length));
  const shown = columns.slice(0, 12);
  const lines = rows.map((row, r) => {
    const cells = shown.map((_, c) => {
      const index = r * columns.length + c;
      return (words?.[index] ?? (shares ? percent : shortNumber)(all[index]!)).padEnd(8);
    });
    return `  ${row.padEnd(width)}  ${cells.join(" ")}`;
  });
  const head = `  ${" ".repeat(width)}  ${shown.map((label) => label.padEnd(8)).join(" ")}`;
  return [title, head, ...lines].map((line) => line.trimEnd()).join("\n");
}

export const map: Kind<MapData> = { View, picture: (data) => stack(data.title, [matrix(data)]), text };
