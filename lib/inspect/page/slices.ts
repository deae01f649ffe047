/** Any array by slices: two of its axes as a matrix, a slider for each of the others. */

import { useState } from "preact/hooks";
import type { Kind } from "./kind.js";
import { type Element, h } from "./parts/element.js";
import { type Cell, Matrix, type MatrixProps } from "./parts/matrix.js";
import { open, type Packed, shortNumber, sizeOf } from "./parts/numbers.js";
import { type Scale, scaleOf } from "./parts/scale.js";
import { stack } from "./parts/stack.js";
import { Choice, Controls, Readout, Slider } from "./parts/widgets.js";

export interface SlicesData {
  readonly title: string;
  /** What the numbers are. */
  readonly unit: string;
  readonly array: Packed;
  readonly axes: readonly string[];
  /** Labels of places along an axis, such as tokens; others are numbered. */
  readonly labels: Readonly<Record<string, readonly string[]>>;
  /** The largest by size, of the whole array, so that every slice has the same colours. */
  readonly high: number;
  readonly signed: boolean;
}

const labelsOf = ({ axes, array, labels }: SlicesData, axis: number): string[] =>
  Array.from({ length: array.shape[axis] ?? 1 }, (_, i) => labels[axes[axis] ?? ""]?.[i] ?? `${i}`);

const scaleFor = ({ unit, high, signed }: SlicesData): Scale => scaleOf(unit, [high], { signed });

/** The numbers with the given places along the other axes, row by row. A single axis is a row. */
export function slice({ array }: SlicesData, shown: readonly [rows: number, columns: number], at: readonly number[]) {
  const { shape } = array;
  const values = open(array).read(0, sizeOf(shape));
  const strides = shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
  const fixed = at.reduce((sum, place, axis) => (shown.includes(axis) ? sum : sum + place * strides[axis]!), 0);
  const [R, C] = shown.map((axis) => shape[axis] ?? 1) as [number, number];
  const step = (axis: number) => strides[axis] ?? 0;
  return Float32Array.from({ length: R * C }, (_, i) => {
    return values[fixed + Math.floor(i / C) * step(shown[0]) + (i % C) * step(shown[1])]!;
  });
}

/** The last two axes; of an array with one axis, rows are an axis that it does not have. */
function lastAxes({ axes }: SlicesData): [number, number] {
  const columns = Math.max(0, axes.length - 1);
  return [axes.length > 1 ? columns - 1 : axes.length, columns];
}

function matrixOf(
  data: SlicesData,
  shown: readonly [number, number],
  at: readonly number[],
  more: Pick<MatrixProps, "cursor" | "onCursor"> = {},
): Element {
  return Matrix({
    ...{ label: `${data.title}, ${data.axes.join(" × ")}`, values: slice(data, shown, at), scale: scaleFor(data) },
    ...{ rows: labelsOf(data, shown[0]), columns: labelsOf(data, shown[1]) },
    ...{ rowTitle: data.axes[shown[0]] ?? "", columnTitle: data.axes[shown[1]] ?? "" },
    ...more,
  });
}

function View({ data }: { data: SlicesData }): Element {
  const [shown, setShown] = useState(() => lastAxes(data));
  const [at, setAt] = useState<readonly number[]>(() => data.axes.map(() => 0));
  const [cell, setCell] = useState<Cell>({ row: 0, column: 0 });
  const { axes } = data;
  const values = slice(data, shown, at);
  const columns = data.array.shape[shown[1]] ?? 1;
  const value = values[cell.row * columns + cell.column];
  const choose = (which: 0 | 1, axis: number) => {
    const next: [number, number] = [...shown];
    if (next[1 - which] === axis) next[1 - which] = shown[which]!;
    next[which] = axis;
    setShown(next);
    setCell({ row: 0, column: 0 });
  };
  const others = axes.map((_, axis) => axis).filter((axis) => !shown.includes(axis) && data.array.shape[axis]! > 1);
  const word = (axis: number, place: number) => `${axes[axis] ?? ""} ${labelsOf(data, axis)[place] ?? ""}`;
  return h(
    "div",
    {},
    axes.length > 2 &&
      h(
        Controls,
        {},
        h(Choice, { label: "rows", options: axes, value: shown[0], onValue: (axis) => choose(0, axis) }),
        h(Choice, { label: "columns", options: axes, value: shown[1], onValue: (axis) => choose(1, axis) }),
        others.map((axis) =>
          h(Slider, {
            ...{ label: axes[axis]!, min: 0, max: data.array.shape[axis]! - 1, step: 1, value: at[axis]! },
            shown: labelsOf(data, axis)[at[axis]!]!,
            onValue: (place) => setAt(at.map((one, other) => (other === axis ? place : one))),
          }),
        ),
      ),
    matrixOf(data, shown, at, { cursor: cell, onCursor: setCell }),
    h(Readout, {}, `${word(shown[0], cell.row)}, ${word(shown[1], cell.column)}: ${shortNumber(value ?? Number.NaN)}`),
  );
}

function text(data: SlicesData): string {
  const { title, axes, array } = data;
  const values = open(array).read(0, sizeOf(array.shape));
  const [low, high] = [values, values].map((all, i) =>
    all.reduce((a, b) => (i === 0 ? Math.min(a, b) : Math.max(a, b)), all[0]!),
  );
  const shape = axes.map((axis, i) => `${axis} = ${array.shape[i]}`).join(", ");
  const shown = Array.from(values.subarray(0, 8), shortNumber).join(", ");
  return `${title} [${shape}]: from ${shortNumber(low!)} to ${shortNumber(high!)}; begins ${shown}${values.length > 8 ? ", …" : ""}`;
}

export const slices: Kind<SlicesData> = {
  View,
  picture: (data) =>
    stack(data.title, [
      matrixOf(
        data,
        lastAxes(data),
        data.axes.map(() => 0),
      ),
    ]),
  text,
};
