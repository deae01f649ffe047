/**
 * AdamW (Loshchilov 2019), as in PyTorch: two bias-corrected moments of the gradient for each parameter, and decoupled
 * weight decay. Plain functions from state to state; adamUpdate in engine/operations/raw.ts has the formula.
 */
import * as tf from "@tensorflow/tfjs-core";
import { float32, mapRecord } from "../../engine/host-tensors.js";
import { adamUpdate } from "../../engine/operations/raw.js";
import type { ParameterSpec, Parameters } from "../../model/model.js";
import type { DecayGroup } from "../../runs/records.js";
import type { Settings } from "../../settings/settings.js";
import type { Optimizer, UpdateInputs } from "./optimizer.js";

/** First and second moments of the gradient, by parameter name. */
export interface Moments {
  readonly m: Parameters;
  readonly v: Parameters;
}

/** Inputs of AdamW's update besides state and gradients. */
export interface AdamWInputs extends UpdateInputs {
  /** 1 − β1ᵗ and 1 − β2ᵗ for the t-th update, t = 1, 2, … */
  readonly biasCorrection1: tf.Tensor;
  readonly biasCorrection2: tf.Tensor;
}

/** Settings that stay the same during a run. */
export type AdamWSettings = Pick<Settings, "beta1" | "beta2" | "weightDecay"> & { readonly epsilon?: number };

/** Whether weight decay applies: to matrices and tables, not to vectors, as in nanoGPT. */
function decays({ shape }: { readonly shape: readonly number[] }): boolean {
  return shape.length >= 2;
}

/** The two groups of parameters, with and without weight decay, and their sizes. */
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

/** The change of each parameter by the update that led to `state`, computed from the updated moments. */
function adamWChange(
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

/** One AdamW update of all parameters. Matrices and tables decay. */
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

type TrainingState = Moments & { readonly params: Parameters };

/** AdamW as an Optimizer. */
export const adamw: Optimizer<AdamWInputs> = {
  groups(params) {
    const moment = mapRecord(params, ({ shape }) => ({ dtype: "float32" as const, shape }));
    return { m: moment, v: moment };
  },
  inputs(count, settings) {
    const [first, second] = biasCorrections(count, settings);
    return { biasCorrection1: float32([first], []), biasCorrection2: float32([second], []) };
  },
  inputsOf(count, { beta1, beta2 }) {
    // 1 − βᵗ without cancellation
    const correction = (beta: number) => tf.neg(tf.expm1(tf.mul(count, Math.log(beta))));
    return { biasCorrection1: correction(beta1), biasCorrection2: correction(beta2) };
  },
  update: (state, gradients, inputs, settings) => ({
    ...adamW(state as unknown as TrainingState, gradients, inputs, settings),
  }),
  change: (state, inputs, settings) => adamWChange(state as unknown as TrainingState, inputs, settings),
  pytorchNames: { m: "exp_avg", v: "exp_avg_sq" },
};
