/** The attention weights of one head as a heat map, from what look() gives. Notebook 00-start shows some. */
import type { Heatmap } from "../charts/heatmap.js";
import type { Looked } from "./look.js";

/**
 * Who attends to whom: a row per position, a column per position that it attends to.
 * @throws {RangeError} if those weights were not looked at, or there is no such head
 * @example
 * const seen = await look(openCheckpoint("out"), "ROMEO: my love", ["h.0.attn.weights"]);
 * show(attentionMap(seen, { layer: 0, head: 1 }));
 */
export function attentionMap(
  { tokens, values }: Looked<`h.${number}.attn.weights`>,
  { layer, head }: { readonly layer: number; readonly head: number },
): Heatmap {
  const weights = values[`h.${layer}.attn.weights`];
  if (!weights) throw new RangeError(`Cannot draw attention: look at h.${layer}.attn.weights first.`);
  const [, H = 0, T = 0] = weights.shape;
  if (!(Number.isInteger(head) && head >= 0 && head < H)) {
    throw new RangeError(`Cannot draw attention: there is no head ${head}; wanted 0 to ${H - 1}.`);
  }
  const row = (query: number) => {
    const from = (head * T + query) * T;
    return Array.from(weights.values.subarray(from, from + T));
  };
  return {
    title: `Layer ${layer}, head ${head}`,
    xLabel: "attends to",
    yLabel: "position",
    labels: [...tokens],
    values: Array.from({ length: T }, (_, query) => row(query)),
  };
}
