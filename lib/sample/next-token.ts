/**
 * From logits to the next token: what was written already made less likely, temperature, the k likeliest, the fewest
 * that make up a share, and a draw. In this order, as transformers has it. No model and no text: generate.ts calls it
 * inside a step. Notebook 03-sample shows what each does.
 */
import * as tf from "@tensorflow/tfjs-core";
import { fusedDraw } from "../engine/operations/decoding.js";

/** Which tokens may be drawn. */
export interface Filter {
  /** Only the k likeliest; 0: all. Logits equal to the k-th stay too, as in nanoGPT. */
  readonly topK: number;
  /** Of those, the fewest likeliest that have this share of probability together: scalar; none: all. */
  readonly topP?: tf.Tensor | undefined;
}

/**
 * Probabilities that a sampler draws from: softmax(logits / temperature) over the tokens that may be drawn, 0 elsewhere.
 * @param logits [B, V]
 * @param temperature scalar above 0
 */
export function sampleProbabilities(logits: tf.Tensor2D, temperature: tf.Tensor, filter: number | Filter): tf.Tensor2D {
  const { topK, topP } = typeof filter === "number" ? { topK: filter, topP: undefined } : filter;
  const V = logits.shape[1];
  // The largest becomes 0, so that the quotient by a small temperature cannot overflow.
  const scaled = tf.div(tf.sub(logits, tf.max(logits, 1, true)), temperature) as tf.Tensor2D;
  if (!topP && (topK === 0 || topK >= V)) return tf.softmax(scaled);
  const kept = topK === 0 ? V : Math.min(topK, V);
  const { values } = tf.topk(scaled, kept); // [B, kept], the largest first
  const last = tf.slice(values, [0, kept - 1], [-1, 1]);
  const least = topP ? tf.max(tf.concat([last, leastOfShare(values as tf.Tensor2D, topP)], 1), 1, true) : last; // [B, 1]
  // Not −∞, which a GPU's shaders need not know; its exponential is 0 as well.
  return tf.softmax(tf.where(tf.less(scaled, least), tf.fill(scaled.shape, -1e38), scaled)) as tf.Tensor2D;
}

/** The last of the sorted logits that is needed for a share of probability: those before it do not reach it. [B, 1] */
function leastOfShare(sorted: tf.Tensor2D, share: tf.Tensor): tf.Tensor {
  const before = tf.cumsum(tf.softmax(sorted), 1, true); // of those that are likelier
  const needed = tf.logicalOr(tf.less(before, share), tf.equal(before, 0));
  return tf.min(tf.where(needed, sorted, tf.max(sorted, 1, true)), 1, true);
}

/**
 * Logits in which tokens that stand in the text already are less likely (Keskar 2019): divided by the penalty where
 * they are positive, multiplied by it where they are negative.
 * @param seen [B, V], 1 for tokens that stand in the text
 * @param penalty scalar, 1: nothing changes
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
  // Rounding may leave the total below 1: what is drawn from is the total, and never a token of probability 0.
  const total = tf.slice(cumulative, [0, probabilities.shape[1] - 1], [-1, 1]);
  const passed = tf.lessEqual(cumulative, tf.mul(u, total));
  return tf.sum(tf.cast(passed, "int32"), 1);
}

/** The tokens that `drawTokens` draws from `sampleProbabilities`, without these standing anywhere. */
export function nextTokens(
  logits: tf.Tensor2D,
  { temperature, u, ...filter }: Filter & { temperature: tf.Tensor; u: tf.Tensor2D },
): tf.Tensor1D {
  return (
    fusedDraw(logits, { u, temperature, ...filter }) ?? drawTokens(sampleProbabilities(logits, temperature, filter), u)
  );
}
