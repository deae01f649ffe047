/** Two prompts side by side: each token's probability, and what comes next after each. */

import { bars } from "./bars.js";
import type { Kind } from "./kind.js";
import { type Element, h } from "./parts/element.js";
import { percent, shownToken } from "./parts/numbers.js";
import { stack } from "./parts/stack.js";
import { TokenText } from "./parts/text.js";

export interface Prompt {
  readonly tokens: readonly string[];
  /** The probability that the model gave to each token; null for the first. */
  readonly probabilities: readonly (number | null)[];
  /** The likeliest next tokens. */
  readonly next: readonly { readonly token: string; readonly probability: number }[];
}

export interface PromptsData {
  readonly title: string;
  readonly prompts: readonly Prompt[];
}

const nameOf = (index: number) => String.fromCharCode(65 + index);

const chart = ({ next }: Prompt, index: number): Element =>
  bars({
    still: true,
    title: `Next token after ${nameOf(index)}`,
    rows: next.map(({ token, probability }) => ({ label: shownToken(token), value: probability })),
    ...{ axis: "probability", write: percent },
  });

function View({ data }: { data: PromptsData }): Element {
  return h(
    "div",
    { class: "columns" },
    data.prompts.map((prompt, index) =>
      h(
        "section",
        {},
        h("p", { class: "name" }, nameOf(index)),
        h(TokenText, {
          ...{ label: `Prompt ${nameOf(index)}, coloured by the probability of each token`, tokens: prompt.tokens },
          values: prompt.probabilities.map((p) => p ?? Number.NaN),
          scale: { label: "probability", high: 1, underText: true },
        }),
        chart(prompt, index),
      ),
    ),
  );
}

function text({ title, prompts }: PromptsData): string {
  const lines = prompts.flatMap(({ tokens, next }, index) => [
    `  ${nameOf(index)}: ${tokens.map(shownToken).join("")}`,
    ...next
      .slice(0, 5)
      .map(({ token, probability }) => `     ${percent(probability).padStart(7)}  ${shownToken(token)}`),
  ]);
  return [title, ...lines].join("\n");
}

export const prompts: Kind<PromptsData> = { View, picture: (data) => stack(data.title, data.prompts.map(chart)), text };
