/**
 * A training run: its state, and how it is opened and closed. train.ts has the training loop.
 */
import { type Dataset, drawBatch, openDataset } from "../data/batches.js";
import { engineVersions, type ResolvedDevice, resolveDevice } from "../engine/device.js";
import type { HostState, HostTensors } from "../engine/host-tensors.js";
import { type Numerics, withNumerics } from "../engine/numerics.js";
import { openSession } from "../engine/session.js";
import type { RunOnAll, RunStep, Session } from "../engine/steps.js";
import type { Cluster } from "../engine/tensorflow/server.js";
import { type FolderLock, lockFolder } from "../host/folder-lock.js";
import { folioVersion } from "../host/package.js";
import { tokensPerStep } from "../model/sizing.js";
import { cannotWrite } from "../runs/cannot-write.js";
import { identify, WITHOUT_EFFECT } from "../runs/identity.js";
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

/** On what the processes of a cluster must agree before they train together, in words. */
export type Agreement = Readonly<Record<string, string>>;

export interface TrainOptions {
  /**
   * This process's number among those that share the run's steps (lib/launch/), one device each; `devices` is how many
   * they are. Only rank 0 logs and saves.
   */
  readonly rank?: number;
  /** Joins the other processes. @param agreement must be the same in all of them */
  readonly join?: (agreement: Agreement) => Promise<Cluster>;
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
  /** Whether this process writes the run's folder. */
  readonly writes: boolean;
  /** The cluster of which this process is a part. */
  readonly cluster: Cluster | undefined;
  readonly accumulate: RunOnAll;
  readonly update: RunOnAll;
  readonly evaluate: RunOnAll;
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
  /** Whether the processes of the cluster have agreed to stop. */
  stopping: boolean;
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
    const writes = (options.rank ?? 0) === 0;
    const logs = writes && !given.evalOnly;
    const openers = logs ? await trackersOf(given, options.trackers) : [];
    const dataset = openDataset(given.dataDir, given.dataset, given);
    held.push(() => dataset.close());
    const found = await resolveDevice(given); // before any other use of TensorFlow, since this determines the devices that it loads
    const wanted = withVocabulary(given, dataset);
    if (logs) held.push(lock(given.outDir).release);
    if (found.device === "cpu") checkMemory(wanted);
    // Rank 0 checks the folder, and may have begun to write into it.
    const start = await startOf(writes ? wanted : { ...wanted, overwrite: true }, dataset);
    const { params, from, weights } = start;
    const settings = { ...start.settings, overwrite: given.overwrite };
    const machine = keptMachine(found, settings, { from, numerics: options.numerics });
    const state = trainingState(settings, params, from);
    const sofar = progressOf(settings, from);
    const origin = originOf(from, weights, { ...params, ...flatGroups(optimizerState(settings, state)) });
    const identity = identify(settings, dataset.meta, { origin, before: from });
    const cluster = await options.join?.(agreementOf({ settings, machine, dataset, step: sofar.step, state }));
    const devices = cluster ? 1 : settings.devices;
    const session = await openSession(state, { ...machine, xla: settings.xla, devices, cluster });
    held.push(() => session.dispose());
    // Last, after all checks of the settings.
    if (writes && replaces(settings)) removeCheckpoints(settings.outDir);
    const trackers: Tracker[] = [];
    held.push(() => closeAll(trackers));
    if (logs) await openTrackers(trackers, openers, { settings, runId: identity.runId, ...sofar });
    const steps = trainingSteps(settings);
    return {
      ...{ settings, options, writes, machine, dataset, session, cluster, ...identity, ...sofar, close },
      resumedFrom: from?.path,
      feed: batchFeed(settings, dataset, { ...sofar, ...(cluster && { device: cluster.rank }) }),
      accumulate: session.defineOnAll(steps.accumulate),
      update: session.defineOnAll(steps.update),
      evaluate: session.defineOnAll(steps.evaluate),
      updateRatios: session.define(steps.updateRatios),
      stopping: false,
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

/** Where to write, and how often to report, may differ between the processes. */
const MAY_DIFFER: readonly string[] = [...WITHOUT_EFFECT.filter((key) => key !== "initFrom"), "devices"];

function agreementOf({
  settings,
  machine,
  dataset: { meta },
  step,
  state,
}: Pick<Run, "settings" | "machine" | "dataset" | "step"> & { state: HostState }): Agreement {
  const own = Object.entries(settings).filter(([key]) => !MAY_DIFFER.includes(key));
  const { operations = "none", products = {} } = machine;
  return {
    ...Object.fromEntries(own.map(([key, value]) => [key, String(value)])),
    "Folio's version": folioVersion(),
    "TensorFlow's version": Object.values(engineVersions(machine)).join(),
    "the dataset's checksum": [meta.splits.train.sha256, meta.splits.val.sha256].join(),
    "the device": `${machine.device}, ${machine.dtype}`,
    "the variant of Folio's operations": operations,
    "the matrix products": JSON.stringify(products),
    "the number of processes": String(settings.devices),
    "the step": String(step),
    "the weights": digest(flatGroups(state)),
  };
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
