/**
 * Model and optimizer joined into the steps that a session runs: `(state, inputs) → { state, outputs }`.
 * Nothing that varies from call to call is in their closures, so that they trace. When to call which is train.ts'
 * matter; state groups: `params`, `m`, `v` (AdamW's moments), with gradient accumulation `sums` (of gradients), and with
 * a scaled loss `scaler` (loss-scale.ts).
 */
import * as tf from "@tensorflow/tfjs-core";
import type { State, Step } from "../engine/steps.js";
import { forward, loss, type Parameters } from "../model/model.js";
import type { Settings } from "../settings/settings.js";
import { type AdamWInputs, adamW, adamWChange } from "./optimizers/adamw.js";
import { clipScale, globalNorm } from "./optimizers/clipping.js";
import { scaleStep } from "./optimizers/loss-scale.js";

/**
 * The steps of training. Inputs of both: `x`, `y` int32 [B, T], `dropoutKey` int32 [2]; of `update` also
 * `learningRate`, `biasCorrection1`, `biasCorrection2` (AdamWInputs). Outputs: `loss`, and of `update` `gradNorm`
 * (before clipping) and, with a scaled loss, `lossScale` of the next step.
 */
export interface TrainingSteps {
  /** Adds this micro-batch's gradients, divided by gradientAccumulationSteps, to `sums`. */
  readonly accumulate: Step;
  /** The last micro-batch: gradients, clipping, AdamW; `sums` start again from zero. */
  readonly update: Step;
  /** Loss without gradients or dropout. Inputs: `x`, `y`. */
  readonly evaluate: Step;
  /**
   * ‖Δp‖ / ‖p‖ of the last update, an output a kind of parameter (`embedding`, `attention`, `mlp`, `norm`, `head`).
   * Inputs: AdamWInputs of that update. It follows from the moments, so the weights before are not kept.
   */
  readonly updateRatios: Step;
}

export function trainingSteps(settings: Settings): TrainingSteps {
  const share = 1 / settings.gradientAccumulationSteps;
  const accumulates = settings.gradientAccumulationSteps > 1;
  return {
    accumulate(state, inputs) {
      const { value, gradients } = lossAndGradients(state.params!, inputs, settings, state.scaler?.scale);
      return { state: { sums: addScaled(state.sums!, gradients, share) }, outputs: { loss: value } };
    },
    update(state, inputs) {
      const { scaler } = state;
      const { value, gradients } = lossAndGradients(state.params!, inputs, settings, scaler?.scale);
      const mean = accumulates ? addScaled(state.sums!, gradients, share) : gradients;
      const scaling = scaler && scaleStep(scaler, globalNorm(mean), settings);
      const norm = scaling?.norm ?? globalNorm(mean);
      const clip = clipScale(norm, settings.gradClip);
      const gradientScale = scaler ? tf.div(clip, scaler.scale!) : clip;
      const rates = { ...(inputs as unknown as AdamWInputs), ...scaling?.rates, gradientScale };
      const { params, m, v } = state as { params: Parameters; m: Parameters; v: Parameters };
      const next: State = { ...adamW({ params, m, v }, mean, rates, settings) };
      const cleared = accumulates ? { sums: mapTensors(state.sums!, tf.zerosLike) } : {};
      const scaled = scaling && { lossScale: scaling.scaler.scale! };
      return {
        state: { ...next, ...cleared, ...(scaling && { scaler: scaling.scaler }) },
        outputs: { loss: value, gradNorm: norm, ...scaled },
      };
    },
    evaluate: (state, inputs) => ({ outputs: { loss: evaluationLoss(state.params!, inputs, settings) } }),
    updateRatios(state, inputs) {
      const moved = state as { params: Parameters; m: Parameters; v: Parameters };
      const changes = adamWChange(moved, inputs as unknown as AdamWInputs, settings);
      const kinds = [...new Set(Object.keys(changes).map(kindOf))].sort();
      const norm = (tensors: Parameters, kind: string) =>
        globalNorm(Object.fromEntries(Object.entries(tensors).filter(([name]) => kindOf(name) === kind)));
      const ratio = (kind: string) => tf.div(norm(changes, kind), norm(moved.params, kind));
      return { outputs: Object.fromEntries(kinds.map((kind) => [kind, ratio(kind)])) };
    },
  };
}

/** What a parameter is part of. */
function kindOf(name: string): string {
  if (/\.attn\./.test(name)) return "attention";
  if (/\.mlp\./.test(name)) return "mlp";
  if (/(^|\.)ln_/.test(name)) return "norm";
  return name.startsWith("lm_head") ? "head" : "embedding";
}

/** Mean loss of a batch without dropout. */
export function evaluationLoss(
  params: Parameters,
  inputs: Readonly<Record<string, tf.Tensor>>,
  config: Settings,
): tf.Scalar {
  return loss(forward(params, inputs.x as tf.Tensor2D, config).logits, inputs.y as tf.Tensor2D);
}

/**
 * The loss of a batch and its gradient by every parameter. The caller owns both.
 * @param scale what the gradients come multiplied by; default 1
 */
export function lossAndGradients(
  params: Parameters,
  inputs: Readonly<Record<string, tf.Tensor>>,
  config: Settings,
  scale?: tf.Tensor,
): { value: tf.Scalar; gradients: Parameters } {
  const names = Object.keys(params);
  const run = (...tensors: tf.Tensor[]) => {
    const named = Object.fromEntries(names.map((name, index) => [name, tensors[index]!]));
    const dropoutKey = inputs.dropoutKey as tf.Tensor1D | undefined;
    const { logits } = forward(named, inputs.x as tf.Tensor2D, config, { dropoutKey });
    const value = loss(logits, inputs.y as tf.Tensor2D);
    return scale ? (tf.mul(value, scale) as tf.Scalar) : value;
  };
  const { value, grads } = tf.valueAndGrads(run)(names.map((name) => params[name]!));
  return {
    value: (scale ? tf.div(value, scale) : value) as tf.Scalar,
    gradients: Object.fromEntries(names.map((name, index) => [name, grads[index]!])),
  };
}

function addScaled(sums: Parameters, gradients: Parameters, scale: number): Parameters {
  return mapTensors(sums, (sum, name) => tf.add(sum, tf.mul(gradients[name]!, scale)));
}

function mapTensors(tensors: Parameters, f: (tensor: tf.Tensor, name: string) => tf.Tensor): Parameters {
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, f(tensor, name)]));
}
