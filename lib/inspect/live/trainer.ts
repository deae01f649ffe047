/** Trains a model in a page on a text, step by step: the library's steps, optimizer and draws, so that Node gets the same losses. */
import { drawBatch, type TokenFile } from "../../data/batches.js";
import type { HostTensors } from "../../engine/host-tensors.js";
import { openSession } from "../../engine/session.js";
import type { Settings } from "../../settings/settings.js";
import { batchInputs } from "../../train/batch-feed.js";
import { trainingSteps, updateInputs } from "../../train/steps.js";
import { trainingState } from "../../train/training-state.js";
import { type LayerUpdate, measuredUpdate } from "../measures/layer-updates.js";
import type { EmbeddedModel } from "./embedded.js";

export interface TrainerOptions {
  /** Constant. Default 0.001. */
  readonly learningRate?: number;
  /** Rows of the text per update. Default 8. */
  readonly batchSize?: number;
  /** Decides which rows; default 1337. */
  readonly seed?: number;
}

/** One update that was done. */
export interface TrainedStep {
  /** 1 after the first update. */
  readonly step: number;
  /** Of the update's batch, before it, in nats per token. */
  readonly loss: number;
  /** ‖gradient‖ of all weights, before clipping to 1. */
  readonly gradNorm: number;
  /** Of each layer, where they were asked for. */
  readonly layers?: readonly LayerUpdate[];
}

export interface Trainer {
  readonly options: Required<TrainerOptions>;
  /** Runs one update. @param options.layers also measure the gradients and the change of each layer */
  step(options?: { readonly layers?: boolean }): Promise<TrainedStep>;
  params(): Promise<HostTensors>;
  close(): void;
}

/**
 * Starts a training from the model's weights, with new moments of AdamW, a constant learning rate, and rows of the text drawn as
 * `folio train` draws them.
 * @throws {RangeError} for a text of fewer than two tokens, or with characters that the model does not know, or wrong options
 */
export async function openTrainer(model: EmbeddedModel, text: string, options: TrainerOptions = {}): Promise<Trainer> {
  const { learningRate = 1e-3, batchSize = 8, seed = 1337 } = options;
  if (!(learningRate > 0 && learningRate < 1))
    throw new RangeError(`Cannot train: the learning rate is ${learningRate}; wanted above 0 and below 1.`);
  if (!(Number.isInteger(batchSize) && batchSize >= 1 && batchSize <= 256))
    throw new RangeError(`Cannot train: the batch has ${batchSize} rows; wanted 1 to 256.`);
  const tokens = tokensOf(model.tokenizer.encode(text));
  const blockSize = Math.min(model.settings.blockSize, tokens.length - 1);
  if (blockSize < 1) throw new RangeError("Cannot train: the text has fewer than two tokens; give a longer one.");
  const settings: Settings = {
    ...model.settings,
    ...{ learningRate, batchSize, seed, decayLr: false, warmupIters: 0, gradientAccumulationSteps: 1 },
    ...{ dropout: 0, gradClip: 1, dtype: "float32", compile: false, evalOnly: false },
  };
  const session = await openSession(trainingState(settings, model.params));
  const update = session.define(trainingSteps(settings).update);
  let done = 0;
  return {
    options: { learningRate, batchSize, seed },
    async step({ layers = false } = {}) {
      const draw = {
        batchSize,
        blockSize,
        seed,
        step: done,
        row: 0,
        use: "train",
        vocabSize: settings.vocabSize,
      } as const;
      const batch = batchInputs(drawBatch(tokens, draw));
      const rates = updateInputs(done, settings);
      if (layers) {
        const { loss, parts } = await measuredUpdate(session, settings, batch, rates);
        return { step: ++done, loss, gradNorm: Math.hypot(...parts.map((part) => part.gradientNorm)), layers: parts };
      }
      const { loss, gradNorm } = await update({ ...batch, ...rates });
      return { step: ++done, loss: loss!.values[0]!, gradNorm: gradNorm!.values[0]! };
    },
    params: () => session.read("params"),
    close: () => session.dispose(),
  };
}

/** Ids in memory, as batches are drawn from them. */
function tokensOf(ids: Uint32Array): TokenFile {
  return {
    path: "the text",
    length: ids.length,
    read: (start, count) => Int32Array.from(ids.subarray(start, start + count)),
    close() {},
  };
}
