/**
 * A training run: what it holds while it lasts, and how it is opened: settings checked against the dataset, the folder
 * locked, weights and optimizer state as they begin or go on, the run's identity. The loop itself is train.ts' matter.
 */

import { type Dataset, drawBatch } from "../data/batches.js";
import { type ResolvedDevice, resolveDevice } from "../engine/device.js";
import { float32, type HostTensors, mapRecord } from "../engine/host-tensors.js";
import { type Numerics, withNumerics } from "../engine/numerics.js";
import { openSession } from "../engine/session.js";
import type { RunStep, Session } from "../engine/steps.js";
import { type FolderLock, lockFolder } from "../host/folder-lock.js";
import { tokensPerStep } from "../model/sizing.js";
import { cannotWrite } from "../runs/cannot-write.js";
import { type Checkpoint, removeCheckpoints } from "../runs/checkpoint.js";
import { identityOf, type RunOrigin } from "../runs/identity.js";
import type { OpenTracker, Tracker } from "../runs/records.js";
import type { Settings } from "../settings/settings.js";
import { type BatchFeed, batchFeed } from "./batch-feed.js";
import { checkMemory } from "./failures.js";
import { checkFolder, openToResume, startWeights } from "./first-weights.js";
import { initialLossScale } from "./optimizers/loss-scale.js";
import { trainingSteps } from "./steps.js";

/** Where a step or an evaluation stands that takes many session calls. */
export interface Progress {
  readonly step: number;
  readonly doing: "evaluation" | "step";
  /** Batches, or micro-batches. */
  readonly done: number;
  readonly total: number;
}

export interface TrainOptions {
  /** Aborting lets the batch under way finish, saves the last whole step and ends with reason "aborted". */
  readonly signal?: AbortSignal;
  /** Called after each batch of an evaluation and each micro-batch of a step. */
  readonly onProgress?: (progress: Progress) => void;
  /** Where the records that log.jsonl keeps go besides. */
  readonly trackers?: readonly OpenTracker[];
  /** What a new run shall be computed with, as the others of a sweep are; one that goes on keeps its own. */
  readonly numerics?: Numerics;
}

/** What a run holds while it lasts. */
export interface Run {
  readonly settings: Settings;
  readonly dataset: Dataset;
  readonly session: Session;
  readonly machine: ResolvedDevice;
  readonly accumulate: RunStep;
  readonly update: RunStep;
  readonly evaluate: RunStep;
  readonly updateRatios: RunStep;
  readonly feed: BatchFeed;
  readonly runId: string;
  readonly origin: RunOrigin;
  readonly resumedFrom: string | undefined;
  readonly options: TrainOptions;
  /** Updates done. */
  step: number;
  /** Tokens trained on. */
  tokens: number;
  /** Whether the evaluation before the next update was done. */
  evaluated: boolean;
  bestValLoss: number | null;
  trainedMs: number;
  savedStep: number;
}

/** What must be given back, whatever happens. */
export interface Held {
  lock?: FolderLock;
  run?: Run;
  readonly trackers: Tracker[];
}

/**
 * Everything that a run needs, checked before anything is replaced.
 * @throws {RangeError} for settings, data, weights or a checkpoint that do not fit together
 */
export async function openRun(
  given: Settings,
  dataset: Dataset,
  { options, held }: { options: TrainOptions; held: Held },
): Promise<Run> {
  const found = await resolveDevice(given); // first: it decides which devices TensorFlow loads
  const wanted = resolveSettings(given, dataset);
  if (!wanted.evalOnly) held.lock = lock(wanted.outDir);
  const resumed = wanted.initFrom === "resume" ? openToResume(wanted, dataset) : undefined;
  if (!resumed) checkFolder(wanted);
  const machine = keptMachine(found, wanted, { resumed, numerics: options.numerics });
  if (machine.device === "cpu") checkMemory(wanted);
  const { settings, params, weights } = resumed
    ? { settings: wanted, params: resumed.params, weights: undefined }
    : await startWeights(wanted, dataset);
  const state = { params, ...optimizerState(settings, params, resumed) };
  const session = await openSession(state, { ...machine, xla: settings.xla });
  // Last: whatever else is wrong with the settings was found before this.
  if (!resumed && settings.overwrite && !settings.evalOnly) removeCheckpoints(settings.outDir);
  const sofar = progressOf(resumed);
  const steps = trainingSteps(settings);
  const run: Run = {
    settings,
    dataset,
    session,
    machine,
    accumulate: session.define(steps.accumulate),
    update: session.define(steps.update),
    evaluate: session.define(steps.evaluate),
    updateRatios: session.define(steps.updateRatios),
    feed: batchFeed(settings, dataset, sofar),
    ...identity(settings, dataset, { resumed, weights }),
    resumedFrom: resumed?.path,
    options,
    ...sofar,
    // A loss on other text is no measure for this one.
    bestValLoss: resumed?.settings.dataset === settings.dataset ? resumed.bestValLoss : null,
  };
  held.run = run;
  return run;
}

