/** Controls that the views share: native elements, so that keyboards and screen readers know them. */
import type { ComponentChildren } from "preact";
import { type Element, h } from "./element.js";

export interface SliderProps {
  readonly label: string;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly step: number;
  readonly shown?: string;
  readonly onValue: (value: number) => void;
}

/** A slider with its name and value. */
export function Slider({ label, value, min, max, step, shown, onValue }: SliderProps): Element {
  const onInput = (event: Event) => onValue(Number((event.currentTarget as HTMLInputElement).value));
  return h(
    "label",
    { class: "slider" },
    h("span", {}, label),
    h("input", { type: "range", min, max, step, value, onInput }),
    h("output", {}, shown ?? `${value}`),
  );
}

export interface ChoiceProps {
  readonly label: string;
  readonly options: readonly string[];
  /** Index of the chosen option. */
  readonly value: number;
  readonly onValue: (value: number) => void;
}

/** One of several, from a list. */
export function Choice({ label, options, value, onValue }: ChoiceProps): Element {
  const onChange = (event: Event) => onValue(Number((event.currentTarget as HTMLSelectElement).value));
  return h(
    "label",
    { class: "choice" },
    h("span", {}, label),
    h(
      "select",
      { onChange, value: `${value}` },
      options.map((text, index) => h("option", { value: `${index}`, selected: index === value }, text)),
    ),
  );
}

export function Button(props: { label: string; onPress: () => void; disabled?: boolean }): Element {
  return h("button", { type: "button", onClick: props.onPress, disabled: props.disabled ?? false }, props.label);
}

/** Controls in a row. */
export const Controls = ({ children }: { children?: ComponentChildren }): Element =>
  h("div", { class: "controls" }, children);

/** What the cursor is on; screen readers speak it when it changes. */
export const Readout = ({ children }: { children?: ComponentChildren }): Element =>
  h("p", { class: "readout", "aria-live": "polite" }, children);
