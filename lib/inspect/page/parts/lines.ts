/** Lines of text as a still picture, each with words in bold, plain and soft. */
import { type Element, h } from "./element.js";

export interface Line {
  readonly bold: string;
  readonly plain?: string;
  readonly soft?: string;
  /** Steps to the right. */
  readonly depth?: number;
}

const height = 21;

/** A title and lines below it, as one SVG element. */
export function linesPicture(title: string, lines: readonly Line[]): Element {
  const total = 34 + lines.length * height;
  return h(
    "svg",
    {
      ...{ xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 760 ${total}`, width: 760, height: total },
      ...{ role: "img", "aria-label": title },
    },
    h("text", { x: 8, y: 18, class: "heading" }, title),
    lines.map(({ bold, plain, soft, depth = 0 }, index) =>
      h(
        "text",
        { x: 8 + depth * 24, y: 44 + index * height, class: "word" },
        h("tspan", { "font-weight": 600 }, bold),
        plain && h("tspan", { dx: 8 }, plain),
        soft && h("tspan", { dx: 8, class: "soft" }, soft),
      ),
    ),
  );
}
