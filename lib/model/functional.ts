/**
 * The differentiable functions that a GPT is composed of, like `torch.nn.functional` in PyTorch, with gradients written
 * by hand where that saves operations. They have no parameters, state or configuration; model.ts composes them.
 */
import * as tf from "@tensorflow/tfjs-core";
import {
  type Differentiable,
  type Dropout,
  fusedCrossEntropy,
  fusedDropout,
  fusedGelu,
  fusedLayerNorm,
  fusedLinear,
  fusedRows,
} from "../engine/operations/fused.js";
import { gatherRows, randomUniform, sparseCrossEntropy } from "../engine/operations/raw.js";

/** Activations of B sequences, [B, T, C], or as rows, [N, C]. */
type Activations = tf.Tensor2D | tf.Tensor3D;

/**
 * Rows of a table: `embedding(W, ids) = W[ids]`.
 * @param table [V, C]
 * @param ids [B, T] or [N], int32 in [0, V)
 * @returns [B, T, C] or [N, C]
 */
export function embedding(table: tf.Tensor2D, ids: tf.Tensor2D): tf.Tensor3D;
export function embedding(table: tf.Tensor2D, ids: tf.Tensor1D): tf.Tensor2D;
export function embedding(table: tf.Tensor2D, ids: tf.Tensor1D | tf.Tensor2D): Activations {
  const flat: tf.Tensor1D = ids.rank === 1 ? (ids as tf.Tensor1D) : tf.reshape(ids as tf.Tensor2D, [ids.size]);
  const rows = withGradient<tf.Tensor2D>([table], () => ({
    value: fusedRows(table, flat) ?? gatherRows(table, flat),
    saved: [flat],
    gradient: (dy, [taken]) => [tf.unsortedSegmentSum(dy, taken as tf.Tensor1D, table.shape[0])],
  }));
  return ids.rank === 1 ? rows : fromRows(rows, ids.shape[0]);
}

/** Parts of a linear layer besides its weight. */
export interface LinearOptions {
  /** [to], or none. */
  readonly bias?: tf.Tensor1D | undefined;
  /** Whether the weight is stored as [to, from], as the head's is. */
  readonly transposed?: boolean;
}

/**
 * A linear layer: `linear(x, W) = x W + b`, or `x Wᵀ + b` if the weight is stored transposed.
 * @param x [B, T, from] or [N, from]
 * @param weight [from, to], or transposed [to, from]
 * @returns [B, T, to] or [N, to]
 */
export function linear<T extends Activations>(
  x: T,
  weight: tf.Tensor2D,
  { bias, transposed = false }: LinearOptions = {},
): T {
  return byRows(x, (rows) => {
    const product = withGradient<tf.Tensor2D>([rows, weight], () => {
      const fused = fusedLinear(rows, weight, transposed);
      if (fused) return fused;
      return {
        value: tf.matMul(rows, weight, false, transposed),
        saved: [rows, weight],
        gradient: (dy, [input, w]) => [
          tf.matMul(dy, w!, false, !transposed),
          transposed ? tf.matMul(dy, input!, true) : tf.matMul(input!, dy, true),
        ],
      };
    });
    return bias ? tf.add(product, bias) : product;
  });
}

/**
 * Layer normalization over the last axis (Ba 2016):
 * `layerNorm(x) = (x − mean(x)) / sqrt(var(x) + 1e-5) · weight + bias`.
 * @param x [B, T, C] or [N, C]
 * @param weight [C]
 * @param bias [C], or none
 */
export function layerNorm(x: tf.Tensor2D, weight: tf.Tensor1D, bias?: tf.Tensor1D): tf.Tensor2D;
export function layerNorm(x: tf.Tensor3D, weight: tf.Tensor1D, bias?: tf.Tensor1D): tf.Tensor3D;
export function layerNorm(x: Activations, weight: tf.Tensor1D, bias?: tf.Tensor1D): Activations {
  return byRows(x, (rows) => {
    const y = normalized(rows, weight);
    return bias ? tf.add(y, bias) : y;
  });
}