/** Whoever changes one of these asks for other numbers. */
const MACHINE_SETTINGS = ["device", "dtype", "compile", "xla", "tf32"] as const satisfies readonly (keyof Settings)[];

/** The machine with the format and products that the run was computed with so far. @throws {RangeError} where it cannot */
function keptMachine(
  found: ResolvedDevice,
  settings: Settings,
  { resumed, numerics }: { resumed: Checkpoint | undefined; numerics: Numerics | undefined },
): ResolvedDevice {
  const asked = resumed && MACHINE_SETTINGS.some((key) => resumed.settings[key] !== settings[key]);
  const kept = resumed ? (resumed.numerics ?? numerics) : numerics;
  const what = resumed ? `the run in ${settings.outDir}` : "the sweep";
  const allow = settings.allowOtherNumerics || settings.evalOnly;
  return asked ? found : withNumerics(found, kept, { what, allow });
}

/** Moments, sums of micro-batches, in float16 the loss scaler; an evaluation alone needs none. */
function optimizerState(settings: Settings, params: HostTensors, resumed: Checkpoint | undefined) {
  if (settings.evalOnly) return {};
  const zeros = () => mapRecord(params, ({ shape, values }) => float32(new Float32Array(values.length), shape));
  const sums = settings.gradientAccumulationSteps > 1 ? { sums: zeros() } : {};
  const scaler = isScaled(settings) ? { scaler: resumed?.scaler ?? initialLossScale(resumed?.step ?? 0) } : {};
  return { m: resumed?.m ?? zeros(), v: resumed?.v ?? zeros(), ...sums, ...scaler };
}

/** How far a checkpoint had come; of none, nowhere. */
function progressOf(resumed: Checkpoint | undefined) {
  const { step = 0, evaluated = false, trainedMs = 0 } = resumed ?? {};
  const tokens = resumed ? (resumed.tokens ?? step * tokensPerStep(resumed.settings)) : 0;
  return { step, tokens, evaluated, trainedMs, savedStep: resumed ? step : -1 };
}

/** A run that goes on as it was keeps its identity; with other settings or data it is another from here on. */
function identity(
  settings: Settings,
  { meta }: Dataset,
  { resumed, weights }: { resumed: Checkpoint | undefined; weights: string | undefined },
): { runId: string; origin: RunOrigin } {
  const same: RunOrigin = resumed?.origin ?? (weights ? { weights } : {});
  const runId = identityOf(settings, meta, same);
  if (!resumed || runId === resumed.runId) return { runId, origin: same };
  const changed: RunOrigin = { runId: resumed.runId, step: resumed.step };
  return { runId: identityOf(settings, meta, changed), origin: changed };
}

/** @throws {Error} when another training holds the folder, or it cannot be written */
function lock(outDir: string): FolderLock {
  let taken: ReturnType<typeof lockFolder>;
  try {
    taken = lockFolder(outDir);
  } catch (error) {
    throw cannotWrite(outDir, error);
  }
  if ("release" in taken) return taken;
  throw new Error(
    `Cannot train into ${outDir}: another training is under way there (${taken.holder}); choose another outDir, or stop that one.`,
  );
}

/** Settings with the vocabulary of the dataset, checked against it. */
function resolveSettings(settings: Settings, { meta, train, val }: Dataset): Settings {
  const vocabSize = settings.vocabSize || meta.vocabSize;
  if (vocabSize < meta.vocabSize) {
    const remedy =
      settings.initFrom === "resume"
        ? "this model learned on other ids, so resume it with the dataset that it was trained on"
        : `use vocabSize 0 or at least ${meta.vocabSize}`;
    throw new RangeError(
      `Cannot train on ${meta.dataset}: vocabSize is ${vocabSize}, and the dataset has ${meta.vocabSize} ids; ${remedy}.`,
    );
  }
  // A split that is too short for a block shows in its first row.
  drawBatch(train, { ...settings, vocabSize, batchSize: 1, step: 0, row: 0, use: "eval-train" });
  drawBatch(val, { ...settings, vocabSize, batchSize: 1, step: 0, row: 0, use: "eval-val" });
  return { ...settings, vocabSize };
}

/** Only float16 that is asked for: `auto` never chooses it. */
export const isScaled = ({ dtype }: Settings): boolean => dtype === "float16";
