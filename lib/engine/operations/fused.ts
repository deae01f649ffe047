/**
 * Folio's own TensorFlow operations (native/) with their gradients: one pass over memory instead of the many of
 * composed operations. Each function returns undefined if they are not loaded (on a GPU, in a browser, without a
 * compiler); functional.ts and model.ts then compose the same from TensorFlow.js' operations. It imports nothing from
 * Node.
 */
import * as tf from "@tensorflow/tfjs-core";
import { currentUpdater, multiplierOf } from "./in-place.js";
import { type RawAttribute, type RawBackend, rawBackend } from "./raw.js";

let loaded = false;

/** Called once the library of operations is loaded into TensorFlow. */
export function enableFused(enabled: boolean): void {
  loaded = enabled;
}

export function fusedEnabled(): boolean {
  return loaded && rawBackend() !== undefined;
}

/** A value, the tensors saved for its gradient, and the gradient with respect to each input. */
export interface Differentiable {
  value: tf.Tensor;
  saved?: tf.Tensor[];
  gradient: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.Tensor[];
}

/** table [V, C], ids [N] → [N, C] */
export function fusedRows(table: tf.Tensor2D, ids: tf.Tensor1D): tf.Tensor2D | undefined {
  return fusedEnabled() ? (run("FolioRows", [], [table, ids], 1)[0] as tf.Tensor2D) : undefined;
}

/** x [M, K], w [K, N] or, transposed, [N, K] → [M, N]; undefined if the session uses TensorFlow's product. */
export function fusedLinear(x: tf.Tensor2D, w: tf.Tensor2D, transposed: boolean): Differentiable | undefined {
  const { products, multipliers } = currentUpdater() ?? { products: "float32", multipliers: undefined };
  if (!fusedEnabled() || products === "shortened") return undefined;
  // Both gradients have the same M·K·N, so one choice serves all three products.
  if (multipliers && multiplierOf(multipliers, x.shape[0] * w.size) === "tensorflow") return undefined;
  const bf16 = attribute("bf16", "BOOL", products === "bfloat16");
  const sides = [attribute("transpose_a", "BOOL", false), attribute("transpose_b", "BOOL", transposed)];
  return {
    value: run("FolioMatMul", [...sides, bf16, alone()], [x, w], 1)[0]!,
    saved: [x, w],
    gradient: (dy, saved) => {
      const attributes = [attribute("transposed", "BOOL", transposed), bf16, attribute("scaled", "INT", 0)];
      return run("FolioLinearGrad", attributes, [dy, ...saved], 2);
    },
  };
}

/** x [N, C], weight [C] → [N, C] */
export function fusedLayerNorm(x: tf.Tensor2D, weight: tf.Tensor1D): Differentiable | undefined {
  if (!fusedEnabled()) return undefined;
  const [y, mean, inverse] = run("FolioLayerNorm", [], [x, weight], 3) as [tf.Tensor, tf.Tensor, tf.Tensor];
  return {
    value: y,
    saved: [x, weight, mean, inverse],
    gradient: (dy, saved) => run("FolioLayerNormGrad", [alone()], [dy, ...saved], 2),
  };
}

/** x of any shape. */
export function fusedGelu(x: tf.Tensor, kind: "erf" | "tanh"): Differentiable | undefined {
  if (!fusedEnabled()) return undefined;
  const [value, slope] = run("FolioGelu", [attribute("tanh", "BOOL", kind === "tanh")], [x], 2) as [
    tf.Tensor,
    tf.Tensor,
  ];
  return { value, saved: [slope], gradient: (dy, saved) => run("FolioTimes", [], [dy, ...saved], 1) };
}

/** logits [N, V], targets [N], of which negative ones are ignored → the mean, a scalar */
export function fusedCrossEntropy(logits: tf.Tensor2D, targets: tf.Tensor1D): Differentiable | undefined {
  if (!fusedEnabled()) return undefined;
  const [value, gradient] = run("FolioCrossEntropy", [], [logits, targets], 2) as [tf.Tensor, tf.Tensor];
  return { value, saved: [gradient], gradient: (dy, [g]) => [tf.mul(g!, dy)] };
}

/** The sum of all squares of all tensors: a scalar. */
export function fusedSquares(tensors: tf.Tensor[]): tf.Scalar | undefined {
  if (!fusedEnabled()) return undefined;
  return run("FolioSquares", [attribute("N", "INT", tensors.length)], tensors, 1)[0] as tf.Scalar;
}

/** Which elements a dropout drops: with probability `rate`, by the numbers of `key + [use, row]`. */
export interface Dropout {
  readonly rate: number;
  /** int32 [2], by seed and step */
  readonly key: tf.Tensor1D;
  /** Number of this dropout in the model. */
  readonly use: number;
}

/** x [B, …]. The gradient draws the mask again, which is faster than to store it. */
export function fusedDropout(x: tf.Tensor, { key, ...how }: Dropout): Differentiable | undefined {
  if (!fusedEnabled()) return undefined;
  const apply = (to: tf.Tensor, by: tf.Tensor) => run("FolioDropout", dropoutAttributes(how), [to, by], 1);
  return { value: apply(x, key)[0]!, saved: [key], gradient: (dy, [saved]) => apply(dy, saved!) };
}

function dropoutAttributes({ rate, use }: { rate: number; use: number }): RawAttribute[] {
  return [attribute("rate", "FLOAT", rate), attribute("scale", "FLOAT", 1 / (1 - rate)), attribute("use", "INT", use)];
}

/**
 * Causal self-attention of all heads from the fused projection, without storing the whole attention matrix (Dao 2022):
 * qkv [B·T, 3C] → heads side by side [B·T, C]. Dropout acts on the attention weights, [B, H, T, T].
 */
export function fusedAttention(
  qkv: tf.Tensor2D,
  { batch, heads, dropout }: { batch: number; heads: number; dropout?: Dropout | undefined },
): Differentiable | undefined {
  if (!fusedEnabled()) return undefined;
  const key = dropout ? [dropout.key] : [];
  const attributes = [
    ...[attribute("batch", "INT", batch), attribute("heads", "INT", heads), attribute("dropped", "INT", key.length)],
    ...dropoutAttributes(dropout ?? { rate: 0, use: 0 }),
  ];
  const [out, logSums] = run("FolioAttention", attributes, [qkv, ...key], 2) as [tf.Tensor, tf.Tensor];
  return {
    value: out,
    saved: [qkv, out, logSums, ...key],
    gradient: (dy, saved) => run("FolioAttentionGrad", attributes, [dy, ...saved], 1),
  };
}

/** Nothing is added to the result here; compiled/merge-operations.ts merges additions while a step is traced. */
const alone = () => attribute("added", "INT", 0);

function attribute(name: string, type: "BOOL" | "INT" | "FLOAT", value: unknown): RawAttribute {
  return { name, type: raw().binding[`TF_ATTR_${type}`], value };
}

function run(type: string, attributes: RawAttribute[], inputs: tf.Tensor[], count: number): tf.Tensor[] {
  return raw().executeMultipleOutputs(type, attributes, inputs, count);
}

function raw(): RawBackend {
  const backend = rawBackend();
  if (!backend) throw new Error("Cannot run a fused operation: the backend is not TensorFlow.");
  return backend;
}
