/**
 * What goes wrong while a run trains, with what to do about it: a loss that explodes, memory that is not there. Errors
 * only; that a loss does not fall is no error, and lib/cli/train.ts gives a hint.
 */
import os from "node:os";
import { hasCheckpoint, readState } from "./checkpoint.js";
import type { Settings } from "./config.js";
import type { HostTensors } from "./engine/session.js";
import { countParameters } from "./model.js";
import { learningRate } from "./optimizer.js";

// A model that knows nothing has ln(vocabSize) nats, 12 at most. 1,000 are no spike that training gets over.
export const isSaneLoss = (loss: number): boolean => Math.abs(loss) < 1000;
// Larger ones have squares that are no 32-bit floats: layer norms then give 0, and the loss looks sane.
const LARGEST_WEIGHT = 1e18;

/** The error of a run that is broken, by what was found. */
export function exploded({ settings, step }: { settings: Settings; step: number }, found: string): Error {
  const { outDir, gradClip } = settings;
  const good = hasCheckpoint(outDir)
    ? `The last good checkpoint is step ${readState(outDir).step} in ${outDir}.`
    : "No checkpoint was saved yet.";
  const rate = learningRate(step, settings).toPrecision(3);
  const clipping = gradClip === 0 ? "no clipping (gradClip 0)" : `too little clipping (gradClip ${gradClip})`;
  return new Error(
    `Cannot go on: ${found} at step ${step}. ${good} Likely causes: a learning rate that is too high (${rate} now; lower learningRate or raise warmupIters), ${clipping}, or bfloat16 where float32 is needed.`,
  );
}

/** What is wrong with weights that are about to be saved, if anything. */
export function brokenWeights(params: HostTensors): string | undefined {
  for (const [name, { values }] of Object.entries(params)) {
    const largest = (values as Float32Array).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    if (!(largest < LARGEST_WEIGHT)) return `${name} has values as large as ${largest.toPrecision(3)}`;
  }
  return undefined;
}

/** Bytes of weights and, when training, of their gradients, AdamW's moments and the sums of micro-batches. */
export function stateBytes(settings: Settings): number {
  const copies = settings.evalOnly ? 1 : settings.gradientAccumulationSteps > 1 ? 5 : 4;
  return 4 * copies * countParameters(settings);
}

/**
 * @throws {RangeError} when what is held throughout is more than this machine's memory, before any of it is allocated
 */
export function checkMemory(settings: Settings, availableBytes = machineBytes()): void {
  const bytes = stateBytes(settings);
  if (bytes <= availableBytes) return;
  const held = settings.evalOnly ? "weights" : "weights, gradients and AdamW's moments";
  throw new RangeError(
    `Cannot build the model: its ${countParameters(settings).toLocaleString("en-US")} parameters need ${gigabytes(bytes)} (${held}), and there are ${gigabytes(availableBytes)}; lower nEmbd, nLayer${settings.tieHead ? "" : ", vocabSize"} or blockSize.`,
  );
}

/** Of the machine, or of the container. */
function machineBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, os.totalmem()) : os.totalmem();
}

/** An error of TensorFlow, or of JavaScript, that means that memory ran out. */
const OUT_OF_MEMORY =
  /OOM when allocating|RESOURCE_EXHAUSTED|failed to allocate|CUDA_ERROR_OUT_OF_MEMORY|Array buffer allocation failed|Invalid typed array length/i;

/** The error itself, or, of one that memory was too small for, one that says which setting to lower. */
export function explained(error: unknown, settings: Settings): unknown {
  if (!(error instanceof Error) || !OUT_OF_MEMORY.test(error.message)) return error;
  const { batchSize, blockSize, gradientAccumulationSteps } = settings;
  const fewer = Math.max(1, Math.floor(batchSize / 2));
  const more = Math.ceil((gradientAccumulationSteps * batchSize) / fewer);
  const advice =
    fewer < batchSize
      ? `lower batchSize (batchSize: ${fewer} with gradientAccumulationSteps: ${more} trains on as many tokens a step), blockSize (${blockSize})`
      : `lower blockSize (${blockSize})`;
  // Without its vocabulary a model has no size yet.
  const held =
    settings.vocabSize > 0
      ? ` ${gigabytes(stateBytes(settings))} are held throughout, the rest grows with the batch:`
      : "";
  const found = error.message.split("\n")[0]!.slice(0, 200);
  return new Error(`Cannot go on: memory ran out (${found}).${held || " To need less,"} ${advice}, or the model.`, {
    cause: error,
  });
}

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(bytes < 1e9 ? 3 : 1)} GB`;
