/**
 * The differentiable functions that a GPT is made of, each with its gradient written by hand where that saves
 * operations: what `torch.nn.functional` is to PyTorch. No parameters, no state, no configuration; model.ts composes
 * them. Notebook 00-start calls the model that stands on them.
 */
import * as tf from "@tensorflow/tfjs-core";
import {
  type Differentiable,
  fusedAttention,
  fusedCrossEntropy,
  fusedEnabled,
  fusedGelu,
  fusedLayerNorm,
  fusedLinear,
  fusedRows,
} from "../engine/operations/fused.js";
import { currentUpdater } from "../engine/operations/in-place.js";
import { gatherRows, randomUniform, sparseCrossEntropy } from "../engine/operations/raw.js";

/**
 * Rows of a table: `embedding(W, ids) = W[ids]`.
 * @param table [V, C]
 * @param ids [N], int32 in [0, V)
 * @returns [N, C]
 */
export function embedding(table: tf.Tensor2D, ids: tf.Tensor1D): tf.Tensor2D {
  return withGradient([table], () => ({
    value: fusedRows(table, ids) ?? gatherRows(table, ids),
    saved: [ids],
    gradient: (dy, [rows]) => [tf.unsortedSegmentSum(dy, rows as tf.Tensor1D, table.shape[0])],
  }));
}

/**
 * Matrix product with a weight: `linear(x, W) = x W`, or `x Wᵀ` when the weight stands transposed, as the head's does.
 * @param x [M, K]
 * @param weight [K, N], transposed [N, K]
 * @returns [M, N]
 */
export function linear(x: tf.Tensor2D, weight: tf.Tensor2D, { transposed = false } = {}): tf.Tensor2D {
  return withGradient([x, weight], () => {
    const fused = fusedLinear(x, weight, transposed);
    if (fused) return fused;
    return {
      value: tf.matMul(x, weight, false, transposed),
      saved: [x, weight],
      gradient: (dy, [input, w]) => [
        tf.matMul(dy, w!, false, !transposed),
        transposed ? tf.matMul(dy, input!, true) : tf.matMul(input!, dy, true),
      ],
    };
  });
}

/**
 * Layer normalization over the last axis (Ba 2016):
 * `layerNorm(x) = (x − mean(x)) / sqrt(var(x) + 1e-5) · weight + bias`.
 * @param x [N, C]
 * @param weight [C]
 * @param bias [C], or none
 */
export function layerNorm(x: tf.Tensor2D, weight: tf.Tensor1D, bias?: tf.Tensor1D): tf.Tensor2D {
  const y = withGradient<tf.Tensor2D>([x, weight], () => {
    const fused = fusedLayerNorm(x, weight);
    if (fused) return fused;
    const centered = tf.sub(x, tf.mean(x, -1, true));
    const inverse = tf.rsqrt(tf.add(tf.mean(tf.square(centered), -1, true), 1e-5));
    const normal = tf.mul(centered, inverse);
    return {
      value: tf.mul(normal, weight),
      saved: [normal, inverse, weight],
      gradient: (dy, [n, s, w]) => {
        const dn = tf.mul(dy, w!);
        const projection = tf.mul(n!, tf.mean(tf.mul(dn, n!), -1, true));
        const dx = tf.mul(s!, tf.sub(tf.sub(dn, tf.mean(dn, -1, true)), projection));
        return [dx, tf.sum(tf.mul(dy, n!), 0)];
      },
    };
  });
  return bias ? tf.add(y, bias) : y;
}

/**
 * Gaussian error linear unit (Hendrycks 2016). erf: `x · Φ(x)`; tanh, as GPT-2 has it:
 * `0.5x · (1 + tanh(√(2/π) · (x + 0.044715x³)))`.
 */
export function gelu<T extends tf.Tensor>(x: T, kind: "erf" | "tanh"): T {
  return kind === "erf" ? geluErf(x) : geluTanh(x);
}

function geluErf<T extends tf.Tensor>(x: T): T {
  return withGradient([x], () => {
    const fused = fusedGelu(x, "erf");
    if (fused) return fused;
    const phi = tf.mul(0.5, tf.add(1, tf.erf(tf.mul(x, Math.SQRT1_2))));
    return {
      value: tf.mul(x, phi),
      saved: [x, phi],
      gradient: (dy, [u, p]) => {
        const density = tf.mul(1 / Math.sqrt(2 * Math.PI), tf.exp(tf.mul(-0.5, tf.square(u!))));
        return [tf.mul(dy, tf.add(p!, tf.mul(u!, density)))];
      },
    };
  });
}

