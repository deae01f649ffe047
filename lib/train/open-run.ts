/**
 * A training run: its state, and how it is opened and closed. train.ts has the training loop.
 */
import { type Dataset, drawBatch, openDataset } from "../data/batches.js";
import { type ResolvedDevice, resolveDevice } from "../engine/device.js";
import type { HostTensors } from "../engine/host-tensors.js";
import { type Numerics, withNumerics } from "../engine/numerics.js";
import { openSession } from "../engine/session.js";
import type { RunStep, Session } from "../engine/steps.js";
import { type FolderLock, lockFolder } from "../host/folder-lock.js";
import { tokensPerStep } from "../model/sizing.js";
import { cannotWrite } from "../runs/cannot-write.js";
import { identify } from "../runs/identity.js";
import type { OpenTracker, StepRecord, Tracker } from "../runs/records.js";
import { openTrackers, trackersOf } from "../runs/trackers.js";
import type { Settings } from "../settings/settings.js";
import { flatGroups, removeCheckpoints } from "../weights/checkpoint.js";
import { digest, type RunOrigin, type Training } from "../weights/pretrained.js";
import { type BatchFeed, batchFeed } from "./batch-feed.js";
import { checkMemory, explained } from "./failures.js";
import { startOf } from "./start.js";
import { trainingSteps } from "./steps.js";
import { optimizerState, trainingState } from "./training-state.js";

/** Progress of a step or an evaluation that takes many session calls. */
export interface Progress {
  readonly step: number;
  readonly doing: "evaluation" | "step";
  /** Batches, or micro-batches. */
  readonly done: number;
  readonly total: number;
}

export interface TrainOptions {
  /** Aborting finishes the current batch, saves the last complete step and ends with reason "aborted". */
  readonly signal?: AbortSignal;
  /** Called after each batch of an evaluation and each micro-batch of a step. */
  readonly onProgress?: (progress: Progress) => void;
  /** Further trackers for the records of log.jsonl. */
  readonly trackers?: readonly OpenTracker[];
  /** Numerics for a new run, such as those of its sweep; a continued run keeps its own. */
  readonly numerics?: Numerics;
}

/** The state of an open run. */
export interface Run {
  readonly settings: Settings;
  readonly options: TrainOptions;
  readonly machine: ResolvedDevice;
  readonly dataset: Dataset;
  readonly feed: BatchFeed;
  readonly session: Session;
  readonly accumulate: RunStep;
  readonly update: RunStep;
  readonly evaluate: RunStep;
  readonly updateRatios: RunStep;
  readonly runId: string;
  readonly origin: RunOrigin;
  readonly resumedFrom: string | undefined;
  /** Updates done. */
  step: number;
  /** Tokens trained on. */
  tokens: number;
  /** Whether the evaluation before the next update was done. */
  evaluated: boolean;
  bestValLoss: number | null;
  trainedMs: number;
  /** The step of the last checkpoint; −1: none. */
  savedStep: number;
  /** Passes a record to the log and the other trackers. */
  note(record: StepRecord): void;
  /** Frees everything. */
  close(): Promise<void>;
}

/**
 * Opens a run: device, data, weights, state, session, log. Everything is checked before anything is replaced.
 * @throws {RangeError} for settings, data, weights or a checkpoint that do not fit together
 */
export async function openRun(given: Settings, options: TrainOptions): Promise<Run> {
  const held: (() => void | Promise<void>)[] = [];
  const close = async () => {
    for (const giveBack of held.splice(0).reverse()) await giveBack();
  };
  try {
    const openers = given.evalOnly ? [] : await trackersOf(given, options.trackers);
    const dataset = openDataset(given.dataDir, given.dataset, given);
    held.push(() => dataset.close());
    const found = await resolveDevice(given); // before any other use of TensorFlow, since this determines the devices that it loads
    const wanted = withVocabulary(given, dataset);
    if (!given.evalOnly) held.push(lock(given.outDir).release);
    if (found.device === "cpu") checkMemory(wanted);
    const { settings, params, from, weights } = await startOf(wanted, dataset);
    const machine = keptMachine(found, settings, { from, numerics: options.numerics });
    const state = trainingState(settings, params, from);
    const sofar = progressOf(settings, from);
    const origin = originOf(from, weights, { ...params, ...flatGroups(optimizerState(settings, state)) });
    const identity = identify(settings, dataset.meta, { origin, before: from });
    const session = await openSession(state, { ...machine, xla: settings.xla });
    held.push(() => session.dispose());
    // Last, after all checks of the settings.
    if (replaces(settings)) removeCheckpoints(settings.outDir);
    const trackers: Tracker[] = [];
    held.push(() => closeAll(trackers));
    if (!settings.evalOnly) await openTrackers(trackers, openers, { settings, runId: identity.runId, ...sofar });
    const steps = trainingSteps(settings);
    return {
      ...{ settings, options, machine, dataset, session, ...identity, ...sofar, close },
      resumedFrom: from?.path,
      feed: batchFeed(settings, dataset, sofar),
      accumulate: session.define(steps.accumulate),
      update: session.define(steps.update),
      evaluate: session.define(steps.evaluate),
      updateRatios: session.define(steps.updateRatios),
      savedStep: from ? from.step : -1,
      note(record) {
        if (record.kind === "iter" && record.step % settings.logInterval !== 0) return;
        for (const tracker of trackers) tracker.append(record);
      },
    };
  } catch (error) {
    await close();
    throw explained(error, given);
  }
}

