/** Tokens as running text, each with a colour; as HTML to move through, and as SVG for a still picture. */
import { type Element, h } from "./element.js";
import { shownToken } from "./numbers.js";
import { cssColor, type Scale } from "./scale.js";

export interface TokenTextProps {
  readonly label: string;
  readonly tokens: readonly string[];
  /** A value for each token; NaN: none. */
  readonly values: ArrayLike<number>;
  readonly scale: Scale;
  readonly chosen?: number | undefined;
  readonly onChoose?: (token: number) => void;
}

/** Buttons in a line; arrow keys move between them. */
export function TokenText({ label, tokens, values, scale, chosen, onChoose }: TokenTextProps): Element {
  const press = (event: KeyboardEvent, index: number) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    const next = index + step;
    if (!step || next < 0 || next >= tokens.length) return;
    event.preventDefault();
    onChoose?.(next);
    const list = (event.currentTarget as HTMLElement).parentElement;
    (list?.children[next] as HTMLElement | undefined)?.focus();
  };
  return h(
    "div",
    { class: "tokens", role: "group", "aria-label": label },
    tokens.map((token, index) => {
      const value = values[index]!;
      const none = Number.isNaN(value);
      const style = none ? "" : `background: ${cssColor(value, scale)}`;
      const props = {
        ...{ type: "button", style, "aria-pressed": index === chosen },
        tabindex: index === (chosen ?? 0) ? 0 : -1,
        ...{ onClick: () => onChoose?.(index), onMouseEnter: () => onChoose?.(index) },
        onKeyDown: (event: KeyboardEvent) => press(event, index),
      };
      return h("button", props, shownToken(token));
    }),
  );
}

const font = 14;
const character = 0.602 * font;
const lineHeight = 24;

/** The same in lines of at most `width`, as elements of an SVG picture; `height` is what they take. */
export function tokenLines(props: Pick<TokenTextProps, "tokens" | "values" | "scale">, width: number) {
  const { tokens, values, scale } = props;
  let [x, y] = [0, 0];
  const elements = tokens.map((token, index) => {
    const text = shownToken(token);
    const wide = [...text].length * character + 4;
    if (x > 0 && x + wide > width) [x, y] = [0, y + lineHeight];
    const value = values[index]!;
    const place = { x, y };
    x += wide;
    if (token.includes("\n")) [x, y] = [0, y + lineHeight];
    const none = Number.isNaN(value);
    return h(
      "g",
      { transform: `translate(${place.x.toFixed(1)} ${place.y})` },
      !none && h("rect", { width: wide - 1, height: lineHeight - 3, fill: cssColor(value, scale) }),
      h(
        "text",
        {
          ...{ x: 2, y: 16, "font-size": font },
          class: "word",
        },
        text,
      ),
    );
  });
  return { elements, height: y + lineHeight };
}
