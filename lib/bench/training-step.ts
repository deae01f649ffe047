/**
 * A complete training step (batch, forward, backward, clipping, AdamW, reading the loss) that can be repeated, for
 * timing: by `folio bench` in worker.ts, and for the choice of formats and products in measure.ts.
 */
import * as tf from "@tensorflow/tfjs-core";
import { openDataset } from "../data/batches.js";
import type { ResolvedDevice } from "../engine/device.js";
import { int32 } from "../engine/host-tensors.js";
import { addAll } from "../engine/operations/raw.js";
import { meanOverReplicas, withReplicas } from "../engine/operations/replicas.js";
import { openSession } from "../engine/session.js";
import type { Session, Step } from "../engine/steps.js";
import { uniform } from "../host/random.js";
import type { Settings } from "../settings/settings.js";
import { type BatchFeed, batchFeed } from "../train/batch-feed.js";
import { newWeights } from "../train/start.js";
import { microsPerDevice, trainingSteps, updateInputs } from "../train/steps.js";
import { trainingState } from "../train/training-state.js";
import type { BenchTask } from "./protocol.js";

/** Takes one step and returns its loss. */
export type TakeStep = (profile?: (metadata: Uint8Array) => void) => Promise<number>;

/**
 * A model in a session of its own, ready to be trained step by step. On several devices, the task `train apart` leaves
 * out the mean of their gradients, and `mean` is this mean alone.
 */
export async function openTraining(
  {
    settings,
    realData,
    profiled,
    task = "train",
  }: Omit<BenchTask, "task" | "threads"> & Partial<Pick<BenchTask, "task">>,
  machine: ResolvedDevice,
): Promise<{ step: TakeStep; dispose(): void }> {
  const { xla, devices } = settings;
  const micros = microsPerDevice(settings);
  const feed = realData
    ? batchFeed(settings, openDataset(settings.dataDir, settings.dataset, settings), { step: 0, tokens: 0 })
    : randomFeed(settings);
  const state = trainingState(settings, await newWeights(settings));
  const session = await openSession(state, { ...machine, xla, profiled, devices });
  const dispose = () => session.dispose();
  const { accumulate, update } = trainingSteps(settings);
  if (task === "mean") return { step: meanAlone(session), dispose };
  const apart: Step = (state, inputs) => withReplicas(undefined, () => update(state, inputs));
  const last = task === "train apart" ? apart : update;
  // Only the session of one device can be profiled.
  const onOne = { accumulate: session.define(accumulate), last: session.define(last) };
  const onAll = { accumulate: session.defineOnAll(accumulate), last: session.defineOnAll(last) };
  let step = 0;
  const take: TakeStep = async (profile) => {
    let loss = 0;
    for (let micro = 0; micro < micros; micro++) {
      const which = micro === micros - 1 ? "last" : "accumulate";
      const rates = which === "last" ? updateInputs(step, settings) : {};
      const inputs = feed.take(step, micro).map((own) => ({ ...own, ...rates }));
      const running = devices === 1 ? onOne[which](inputs[0]!, profile).then((one) => [one]) : onAll[which](inputs);
      feed.prepare(which === "last" ? step + 1 : step, which === "last" ? 0 : micro + 1);
      for (const { loss: own } of await running) loss += own!.values[0]! / micros / devices;
    }
    step++;
    return loss;
  };
  return { step: take, dispose };
}

/** The mean of tensors of the gradients' shapes over all devices, without the rest of a step. */
function meanAlone(session: Session): TakeStep {
  const mean = session.defineOnAll(({ params }) => {
    const means = Object.values(meanOverReplicas(params!));
    return {
      outputs: {
        sum: addAll(means.map((tensor): tf.Scalar => tf.sum(tf.slice(tf.reshape(tensor, [tensor.size]), [0], [1])))),
      },
    };
  });
  return async () => (await mean(Array(session.replicas).fill({})))[0]!.sum!.values[0]!;
}

/** Eight batches in turn: a single batch would soon be memorized, and gradients near 0 take a different time. */
function randomFeed({ batchSize, blockSize, vocabSize, seed, devices }: Settings): BatchFeed {
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
  const take = () => Array.from({ length: devices }, () => batches[next++ % batches.length]!);
  return { take, prepare: () => {} };
}
