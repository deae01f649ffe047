/** Steps of a computation, one at a time: name, formula, line of the source, what goes in and what comes out. */

import { useState } from "preact/hooks";
import type { Kind } from "./kind.js";
import { type Element, h } from "./parts/element.js";
import { linesPicture } from "./parts/lines.js";
import { Button, Choice, Controls, Readout } from "./parts/widgets.js";
import { type SlicesData, slices } from "./slices.js";

export interface PlayedStep {
  readonly name: string;
  readonly formula: string;
  /** File and line of the library: "lib/model/model.ts:190". */
  readonly source: string;
  /** Names of what the step takes. */
  readonly inputs: readonly string[];
  readonly flops: number;
  readonly output: SlicesData;
}

export interface PlayerData {
  readonly title: string;
  readonly steps: readonly PlayedStep[];
}

function View({ data }: { data: PlayerData }): Element {
  const [at, setAt] = useState(0);
  const { steps } = data;
  const last = steps.length - 1;
  const step = steps[at]!;
  const go = (to: number) => setAt(Math.min(last, Math.max(0, to)));
  const keys: Record<string, number> = { PageDown: at + 1, PageUp: at - 1 };
  const press = (event: KeyboardEvent) => {
    const to = keys[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(to);
  };
  return h(
    "div",
    { onKeyDown: press },
    h(
      Controls,
      {},
      h(Button, { label: "◀ back", onPress: () => go(at - 1), disabled: at === 0 }),
      h(Button, { label: "next ▶", onPress: () => go(at + 1), disabled: at === last }),
      h(Choice, { label: "step", options: steps.map(({ name }, i) => `${i + 1}. ${name}`), value: at, onValue: go }),
    ),
    h(Readout, {}, `Step ${at + 1} of ${steps.length}: ${step.name}`),
    h(
      "dl",
      {},
      ...[h("dt", {}, "formula"), h("dd", {}, h("code", {}, step.formula))],
      ...[h("dt", {}, "takes"), h("dd", {}, step.inputs.join(", ") || "–")],
      ...[h("dt", {}, "FLOPs"), h("dd", {}, step.flops.toLocaleString("en"))],
      ...[h("dt", {}, "source"), h("dd", {}, h("code", {}, step.source))],
    ),
    h(slices.View, { data: step.output, key: at }),
  );
}

function text({ title, steps }: PlayerData): string {
  return [
    title,
    ...steps.map(
      ({ name, formula, output }, i) =>
        `${`${i + 1}`.padStart(4)}  ${name} = ${formula}  [${output.array.shape.join(", ")}]`,
    ),
  ].join("\n");
}

const shownSteps = 40;

function still({ title, steps }: PlayerData): Element {
  const lines = steps.slice(0, shownSteps).map(({ name, formula, output }, i) => ({
    ...{ bold: `${i + 1}. ${name}`, plain: `= ${formula}`, soft: `[${output.array.shape.join(", ")}]` },
  }));
  const more = steps.length - lines.length;
  return linesPicture(title, more > 0 ? [...lines, { bold: "", soft: `… ${more} more steps` }] : lines);
}

export const player: Kind<PlayerData> = { View, picture: still, text };
