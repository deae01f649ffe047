/**
 * The interface of optimizers. An optimizer's state is named groups of tensors, which a session holds and a checkpoint
 * stores; only the optimizer's own file knows their meaning. optimizers.ts has the list.
 */
import type * as tf from "@tensorflow/tfjs-core";
import type { HostTensors, StateSpecs, TensorSpecs } from "../../engine/host-tensors.js";
import type { State } from "../../engine/steps.js";
import type { Parameters } from "../../model/model.js";
import type { Settings } from "../../settings/settings.js";

/** The inputs of an update that change from step to step, as tensors, so that a compiled step can be fed new values. */
export interface UpdateInputs {
  /** Learning rate η of this step. */
  readonly learningRate: tf.Tensor;
  /** Factor for the gradients; default 1. */
  readonly gradientScale?: tf.Tensor;
  /** Boolean scalar; if false, nothing is updated. */
  readonly when?: tf.Tensor | undefined;
}

/** An optimizer as functions over groups. `Inputs` are the inputs of its update. */
export interface Optimizer<Inputs extends UpdateInputs = UpdateInputs> {
  /** The groups for these parameters; all are initialized to zeros. */
  groups(params: TensorSpecs): StateSpecs;
  /**
   * Its inputs for update `count` = 1, 2, …, without the common ones such as the learning rate; in double precision.
   */
  inputs(count: number, settings: Settings): HostTensors;
  /** The same for a count that is known only inside the step: float32 scalar. */
  inputsOf(count: tf.Tensor, settings: Settings): Omit<Inputs, keyof UpdateInputs>;
  /** One update: the parameters and the groups after it. */
  update(state: State, gradients: Parameters, inputs: Inputs, settings: Settings): State;
  /** The change of each parameter by the update that led to `state`. */
  change(state: State, inputs: Inputs, settings: Settings): Parameters;
  /** PyTorch's name of each group. */
  readonly pytorchNames: Readonly<Record<string, string>>;
}
