/**
 * Combines model and optimizer into the steps that a session runs: `(state, inputs) → { state, outputs }`. Whatever
 * changes from call to call is an input, so that the steps can be traced. train.ts calls them; training-state.ts has
 * the groups of the state.
 */
import * as tf from "@tensorflow/tfjs-core";
import { float32, type HostTensors } from "../engine/host-tensors.js";
import { meanOverReplicas } from "../engine/operations/replicas.js";
import type { Step } from "../engine/steps.js";
import { type ForwardOptions, forward, loss, type Parameters } from "../model/model.js";
import type { Settings } from "../settings/settings.js";
import { clipScale, globalNorm } from "./optimizers/clipping.js";
import { scaleStep } from "./optimizers/loss-scale.js";
import type { UpdateInputs } from "./optimizers/optimizer.js";
import { optimizerOf } from "./optimizers/optimizers.js";
import { learningRate } from "./optimizers/schedule.js";

/**
 * The steps of training. Inputs of `accumulate` and `update`: `x`, `y` int32 [B, T], `dropoutKey` int32 [2]; `update`
 * also takes those of `updateInputs` and, on several devices, `earlierLoss`, what this device's earlier
 * micro-batches add to its mean loss, and perhaps `stop`, 1 where a process wants to stop. Outputs: `loss`, which
 * `update` on several devices takes over all micro-batches of all of them; `update` also gives `gradNorm` (before
 * clipping) and, with a scaled loss, `lossScale` of the next step.
 */
export interface TrainingSteps {
  /** Adds this micro-batch's gradients, divided by the number of this device's micro-batches, to `sums`. */
  readonly accumulate: Step;
  /**
   * The last micro-batch: gradients, their mean over the replicas, clipping, the optimizer; resets `sums` to zero.
   */
  readonly update: Step;
  /** Loss without gradients or dropout. Inputs: `x`, `y`. */
  readonly evaluate: Step;
  /**
   * ‖Δp‖ / ‖p‖ of the last update, one output per kind of parameter (`embedding`, `attention`, `mlp`, `norm`, `head`).
   * Inputs: `updateInputs` of that update. It is computed from the optimizer's state, without the old weights.
   */
  readonly updateRatios: Step;
}

/** What a model of one's own changes in each forward pass: `at` with `wants`, as in ForwardOptions. */
export type ChangedPass = Pick<ForwardOptions, "at" | "wants">;

/** @param changed a change of every forward pass, such as another position encoding; notebook 15-change-the-model */
export function trainingSteps(settings: Settings, changed: ChangedPass = {}): TrainingSteps {
  const optimizer = optimizerOf(settings);
  const micros = microsPerDevice(settings);
  return {
    accumulate(state, inputs) {
      const { value, gradients } = lossAndGradients(state.params!, inputs, settings, {
        ...changed,
        scale: state.scaler?.scale,
      });
      return { state: { sums: addScaled(state.sums!, gradients, 1 / micros) }, outputs: { loss: value } };
    },
    update(state, inputs) {
      const { params, sums, scaler } = state;
      const { value, gradients } = lossAndGradients(params!, inputs, settings, { ...changed, scale: scaler?.scale });
      const own = micros > 1 ? addScaled(sums!, gradients, 1 / micros) : gradients;
      const mean = meanOverReplicas(own);
      const { earlierLoss, stop } = inputs;
      const said = earlierLoss
        ? meanOverReplicas({ loss: tf.add(earlierLoss, tf.div(value, micros)), ...(stop && { stop }) })
        : { loss: value };
      const scaled = scaler && scaleStep(scaler, globalNorm(mean));
      const norm = scaled?.norm ?? globalNorm(mean);
      const clip = clipScale(norm, settings.gradClip);
      const rates = {
        ...(inputs as unknown as UpdateInputs),
        // Skipped updates do not count.
        ...(scaled && { ...optimizer.inputsOf(scaled.count, settings), when: scaled.when }),
        gradientScale: scaler ? tf.div(clip, scaler.scale!) : clip,
      };
      return {
        state: {
          ...optimizer.update(state, mean, rates, settings),
          ...(micros > 1 && { sums: mapTensors(sums!, tf.zerosLike) }),
          ...(scaled && { scaler: scaled.scaler }),
        },
        outputs: { ...said, gradNorm: norm, ...(scaled && { lossScale: scaled.scaler.scale! }) },
      };
    },
    evaluate: (state, inputs) => ({ outputs: { loss: evaluationLoss(state.params!, inputs, settings, changed) } }),
    updateRatios(state, inputs) {
      const changes = optimizer.change(state, inputs as unknown as UpdateInputs, settings);
      const kinds = [...new Set(Object.keys(changes).map(kindOf))].sort();
      const norm = (tensors: Parameters, kind: string) =>
        globalNorm(Object.fromEntries(Object.entries(tensors).filter(([name]) => kindOf(name) === kind)));
      const ratio = (kind: string) => tf.div(norm(changes, kind), norm(state.params!, kind));
      return { outputs: Object.fromEntries(kinds.map((kind) => [kind, ratio(kind)])) };
    },
  };
}

/** The micro-batches of a step that each device computes; settings.ts checks that they can share them. */
export function microsPerDevice({
  gradientAccumulationSteps,
  devices,
}: Pick<Settings, "gradientAccumulationSteps" | "devices">): number {
  return gradientAccumulationSteps / devices;
}

/** Inputs of the update of `step` = 0, 1, … besides its batch: the learning rate, and the optimizer's own inputs. */
export function updateInputs(step: number, settings: Settings): HostTensors {
  const rate = float32([learningRate(step, settings)], []);
  return { learningRate: rate, ...optimizerOf(settings).inputs(step + 1, settings) };
}

/** The kind of a parameter. */
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
  options: ForwardOptions = {},
): tf.Scalar {
  return loss(forward(params, inputs.x as tf.Tensor2D, config, options).logits, inputs.y as tf.Tensor2D);
}

/**
 * The loss of a batch and its gradient with respect to every parameter. The caller owns both.
 * @param options.scale factor of the returned gradients; default 1
 * @param options.at with `wants`, a change of the forward pass
 */
export function lossAndGradients(
  params: Parameters,
  inputs: Readonly<Record<string, tf.Tensor>>,
  config: Settings,
  { scale, ...changed }: ChangedPass & { readonly scale?: tf.Tensor | undefined } = {},
): { value: tf.Scalar; gradients: Parameters } {
  const names = Object.keys(params);
  const run = (...tensors: tf.Tensor[]) => {
    const named = Object.fromEntries(names.map((name, index) => [name, tensors[index]!]));
    const dropoutKey = inputs.dropoutKey as tf.Tensor1D | undefined;
    const { logits } = forward(named, inputs.x as tf.Tensor2D, config, { ...changed, dropoutKey });
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
