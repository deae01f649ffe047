/**
 * AdamW, clipping by the global norm, and learning-rate schedules: plain functions from state to state.
 * Not a training loop (train.ts), and no schedule knows a tensor. Notebook 01-train plots the schedules.
 */
import * as tf from "@tensorflow/tfjs-core";
import { fusedSquares } from "../../engine/operations/fused.js";
import { adamUpdate, addAll } from "../../engine/operations/raw.js";
import type { ParameterSpec, Parameters } from "../../model/model.js";
import type { Settings } from "../../settings/settings.js";

/** First and second moments of the gradient, by parameter name. */
export interface Moments {
  readonly m: Parameters;
  readonly v: Parameters;
}

/** What changes from step to step in an update, as tensors, so that a compiled step can be fed new values. */
export interface AdamWInputs {
  /** Learning rate η of this step. */
  readonly learningRate: tf.Tensor;
  /** 1 − β1ᵗ and 1 − β2ᵗ for the t-th update, t = 1, 2, … */
  readonly biasCorrection1: tf.Tensor;
  readonly biasCorrection2: tf.Tensor;
  /** What the gradients are multiplied by; default 1. */
  readonly gradientScale?: tf.Tensor;
  /** Boolean scalar: where it is false, nothing is updated. */
  readonly when?: tf.Tensor | undefined;
}

/** What stays the same over a run. */
export type AdamWSettings = Pick<Settings, "beta1" | "beta2" | "weightDecay"> & { readonly epsilon?: number };

/**
 * Learning rate of step `step` = 0, 1, …: a linear warm-up `η (step + 1) / (warmupIters + 1)`, then the schedule, at
 * `minLr` after `lrDecayIters`. With progress p from 0 to 1 between the two:
 * cosine `minLr + (η − minLr) (1 + cos πp) / 2` (nanoGPT's), linear `η − (η − minLr) p`, constant `η`, and wsd
 * (Hu 2024): `η` until the last `decayFraction` of lrDecayIters, then linear.
 */
export function learningRate(
  step: number,
  settings: Pick<
    Settings,
    "learningRate" | "minLr" | "warmupIters" | "lrDecayIters" | "decayLr" | "schedule" | "decayFraction"
  >,
): number {
  const { learningRate: peak, minLr, warmupIters, lrDecayIters, decayLr, schedule, decayFraction } = settings;
  if (!decayLr) return peak;
  if (step < warmupIters) return (peak * (step + 1)) / (warmupIters + 1);
  if (schedule === "constant") return peak;
  if (step > lrDecayIters) return minLr;
  const start = schedule === "wsd" ? Math.max(warmupIters, lrDecayIters * (1 - decayFraction)) : warmupIters;
  const p = lrDecayIters > start ? Math.max(0, (step - start) / (lrDecayIters - start)) : 1;
  if (schedule === "cosine") return minLr + 0.5 * (1 + Math.cos(Math.PI * p)) * (peak - minLr);
  return peak - (peak - minLr) * p;
}

/** Whether weight decay applies: to matrices and tables, not to vectors, as in nanoGPT. */
function decays({ shape }: { readonly shape: readonly number[] }): boolean {
  return shape.length >= 2;
}

/** The two groups of parameters: those that weight decay applies to, and the others, with their sizes. */
export function decayGroups(specs: readonly ParameterSpec[]): Record<"decayed" | "undecayed", DecayGroup> {
  const group = (decay: boolean): DecayGroup => {
    const members = specs.filter((spec) => decays(spec) === decay);
    const parameters = members.reduce((sum, { shape }) => sum + shape.reduce((product, axis) => product * axis, 1), 0);
    return { tensors: members.length, parameters };
  };
  return { decayed: group(true), undecayed: group(false) };
}

export interface DecayGroup {
  readonly tensors: number;
  readonly parameters: number;
}

/** Moments of zeros; the caller owns the tensors. */
export function initialMoments(params: Parameters): { m: Record<string, tf.Tensor>; v: Record<string, tf.Tensor> } {
  const zeros = () => Object.fromEntries(Object.entries(params).map(([name, p]) => [name, tf.zeros(p.shape)]));
  return { m: zeros(), v: zeros() };
}

/** `1 − βᵗ`, computed in double precision on the host, for AdamWInputs. */
export function biasCorrections(t: number, { beta1, beta2 }: Pick<Settings, "beta1" | "beta2">): [number, number] {
  return [1 - beta1 ** t, 1 - beta2 ** t];
}

/** ‖g‖, the norm over all gradients together. */
export function globalNorm(gradients: Parameters): tf.Scalar {
  const tensors = Object.values(gradients);
  return tf.tidy(() => tf.sqrt(fusedSquares(tensors) ?? addAll(tensors.map((g) => tf.sum(tf.square(g))))));
}

/** What PyTorch's clip_grad_norm_ multiplies all gradients by: `min(1, maxNorm / (‖g‖ + 1e-6))`; 1 for `maxNorm` 0. */
export function clipScale(norm: tf.Scalar, maxNorm: number): tf.Scalar {
  return tf.tidy(() => (maxNorm === 0 ? tf.scalar(1) : tf.minimum(1, tf.div(maxNorm, tf.add(norm, 1e-6)))));
}

/** By how much the update that led to `state` moved each parameter, from the moments that it left behind. */
export function adamWChange(
  { params, m, v }: Moments & { readonly params: Parameters },
  { learningRate, biasCorrection1, biasCorrection2 }: AdamWInputs,
  { weightDecay, epsilon = 1e-8 }: AdamWSettings,
): Parameters {
  const change = ([name, param]: [string, tf.Tensor]) => {
    const scaled = tf.mul(tf.sqrt(v[name]!), tf.rsqrt(biasCorrection2));
    const direction = tf.div(m[name]!, tf.add(scaled, epsilon));
    const gradientPart = tf.mul(tf.div(learningRate, biasCorrection1), direction);
    // after = before · (1 − ηλ) − gradientPart
    const decay = tf.mul(learningRate, decays(param) ? weightDecay : 0);
    const before = tf.div(tf.add(param, gradientPart), tf.sub(1, decay));
    return [name, tf.neg(tf.add(gradientPart, tf.mul(before, decay)))] as const;
  };
  return Object.fromEntries(Object.entries(params).map(change));
}

/** One AdamW update of all parameters; `adamUpdate` in engine/ops.ts has the formula. Matrices and tables decay. */
export function adamW(
  state: Moments & { readonly params: Parameters },
  gradients: Parameters,
  inputs: AdamWInputs,
  settings: AdamWSettings,
): { params: Parameters; m: Parameters; v: Parameters } {
  const { beta1, beta2, weightDecay, epsilon = 1e-8 } = settings;
  const { learningRate, biasCorrection1, biasCorrection2, when } = inputs;
  const one = inputs.gradientScale ? undefined : tf.scalar(1);
  const gradientScale = inputs.gradientScale ?? one!;
  const params: Record<string, tf.Tensor> = {};
  const m: Record<string, tf.Tensor> = {};
  const v: Record<string, tf.Tensor> = {};
  for (const [name, param] of Object.entries(state.params)) {
    const updated = adamUpdate({
      param,
      m: state.m[name]!,
      v: state.v[name]!,
      gradient: gradients[name]!,
      gradientScale,
      learningRate,
      biasCorrection1,
      biasCorrection2,
      beta1,
      beta2,
      epsilon,
      weightDecay: decays(param) ? weightDecay : 0,
      when,
    });
    params[name] = updated.param;
    m[name] = updated.m;
    v[name] = updated.v;
  }
  one?.dispose();
  return { params, m, v };
}
