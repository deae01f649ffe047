/**
 * AdamW, clipping by the global norm, and learning-rate schedules: plain functions from state to state.
 * Not a training loop (train.ts), and no schedule knows a tensor. Notebook 01-train plots the schedules.
 */
import * as tf from "@tensorflow/tfjs-core";
import { adamUpdate } from "../../engine/operations/raw.js";
import type { ParameterSpec, Parameters } from "../../model/model.js";
import type { DecayGroup } from "../../runs/records.js";
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

/** Moments of zeros; the caller owns the tensors. */
export function initialMoments(params: Parameters): { m: Record<string, tf.Tensor>; v: Record<string, tf.Tensor> } {
  const zeros = () => Object.fromEntries(Object.entries(params).map(([name, p]) => [name, tf.zeros(p.shape)]));
  return { m: zeros(), v: zeros() };
}

/** `1 − βᵗ`, computed in double precision on the host, for AdamWInputs. */
export function biasCorrections(t: number, { beta1, beta2 }: Pick<Settings, "beta1" | "beta2">): [number, number] {
  return [1 - beta1 ** t, 1 - beta2 ** t];
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
