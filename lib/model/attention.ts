/**
 * The forms of attention and of products that a forward pass takes: model.ts spells attention out, and this file puts fewer
 * operations in the place of those lines where nobody looks inside, or keeps keys and values of earlier positions. All forms
 * compute the same.
 */
import * as tf from "@tensorflow/tfjs-core";
import { attendCache, project, rowsOf, writeAt } from "../engine/operations/decoding.js";
import { fusedAttention, fusedEnabled } from "../engine/operations/fused.js";
import { currentUpdater } from "../engine/operations/in-place.js";
import { byRows, embedding, fromRows, linear, toRows, withGradient } from "./functional.js";
import type { Cache } from "./kv-cache.js";

/** Queries [B, H, T, D] of these positions, keys and values [B, H, S, D] of those that they look at. */
export type Heads = [q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D];

/** Attention of a layer, spelled out: split into heads, 3 × [B, H, T, D]; mixed and joined, [B, T, C]. */
export interface SpelledOut {
  readonly split: () => Heads;
  readonly mix: (...heads: Heads) => tf.Tensor3D;
}

/** What a pass attends and multiplies with. */
export interface Forms {
  /** Attention of a layer: [B, T, 3C] → [B, T, C], by the lines given or by what computes the same. */
  attend(qkv: tf.Tensor3D, layer: number, spelledOut: SpelledOut): tf.Tensor3D;
  /** As functional.ts has them; with a cache without gradients, and fast for the few rows of a new token. */
  readonly linear: typeof linear;
  readonly embedding: (table: tf.Tensor2D, ids: tf.Tensor2D) => tf.Tensor3D;
  /** int32 [T], where these tokens stand. */
  readonly positions: tf.Tensor1D;
  /** [T, S], 0 where a position may look and −1e9 where it may not. */
  readonly mask: tf.Tensor2D;
  /** The cache that was given, extended by these positions. */
  extended(): Cache | undefined;
}

interface FormsOptions {
  readonly T: number;
  readonly heads: number;
  readonly cache: Cache | undefined;
  /** Whether attention of a layer must be spelled out: somebody looks inside, or its weights are dropped out. */
  readonly opened: (layer: number) => boolean;
}

/** The forms for T new positions of each sequence. */
export function formsOf(options: FormsOptions): Forms {
  const { T, heads, cache, opened } = options;
  const own = tf.range(0, T, 1, "int32") as tf.Tensor1D;
  if (cache) return cachedForms(cache, own, options);
  return {
    attend: (qkv, layer, { split, mix }) => (opened(layer) ? undefined : closed(qkv, heads)) ?? mix(...split()),
    linear,
    embedding,
    positions: own,
    mask: causalMask(own, T),
    extended: () => undefined,
  };
}

function cachedForms(cache: Cache, own: tf.Tensor1D, { T, heads, opened }: FormsOptions): Forms {
  const { position } = cache;
  const positions = position ? (tf.add(own, position) as tf.Tensor1D) : own;
  const kept: { keys: tf.Tensor4D[]; values: tf.Tensor4D[] } = { keys: [], values: [] };
  const keep = (keys: tf.Tensor4D, values: tf.Tensor4D) => {
    kept.keys.push(keys);
    kept.values.push(values);
  };
  const read = tf.scalar(T, "int32");
  return {
    attend(qkv, layer, { split, mix }) {
      const [keys, values] = [cache.keys[layer]!, cache.values[layer]!];
      if (position && !opened(layer)) {
        const attended = attendCache({ keys, values, qkv: toRows(qkv), position });
        if (attended) keep(attended.keys, attended.values);
        if (attended) return fromRows(attended.out, qkv.shape[0]);
      }
      const atOnce = position || opened(layer) ? undefined : closed(qkv, heads);
      const [q, k, v] = split();
      const from = position ?? tf.scalar(0, "int32");
      const all = [writeAt(keys, k, from), writeAt(values, v, from)] as const; // [B, H, S, D] each
      keep(...all);
      // Where nothing came before, these positions look at one another alone.
      return atOnce ?? (position ? mix(q, ...all) : mix(q, k, v));
    },
    linear: (x, weight, how) => byRows(x, (rows) => project(rows, weight, how)),
    embedding: (table, ids) => fromRows(rowsOf(table, tf.reshape(ids, [ids.size])), ids.shape[0]),
    positions,
    mask: causalMask(positions, position ? cache.keys[0]!.shape[2] : T),
    extended: () => ({ ...kept, position: position ? tf.add(position, read) : read }),
  };
}

/**
 * Causal self-attention of all heads in one operation, in a compiled step on a CPU: the weights never stand in memory.
 * [B, T, 3C] → [B, T, C]; nothing where it has to be spelled out.
 */
function closed(qkv: tf.Tensor3D, heads: number): tf.Tensor3D | undefined {
  // Eagerly it is spelled out: whoever runs line by line wants to see the lines.
  if (!fusedEnabled() || !currentUpdater()) return undefined;
  const [batch, rows] = [qkv.shape[0], toRows(qkv)];
  const mixed = withGradient<tf.Tensor2D>([rows], () => fusedAttention(rows, { batch, heads })!);
  return fromRows(mixed, batch);
}

/** [T, S]: 0 at positions up to one's own, −1e9 after. */
function causalMask(positions: tf.Tensor1D, S: number): tf.Tensor2D {
  const own = tf.expandDims(positions, 1);
  const others = tf.expandDims(tf.range(0, S, 1, "int32"), 0);
  return tf.mul(tf.cast(tf.greater(others, own), "float32"), -1e9);
}
