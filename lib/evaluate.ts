/**
 * The loss of a trained model over a whole split, every token once: no sampling error, unlike the estimates that
 * train.ts makes while it trains. Notebook 01-train compares the two.
 */
import type { Settings } from "./config.js";
import { type TokenFile, wholeSplit } from "./data.js";
import { resolveDevice } from "./engine/device.js";
import { type HostTensors, int32, openSession } from "./engine/session.js";
import { evaluationLoss } from "./steps.js";

/** A model with values: what openCheckpoint gives, or its parts. */
export interface TrainedModel {
  readonly params: HostTensors;
  readonly settings: Settings;
}

/**
 * Mean cross-entropy in nats a token over all of `tokens`, in consecutive blocks of blockSize that do not overlap.
 * @returns the loss and the number of targets that it is the mean of (all ids but the first)
 * @throws {RangeError} when the file is shorter than a block, or holds ids beyond the vocabulary
 * @example
 * const { loss } = await evaluateSplit(openCheckpoint("out", "best"), dataset.val);
 */
export async function evaluateSplit(
  { params, settings }: TrainedModel,
  tokens: TokenFile,
): Promise<{ loss: number; targets: number }> {
  const { dtype } = resolveDevice(settings);
  const session = await openSession({ params }, { compile: settings.compile, dtype, xla: settings.xla });
  try {
    const run = session.define((state, inputs) => ({
      outputs: { loss: evaluationLoss(state.params!, inputs, settings) },
    }));
    let sum = 0;
    let total = 0;
    for (const { x, y, batchSize, blockSize, targets } of wholeSplit(tokens, settings)) {
      const shape = [batchSize, blockSize];
      const { loss } = await run({ x: int32(x, shape), y: int32(y, shape) });
      sum += loss!.values[0]! * targets;
      total += targets;
    }
    return { loss: sum / total, targets: total };
  } finally {
    session.dispose();
  }
}
