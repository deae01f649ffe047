/** One training step by layers: the norms of gradients, weights and updates. */
import type * as tf from "@tensorflow/tfjs-core";
import { drawBatch, type TokenFile } from "../../data/batches.js";
import { resolveDevice } from "../../engine/device.js";
import type { HostTensors } from "../../engine/host-tensors.js";
import { openSession } from "../../engine/session.js";
import type { Session, Step } from "../../engine/steps.js";
import { type Parameters, parameterSpecs } from "../../model/model.js";
import type { Settings } from "../../settings/settings.js";
import { batchInputs } from "../../train/batch-feed.js";
import { globalNorm } from "../../train/optimizers/clipping.js";
import type { UpdateInputs } from "../../train/optimizers/optimizer.js";
import { optimizerOf } from "../../train/optimizers/optimizers.js";
import { lossAndGradients, trainingSteps, updateInputs } from "../../train/steps.js";
import { trainingState } from "../../train/training-state.js";
import type { Training } from "../../weights/pretrained.js";

/** The norms ‖·‖₂ of one part of the model. */
export interface LayerUpdate {
  /** `wte`, `wpe`, `h.0`, …, `ln_f`, `lm_head`. */
  readonly part: string;
  /** Of the gradient, before clipping. */
  readonly gradientNorm: number;
  /** Of the weights, before the update. */
  readonly weightNorm: number;
  /** Of the change that the optimizer makes. */
  readonly updateNorm: number;
  /** updateNorm / weightNorm. */
  readonly ratio: number;
}

/** What layerUpdates() gives. */
export interface LayerUpdates {
  /** The step that would be trained next. */
  readonly step: number;
  readonly learningRate: number;
  /** Of the step's batch, in nats per token. */
  readonly loss: number;
  readonly parts: readonly LayerUpdate[];
}

/**
 * What the next training step would do to each layer: `‖∇p‖`, `‖p‖`, `‖Δp‖` and `‖Δp‖ / ‖p‖` over all parameters p of the
 * layer. The step has the run's learning rate and optimizer state, one micro-batch, drawn as uniform sampling draws this step's,
 * and no dropout. Nothing is changed. At the full learning rate a ratio of about 1e-3 is usual (Karpathy 2022, "makemore", part 3).
 * @param run a checkpoint with its optimizer's state
 * @throws {RangeError} if the tokens do not fit the model
 * @example
 * const { train } = openDataset("data", "typescript");
 * console.table((await layerUpdates(openCheckpoint("out"), train)).parts);
 */
export async function layerUpdates(run: Training, tokens: TokenFile): Promise<LayerUpdates> {
  const { step } = run;
  const settings: Settings = { ...run.settings, gradientAccumulationSteps: 1, dropout: 0, evalOnly: false };
  const rates = updateInputs(step, settings);
  const batch = batchInputs(drawBatch(tokens, { ...settings, step, row: 0, use: "train" }));
  const machine = await resolveDevice({ ...settings, compile: false, dtype: "float32", xla: false });
  const session = await openSession(trainingState({ ...settings, dtype: "float32" }, run.params, run), machine);
  try {
    return { step, ...(await measuredUpdate(session, settings, batch, rates)) };
  } finally {
    session.dispose();
  }
}

/**
 * Runs one update in a session of a training, and measures it.
 * @param batch inputs `x` and `y` @param rates `updateInputs` of the step
 */
export async function measuredUpdate(
  session: Session,
  settings: Settings,
  batch: HostTensors,
  rates: HostTensors,
): Promise<Omit<LayerUpdates, "step">> {
  const before = await session.define(gradientNorms(settings))(batch);
  await session.define(trainingSteps(settings).update)({ ...batch, ...rates });
  const after = await session.define(updateNorms(settings))(rates);
  const number = (tensors: HostTensors, name: string) => tensors[name]!.values[0]!;
  const specs = parameterSpecs(settings).map((spec) => [spec.name, spec] as const);
  const parts = Object.keys(byPart(Object.fromEntries(specs))).map((part): LayerUpdate => {
    const weightNorm = number(before, `weight ${part}`);
    const updateNorm = number(after, part);
    const gradientNorm = number(before, `gradient ${part}`);
    return { part, gradientNorm, weightNorm, updateNorm, ratio: updateNorm / weightNorm };
  });
  return { learningRate: rates.learningRate!.values[0]!, loss: number(before, "loss"), parts };
}

/** Inputs: `x`, `y`. Outputs: `loss`; of each part, `gradient PART` and `weight PART`, its norms. */
function gradientNorms(settings: Settings): Step {
  return ({ params }, inputs) => {
    const { value, gradients } = lossAndGradients(params!, inputs, settings);
    return { outputs: { loss: value, ...norms("gradient ", gradients), ...norms("weight ", params!) } };
  };
}

/** Inputs: those of the last update. Outputs: of each part, the norm of its change. */
function updateNorms(settings: Settings): Step {
  return (state, inputs) => ({
    outputs: norms("", optimizerOf(settings).change(state, inputs as unknown as UpdateInputs, settings)),
  });
}

function norms(prefix: string, tensors: Parameters): Record<string, tf.Tensor> {
  const parts = Object.entries(byPart(tensors));
  return Object.fromEntries(parts.map(([part, members]) => [`${prefix}${part}`, globalNorm(members)]));
}

/** Parameters by the part of the model that they belong to, in the model's order. */
function byPart<T>(params: Readonly<Record<string, T>>): Record<string, Record<string, T>> {
  const parts: Record<string, Record<string, T>> = {};
  for (const [name, value] of Object.entries(params)) {
    const part = /^(h\.\d+|[^.]+)/.exec(name)![0];
    parts[part] ??= {};
    parts[part][name] = value;
  }
  return parts;
}
