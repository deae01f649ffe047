/** Gradient clipping by the global norm. */
import * as tf from "@tensorflow/tfjs-core";
import { fusedSquares } from "../../engine/operations/fused.js";
import { addAll } from "../../engine/operations/raw.js";
import type { Parameters } from "../../model/model.js";

/** ‖g‖, the norm over all gradients. */
export function globalNorm(gradients: Parameters): tf.Scalar {
  const tensors = Object.values(gradients);
  return tf.tidy(() => tf.sqrt(fusedSquares(tensors) ?? addAll(tensors.map((g) => tf.sum(tf.square(g))))));
}

/**
 * The factor for all gradients, as in PyTorch's clip_grad_norm_: `min(1, maxNorm / (‖g‖ + 1e-6))`; 1 for `maxNorm` 0.
 */
export function clipScale(norm: tf.Scalar, maxNorm: number): tf.Scalar {
  return tf.tidy(() => (maxNorm === 0 ? tf.scalar(1) : tf.minimum(1, tf.div(maxNorm, tf.add(norm, 1e-6)))));
}
