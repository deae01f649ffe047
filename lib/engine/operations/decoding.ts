/**
 * The operations of generating text one token at a time: products of a few rows with a matrix, weights in 16 bits, and
 * keys and values cached in place. Each runs as Folio's own operation (native/kernels/) or as TensorFlow's where there
 * is one, and otherwise in its plain form here. None has a gradient. It imports nothing from Node.
 */
import * as tf from "@tensorflow/tfjs-core";
import { fusedEnabled } from "./fused.js";
import { type Attended, type CacheAttention, currentUpdater, type WritingStep, type Written } from "./in-place.js";
import { gatherRows, type RawAttribute, rawBackend } from "./raw.js";

/**
 * A matrix: float32 [a, b], or int32 [a, b / 2], where each element is a pair of bfloat16 (the first in the lower
 * half).
 */
type Weights = tf.Tensor2D;

// With more rows, arithmetic takes longer than reading the matrix, and TensorFlow's product is faster.
const mostRows = 16;
const mostRowsOfStep = 64; // for a whole step, which saves more

/** Whether weights may be stored as pairs of bfloat16, which only Folio's operations read. */
export function pairsReadable(): boolean {
  return fusedEnabled();
}

/**
 * `x W + b`, or `x Wᵀ + b` if transposed: [N, from] → [N, to]; for a small N it takes as long as reading W.
 * @param w [from, to], or [to, from] if transposed
 */
export function project(
  x: tf.Tensor2D,
  w: Weights,
  { bias, transposed = false }: { bias?: tf.Tensor1D | undefined; transposed?: boolean } = {},
): tf.Tensor2D {
  if (fusedEnabled() && x.shape[0] <= mostRows) {
    const added = bias ?? tf.tensor1d([], "float32");
    return run("FolioFewRows", [flag("transposed", transposed), type("T", w.dtype)], [x, w, added]) as tf.Tensor2D;
  }
  const y: tf.Tensor2D = tf.matMul(x, widen(w), false, transposed);
  return bias ? tf.add(y, bias) : y;
}

/** Rows of a table in float32: [N] → [N, C]. */
export function rowsOf(table: Weights, ids: tf.Tensor1D): tf.Tensor2D {
  return widen(gatherRows(table, ids));
}

/** The matrix in float32. */
function widen(w: Weights): tf.Tensor2D {
  return w.dtype === "int32" ? (run("FolioWiden", [], [w]) as tf.Tensor2D) : w;
}

/**
 * A cache with `value` written from `position` on: in place in a compiled session, otherwise in a new tensor.
 * @param cache [B, H, S, D]
 * @param value [B, H, T, D], or [1, H, T, D] for all B
 * @param position int32 scalar
 */
export function writeAt(cache: tf.Tensor4D, value: tf.Tensor4D, position: tf.Tensor): tf.Tensor4D {
  return (
    (currentUpdater()?.write(cache, value, position) as tf.Tensor4D | undefined) ?? plainWrite(cache, value, position)
  );
}

function plainWrite(cache: tf.Tensor4D, value: tf.Tensor4D, position: tf.Tensor): tf.Tensor4D {
  return tf.tidy(() => {
    const [, H, S, D] = cache.shape;
    const [rows, , T] = value.shape;
    const places = tf.add(tf.range(0, T, 1, "int32"), position) as tf.Tensor1D;
    const hot = tf.cast(tf.oneHot(places, S), "float32") as tf.Tensor2D; // [T, S]
    const kept = tf.reshape(tf.sub(1, tf.sum(hot, 0)), [1, 1, S, 1]);
    const written = tf.matMul(tf.expandDims(hot, 0), tf.reshape(value, [rows * H, T, D]), true); // [rows·H, S, D]
    return tf.add(tf.mul(cache, kept), tf.reshape(written, [rows, H, S, D])) as tf.Tensor4D;
  });
}

/** Writes new positions into a cache and attends to it; undefined if it has to be composed of other operations. */
export function attendCache(attention: CacheAttention): Attended | undefined {
  return fusedEnabled() && attention.qkv.shape[0] <= mostRows ? currentUpdater()?.attend(attention) : undefined;
}

/** A whole step of generating text in one operation; undefined if `forward` has to compute it. */
export function writingStep(step: WritingStep): Written | undefined {
  const updater = currentUpdater();
  if (!fusedEnabled() || !updater || updater.products !== "float32" || step.ids.size > mostRowsOfStep) return undefined;
  return updater.writingStep(step);
}

/** `drawTokens` of `sampleProbabilities` (sample/next-token.ts) in one operation, if it is loaded. */
export function fusedDraw(
  logits: tf.Tensor2D,
  {
    u,
    temperature,
    topK,
    topP,
  }: { u: tf.Tensor2D; temperature: tf.Tensor; topK: number; topP?: tf.Tensor | undefined },
): tf.Tensor1D | undefined {
  if (!fusedEnabled()) return undefined;
  const attribute = { name: "top_k", type: binding().TF_ATTR_INT, value: topK };
  return run("FolioDraw", [attribute], [logits, u, temperature, topP ?? tf.scalar(1)]) as tf.Tensor1D;
}

const binding = () => rawBackend()!.binding;
const flag = (name: string, value: boolean): RawAttribute => ({ name, type: binding().TF_ATTR_BOOL, value });
const type = (name: string, dtype: string): RawAttribute => ({
  name,
  type: binding().TF_ATTR_TYPE,
  value: dtype === "int32" ? binding().TF_INT32 : binding().TF_FLOAT,
});
const run = (name: string, attributes: RawAttribute[], inputs: tf.Tensor[]): tf.Tensor =>
  rawBackend()!.executeSingleOutput(name, attributes, inputs);
