/**
 * Sends a run's numbers to TensorBoard's files, to Weights & Biases, or to trackers that a program passes to train().
 * A tracker receives the records that log.jsonl stores.
 */
import fs from "node:fs";
import path from "node:path";
import type { Settings } from "../settings/settings.js";
import { cannotWrite } from "./cannot-write.js";
import { openEventFile } from "./event-file.js";
import type { OpenTracker, StepRecord, TrackedRun, Tracker } from "./records.js";
import { openRunLog } from "./run-folder.js";

/** The trackers of a run's settings, and the program's own. @throws as loadWandb */
export async function trackersOf(
  { tensorboard, wandbLog }: Settings,
  own: readonly OpenTracker[] = [],
): Promise<OpenTracker[]> {
  const wandb = wandbLog ? [wandbTracker(await loadWandb())] : [];
  return [...(tensorboard ? [openTensorBoard] : []), ...wandb, ...own];
}

/**
 * Opens a run's log and its other trackers, adding each to `open`, so that the caller can close them if one of them
 * fails.
 * @throws {Error} when the folder cannot be written
 */
export async function openTrackers(
  open: Tracker[],
  openers: readonly OpenTracker[],
  { settings, runId, ...sofar }: Omit<TrackedRun, "kept"> & { readonly evaluated: boolean },
): Promise<void> {
  const log = openRunLog(settings, sofar);
  open.push(log);
  const { step } = sofar;
  if (step === 0) removeEventFiles(settings.outDir);
  for (const opener of openers) open.push(await opener({ settings, runId, step, kept: log.kept }));
}

/** The curves to which a record adds a point, by nanoGPT's names where it has them. */
export function scalars(record: StepRecord): Record<string, number> {
  if (record.kind === "eval") {
    return { "train/loss": record.trainLoss, "val/loss": record.valLoss, lr: record.learningRate };
  }
  if (record.kind !== "iter") return {};
  const { loss, gradNorm, elapsedMs, tokens, tokensPerSecond, updateRatios = {} } = record;
  const ratios = Object.entries(updateRatios).map(([group, ratio]) => [`update/${group}`, ratio]);
  return {
    "iter/loss": loss,
    "iter/grad_norm": gradNorm,
    "iter/time_ms": elapsedMs,
    "iter/tokens": tokens,
    "iter/tokens_per_second": tokensPerSecond,
    ...Object.fromEntries(ratios),
  };
}

/** TensorBoard's files, in `outDir/tensorboard`. @throws {Error} when they cannot be written */
export const openTensorBoard: OpenTracker = ({ settings, step, kept }) => {
  const { outDir } = settings;
  const attempt = <T>(action: () => T): T => {
    try {
      return action();
    } catch (error) {
      throw cannotWrite(outDir, error);
    }
  };
  const file = attempt(() => openEventFile(path.join(outDir, "tensorboard"), step > 0 ? { resumedAt: step } : {}));
  const append = (record: StepRecord) => {
    const values = scalars(record);
    if (Object.keys(values).length > 0) attempt(() => file.append(record.step, values));
  };
  // TensorBoard also drops the evaluation before the first step, so it is written again.
  for (const record of kept) if (record.step >= step) append(record);
  return { append, close: file.close };
};

/** Removes the event files of the earlier run in `outDir`. */
function removeEventFiles(outDir: string): void {
  const folder = path.join(outDir, "tensorboard");
  if (!fs.existsSync(folder)) return;
  for (const file of fs.readdirSync(folder)) {
    if (file.startsWith("events.out.tfevents.")) fs.rmSync(path.join(folder, file));
  }
}

/** The part of the package @wandb/sdk that is used. */
export interface Wandb {
  init(options: object): Promise<unknown>;
  log(values: Record<string, unknown>, step?: number): void;
  finish(): Promise<void>;
}

const WANDB_PACKAGE = "@wandb/sdk";

/**
 * The package for Weights & Biases, if it is installed. It is not a dependency of Folio, since it has not changed since
 * 2024 and few users need it.
 * @throws {Error} when it is not installed or has no key; the message says what to do
 */
export async function loadWandb(
  load: () => Promise<unknown> = () => import(WANDB_PACKAGE),
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Wandb> {
  const instead =
    "Or leave wandbLog: false: TensorBoard's files in the run's folder have the same curves, and `wandb sync` uploads them.";
  let loaded: { default?: unknown };
  try {
    loaded = (await load()) as { default?: unknown };
  } catch (error) {
    throw new Error(
      `Cannot log to Weights & Biases: its package is not installed; run \`npm install ${WANDB_PACKAGE} graphql\`. ${instead}`,
      { cause: error },
    );
  }
  if (!environment.WANDB_API_KEY) {
    throw new Error(
      `Cannot log to Weights & Biases: the environment variable WANDB_API_KEY is not set; set it to your key. ${instead}`,
    );
  }
  const sdk = (loaded.default ?? loaded) as Wandb;
  if (typeof sdk.init !== "function" || typeof sdk.log !== "function") {
    throw new Error(
      `Cannot log to Weights & Biases: ${WANDB_PACKAGE} has no init and log; install version 0.5. ${instead}`,
    );
  }
  return sdk;
}

/** nanoGPT's curves at Weights & Biases, under wandbProject and wandbRunName. */
export const wandbTracker =
  (wandb: Wandb): OpenTracker =>
  async ({ settings, runId }) => {
    await wandb.init({
      project: settings.wandbProject,
      name: settings.wandbRunName,
      id: runId.slice(0, 8),
      config: settings,
    });
    return {
      append(record) {
        const values = scalars(record);
        if (Object.keys(values).length > 0) wandb.log({ iter: record.step, ...values }, record.step);
      },
      close: () => wandb.finish(),
    };
  };