function geluTanh<T extends tf.Tensor>(x: T): T {
  return withGradient([x], () => {
    const fused = fusedGelu(x, "tanh");
    if (fused) return fused;
    const k = Math.sqrt(2 / Math.PI);
    const tanh = tf.tanh(tf.mul(k, tf.add(x, tf.mul(0.044715, tf.mul(x, tf.square(x))))));
    return {
      value: tf.mul(tf.mul(0.5, x), tf.add(1, tanh)),
      saved: [x, tanh],
      gradient: (dy, [u, t]) => {
        const inner = tf.mul(k, tf.add(1, tf.mul(3 * 0.044715, tf.square(u!))));
        const slope = tf.mul(tf.mul(tf.mul(0.5, u!), tf.sub(1, tf.square(t!))), inner);
        return [tf.mul(dy, tf.add(tf.mul(0.5, tf.add(1, t!)), slope))];
      },
    };
  });
}

/**
 * Causal self-attention of all heads in one operation, `softmax(q kᵀ / √D + mask) v`, in a compiled step on a CPU.
 * @param qkv [B·T, 3C], queries, keys and values side by side
 * @returns [B·T, C], heads side by side; or nothing, and model.ts spells it out
 */
export function causalAttention(qkv: tf.Tensor2D, shape: { batch: number; heads: number }): tf.Tensor2D | undefined {
  // Eagerly, model.ts spells it out: whoever runs line by line wants to see the lines.
  if (!fusedEnabled() || !currentUpdater()) return undefined;
  return withGradient([qkv], () => fusedAttention(qkv, shape)!);
}

/**
 * Mean cross-entropy in nats over the rows whose target is not −1.
 * @param logits [N, V]
 * @param targets [N], int32; −1: the row does not count
 * @returns scalar
 */
export function crossEntropy(logits: tf.Tensor2D, targets: tf.Tensor1D): tf.Scalar {
  return withGradient([logits], () => {
    const fused = fusedCrossEntropy(logits, targets);
    if (fused) return fused;
    const zero = tf.scalar(0, "int32");
    const counts = tf.cast(tf.greaterEqual(targets, zero), "float32");
    const weights = tf.div(counts, tf.maximum(tf.sum(counts), 1));
    const { loss, backprop } = sparseCrossEntropy(logits, tf.maximum(targets, zero));
    return {
      value: tf.sum(tf.mul(loss, weights)),
      saved: [backprop, weights],
      gradient: (dy, [gradient, w]) => [tf.mul(gradient!, tf.expandDims(tf.mul(dy, w!), 1))],
    };
  });
}

/**
 * Dropout (Srivastava 2014): `x · mask / (1 − rate)`, each element of the mask 1 with probability 1 − rate.
 * The mask of row b follows from the key, the use and b alone, so a batch split by rows draws the same masks: for its
 * rows from r on it passes `key + [0, r]`.
 * @param x [B, …]
 * @param key int32 [2], by seed and step
 * @param use number of this dropout in the model
 */
export function dropout<T extends tf.Tensor>(
  x: T,
  { rate, key, use }: { rate: number; key: tf.Tensor1D; use: number },
): T {
  const [rows, ...rest] = x.shape as [number, ...number[]];
  // One key a row: TensorFlow scrambles keys, so neighbours are independent.
  const masks = Array.from({ length: rows }, (_, row) => {
    const uniform = randomUniform(rest, tf.add(key, tf.tensor1d([use, row], "int32")));
    return tf.cast(tf.greaterEqual(uniform, rate), "float32");
  });
  return tf.mul(x, tf.mul(tf.stack(masks), 1 / (1 - rate))) as T;
}

/** Gives `forward` the gradient that it states; what the gradient uses must be in `saved`, for the rest is freed. */
function withGradient<T extends tf.Tensor>(inputs: tf.Tensor[], forward: () => Differentiable): T {
  return tf.customGrad((...args) => {
    const { value, saved = [], gradient } = forward();
    (args.at(-1) as unknown as tf.GradSaveFunc)(saved);
    return { value, gradFunc: (dy: tf.Tensor, kept: tf.Tensor[]) => gradient(dy, kept) };
  })(...inputs) as T;
}