/** Settings that change how numbers are rounded. */
const MACHINE_SETTINGS = ["device", "dtype", "compile", "xla", "tf32"] as const satisfies readonly (keyof Settings)[];

/** The machine with the run's number format and products so far. @throws {RangeError} if it cannot reproduce them */
function keptMachine(
  found: ResolvedDevice,
  settings: Settings,
  { from, numerics }: { from: Training | undefined; numerics: Numerics | undefined },
): ResolvedDevice {
  if (from && MACHINE_SETTINGS.some((key) => from.settings[key] !== settings[key])) return found;
  const what = from ? `the run in ${settings.outDir}` : "the sweep";
  const allow = settings.allowOtherNumerics || settings.evalOnly;
  return withNumerics(found, from?.numerics ?? numerics, { what, allow });
}

/** The progress of the training to continue, or zeros if there is none. */
function progressOf({ dataset }: Settings, from: Training | undefined) {
  const { step = 0, evaluated = false, trainedMs = 0 } = from ?? {};
  const tokens = from ? (from.tokens ?? step * tokensPerStep(from.settings)) : 0;
  // A loss on another text cannot be compared.
  const bestValLoss = from?.settings.dataset === dataset ? from.bestValLoss : null;
  return { step, tokens, evaluated, trainedMs, bestValLoss };
}

/** The origin of a run. For a training of another program, it is a digest of all its tensors. */
function originOf(from: Training | undefined, weights: string | undefined, tensors: HostTensors): RunOrigin {
  if (from?.origin) return from.origin;
  if (from) return from.runId ? {} : { weights: digest(tensors) };
  return weights ? { weights } : {};
}

const replaces = ({ initFrom, overwrite, evalOnly }: Settings) => initFrom !== "resume" && overwrite && !evalOnly;

async function closeAll(trackers: readonly Tracker[]): Promise<void> {
  for (const tracker of trackers) await tracker.close();
}

/** @throws {Error} when another training uses the folder, or it cannot be written */
function lock(outDir: string): FolderLock {
  let taken: ReturnType<typeof lockFolder>;
  try {
    taken = lockFolder(outDir);
  } catch (error) {
    throw cannotWrite(outDir, error);
  }
  if ("release" in taken) return taken;
  throw new Error(
    `Cannot train into ${outDir}: another training is running there (${taken.holder}); choose another outDir, or stop that training.`,
  );
}

/** Settings with the vocabulary of the dataset, checked against it. */
function withVocabulary(settings: Settings, { meta, train, val }: Dataset): Settings {
  const vocabSize = settings.vocabSize || meta.vocabSize;
  if (vocabSize < meta.vocabSize) {
    const remedy =
      settings.initFrom === "resume"
        ? "this model was trained on other ids, so resume it with its own dataset"
        : `use vocabSize 0 or at least ${meta.vocabSize}`;
    throw new RangeError(
      `Cannot train on ${meta.dataset}: vocabSize is ${vocabSize}, but the dataset has ${meta.vocabSize} ids; ${remedy}.`,
    );
  }
  // Throws if a split is too short for a block.
  drawBatch(train, { ...settings, vocabSize, batchSize: 1, step: 0, row: 0, use: "eval-train" });
  drawBatch(val, { ...settings, vocabSize, batchSize: 1, step: 0, row: 0, use: "eval-val" });
  return { ...settings, vocabSize };
}
