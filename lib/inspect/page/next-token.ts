/**
 * The probabilities of the next token, and what temperature, top-k, top-p and the random number u make of them. The same
 * arithmetic as lib/sample/next-token.ts, for numbers in a page.
 */

import { useState } from "preact/hooks";
import { likeliest } from "../probabilities.js";
import { bars } from "./bars.js";
import type { Kind } from "./kind.js";
import { type Element, h } from "./parts/element.js";
import { open, type Packed, percent, shownToken } from "./parts/numbers.js";
import { Controls, Readout, Slider } from "./parts/widgets.js";

export interface NextTokenData {
  readonly title: string;
  /** float32 [V] */
  readonly logits: Packed;
  /** The texts of the likeliest tokens, by id. */
  readonly tokens: Readonly<Record<number, string>>;
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
}

/** How the probabilities for drawing are made from the logits; topK 0 and topP 1 leave all tokens. */
export interface Drawing {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
}

/** The probabilities for drawing: softmax(logits / temperature) over the tokens that may be drawn, 0 elsewhere. */
export function drawingProbabilities(logits: ArrayLike<number>, { temperature, topK, topP }: Drawing): Float64Array {
  let highest = -Infinity;
  for (let i = 0; i < logits.length; i++) highest = Math.max(highest, logits[i]!);
  const scaled = Float64Array.from(logits, (logit) => (logit - highest) / temperature);
  const sorted = scaled.slice().sort().reverse();
  const kept = topK > 0 && topK < sorted.length ? sorted.subarray(0, topK) : sorted;
  let least = kept[kept.length - 1]!;
  if (topP < 1) {
    let total = 0;
    for (const x of kept) total += Math.exp(x);
    let before = 0;
    for (const x of kept) {
      if (before > 0 && before >= topP) break;
      least = x;
      before += Math.exp(x) / total;
    }
  }
  let sum = 0;
  const weights = scaled.map((x) => (x < least ? 0 : Math.exp(x)));
  for (const weight of weights) sum += weight;
  return weights.map((weight) => weight / sum);
}

/** The token at which the cumulative probability passes u: inverse transform sampling. */
export function tokenAt(probabilities: Float64Array, u: number): number {
  let cumulative = 0;
  let last = 0;
  for (const [token, probability] of probabilities.entries()) {
    if (probability === 0) continue;
    cumulative += probability;
    last = token;
    if (cumulative > u) return token;
  }
  return last;
}

const rows = 15;

const name = ({ tokens }: NextTokenData, id: number) =>
  tokens[id] === undefined ? `id ${id}` : shownToken(tokens[id]);

function chart(data: NextTokenData, probabilities: Float64Array, more: { marked?: number; still?: boolean }): Element {
  const ids = likeliest(probabilities, rows);
  return bars({
    title: data.title,
    rows: ids.map((id) => ({ label: name(data, id), value: probabilities[id]!, marked: id === more.marked })),
    still: more.still ?? false,
    write: percent,
    axis: "probability",
  });
}

const logitsOf = ({ logits }: NextTokenData) => open(logits).read(0, logits.shape[0]!);

function View({ data }: { data: NextTokenData }): Element {
  const [temperature, setTemperature] = useState(data.temperature);
  const [topK, setTopK] = useState(data.topK);
  const [topP, setTopP] = useState(data.topP);
  const [u, setU] = useState(0.5);
  const V = data.logits.shape[0]!;
  const probabilities = drawingProbabilities(logitsOf(data), { temperature, topK, topP });
  const drawn = tokenAt(probabilities, u);
  const possible = probabilities.filter((p) => p > 0).length;
  const entropy = probabilities.reduce((sum, p) => (p > 0 ? sum - p * Math.log2(p) : sum), 0);
  return h(
    "div",
    {},
    h(
      Controls,
      {},
      h(Slider, {
        ...{ label: "temperature", min: 0.1, max: 2, step: 0.05 },
        value: temperature,
        onValue: setTemperature,
      }),
      h(Slider, {
        ...{ label: "top k", min: 0, max: Math.min(V, 200), step: 1, value: topK, onValue: setTopK },
        shown: topK === 0 ? "all" : `${topK}`,
      }),
      h(Slider, { ...{ label: "top p", min: 0.05, max: 1, step: 0.01 }, value: topP, onValue: setTopP }),
      h(Slider, { ...{ label: "u", min: 0, max: 0.999, step: 0.001 }, value: u, onValue: setU }),
    ),
    chart(data, probabilities, { marked: drawn }),
    h(
      Readout,
      {},
      `${possible} of ${V} tokens can be drawn; entropy ${entropy.toFixed(2)} bits. u = ${u.toFixed(3)} draws ${name(data, drawn)} (${percent(probabilities[drawn]!)}).`,
    ),
  );
}

const probabilitiesOf = (data: NextTokenData) => drawingProbabilities(logitsOf(data), data);

function text(data: NextTokenData): string {
  const probabilities = probabilitiesOf(data);
  const lines = likeliest(probabilities, 10).map(
    (id) => `  ${percent(probabilities[id]!).padStart(7)}  ${name(data, id)}`,
  );
  return [data.title, ...lines].join("\n");
}

export const nextToken: Kind<NextTokenData> = {
  View,
  picture: (data) => chart(data, probabilitiesOf(data), { still: true }),
  text,
};