function normalized(x: tf.Tensor2D, weight: tf.Tensor1D): tf.Tensor2D {
  return withGradient([x, weight], () => {
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
}

/**
 * Gaussian error linear unit (Hendrycks 2016). erf: `x · Φ(x)`; tanh, as in GPT-2:
 * `0.5x · (1 + tanh(√(2/π) · (x + 0.044715x³)))`.
 */
export function gelu<T extends tf.Tensor>(x: T, kind: "erf" | "tanh"): T {
  const activate = kind === "erf" ? geluErf : geluTanh;
  return x.rank === 3 ? (byRows(x as tf.Tensor as tf.Tensor3D, activate) as tf.Tensor as T) : activate(x);
}

/** `x + y`, of equal shape: adds a layer's output to the residual stream. */
export function add<T extends Activations>(x: T, y: T): T {
  return byRows(x, (rows) => tf.add(rows, toRows(y)));
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
 * Mean cross-entropy in nats over the rows whose target is not −1.
 * @param logits [N, V]
 * @param targets [N], int32; −1: the row is ignored
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
 * The mask of row b depends only on the key, the use and b, so a batch that is split by rows draws the same masks if
 * the part from row r on is given `key + [0, r]`.
 * @param x [B, …]
 */
export function dropout<T extends tf.Tensor>(x: T, how: Dropout): T {
  return withGradient([x], () => {
    const fused = fusedDropout(x, how);
    if (fused) return fused;
    const factors = dropoutFactors(x.shape, how);
    return { value: tf.mul(x, factors), saved: [factors], gradient: (dy, [saved]) => [tf.mul(dy, saved!)] };
  });
}

/** `mask / (1 − rate)`, [B, …] */
function dropoutFactors(shape: readonly number[], { rate, key, use }: Dropout): tf.Tensor {
  const [rows, ...rest] = shape as [number, ...number[]];
  // One key per row; TensorFlow scrambles keys, so the masks of neighbouring keys are independent.
  const masks = Array.from({ length: rows }, (_, row) => {
    const uniform = randomUniform(rest, tf.add(key, tf.tensor1d([use, row], "int32")));
    return tf.cast(tf.greaterEqual(uniform, rate), "float32");
  });
  return tf.mul(tf.stack(masks), 1 / (1 - rate));
}

/** One position of each sequence, [B, T, C] → [B, 1, C]: the last, or the given one (int32 scalar). */
export function positionOf(x: tf.Tensor3D, position: true | tf.Tensor): tf.Tensor3D {
  const [B, T] = x.shape;
  if (T === 1) return x;
  const index = position === true ? tf.scalar(T - 1, "int32") : position;
  const ids = tf.add(tf.range(0, B * T, T, "int32"), index) as tf.Tensor1D;
  return fromRows(gatherRows(toRows(x), ids), B);
}

/**
 * Applies a function of rows [N, from] → [N, to] to rows or to sequences [B, T, from]. Products, norms and Folio's own
 * operations take rows; only this file converts between the two.
 */
export function byRows<T extends Activations>(x: T, f: (rows: tf.Tensor2D) => tf.Tensor2D): T {
  const rows = f(toRows(x));
  return (x.rank === 3 ? fromRows(rows, x.shape[0]) : rows) as T;
}

// The rows of sequences, cached: layers then share one tensor of rows, and gradients are summed there. Rows are not
// reused under another gradient tape, which would not know how they are connected with the sequences.
const rowsBehind = new WeakMap<tf.Tensor, { readonly rows: tf.Tensor2D; readonly tape: unknown }>();
const currentTape = (): unknown => tf.engine().state.activeTape;

/** [B, T, C] → [B·T, C]; for a result of `fromRows`, the original rows. */
export function toRows(x: Activations): tf.Tensor2D {
  if (x.rank === 2) return x as tf.Tensor2D;
  const known = rowsBehind.get(x);
  if (known && known.tape === currentTape() && !known.rows.isDisposed) return known.rows;
  const rows = tf.reshape(x, [-1, x.shape[2]!]) as tf.Tensor2D;
  rowsBehind.set(x, { rows, tape: currentTape() });
  return rows;
}

/** [B·T, C] → [B, T, C] */
export function fromRows(rows: tf.Tensor2D, B: number): tf.Tensor3D {
  const x = tf.reshape(rows, [B, rows.shape[0] / B, rows.shape[1]]) as tf.Tensor3D;
  rowsBehind.set(x, { rows, tape: currentTape() });
  return x;
}

/**
 * Gives `forward` its custom gradient; tensors that the gradient uses must be in `saved`, since all others are freed.
 */
export function withGradient<T extends tf.Tensor>(inputs: tf.Tensor[], forward: () => Differentiable): T {
  return tf.customGrad((...args) => {
    const { value, saved = [], gradient } = forward();
    (args.at(-1) as unknown as tf.GradSaveFunc)(saved);
    return { value, gradFunc: (dy: tf.Tensor, kept: tf.Tensor[]) => gradient(dy, kept) };
  })(...inputs) as T;
}
