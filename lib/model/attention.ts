/**
 * The implementations of attention and linear layers for a forward pass. model.ts writes attention out; this file
 * replaces those lines by fewer operations if no intermediate value is observed, or keeps the keys and values of
 * earlier positions. All of them compute the same.
 */
import * as tf from "@tensorflow/tfjs-core";
import { attendCache, project, rowsOf, writeAt } from "../engine/operations/decoding.js";
import { type Dropout, fusedAttention, fusedEnabled } from "../engine/operations/fused.js";
import { currentUpdater } from "../engine/operations/in-place.js";
import { byRows, embedding, fromRows, linear, toRows, withGradient } from "./functional.js";
import type { Cache } from "./kv-cache.js";

/** Queries [B, H, T, D] of these positions, keys and values [B, H, S, D] of the positions that they attend to. */
export type Heads = [q: tf.Tensor4D, k: tf.Tensor4D, v: tf.Tensor4D];

/**
 * Attention of a layer, written out: the split into heads, 3 × [B, H, T, D]; the weighted values, joined, [B, T, C].
 */
export interface SpelledOut {
  readonly split: () => Heads;
  readonly mix: (...heads: Heads) => tf.Tensor3D;
}

/** The functions that a forward pass uses for attention and linear layers. */
export interface Forms {
  /** Attention of a layer: [B, T, 3C] → [B, T, C], by the given functions or by an equivalent operation. */
  attend(qkv: tf.Tensor3D, layer: number, spelledOut: SpelledOut): tf.Tensor3D;
  /** As in functional.ts; with a cache they have no gradient, and are fast for the few rows of a new token. */
  readonly linear: typeof linear;
  readonly embedding: (table: tf.Tensor2D, ids: tf.Tensor2D) => tf.Tensor3D;
  /** int32 [T], the tokens' positions. */
  readonly positions: tf.Tensor1D;
  /** [T, S], 0 where a position may attend and −1e9 where it may not. */
  readonly mask: tf.Tensor2D;
  /** The given cache, extended by these positions. */
  extended(): Cache | undefined;
}

interface FormsOptions {
  readonly T: number;
  readonly heads: number;
  readonly cache: Cache | undefined;
  /** Whether attention of a layer must be written out, since a value inside it is observed. */
  readonly opened: (layer: number) => boolean;
  /** Dropout of a layer's attention weights. */
  readonly dropout: (layer: number) => Dropout | undefined;
}

/** The functions for T new positions of each sequence. */
export function formsOf(options: FormsOptions): Forms {
  const { T, heads, cache, opened, dropout } = options;
  const own = tf.range(0, T, 1, "int32") as tf.Tensor1D;
  if (cache) return cachedForms(cache, own, options);
  return {
    attend: (qkv, layer, { split, mix }) =>
      (opened(layer) ? undefined : closed(qkv, heads, dropout(layer))) ?? mix(...split()),
    linear,
    embedding,
    positions: own,
    mask: causalMask(own, T),
    extended: () => undefined,
  };
}

function cachedForms(cache: Cache, own: tf.Tensor1D, options: FormsOptions): Forms {
  const { T, heads } = options;
  const opened = (layer: number) => options.opened(layer) || options.dropout(layer) !== undefined;
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
      // Without earlier positions, these attend only to one another.
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
 * Causal self-attention of all heads in one operation, in a compiled step on a CPU, without storing the attention
 * matrix. [B, T, 3C] → [B, T, C]; undefined if it has to be written out.
 */
function closed(qkv: tf.Tensor3D, heads: number, dropout?: Dropout): tf.Tensor3D | undefined {
  // Eager steps are for reading along, so there it is written out.
  if (!fusedEnabled() || !currentUpdater()) return undefined;
  const [batch, rows] = [qkv.shape[0], toRows(qkv)];
  const mixed = withGradient<tf.Tensor2D>([rows], () => fusedAttention(rows, { batch, heads, dropout })!);
  return fromRows(mixed, batch);
}

/** [T, S]: 0 at positions up to the query's own, −1e9 after it. */
function causalMask(positions: tf.Tensor1D, S: number): tf.Tensor2D {
  const own = tf.expandDims(positions, 1);
  const others = tf.expandDims(tf.range(0, S, 1, "int32"), 0);
  return tf.mul(tf.cast(tf.greater(others, own), "float32"), -1e9);
}
