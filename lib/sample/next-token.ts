/**
 * From logits to the next token: repetition penalty, temperature, top-k, top-p and a draw, in this order, as in
 * transformers. generate.ts calls it inside a step. Notebook 03-sample shows the effect of each.
 */
import * as tf from "@tensorflow/tfjs-core";
import { fusedDraw } from "../engine/operations/decoding.js";

/** Which tokens may be drawn. */
export interface Filter {
  /** Only the k likeliest; 0: all. Logits equal to the k-th stay too, as in nanoGPT. */
  readonly topK: number;
  /** Of those, the fewest tokens whose probabilities sum to this scalar; absent: all. */
  readonly topP?: tf.Tensor | undefined;
}

/**
 * The probabilities for drawing: softmax(logits / temperature) over the tokens that may be drawn, 0 elsewhere.
 * @param logits [B, V]
 * @param temperature scalar above 0
 */
export function sampleProbabilities(logits: tf.Tensor2D, temperature: tf.Tensor, filter: number | Filter): tf.Tensor2D {
  const { topK, topP } = typeof filter === "number" ? { topK: filter, topP: undefined } : filter;
  const V = logits.shape[1];
  // The largest logit becomes 0, so that dividing by a small temperature cannot overflow.
  const scaled = tf.div(tf.sub(logits, tf.max(logits, 1, true)), temperature) as tf.Tensor2D;
  if (!topP && (topK === 0 || topK >= V)) return tf.softmax(scaled);
  const kept = topK === 0 ? V : Math.min(topK, V);
  const { values } = tf.topk(scaled, kept); // [B, kept], the largest first
  const last = tf.slice(values, [0, kept - 1], [-1, 1]);
  const least = topP ? tf.max(tf.concat([last, leastOfShare(values as tf.Tensor2D, topP)], 1), 1, true) : last; // [B, 1]
  // Not −∞, which GPU shaders need not support; the exponential of −1e38 is 0 too.
  return tf.softmax(tf.where(tf.less(scaled, least), tf.fill(scaled.shape, -1e38), scaled)) as tf.Tensor2D;
}

/** The last of the sorted logits that is needed to reach a share of the probability. [B, 1] */
function leastOfShare(sorted: tf.Tensor2D, share: tf.Tensor): tf.Tensor {
  const before = tf.cumsum(tf.softmax(sorted), 1, true); // of the likelier tokens
  const needed = tf.logicalOr(tf.less(before, share), tf.equal(before, 0));
  return tf.min(tf.where(needed, sorted, tf.max(sorted, 1, true)), 1, true);
}

/**
 * Makes tokens that are already in the text less likely (Keskar 2019): positive logits are divided by the penalty,
 * negative ones multiplied by it.
 * @param seen [B, V], 1 for tokens in the text
 * @param penalty scalar; 1: no effect
 */
export function penalize(logits: tf.Tensor2D, seen: tf.Tensor2D, penalty: tf.Tensor): tf.Tensor2D {
  const less = tf.where(tf.greater(logits, 0), tf.div(logits, penalty), tf.mul(logits, penalty));
  return tf.where(tf.greater(seen, 0), less, logits) as tf.Tensor2D;
}

/**
 * The token at which the cumulative probability passes `u`: inverse transform sampling.
 * @param probabilities [B, V]
 * @param u [B, 1], uniform on [0, 1)
 * @returns int32 [B]
 */
export function drawTokens(probabilities: tf.Tensor2D, u: tf.Tensor2D): tf.Tensor1D {
  const cumulative = tf.cumsum(probabilities, 1);
  // Rounding may leave the total below 1; u is scaled by the total, so that no token of probability 0 is drawn.
  const total = tf.slice(cumulative, [0, probabilities.shape[1] - 1], [-1, 1]);
  const passed = tf.lessEqual(cumulative, tf.mul(u, total));
  return tf.sum(tf.cast(passed, "int32"), 1);
}

/** `drawTokens` of `sampleProbabilities`, without storing the probabilities if the fused operation is available. */
export function nextTokens(
  logits: tf.Tensor2D,
  { temperature, u, ...filter }: Filter & { temperature: tf.Tensor; u: tf.Tensor2D },
): tf.Tensor1D {
  return (
    fusedDraw(logits, { u, temperature, ...filter }) ?? drawTokens(sampleProbabilities(logits, temperature, filter), u)
  );
}
