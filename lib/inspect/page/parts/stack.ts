/** Pictures below each other in one. */
import { type Element, h } from "./element.js";

/** A title and pictures (SVG elements with a width and a viewBox) below it, as one SVG element. */
export function stack(title: string, pictures: readonly Element[]): Element {
  let y = 26;
  let width = Math.max(320, [...title].length * 8.2 + 16);
  const placed = pictures.map((picture) => {
    const props: Readonly<Record<string, unknown>> = { ...picture.props };
    const [, , wide, high] = `${props.viewBox}`.split(" ").map(Number) as [number, number, number, number];
    const top = y;
    y += high;
    width = Math.max(width, wide);
    return h(
      "g",
      { transform: `translate(0 ${top})` },
      h("svg", { ...props, width: wide, height: high }, picture.props.children),
    );
  });
  return h(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      viewBox: `0 0 ${width} ${y}`,
      width,
      height: y,
      role: "img",
      "aria-label": title,
    },
    h("text", { x: 8, y: 18, class: "heading" }, title),
    placed,
  );
}
