/** A text whose tokens have colours by a number, such as each token's loss, and details of the chosen one. */

import { useState } from "preact/hooks";
import type { Kind } from "./kind.js";
import { type Element, h } from "./parts/element.js";
import { ColorBar } from "./parts/matrix.js";
import { shortNumber, shownToken } from "./parts/numbers.js";
import { scaleOf } from "./parts/scale.js";
import { TokenText, tokenLines } from "./parts/text.js";
import { Readout } from "./parts/widgets.js";

export interface TokenTextData {
  readonly title: string;
  readonly unit: string;
  readonly tokens: readonly string[];
  /** null: none, as the loss of the first token. */
  readonly values: readonly (number | null)[];
  /** A sentence for each token, shown when it is chosen. */
  readonly details: readonly string[];
}

const numbersOf = ({ values }: TokenTextData) => values.map((value) => value ?? Number.NaN);
const scaleFor = (data: TokenTextData) => scaleOf(data.unit, numbersOf(data), { underText: true });

function bar(data: TokenTextData): Element {
  const label = `Colours: ${data.unit}, from 0`;
  return h(
    "svg",
    { viewBox: "0 0 100 116", width: 100, height: 116, role: "img", class: "scale", "aria-label": label },
    h(ColorBar, { scale: scaleFor(data), x: 4, y: 10 }),
  );
}

function View({ data }: { data: TokenTextData }): Element {
  const [last, setChosen] = useState(1);
  const { tokens, title, unit, values, details } = data;
  const chosen = Math.min(last, tokens.length - 1);
  const value = values[chosen] ?? null;
  const number = value === null ? "" : `: ${shortNumber(value)} ${unit}`;
  return h(
    "div",
    {},
    h(
      "div",
      { class: "beside" },
      h(TokenText, {
        label: title,
        tokens,
        values: numbersOf(data),
        scale: scaleFor(data),
        chosen,
        onChoose: setChosen,
      }),
      bar(data),
    ),
    h(Readout, {}, `${shownToken(tokens[chosen]!)} (${chosen})${number}. ${details[chosen] ?? ""}`),
  );
}

const width = 640;

function still(data: TokenTextData): Element {
  const lines = tokenLines({ tokens: data.tokens, values: numbersOf(data), scale: scaleFor(data) }, width);
  const height = Math.max(lines.height, 116) + 36;
  return h(
    "svg",
    {
      ...{ xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${width + 110} ${height}`, width: width + 110, height },
      ...{ role: "img", "aria-label": data.title },
    },
    h("text", { x: 8, y: 18, class: "heading" }, data.title),
    h("g", { transform: "translate(8 30)" }, lines.elements),
    h(ColorBar, { scale: scaleFor(data), x: width + 20, y: 34 }),
  );
}

function text({ title, unit, tokens, values }: TokenTextData): string {
  const numbers = values.filter((value) => value !== null);
  const mean = numbers.reduce((sum, value) => sum + value, 0) / numbers.length;
  const worst = [...tokens.keys()].filter((i) => values[i] !== null).sort((a, b) => values[b]! - values[a]!);
  const lines = worst
    .slice(0, 8)
    .map((i) => `  ${shortNumber(values[i]!).padStart(6)}  ${shownToken(tokens[i]!)} (${i})`);
  return [`${title}: mean ${shortNumber(mean)} ${unit}. The highest:`, ...lines].join("\n");
}

export const tokenText: Kind<TokenTextData> = { View, picture: still, text };
