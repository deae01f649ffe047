/**
 * A complete training step (batch, forward, backward, clipping, AdamW, reading the loss) that can be repeated, for
 * timing: by `folio bench` in worker.ts, and for the choice of formats and products in measure.ts.
 */
import { openDataset } from "../data/batches.js";
import type { ResolvedDevice } from "../engine/device.js";
import { int32 } from "../engine/host-tensors.js";
import { openSession } from "../engine/session.js";
import { uniform } from "../host/random.js";
import type { Settings } from "../settings/settings.js";
import { type BatchFeed, batchFeed } from "../train/batch-feed.js";
import { newWeights } from "../train/start.js";
import { trainingSteps, updateInputs } from "../train/steps.js";
import { trainingState } from "../train/training-state.js";
import type { BenchTask } from "./protocol.js";

/** Takes one step and returns its loss. */
export type TakeStep = (profile?: (metadata: Uint8Array) => void) => Promise<number>;

/** A model in a session of its own, ready to be trained step by step. */
export async function openTraining(
  { settings, realData, profiled }: Omit<BenchTask, "task" | "threads">,
  machine: ResolvedDevice,
): Promise<{ step: TakeStep; dispose(): void }> {
  const { xla, gradientAccumulationSteps: micros } = settings;
  const feed = realData
    ? batchFeed(settings, openDataset(settings.dataDir, settings.dataset, settings), { step: 0, tokens: 0 })
    : randomFeed(settings);
  const session = await openSession(trainingState(settings, await newWeights(settings)), { ...machine, xla, profiled });
  const steps = trainingSteps(settings);
  const [accumulate, update] = [session.define(steps.accumulate), session.define(steps.update)];
  let step = 0;
  const take: TakeStep = async (profile) => {
    let loss = 0;
    for (let micro = 0; micro < micros; micro++) {
      const last = micro === micros - 1;
      const inputs = { ...feed.take(step, micro), ...(last && updateInputs(step, settings)) };
      const running = (last ? update : accumulate)(inputs, profile);
      feed.prepare(last ? step + 1 : step, last ? 0 : micro + 1);
      loss += (await running).loss!.values[0]! / micros;
    }
    step++;
    return loss;
  };
  return { step: take, dispose: () => session.dispose() };
}

/** Eight batches in turn: a single batch would soon be memorized, and gradients near 0 take a different time. */
function randomFeed({ batchSize, blockSize, vocabSize, seed }: Settings): BatchFeed {
  const shape = [batchSize, blockSize];
  const ids = (use: string) => {
    const id = (_: unknown, index: number) => Math.floor(uniform(seed, use, 0, index) * vocabSize);
    return int32(Int32Array.from({ length: batchSize * blockSize }, id), shape);
  };
  const batches = Array.from({ length: 8 }, (_, index) => ({
    x: ids(`bench-x${index}`),
    y: ids(`bench-y${index}`),
    dropoutKey: int32([seed | 0, index], [2]),
  }));
  let next = 0;
  return { take: () => batches[next++ % batches.length]!, prepare: () => {} };
}
