/**
 * Does one run of a sweep in this process: trains or resumes it, measures its loss on the same validation tokens as all
 * others, and writes its row. sweep.ts distributes the runs.
 */
import { execFileSync, type StdioOptions } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { type Dataset, openDataset } from "../../lib/data/batches.js";
import { resolveDevice } from "../../lib/engine/device.js";
import { type Numerics, numericsOf, numericsSchema } from "../../lib/engine/numerics.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { faultOf } from "../../lib/host/checked-json.js";
import { type FolderLock, lockFolder } from "../../lib/host/folder-lock.js";
import { folioVersion, packageRoot } from "../../lib/host/package.js";
import { replaceFile } from "../../lib/host/replace-file.js";
import { tokensPerStep } from "../../lib/model/sizing.js";
import type { EndRecord, IterRecord, StartRecord, StepRecord } from "../../lib/runs/records.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import type { Settings } from "../../lib/settings/settings.js";
import { type Evaluation, evaluateSplit } from "../../lib/train/evaluate.js";
import { train } from "../../lib/train/train.js";
import { hasCheckpoint, openCheckpoint } from "../../lib/weights/checkpoint.js";
import type { SweepPlan } from "../plan.js";
import { type ResultRow, sizeColumns } from "./columns.js";
import { addResults } from "./results-table.js";
import { failureFile, keptRow, resultFile, type SweepRun } from "./run-identity.js";

/** The outcome of a run's process. `busy`: another process has the run. */
export type Outcome =
  | { readonly state: "finished"; readonly row: ResultRow }
  | { readonly state: "interrupted" }
  | { readonly state: "failed"; readonly message: string }
  | { readonly state: "busy"; readonly holder: string };

export interface WorkOptions {
  /** The sweep's folder. */
  readonly folder: string;
  readonly plan: SweepPlan;
  readonly signal?: AbortSignal;
  readonly onRecord?: (record: StepRecord) => void;
}

/** How long to wait for a process whose parent was killed, until it has saved and ended. */
export const PATIENCE_MS = 10_000;

/** Does a run, or the rest of it, unless it is finished. A failure of the run is an outcome, not an exception. */
export async function work(run: SweepRun, options: WorkOptions): Promise<Outcome> {
  const { folder } = options;
  const lock = await holdRun(run, options.signal);
  if (typeof lock === "string") return { state: "busy", holder: lock };
  try {
    const row = keptRow(run) ?? (await finishedRow(run, options));
    if (!row) return { state: "interrupted" };
    replaceFile(resultFile(run), `${JSON.stringify(row)}\n`);
    await addResults(folder, [row]);
    return { state: "finished", row };
  } catch (error) {
    const message = (error as Error).message;
    replaceFile(failureFile(run), `${JSON.stringify({ message, at: new Date().toISOString() })}\n`);
    return { state: "failed", message };
  } finally {
    lock.release();
  }
}

async function holdRun({ folder }: SweepRun, signal: AbortSignal | undefined): Promise<FolderLock | string> {
  fs.mkdirSync(folder, { recursive: true });
  for (let waited = 0; ; waited += 100) {
    const lock = lockFolder(folder);
    if ("release" in lock) return lock;
    if (waited >= PATIENCE_MS || signal?.aborted) return lock.holder;
    await setTimeout(100);
  }
}

/** Trains to the end and evaluates; undefined if aborted. */
async function finishedRow(
  run: SweepRun,
  { folder, plan, signal, onRecord }: WorkOptions,
): Promise<ResultRow | undefined> {
  fs.rmSync(failureFile(run), { force: true });
  const { outDir } = run.settings;
  const resumed = hasCheckpoint(outDir);
  const settings = { ...run.settings, initFrom: resumed ? "resume" : "scratch", overwrite: !resumed } as const;
  const started = firstStart(run);
  let start: StartRecord | undefined;
  let end: EndRecord | undefined;
  const numerics = await sweepNumerics(folder, settings);
  for await (const record of train(settings, { numerics, ...(signal && { signal }) })) {
    if (record.kind === "start") start = record;
    if (record.kind === "end") end = record;
    onRecord?.(record);
  }
  if (end?.reason !== "finished") return undefined;
  const dataset = openDataset(settings.dataDir, settings.dataset, settings);
  try {
    const before = performance.now();
    const evaluation = await finalLoss(run, { plan, dataset, numerics: start?.numerics });
    const evaluationSeconds = (performance.now() - before) / 1000;
    return rowOf(run, { plan, dataset, start: start!, end, evaluation, evaluationSeconds, started });
  } finally {
    dataset.close();
  }
}

/**
 * The numerics (number format and kernels) of all runs of a sweep with the same device and format settings: those that
 * the first process chose on its machine. It writes them atomically.
 */
