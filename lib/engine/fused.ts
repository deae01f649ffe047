/**
 * Folio's own TensorFlow operations (native/ops.cc) with their gradients: one pass over memory where composed
 * operations take many. Each returns nothing where they are not loaded (a GPU, a browser, no compiler); functional.ts
 * and model.ts then compose the same from TensorFlow.js' operations. It imports nothing of Node.
 */
import type * as tf from "@tensorflow/tfjs-core";
import { type RawAttribute, type RawBackend, rawBackend } from "./ops.js";

let loaded = false;

/** Called once the library of operations was loaded into TensorFlow. */
export function enableFused(enabled: boolean): void {
  loaded = enabled;
}

export function fusedEnabled(): boolean {
  return loaded && rawBackend() !== undefined;
}

/** A value, what its gradient needs of it, and the gradient by each input. */
export interface Differentiable {
  value: tf.Tensor;
  saved?: tf.Tensor[];
  gradient: (dy: tf.Tensor, saved: tf.Tensor[]) => tf.Tensor[];
}

/** x [N, C], weight [C] → [N, C] */
export function fusedLayerNorm(x: tf.Tensor2D, weight: tf.Tensor1D): Differentiable | undefined {
  if (!fusedEnabled()) return undefined;
  const [y, mean, inverse] = run("FolioLayerNorm", [], [x, weight], 3) as [tf.Tensor, tf.Tensor, tf.Tensor];
  return {
    value: y,
    saved: [x, weight, mean, inverse],
    gradient: (dy, saved) => run("FolioLayerNormGrad", [], [dy, ...saved], 2),
  };
}

/** Of any shape. */
export function fusedGelu(x: tf.Tensor, kind: "erf" | "tanh"): Differentiable | undefined {
  if (!fusedEnabled()) return undefined;
  const attributes = [attribute("tanh", "BOOL", kind === "tanh")];
  return {
    value: run("FolioGelu", attributes, [x], 1)[0]!,
    saved: [x],
    gradient: (dy, saved) => run("FolioGeluGrad", attributes, [dy, ...saved], 1),
  };
}

/**
 * Causal self-attention of all heads from the fused projection, without its weights ever standing in memory (Dao 2022):
 * qkv [B·T, 3C] → heads side by side [B·T, C].
 */
export function fusedAttention(
  qkv: tf.Tensor2D,
  { batch, heads }: { batch: number; heads: number },
): Differentiable | undefined {
  if (!fusedEnabled()) return undefined;
  const attributes = [attribute("batch", "INT", batch), attribute("heads", "INT", heads)];
  const [out, logSums] = run("FolioAttention", attributes, [qkv], 2) as [tf.Tensor, tf.Tensor];
  return {
    value: out,
    saved: [qkv, out, logSums],
    gradient: (dy, saved) => run("FolioAttentionGrad", attributes, [dy, ...saved], 1),
  };
}

function attribute(name: string, type: "BOOL" | "INT", value: unknown): RawAttribute {
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
