/**
 * Dynamic loss scaling for float16, as in PyTorch's GradScaler: the loss is multiplied by a large scale, so that small
 * gradients are not rounded to 0, and the gradients are divided by it. A step whose gradients overflow is skipped and
 * the scale is halved; after 2,000 steps without overflow it is doubled. Its state is the group `scaler` of a training
 * state; steps.ts uses it if dtype is float16.
 */
import * as tf from "@tensorflow/tfjs-core";
import type { HostTensor, HostTensors } from "../../engine/host-tensors.js";
import type { Parameters } from "../../model/model.js";
import type { Settings } from "../../settings/settings.js";

const INITIAL_SCALE = 65536;
const GROWTH = 2;
const BACKOFF = 0.5;
const GROWTH_INTERVAL = 2000;
/** At a smaller scale the gradients of a sane model cannot overflow; the loss itself must have. */
export const LEAST_SCALE = 2 ** -14;

/** True only for float16, which `auto` never chooses. */
export const isScaled = ({ dtype }: Pick<Settings, "dtype">): boolean => dtype === "float16";

/** The group `scaler` before the next update: scalars `scale`, `goodSteps` (since it changed) and `updates` (done). */
export function initialLossScale(updates: number): HostTensors {
  const scalar = (value: number): HostTensor => ({ dtype: "float32", shape: [], values: Float32Array.of(value) });
  return { scale: scalar(INITIAL_SCALE), goodSteps: scalar(0), updates: scalar(updates) };
}

/** The result of a step of the scaler. */
export interface ScaledUpdate {
  /** Norm of the unscaled gradients; not finite if they overflowed. */
  readonly norm: tf.Scalar;
  /** Boolean scalar: whether this update is made. */
  readonly when: tf.Tensor;
  /** The number of this update, not counting skipped ones: 1, 2, … */
  readonly count: tf.Tensor;
  /** The scaler after this step. */
  readonly scaler: Parameters;
}

/** One step of the scaler. @param scaledNorm norm of the gradients of the scaled loss */
export function scaleStep(scaler: Parameters, scaledNorm: tf.Scalar): ScaledUpdate {
  const next = () => nextScale(scaler, scaledNorm) as unknown as tf.TensorContainer;
  return tf.tidy(next) as unknown as ScaledUpdate;
}

function nextScale({ scale, goodSteps, updates }: Parameters, scaledNorm: tf.Scalar): ScaledUpdate {
  const norm = tf.div(scaledNorm, scale!) as tf.Scalar;
  const finite = tf.isFinite(norm);
  const good = tf.add(goodSteps!, 1);
  const grows = tf.greaterEqual(good, GROWTH_INTERVAL);
  const grown = tf.where(grows, tf.mul(scale!, GROWTH), scale!);
  const count = tf.add(updates!, 1);
  return {
    norm,
    when: finite,
    count,
    scaler: {
      scale: tf.where(finite, grown, tf.mul(scale!, BACKOFF)),
      goodSteps: tf.where(tf.logicalAnd(finite, tf.logicalNot(grows)), good, tf.zerosLike(good)),
      updates: tf.where(finite, count, updates!),
    },
  };
}
