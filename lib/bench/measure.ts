/**
 * Times training steps with every number format and matrix product that this processor can use (engine/choices.ts), in
 * turn, for a second or two. measure-process.ts runs it.
 */
import os from "node:os";
import { type Candidate, candidates, type MeasuredStep } from "../engine/choices.js";
import { type ResolvedDevice, resolveDevice } from "../engine/device.js";
import type { Measurement } from "../engine/measurement.js";
import { instructionFlags } from "../engine/number-format.js";
import type { Multiplier } from "../engine/operations/in-place.js";
import { loadTensorFlow } from "../engine/tensorflow/load.js";
import { operationsVariant } from "../engine/tensorflow/own-operations.js";
import { flopsPerToken, tokensPerStep } from "../model/sizing.js";
import { defaultSettings, type Settings } from "../settings/settings.js";
import { openTraining, type TakeStep } from "./training-step.js";

/** Untimed steps at the start; the first traces the graph. */
const WARM_UP = 2;
const ROUNDS = { least: 5, most: 15 } as const;
/** Per shape: after this time no further round begins, if there are enough rounds. */
const BUDGET_MS = 800;
/** Per shape and candidate: a machine that needs longer for the minimum number of rounds is too busy. */
const LIMIT_MS = 1500;

const base: Settings = {
  ...defaultSettings,
  device: "cpu",
  dtype: "float32",
  gradientAccumulationSteps: 1,
  dropout: 0,
  vocabSize: 512,
};
/** Half of a small model's layers; and one layer with only large products, on few enough tokens to be quick. */
const SHAPES = {
  small: { ...base, nLayer: 2, nHead: 4, nEmbd: 128, blockSize: 64, batchSize: 12 },
  large: { ...base, nLayer: 1, nHead: 6, nEmbd: 384, blockSize: 256, batchSize: 4 },
} as const satisfies Record<string, Settings>;

/** Measures with this process's processor, operations and threads. */
export async function measure(): Promise<Measurement> {
  const machine = await resolveDevice({ device: "cpu", dtype: "float32", compile: true });
  const operations = operationsVariant();
  const compiled = candidates({ operations, flags: instructionFlags() });
  return {
    format: "folio-measurement",
    version: 1,
    at: new Date().toISOString(),
    processor: os.cpus()[0]?.model.trim() ?? "unknown",
    threads: Number(process.env.TF_NUM_INTRAOP_THREADS || os.availableParallelism()),
    tensorflow: loadTensorFlow().tensorflowVersion,
    operations: operations ?? null,
    small: await measureStep(SHAPES.small, [...compiled, "eager"], machine),
    large: await measureStep(SHAPES.large, compiled, machine),
  };
}

async function measureStep(
  settings: Settings,
  which: readonly Candidate[],
  machine: ResolvedDevice,
): Promise<MeasuredStep> {
  const opened = await Promise.all(which.map((candidate) => open(settings, candidate, machine)));
  const ms = await timeInTurns(opened.map(({ step }) => step)).finally(() => {
    for (const { dispose } of opened) dispose();
  });
  const { nLayer, nHead, nEmbd, batchSize, blockSize } = settings;
  return {
    shape: `${nLayer}L ${nHead}H ${nEmbd}, ${batchSize} × ${blockSize}`,
    gigaflop: (flopsPerToken(settings) * tokensPerStep(settings)) / 1e9,
    ms: Object.fromEntries(which.map((candidate, index) => [candidate, ms[index]!])),
  };
}

/** A training step as a candidate computes it. */
function open(settings: Settings, candidate: Candidate, machine: ResolvedDevice) {
  const task = { settings, realData: false, profiled: false };
  if (candidate === "eager") return openTraining(task, { ...machine, compile: false });
  const [dtype, whose] = candidate.split(" ") as ["float32" | "bfloat16", Multiplier];
  return openTraining(task, { ...machine, dtype, products: { small: whose, large: whose } });
}

/**
 * Milliseconds of each step, one number per round, after some untimed steps.
 * @param now the clock
 * @throws {Error} when the machine is too busy for even a few rounds in time
 */
export async function timeInTurns(steps: readonly TakeStep[], now = () => performance.now()): Promise<number[][]> {
  const ms = steps.map((): number[] => []);
  const begun = now();
  const limitMs = LIMIT_MS * steps.length;
  const timed = async (step: TakeStep, rounds: number) => {
    const started = now();
    await step();
    const ended = now();
    if (rounds < ROUNDS.least && ended - begun > limitMs) {
      const took = `${rounds} of ${ROUNDS.least} rounds of training steps took ${((ended - begun) / 1000).toFixed(1)} s`;
      throw new Error(`the machine was too busy: ${took}`);
    }
    return Math.round((ended - started) * 1000) / 1000;
  };
  for (const step of steps) for (let index = 0; index < WARM_UP; index++) await timed(step, 0);
  const started = now();
  for (let round = 0; round < ROUNDS.most; round++) {
    if (round >= ROUNDS.least && now() - started > BUDGET_MS) break;
    // The order changes, so that no step always follows the same one.
    for (const index of steps.keys()) {
      const at = (index + round) % steps.length;
      ms[at]!.push(await timed(steps[at]!, round));
    }
  }
  return ms;
}
