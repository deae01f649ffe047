/** The view of attention: every head of a model on a text, or of weights that are at hand. */
import type { ValueName } from "../../model/activations.js";
import type { Edits } from "../../model/edits.js";
import type { ModelShape } from "../../settings/model.js";
import { idsOf, type Looked, type LookedAt, look, tokenizerOf } from "../look.js";
import { type AttentionData, headWeights } from "../page/attention.js";
import { numbered, type Packed } from "../page/parts/numbers.js";
import { pack } from "./pack.js";
import { makeView, type View } from "./view.js";

/** Attention weights that are at hand: by layer and head, a row per position. */
export interface AttentionWeights {
  readonly tokens: readonly string[];
  /** [layers, heads, T, T] */
  readonly weights: readonly (readonly (readonly ArrayLike<number>[])[])[];
}

export interface AttentionOptions {
  readonly title?: string;
  /** The layer and head that are shown first. */
  readonly layer?: number;
  readonly head?: number;
  readonly edits?: Edits;
}

/** Up to this length a page has the weights; beyond, queries and keys are smaller. */
const mostWeights = 128;
/** Rows and columns of the small picture of a head. */
const thumbnailSide = 48;

/**
 * Attention of all heads as small pictures, of one in full, and for a token what it attends to and what attends to it.
 * Longer texts travel as queries and keys; the page computes `softmax(q kᵀ / √D)` of the head that is asked for.
 * @throws {RangeError} for a layer or head that there is not, weights of another shape, and as look()
 * @example
 * (await attentionView(openCheckpoint("out"), "ROMEO: my love")).show();
 */
export function attentionView(
  model: LookedAt,
  text: string | readonly number[],
  options?: AttentionOptions,
): Promise<View>;
export function attentionView(weights: AttentionWeights, options?: AttentionOptions): View;
export function attentionView(
  source: LookedAt | AttentionWeights,
  second?: string | readonly number[] | AttentionOptions,
  third: AttentionOptions = {},
): View | Promise<View> {
  if ("weights" in source) return attentionViewOf(fromWeights(source), second as AttentionOptions | undefined);
  return fromModel(source, second as string | readonly number[], third).then((found) => attentionViewOf(found, third));
}

/** Weights, or queries and keys, of all heads on some tokens. */
export type FoundAttention = Omit<AttentionData, "title" | "thumbnails" | "first">;

function fromWeights({ tokens, weights }: AttentionWeights): FoundAttention {
  const [L, H, T] = [weights.length, weights[0]?.length ?? 0, tokens.length];
  const flat = new Float32Array(L * H * T * T);
  for (const [index, rows] of weights.flat().entries()) {
    for (const [t, row] of rows.entries()) flat.set(row, (index * T + t) * T);
  }
  return { tokens, layers: [...Array(L).keys()], heads: H, weights: pack(flat, [L, H, T, T]) };
}

async function fromModel(
  model: LookedAt,
  text: string | readonly number[],
  { edits = {} }: AttentionOptions,
): Promise<FoundAttention> {
  const ids = Array.from(idsOf(text, tokenizerOf(model), model.settings));
  const asWeights = ids.length <= mostWeights || changesWeights(Object.keys(edits));
  const looked = await look(model, ids, attentionNames(model.settings, asWeights), { edits });
  return foundAttention(looked, model.settings, asWeights);
}

/** Whether edits of these values change weights otherwise than through queries and keys. */
export const changesWeights = (names: readonly string[]): boolean =>
  names.some((name) => /attn\.(weights|scores)$/.test(name));

type Part = "weights" | "q" | "k";

/** The values of every layer that a view of attention needs: weights, or queries and keys. */
export function attentionNames({ nLayer }: ModelShape, asWeights: boolean): ValueName[] {
  const parts: readonly Part[] = asWeights ? ["weights"] : ["q", "k"];
  return parts.flatMap((part) => Array.from({ length: nLayer }, (_, layer) => `h.${layer}.attn.${part}` as const));
}

/** Attention out of values that were looked at by the names of attentionNames(). */
export function foundAttention(
  { tokens, values }: Looked<ValueName>,
  { nLayer, nHead, nEmbd }: ModelShape,
  asWeights: boolean,
): FoundAttention {
  const [T, D] = [tokens.length, nEmbd / nHead];
  const all = (part: Part, shape: readonly [number, number, number]): Packed => {
    const size = shape[0] * shape[1] * shape[2];
    const flat = new Float32Array(nLayer * size);
    for (let layer = 0; layer < nLayer; layer++) flat.set(values[`h.${layer}.attn.${part}`]!.values, layer * size);
    return pack(flat, [nLayer, ...shape]);
  };
  const shared = { tokens, layers: [...Array(nLayer).keys()], heads: nHead };
  if (asWeights) return { ...shared, weights: all("weights", [nHead, T, T]) };
  return { ...shared, queries: all("q", [nHead, T, D]), keys: all("k", [nHead, T, D]) };
}

/** The view of what was found. @throws {RangeError} for a layer or head that there is not */
export function attentionViewOf(
  found: FoundAttention,
  { title = "Attention", layer = 0, head = 0 }: AttentionOptions = {},
): View {
  const { layers, heads } = found;
  const within = (value: number, size: number) => Number.isInteger(value) && value >= 0 && value < size;
  if (!within(layer, layers.length) || !within(head, heads)) {
    throw new RangeError(
      `Cannot show attention: there is no layer ${layer}, head ${head}; wanted ${numbered("layer", 0, layers.length - 1)}, ${numbered("head", 0, heads - 1)}.`,
    );
  }
  const data: Omit<AttentionData, "thumbnails"> = { ...found, title, first: [layer, head] };
  return makeView("attention", { ...data, thumbnails: thumbnails(data) });
}

/** Small pictures of every head: the largest weight of each block of positions. uint8 [L, H, S, S] */
function thumbnails(data: Omit<AttentionData, "thumbnails">): Packed {
  const { layers, heads, tokens } = data;
  const T = tokens.length;
  const S = Math.min(T, thumbnailSide);
  const pixels = new Float32Array(layers.length * heads * S * S);
  const blank = { ...data, thumbnails: pack([], [0]) };
  for (let layer = 0; layer < layers.length; layer++) {
    for (let head = 0; head < heads; head++) {
      const weights = headWeights(blank, layer, head);
      const from = (layer * heads + head) * S * S;
      for (let t = 0; t < T; t++) {
        for (let s = 0; s < T; s++) {
          const at = from + Math.floor((t * S) / T) * S + Math.floor((s * S) / T);
          pixels[at] = Math.max(pixels[at]!, weights[t * T + s]!);
        }
      }
    }
  }
  return pack(pixels, [layers.length, heads, S, S], "uint8");
}
