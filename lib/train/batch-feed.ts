/**
 * The micro-batches of a run, one after another, as a step's inputs: rows by the setting `batchSampling`, and the key
 * for their dropout. The next ones are drawn while the previous step runs. The rows depend only on the step and the
 * tokens before it, so a resumed run gets the same ones, and so do several devices, which share them.
 */

import { type Batch, type Dataset, drawBatch, epochBatch } from "../data/batches.js";
import { type EpochRows, epochRows } from "../data/epoch-rows.js";
import { type HostTensors, int32 } from "../engine/host-tensors.js";
import { key } from "../host/random.js";
import type { Settings } from "../settings/settings.js";

/** Draws micro-batches. */
export interface BatchFeed {
  /** Inputs of each device's micro-batch `micro` of `step`: as prepared, or drawn now. */
  take(step: number, micro: number): readonly HostTensors[];
  /** Draws ahead; errors in the data are thrown when the batch is taken. */
  prepare(step: number, micro: number): void;
}

/**
 * The feed of a run that begins or continues at `step` after training on `tokens`.
 * @param from.device the only device of the run that this process feeds; default: all of them
 */
export function batchFeed(
  settings: Settings,
  dataset: Dataset,
  { step: firstStep, tokens, device: only }: { step: number; tokens: number; device?: number },
): BatchFeed {
  const { batchSize, blockSize, gradientAccumulationSteps, seed, devices } = settings;
  // Not all settings: a copy per step would take 4 KB, which the garbage collector frees late.
  const shape = { batchSize, blockSize, seed, vocabSize: settings.vocabSize };
  const rowsPerStep = batchSize * gradientAccumulationSteps;
  const rows = settings.batchSampling === "epochs" ? openRows(settings, dataset) : undefined;
  const draw = (step: number, micro: number): HostTensors => {
    // Its rows continue those of the earlier micro-batches, in the data and in dropout.
    const row = micro * batchSize;
    const [first, second] = key(seed, "dropout", step) as unknown as [number, number];
    const rowOfRun = tokens / blockSize + (step - firstStep) * rowsPerStep + row;
    const batch = rows
      ? epochBatch(dataset.train, rows, { ...shape, row: rowOfRun })
      : drawBatch(dataset.train, { ...shape, step, row, use: "train" });
    return { ...batchInputs(batch), dropoutKey: int32([first, (second + row) | 0], [2]) };
  };
  const own = only === undefined ? Array.from({ length: devices }, (_, device) => device) : [only];
  const drawAll = (step: number, micro: number) => own.map((device) => draw(step, micro * devices + device));
  let prepared: { step: number; micro: number; inputs: readonly HostTensors[] } | undefined;
  return {
    take(step, micro) {
      const ready = prepared?.step === step && prepared.micro === micro ? prepared.inputs : undefined;
      prepared = undefined;
      return ready ?? drawAll(step, micro);
    },
    prepare(step, micro) {
      try {
        prepared = { step, micro, inputs: drawAll(step, micro) };
      } catch {
        // The run may end before this batch is needed; otherwise take() draws again and throws the error.
      }
    },
  };
}

function openRows({ blockSize, seed }: Settings, { train, tokenizer }: Dataset): EpochRows {
  return epochRows(train, { blockSize, endOfText: tokenizer.endOfText, seed });
}

/** A batch as inputs of a step. */
export function batchInputs({ x, y, batchSize, blockSize }: Batch): HostTensors {
  return { x: int32(x, [batchSize, blockSize]), y: int32(y, [batchSize, blockSize]) };
}
