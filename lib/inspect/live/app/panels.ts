/** The parts of a live page that show what the model sees and expects; each is a card with a heading. */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { ValueName } from "../../../model/activations.js";
import { valueSpecs } from "../../../model/activations.js";
import { tokenText } from "../../look.js";
import { bars } from "../../page/bars.js";
import { type Component, type Element, h } from "../../page/parts/element.js";
import { Button, Choice, Controls, Readout } from "../../page/parts/widgets.js";
import { attentionViewOf } from "../../views/attention.js";
import { logitLensView, promptsView, tokenLossView } from "../../views/measured.js";
import { nextTokenView } from "../../views/next-token.js";
import type { View } from "../../views/view.js";
import { describeEdit, hasEdit, offEdits, type PlainEdit, toggled } from "../edits.js";
import type { LiveModel } from "../live-model.js";
import { componentOf } from "../view.js";
import type { Shown } from "./state.js";

/** A card; `here`: the tour points at it. */
export function Card(props: {
  id: string;
  title: string;
  here: boolean;
  width?: "half";
  children?: ComponentChildren;
}): Element {
  const { id, title, here, width = "", children } = props;
  return h(
    "section",
    { id, class: `card ${width}${here ? " here" : ""}`, "aria-labelledby": `${id}-title`, tabindex: -1 },
    h("h2", { id: `${id}-title` }, title),
    children,
  );
}

/** A view, drawn where it stands. */
export function Drawn({ view }: { view: Pick<View, "kind" | "data"> }): Element {
  return h(componentOf(view.kind) as Component<{ data: unknown }>, { data: view.data });
}

/** Tokens, coloured by the loss of each. */
export function Tokens({ shown }: { shown: Shown }): Element {
  const { losses, cut, tokens, ids } = shown;
  const count = `${tokens.length} ${tokens.length === 1 ? "token" : "tokens"}`;
  return h(
    "div",
    {},
    losses && h(Drawn, { view: tokenLossView(losses) }),
    h("p", { class: "hint" }, `${[count, meanLoss(shown)].filter(Boolean).join(", ")}.`),
    ids.length <= 64 && h("p", { class: "hint" }, `Their numbers: ${ids.join(" ")}`),
    cut > 0 && h("p", { class: "hint" }, `The first ${cut} tokens lie outside the model's context and are not read.`),
  );
}

/** The mean loss in words, beside what it was without the edits; empty for a text of one token. */
export function meanLoss({ losses, plainLoss }: Shown): string {
  if (!losses) return "";
  const without = plainLoss === undefined ? "" : ` (${plainLoss.toFixed(3)} without your edits)`;
  return `mean loss ${losses.mean.toFixed(3)} nats per token${without}`;
}

export function NextToken({ shown, live }: { shown: Shown; live: LiveModel }): Element {
  const token = (id: number) => tokenText(id, live.model.tokenizer);
  const view = nextTokenView({ logits: shown.logits, token });
  return h(Drawn, { view: view });
}

export function Attention({ shown }: { shown: Shown }): Element {
  return h(Drawn, { view: attentionViewOf(shown.attention) });
}

/** Both prompts, token by token. */
export function Compared({ shown }: { shown: Shown }): Element {
  const { losses, other } = shown;
  if (!losses || !other) return h("p", { class: "hint" }, "Both prompts need at least two tokens.");
  return h(Drawn, { view: promptsView([losses, other]) });
}

/** How the residual stream grows, and what the model would say after each state. */
export function Residual(props: { shown: Shown; lens: boolean; onLens: (on: boolean) => void }): Element {
  const { shown, lens, onLens } = props;
  return h(
    "div",
    {},
    bars({
      title: "Length of the residual stream's vector after each part, mean over positions",
      rows: shown.norms.map(({ state, mean }) => ({ label: state, value: mean })),
      axis: "‖x‖",
    }),
    h(
      Controls,
      {},
      h(
        "label",
        {},
        h("input", { type: "checkbox", checked: lens, onChange: () => onLens(!lens) }),
        "logit lens: the likeliest next token, if the model stopped there",
      ),
    ),
    lens && shown.lens && h(Drawn, { view: logitLensView(shown.lens) }),
  );
}

