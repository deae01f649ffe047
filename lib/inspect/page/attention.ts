/** Attention of all heads as small pictures and of one head in full; a token's weights in both directions. */

import { useMemo, useState } from "preact/hooks";
import type { Kind } from "./kind.js";
import { type Element, h } from "./parts/element.js";
import { type Cell, Matrix } from "./parts/matrix.js";
import { numbered, open, type Packed, percent, shownToken } from "./parts/numbers.js";
import { picture, type Scale, scaleOf } from "./parts/scale.js";
import { stack } from "./parts/stack.js";
import { TokenText } from "./parts/text.js";
import { Choice, Controls, Readout } from "./parts/widgets.js";

export interface AttentionData {
  readonly title: string;
  readonly tokens: readonly string[];
  /** Numbers of the layers that are shown. */
  readonly layers: readonly number[];
  readonly heads: number;
  /** [L, H, T, T]; or queries and keys, [L, H, T, D], from which the head that is asked for is computed. */
  readonly weights?: Packed;
  readonly queries?: Packed;
  readonly keys?: Packed;
  /** uint8 [L, H, S, S], small pictures of every head. */
  readonly thumbnails: Packed;
  /** The layer (its place in `layers`) and head that are shown first. */
  readonly first: readonly [layer: number, head: number];
}

/** The weights of one head, [T, T]: `softmax(q kᵀ / √D)` over the positions up to each. */
export function headWeights(data: AttentionData, layer: number, head: number): Float32Array {
  const T = data.tokens.length;
  const index = layer * data.heads + head;
  if (data.weights) return open(data.weights).read(index * T * T, T * T);
  const { queries, keys } = data;
  if (!queries || !keys) throw new Error("Cannot show attention: there are neither weights nor queries and keys.");
  const D = queries.shape[3]!;
  const [q, k] = [queries, keys].map((packed) => open(packed).read(index * T * D, T * D)) as [
    Float32Array,
    Float32Array,
  ];
  const weights = new Float32Array(T * T);
  const row = new Float64Array(T);
  for (let t = 0; t < T; t++) {
    let highest = -Infinity;
    for (let s = 0; s <= t; s++) {
      let score = 0;
      for (let d = 0; d < D; d++) score += q[t * D + d]! * k[s * D + d]!;
      row[s] = score / Math.sqrt(D);
      highest = Math.max(highest, row[s]!);
    }
    let sum = 0;
    for (let s = 0; s <= t; s++) sum += row[s] = Math.exp(row[s]! - highest);
    for (let s = 0; s <= t; s++) weights[t * T + s] = row[s]! / sum;
  }
  return weights;
}

const weightScale: Scale = { label: "attention weight", high: 1, root: true };

function nameOf({ layers }: AttentionData, layer: number, head: number): string {
  return `layer ${layers[layer]}, head ${head}`;
}

function HeadMatrix(props: {
  data: AttentionData;
  layer: number;
  head: number;
  weights: Float32Array;
  cursor?: Cell | undefined;
  onCursor?: (cell: Cell) => void;
}): Element {
  const { data, layer, head, weights, cursor, onCursor } = props;
  const labels = data.tokens.map(shownToken);
  return Matrix({
    label: `Attention weights of ${nameOf(data, layer, head)}: a row per position, a column per position that it attends to`,
    values: weights,
    ...{ rows: labels, columns: labels, rowTitle: "position", columnTitle: "attends to" },
    ...{ scale: weightScale, shares: true, cursor },
    ...(onCursor && { onCursor }),
  });
}

/** Weights of a token's row (what it attends to) or of its column (what attends to it). */
export function direction(weights: Float32Array, token: number, which: "to" | "from"): Float32Array {
  const T = Math.sqrt(weights.length);
  return Float32Array.from({ length: T }, (_, other) => {
    if (which === "to") return other > token ? Number.NaN : weights[token * T + other]!;
    return other < token ? Number.NaN : weights[other * T + token]!;
  });
}

function View({ data }: { data: AttentionData }): Element {
  const [[layer, head], setHead] = useState<readonly [number, number]>(data.first);
  const { tokens } = data;
  const T = tokens.length;
  const [chosen, setCell] = useState<Cell>(() => ({
    row: T - 1,
    column: mostAttended(headWeights(data, layer, head), T - 1, T),
  }));
  // The text of a live page may have become shorter.
  const cell = { row: Math.min(chosen.row, T - 1), column: Math.min(chosen.column, T - 1) };
  const weights = useMemo(() => headWeights(data, layer, head), [data, layer, head]);
  const choose = (nextLayer: number, nextHead: number) => setHead([nextLayer, nextHead]);
  const weight = weights[cell.row * T + cell.column]!;
  const strip = (which: "to" | "from") =>
    h(TokenText, {
      label: which === "to" ? "What the chosen token attends to" : "Which tokens attend to the chosen token",
      tokens,
      values: direction(weights, cell.row, which),
      ...{ scale: { ...weightScale, underText: true }, chosen: cell.row },
      onChoose: (token: number) => setCell({ row: token, column: Math.min(cell.column, token) }),
    });
  return h(
    "div",
    {},
    h(
      Controls,
      {},
      h(Choice, {
        label: "layer",
        options: data.layers.map(String),
        value: layer,
        onValue: (next) => choose(next, head),
      }),
      h(Choice, { label: "head", options: heads(data), value: head, onValue: (next) => choose(layer, next) }),
    ),
    h(
      "div",
      { class: "beside" },
      h(Heads, { data, layer, head, onHead: choose }),
      h(HeadMatrix, { data, layer, head, weights, cursor: cell, onCursor: setCell }),
    ),
    h(
      Readout,
      {},
      cell.column > cell.row
        ? `${place(tokens, cell.row)} cannot attend to ${place(tokens, cell.column)}: it comes later.`
        : `${place(tokens, cell.row)} attends to ${place(tokens, cell.column)}: ${percent(weight)}.`,
    ),
    T <= 256 &&
      h(
        "div",
        { class: "strips" },
        h("p", { class: "name" }, "attends to"),
        strip("to"),
        h("p", { class: "name" }, "is attended to by"),
        strip("from"),
      ),
  );
}

