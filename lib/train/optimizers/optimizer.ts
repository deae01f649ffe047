/**
 * What an optimizer is. Its state is groups of tensors by name, which a session holds, a checkpoint keeps and a run goes on
 * with; nothing outside the optimizer's own file knows what is in them. Which there are stands in optimizers.ts.
 */
import type * as tf from "@tensorflow/tfjs-core";
import type { HostTensors, StateSpecs, TensorSpecs } from "../../engine/host-tensors.js";
import type { State } from "../../engine/steps.js";
import type { Parameters } from "../../model/model.js";
import type { Settings } from "../../settings/settings.js";

/** What changes from step to step in an update, as tensors, so that a compiled step can be fed new values. */
export interface UpdateInputs {
  /** Learning rate η of this step. */
  readonly learningRate: tf.Tensor;
  /** What the gradients are multiplied by; default 1. */
  readonly gradientScale?: tf.Tensor;
  /** Boolean scalar: where it is false, nothing is updated. */
  readonly when?: tf.Tensor | undefined;
}

/** An optimizer as functions over groups. `Inputs`: what its update is given besides. */
export interface Optimizer<Inputs extends UpdateInputs = UpdateInputs> {
  /** The groups that it keeps for these parameters; all begin as zeros. */
  groups(params: TensorSpecs): StateSpecs;
  /** Its own inputs of update `count` = 1, 2, …, in double precision; the learning rate is not among them. */
  inputs(count: number, settings: Settings): HostTensors;
  /** The same of a count that only the step knows: float32 scalar. */
  inputsOf(count: tf.Tensor, settings: Settings): Omit<Inputs, keyof UpdateInputs>;
  /** One update: the parameters and the groups after it. */
  update(state: State, gradients: Parameters, inputs: Inputs, settings: Settings): State;
  /** By how much the update that led to `state` moved each parameter. */
  change(state: State, inputs: Inputs, settings: Settings): Parameters;
  /** What PyTorch calls each group. */
  readonly pytorchNames: Readonly<Record<string, string>>;
}
