/** A curve of losses as it grows. */
import { type Element, h } from "../../page/parts/element.js";
import { shortNumber } from "../../page/parts/numbers.js";

const [width, height] = [560, 200];
const [left, right, top, bottom] = [52, 12, 12, 30];

/** The losses of updates 1, 2, …, at least one; linear axes. */
export function Curve({ losses }: { losses: readonly number[] }): Element {
  const high = Math.max(...losses, 0.1);
  const low = Math.min(...losses, high);
  const room = (high - low || high) * 0.08;
  const [from, to] = [Math.max(0, low - room), high + room];
  const x = (index: number) => left + (losses.length > 1 ? index / (losses.length - 1) : 0) * (width - left - right);
  const y = (loss: number) => top + ((to - loss) / (to - from)) * (height - top - bottom);
  const points = losses.map((loss, index) => `${x(index).toFixed(1)},${y(loss).toFixed(1)}`).join(" ");
  const label = `Loss over ${losses.length} updates, from ${losses[0]!.toFixed(3)} to ${losses.at(-1)!.toFixed(3)} nats per token`;
  const ticks = [from, (from + to) / 2, to];
  return h(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label, style: `--w: ${width}` },
    h("rect", { x: left, y: top, width: width - left - right, height: height - top - bottom, class: "frame" }),
    ticks.map((tick) =>
      h("text", { x: left - 6, y: y(tick) + 4, class: "label", "text-anchor": "end" }, shortNumber(tick)),
    ),
    h("text", { x: left, y: height - 8, class: "label" }, "update 1"),
    losses.length > 1 &&
      h("text", { x: width - right, y: height - 8, class: "label", "text-anchor": "end" }, `${losses.length}`),
    h(
      "text",
      { x: (left + width) / 2, y: height - 8, class: "title", "text-anchor": "middle" },
      "loss in nats per token",
    ),
    losses.length > 1
      ? h("polyline", { points, fill: "none", stroke: "rgb(43, 123, 186)", "stroke-width": 2 })
      : losses.map((loss) => h("circle", { cx: x(0), cy: y(loss), r: 3, fill: "rgb(43, 123, 186)" })),
  );
}