const place = (tokens: readonly string[], index: number) => `${shownToken(tokens[index]!)} (${index})`;
const heads = (data: AttentionData) => Array.from({ length: data.heads }, (_, head) => `${head}`);

/** The position to which a position gives its largest weight. */
function mostAttended(weights: Float32Array, t: number, T: number): number {
  let best = 0;
  for (let s = 1; s <= t; s++) if (weights[t * T + s]! > weights[t * T + best]!) best = s;
  return best;
}

/** A button with a small picture for each head; a row per layer. */
function Heads(props: {
  data: AttentionData;
  layer: number;
  head: number;
  onHead: (layer: number, head: number) => void;
}): Element {
  const { data, layer, head, onHead } = props;
  return h(
    "div",
    {
      class: "heads",
      role: "group",
      "aria-label": "Heads",
      style: `grid-template-columns: repeat(${data.heads}, auto)`,
    },
    data.layers.flatMap((_, l) =>
      heads(data).map((_, one) =>
        h(
          "button",
          {
            ...{ type: "button", "aria-pressed": l === layer && one === head, "aria-label": nameOf(data, l, one) },
            ...{ title: nameOf(data, l, one), onClick: () => onHead(l, one) },
          },
          h("img", { src: thumbnail(data, l, one), alt: "" }),
        ),
      ),
    ),
  );
}

function thumbnail({ thumbnails, heads }: AttentionData, layer: number, head: number): string {
  const S = thumbnails.shape[3]!;
  return picture(open(thumbnails).read((layer * heads + head) * S * S, S * S), S, scaleOf("", [1], { root: true }));
}

/** The small pictures in rows, and the first head in full. */
function still(data: AttentionData): Element {
  const [layer, head] = data.first;
  const matrix = HeadMatrix({ data, layer, head, weights: headWeights(data, layer, head) });
  return stack(data.title, [thumbnails(data), matrix]);
}

function thumbnails(data: AttentionData): Element {
  const [layer, head] = data.first;
  const size = Math.min(64, Math.max(20, 520 / data.heads - 4));
  const width = 16 + data.heads * (size + 4);
  const height = 46 + data.layers.length * (size + 4);
  const note = `rows: layer${data.layers.length > 1 ? "s" : ""} ${data.layers.join(", ")}; columns: ${numbered("head", 0, data.heads - 1)}`;
  return h(
    "svg",
    { viewBox: `0 0 ${Math.max(width, 360)} ${height}`, width },
    h("text", { x: 8, y: 14, class: "label" }, note),
    data.layers.flatMap((_, l) =>
      heads(data).map((_, one) => {
        const at = { x: 8 + one * (size + 4), y: 22 + l * (size + 4), width: size, height: size };
        const chosen = l === layer && one === head ? "chosen" : "frame";
        const href = thumbnail(data, l, one);
        return [h("image", { ...at, href, style: "image-rendering: pixelated" }), h("rect", { ...at, class: chosen })];
      }),
    ),
    h("text", { x: 8, y: height - 6, class: "title" }, `${nameOf(data, layer, head)}:`),
  );
}

/** For each head of the first layers the position that it looks at most. */
function text(data: AttentionData): string {
  const { tokens, layers } = data;
  const T = tokens.length;
  const [layer, head] = data.first;
  const weights = headWeights(data, layer, head);
  const rows = tokens.map((_, t) => {
    const best = mostAttended(weights, t, T);
    return `  ${place(tokens, t)} → ${place(tokens, best)} ${percent(weights[t * T + best]!)}`;
  });
  const more = rows.length > 24 ? [`  … ${rows.length - 24} more positions`] : [];
  const shown = `${numbered("layer", layers[0]!, layers.at(-1)!)}, ${numbered("head", 0, data.heads - 1)}`;
  const title = `${data.title}: ${shown}. The largest weight of each position in ${nameOf(data, layer, head)}:`;
  return [title, ...rows.slice(0, 24), ...more].join("\n");
}

export const attention: Kind<AttentionData> = { View, picture: still, text };