export async function sweepNumerics(folder: string, settings: Settings): Promise<Numerics> {
  const { device, dtype, compile, xla, tf32 } = settings;
  const key = createHash("sha256")
    .update(JSON.stringify([device, dtype, compile, xla, tf32]))
    .digest("hex");
  const file = path.join(folder, "numerics", `${key.slice(0, 8)}.json`);
  if (!fs.existsSync(file)) {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    const beside = `${file}.${os.hostname()}.${process.pid}`;
    fs.writeFileSync(beside, `${JSON.stringify(numericsOf(await resolveDevice(settings)))}\n`);
    try {
      fs.linkSync(beside, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error; // another process was first; use its file
    } finally {
      fs.rmSync(beside, { force: true });
    }
  }
  return readNumerics(file);
}

function readNumerics(file: string): Numerics {
  let content: unknown;
  try {
    content = JSON.parse(fs.readFileSync(file, "utf8"));
  } catch (error) {
    throw new Error(`Cannot read ${file}: ${(error as Error).message}.`, { cause: error });
  }
  const fault = faultOf(numericsSchema, content);
  const remedy = "remove it, and the runs that are left are computed as this machine does it best";
  if (fault) throw new Error(`Cannot go on with the sweep: ${file} is damaged: its ${fault}; ${remedy}.`);
  return content as Numerics;
}

/** When the run was first started. */
function firstStart({ folder }: SweepRun): string {
  const file = `${folder}/started`;
  if (!fs.existsSync(file)) replaceFile(file, new Date().toISOString());
  return fs.readFileSync(file, "utf8").trim();
}

/** Tokens per evaluation batch; the batch size does not affect the mean. */
const EVALUATION_TOKENS = 4096;
const EVALUATION_SEED = 1;

/** The loss of the trained model on windows spread over the validation split, the same for every run. */
async function finalLoss(
  run: SweepRun,
  { plan, dataset, numerics }: Pick<RowInputs, "plan" | "dataset"> & { numerics: Numerics | undefined },
): Promise<Evaluation> {
  const { validationTokens } = plan;
  const { outDir, blockSize } = run.settings;
  const batchSize = Math.max(1, Math.floor(Math.min(EVALUATION_TOKENS, validationTokens) / blockSize));
  const batches = Math.max(1, Math.round(validationTokens / (batchSize * blockSize)));
  const sampled = { batches, use: "eval-val", seed: EVALUATION_SEED, step: 0 } as const;
  return evaluateSplit(openCheckpoint(outDir, "last", { optimizer: false }), dataset.val, {
    sampled,
    batchSize,
    numerics,
  });
}

interface RowInputs {
  readonly plan: SweepPlan;
  readonly dataset: Dataset;
  readonly start: StartRecord;
  readonly end: EndRecord;
  readonly evaluation: Evaluation;
  readonly evaluationSeconds: number;
  readonly started: string;
}

function rowOf(run: SweepRun, inputs: RowInputs): ResultRow {
  const { plan, dataset, start, end, evaluation, evaluationSeconds, started } = inputs;
  const { settings } = run;
  const tokens = settings.maxIters * tokensPerStep(settings);
  const records = readRunLog(settings.outDir);
  const iterations = records.filter((record) => record.kind === "iter");
  const lastRate = iterations.at(-1)?.learningRate ?? settings.minLr;
  return {
    run: run.id.slice(0, 16),
    name: run.name,
    plan: plan.name,
    role: run.role,
    budget: run.budgetFlops,
    ...sizeColumns(settings, tokens),
    d: tokens,
    loss: evaluation.loss,
    loss_se: evaluation.standardError ?? null,
    loss_smoothed: smoothed(iterations),
    validation_tokens: evaluation.targets,
    n_layer: settings.nLayer,
    n_head: settings.nHead,
    n_embd: settings.nEmbd,
    block_size: settings.blockSize,
    vocab_size: settings.vocabSize,
    steps: settings.maxIters,
    tokens,
    epochs: tokens / dataset.train.length,
    batch_size: settings.batchSize,
    batch_tokens: tokensPerStep(settings),
    learning_rate: settings.learningRate,
    final_lr_ratio: lastRate / settings.learningRate,
    schedule: settings.decayLr ? settings.schedule : "constant",
    warmup_steps: settings.decayLr ? settings.warmupIters : 0,
    weight_decay: settings.weightDecay,
    beta1: settings.beta1,
    beta2: settings.beta2,
    grad_clip: settings.gradClip,
    dropout: settings.dropout,
    seed: settings.seed,
    dataset: settings.dataset,
    dataset_tokens: dataset.train.length,
    data_sha256: dataset.meta.splits.train.sha256 ?? null,
    tokenizer: dataset.meta.tokenizer.kind,
    seconds: end.trainedMs / 1000,
    evaluation_seconds: evaluationSeconds,
    sittings: records.filter(({ kind }) => kind === "start").length,
    started,
    finished: new Date().toISOString(),
    device: start.device,
    dtype: start.dtype,
    compiled: Number(start.compiled),
    threads: Number(process.env.TF_NUM_INTRAOP_THREADS ?? os.availableParallelism()),
    cpu: os.cpus()[0]?.model.trim() ?? null,
    folio: folioVersion(),
    commit: commit(),
    node: process.versions.node,
    tensorflow: loadTensorFlow().tensorflowVersion,
    curve: JSON.stringify(thinned(iterations)),
  };
}

/** The mean of the logged training losses in the last tenth of the run. */
function smoothed(iterations: readonly IterRecord[]): number | null {
  const last = iterations.slice(-Math.max(1, Math.round(iterations.length / 10)));
  return last.length === 0 ? null : last.reduce((sum, { loss }) => sum + loss, 0) / last.length;
}

const CURVE_POINTS = 40;

/** [tokens, training loss] at evenly spaced updates; each loss is the mean since the previous point. */
function thinned(iterations: readonly IterRecord[]): [number, number][] {
  const points = Math.min(CURVE_POINTS, iterations.length);
  return Array.from({ length: points }, (_, index) => {
    const slice = iterations.slice(
      Math.floor((index * iterations.length) / points),
      Math.floor(((index + 1) * iterations.length) / points),
    );
    const mean = slice.reduce((sum, { loss }) => sum + loss, 0) / slice.length;
    return [slice.at(-1)!.tokens, Number(mean.toFixed(5))];
  });
}

/** The commit of the checkout; null for an installed package. */
function commit(): string | null {
  try {
    const stdio: StdioOptions = ["ignore", "pipe", "ignore"];
    const args = ["rev-parse", "--short=12", "HEAD"];
    return execFileSync("git", args, { cwd: packageRoot(), encoding: "utf8", stdio }).trim();
  } catch {
    return null;
  }
}