interface EditsProps {
  readonly live: LiveModel;
  readonly edits: readonly PlainEdit[];
  readonly onEdits: (edits: readonly PlainEdit[]) => void;
}

/** A switch for each head, each layer's attention and each layer's MLP. */
export function Switches({ live, edits, onEdits }: EditsProps): Element {
  const { nLayer, nHead } = live.model.settings;
  const button = (text: string, label: string, edit: PlainEdit) => {
    const on = !hasEdit(edits, edit);
    const props = { type: "button", class: "switch", "aria-pressed": on, "aria-label": label, title: label };
    return h("button", { ...props, onClick: () => onEdits(toggled(edits, edit)) }, text);
  };
  return h(
    "div",
    { class: "switches" },
    Array.from({ length: nLayer }, (_, layer) =>
      h(
        "div",
        { class: "row", role: "group", "aria-label": `Layer ${layer}` },
        h("span", {}, `layer ${layer}`),
        Array.from({ length: nHead }, (_, head) =>
          button(`${head}`, `switch for layer ${layer}, head ${head}`, offEdits.head(layer, head)),
        ),
        button("all heads", `switch for layer ${layer}, all heads`, offEdits.attention(layer)),
        button("MLP", `switch for layer ${layer}, MLP`, offEdits.mlp(layer)),
      ),
    ),
  );
}

/** Any value by its name, multiplied by a number. */
export function ValueEdits({ live, edits, onEdits }: EditsProps): Element {
  const specs = valueSpecs(live.model.settings);
  const [name, setName] = useState<ValueName>(specs.find((spec) => spec.name === "embed")?.name ?? specs[0]!.name);
  const [times, setTimes] = useState("0");
  const [positions, setPositions] = useState("");
  const { axes, meaning } = specs.find((spec) => spec.name === name)!;
  const where = positions
    .split(/[\s,]+/)
    .filter(Boolean)
    .map(Number);
  const field = (label: string, value: string, onValue: (value: string) => void) =>
    h(
      "label",
      {},
      h("span", {}, label),
      h("input", {
        type: "text",
        inputmode: "decimal",
        value,
        onInput: (e: Event) => onValue((e.currentTarget as HTMLInputElement).value),
      }),
    );
  const valid =
    Number.isFinite(Number(times)) && times.trim() !== "" && where.every((one) => Number.isInteger(one) && one >= 0);
  const add = () =>
    onEdits([
      ...edits,
      { name, times: Number(times), ...(where.length > 0 && axes.includes("T") && { positions: where }) },
    ]);
  return h(
    "div",
    {},
    h(
      Controls,
      {},
      h(Choice, {
        label: "value",
        options: specs.map((spec) => spec.name),
        value: specs.findIndex((spec) => spec.name === name),
        onValue: (index) => setName(specs[index]!.name),
      }),
      field("multiply by", times, setTimes),
      axes.includes("T") && field("at positions", positions, setPositions),
      h(Button, { label: "Apply", onPress: add, disabled: !valid }),
    ),
    h("p", { class: "hint" }, `${name} [${axes.join(", ")}]: ${meaning}. Positions count from 0; none means all.`),
    h(
      "ul",
      { class: "plain", "aria-label": "Edits" },
      edits.map((edit) =>
        h(
          "li",
          {},
          h(
            "button",
            { type: "button", title: "Remove this edit", onClick: () => onEdits(toggled(edits, edit)) },
            `${describeEdit(edit)}  ✕`,
          ),
        ),
      ),
    ),
    h(
      Controls,
      {},
      h(Button, { label: "Remove all edits", onPress: () => onEdits([]), disabled: edits.length === 0 }),
      h(
        Readout,
        {},
        edits.length === 0
          ? "Nothing is edited."
          : `${edits.length} ${edits.length === 1 ? "edit is" : "edits are"} in force.`,
      ),
    ),
  );
}
