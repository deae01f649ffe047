/**
 * Where a run's numbers go besides its log: TensorBoard's files, Weights & Biases, or what a program hands to train().
 * A tracker takes the records that log.jsonl keeps; it decides nothing.
 */
import fs from "node:fs";
import path from "node:path";
import type { Settings } from "../settings/settings.js";
import { cannotWrite } from "./cannot-write.js";
import { openEventFile } from "./event-file.js";
import type { OpenTracker, StepRecord, TrackedRun, Tracker } from "./records.js";
import { openRunLog } from "./run-folder.js";

/** The trackers that a run's settings ask for, and those of the program's own. @throws as loadWandb */
export async function trackersOf(
  { tensorboard, wandbLog }: Settings,
  own: readonly OpenTracker[] = [],
): Promise<OpenTracker[]> {
  const wandb = wandbLog ? [wandbTracker(await loadWandb())] : [];
  return [...(tensorboard ? [openTensorBoard] : []), ...wandb, ...own];
}

/**
 * Opens a run's log, and its other trackers, into `open`: what is there already when one of them fails is to be closed too.
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

/** The curves that a record has a point of, by nanoGPT's names where it has them. */
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
  // The evaluation before the first step is among what TensorBoard drops.
  for (const record of kept) if (record.step >= step) append(record);
  return { append, close: file.close };
};

/** Removes the event files of the run that `outDir` held before. */
function removeEventFiles(outDir: string): void {
  const folder = path.join(outDir, "tensorboard");
  if (!fs.existsSync(folder)) return;
  for (const file of fs.readdirSync(folder)) {
    if (file.startsWith("events.out.tfevents.")) fs.rmSync(path.join(folder, file));
  }
}

/** What is used of the package @wandb/sdk. */
export interface Wandb {
  init(options: object): Promise<unknown>;
  log(values: Record<string, unknown>, step?: number): void;
  finish(): Promise<void>;
}

const WANDB_PACKAGE = "@wandb/sdk";

/**
 * The package that talks to Weights & Biases, where it is installed. It is none of Folio's own dependencies: it has not
 * changed since 2024 and few need it.
 * @throws {Error} when it is not there, or has no key; the message says what does the job
 */
export async function loadWandb(
  load: () => Promise<unknown> = () => import(WANDB_PACKAGE),
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Promise<Wandb> {
  const instead =
    "Or leave wandbLog: false: TensorBoard's files in the run's folder hold the same curves, and `wandb sync` uploads them.";
  let loaded: { default?: unknown };
  try {
    loaded = (await load()) as { default?: unknown };
  } catch (error) {
    throw new Error(
      `Cannot log to Weights & Biases: its package is not installed; \`npm install ${WANDB_PACKAGE} graphql\` adds it. ${instead}`,
      { cause: error },
    );
  }
  if (!environment.WANDB_API_KEY) {
    throw new Error(
      `Cannot log to Weights & Biases: the environment variable WANDB_API_KEY is not set; it holds your key. ${instead}`,
    );
  }
  const sdk = (loaded.default ?? loaded) as Wandb;
  if (typeof sdk.init !== "function" || typeof sdk.log !== "function") {
    throw new Error(`Cannot log to Weights & Biases: ${WANDB_PACKAGE} has no init and log; 0.5 has. ${instead}`);
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
