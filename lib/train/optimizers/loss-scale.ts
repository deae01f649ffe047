/**
 * Dynamic loss scaling for float16, as PyTorch's GradScaler: the loss is multiplied by a large number, so that small
 * gradients are not rounded to 0, and the gradients are divided by it; a step whose gradients overflow is left out and
 * the number halved; after 2,000 steps without one it is doubled. Its state is the group `scaler` of a training state;
 * steps.ts uses it where dtype is float16.
 */
import * as tf from "@tensorflow/tfjs-core";
import type { HostTensor, HostTensors } from "../../engine/host-tensors.js";
import type { Parameters } from "../../model/model.js";
import type { AdamWInputs, AdamWSettings } from "./adamw.js";

const INITIAL_SCALE = 65536;
const GROWTH = 2;
const BACKOFF = 0.5;
const GROWTH_INTERVAL = 2000;
/** Below it no gradient of a sane model overflows: the loss itself does. */
export const LEAST_SCALE = 2 ** -14;

/** The group `scaler` before the next update: scalars `scale`, `goodSteps` (since it changed) and `updates` (done). */
export function initialLossScale(updates: number): HostTensors {
  const scalar = (value: number): HostTensor => ({ dtype: "float32", shape: [], values: Float32Array.of(value) });
  return { scale: scalar(INITIAL_SCALE), goodSteps: scalar(0), updates: scalar(updates) };
}

/** What an update makes of the scaler and of the norm of the scaled gradients. */
export interface ScaledUpdate {
  /** Norm of the gradients, without the scale; not finite when they overflowed. */
  readonly norm: tf.Scalar;
  /** Of AdamW's inputs, `1 − βᵗ` for the t-th update that is not left out, and whether this one is. */
  readonly rates: Pick<AdamWInputs, "biasCorrection1" | "biasCorrection2" | "when">;
  /** The scaler after this step. */
  readonly scaler: Parameters;
}

/** One step of the scaler. @param scaledNorm norm of the gradients of the scaled loss */
export function scaleStep(
  scaler: Parameters,
  scaledNorm: tf.Scalar,
  betas: Pick<AdamWSettings, "beta1" | "beta2">,
): ScaledUpdate {
  const next = () => nextScale(scaler, scaledNorm, betas) as unknown as tf.TensorContainer;
  return tf.tidy(next) as unknown as ScaledUpdate;
}

function nextScale(
  { scale, goodSteps, updates }: Parameters,
  scaledNorm: tf.Scalar,
  { beta1, beta2 }: Pick<AdamWSettings, "beta1" | "beta2">,
): ScaledUpdate {
  const norm = tf.div(scaledNorm, scale!) as tf.Scalar;
  const finite = tf.isFinite(norm);
  const good = tf.add(goodSteps!, 1);
  const grows = tf.greaterEqual(good, GROWTH_INTERVAL);
  const grown = tf.where(grows, tf.mul(scale!, GROWTH), scale!);
  const done = tf.add(updates!, 1);
  // 1 − βᵗ without the digits that 1 − (nearly 1) loses
  const correction = (beta: number) => tf.neg(tf.expm1(tf.mul(done, Math.log(beta))));
  return {
    norm,
    rates: { biasCorrection1: correction(beta1), biasCorrection2: correction(beta2), when: finite },
    scaler: {
      scale: tf.where(finite, grown, tf.mul(scale!, BACKOFF)),
      goodSteps: tf.where(tf.logicalAnd(finite, tf.logicalNot(grows)), good, tf.zerosLike(good)),
      updates: tf.where(finite, done, updates!),
    },
  };
}
