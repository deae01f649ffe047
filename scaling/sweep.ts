/**
 * A plan → its runs: an async generator that keeps several processes busy, starts the longest runs first, and yields a
 * record of each event. The state of a sweep is in its folder, so after a kill at any moment, the same call continues
 * it. sweep/train-one.ts trains a run. The command is `folio scaling run`.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { closest } from "fastest-levenshtein";
import { cellSignal } from "../lib/host/notebook.js";
import { replaceFile } from "../lib/host/replace-file.js";
import { type SweepPlan, savePlan, share } from "./plan.js";
import type { ResultRow } from "./sweep/columns.js";
import { visibleGpu } from "./sweep/environment.js";
import { type Job, type Progress, type StartJob, startCommand, startLocal } from "./sweep/processes.js";
import { openQueue } from "./sweep/queue.js";
import { addResults, readResults, writeParquet } from "./sweep/results-table.js";
import {
  failureFile,
  failureOf,
  identifyRuns,
  keptRow,
  type RunState,
  type SweepRun,
  savedStep,
  stateOf,
} from "./sweep/run-identity.js";
import { type SlurmFlags, type SlurmJob, submitToSlurm } from "./sweep/slurm.js";
import { type Outcome, PATIENCE_MS } from "./sweep/train-one.js";

export { columns, type ResultRow } from "./sweep/columns.js";
export { type MeasureOptions, measureSpeed } from "./sweep/measure-speed.js";
export type { Job, JobOptions, StartJob } from "./sweep/processes.js";
export { readResults, resultsTable, writeParquet } from "./sweep/results-table.js";
export type { RunState, SweepRun } from "./sweep/run-identity.js";

/** Which unfinished runs to do; by default, pending and interrupted ones. */
export type Retry = "failed" | "interrupted" | "all";

export interface SweepOptions {
  /** The folder of the sweep: plan, runs, results. */
  readonly folder: string;
  /** The folder of the datasets, instead of the plan's. */
  readonly dataDir?: string;
  readonly retry?: Retry;
  /** Processes at a time; by default as in the plan. */
  readonly workers?: number;
  readonly threads?: number;
  /** Numbers of the GPUs to use, of those that CUDA sees, one run at a time on each; without it, the environment is not changed. */
  readonly gpus?: readonly number[];
  /** A shell command that does a run elsewhere; {run}, {name}, {plan} and {folder} are replaced. */
  readonly command?: string;
  /** A custom executor that does a run, instead of a process. */
  readonly start?: StartJob;
  /** Names or identities of runs; all by default. */
  readonly only?: readonly string[];
  /** When aborted, the current batches finish, and the runs save a checkpoint and end. */
  readonly signal?: AbortSignal;
}

export type Counts = Readonly<Record<RunState, number>>;

/** The records of runSweep(). */
export type SweepRecord =
  | {
      readonly kind: "start";
      readonly counts: Counts;
      /** The number of runs to do, without those that another process is doing. */
      readonly todo: number;
      readonly workers: number;
      readonly threads: number;
    }
  | { readonly kind: "run-start"; readonly run: SweepRun; readonly step: number }
  | { readonly kind: "progress"; readonly run: SweepRun; readonly step: number; readonly loss: number }
  | { readonly kind: "run-end"; readonly run: SweepRun; readonly outcome: Outcome }
  | {
      readonly kind: "end";
      readonly counts: Counts;
      readonly started: number;
      readonly aborted: boolean;
      /** The states of the runs that this call was to do. */
      readonly chosen: Counts;
    };

/** How often one call restarts a run whose process was killed, since memory may be short only for a moment. */
export const KILLS = 3;

/**
 * Does the unfinished runs of a plan. Failed runs are done again only if `retry` says so; a run whose process is killed
 * resumes from its last checkpoint. Runs of another process are left to it; if that process leaves them unfinished
 * within ten seconds, or before the other runs are done, they are done here.
 * @throws {Error} if the folder cannot be written, or the dataset is not prepared
 * @example
 * for await (const record of runSweep(plan, { folder: "out-small" })) if (record.kind === "run-end") console.log(record.outcome);
 */
export async function* runSweep(plan: SweepPlan, options: SweepOptions): AsyncGenerator<SweepRecord> {
  const { folder, dataDir, signal = cellSignal() } = options;
  fs.mkdirSync(folder, { recursive: true });
  options.gpus?.forEach(visibleGpu); // before the first run begins
  const planFile = writePlan(folder, plan);
  const runs = identifyRuns(plan, folder, dataDir);
  await recordKept(folder, runs);
  const { todo, held } = chosen(runs, options);
  const { workers, threads } = machineShare(plan, options);
  yield { kind: "start", counts: countStates(runs), todo: todo.length, workers, threads };
  const events = openQueue<SweepRecord>();
  const pool = openPool({ todo, held }, { options, planFile, workers, threads, emit: events.push });
  const abort = () => pool.stop();
  signal?.addEventListener("abort", abort);
  if (signal?.aborted) abort();
  pool.done.then(events.close, events.fail);
  try {
    yield* events.items();
  } finally {
    signal?.removeEventListener("abort", abort);
    await pool.end(); // also when the caller leaves the loop early
  }
  if (readResults(folder).length > 0) writeParquet(folder);
  const aborted = signal?.aborted ?? false;
  yield {
    kind: "end",
    counts: countStates(runs),
    started: pool.started(),
    aborted,
    chosen: countStates([...todo, ...held]),
  };
}

/**
 * Saves the plan as plan.json, the plan that was run last, and as a file for the processes that no other plan replaces.
 * @returns that file
 */
function writePlan(folder: string, plan: SweepPlan): string {
  const hash = createHash("sha256").update(JSON.stringify(plan)).digest("hex").slice(0, 8);
  const file = path.resolve(folder, "plans", `${plan.name}-${hash}.json`);
  for (const each of [path.resolve(folder, "plan.json"), file]) savePlan(each, plan);
  return file;
}

/** Adds the rows of runs that were killed after writing their own file, but before the table. */
async function recordKept(folder: string, runs: readonly SweepRun[]): Promise<void> {
  const rows = runs.map((run) => keptRow(run)).filter((row) => row !== undefined);
  if (rows.length > 0) await addResults(folder, rows);
}

/** The runs to do, and those that another process is doing. */
interface Chosen {
  readonly todo: readonly SweepRun[];
  readonly held: readonly SweepRun[];
}

function chosen(runs: readonly SweepRun[], { retry, only }: SweepOptions): Chosen {
  const statesOf: Record<Retry | "usual", readonly RunState[]> = {
    usual: ["pending", "interrupted"],
    failed: ["failed"],
    interrupted: ["interrupted"],
    all: ["pending", "interrupted", "failed"],
  };
  const wanted = statesOf[retry ?? "usual"];
  checkNames(runs, only ?? []);
  const named = (run: SweepRun) => !only || only.some((word) => run.name === word || run.id.startsWith(word));
  const states = runs.filter(named).map((run) => ({ run, state: stateOf(run) }));
  const inState = (each: readonly RunState[]) =>
    states
      .filter(({ state }) => each.includes(state))
      .map(({ run }) => run)
      .sort((a, b) => (b.seconds ?? b.flops) - (a.seconds ?? a.flops));
  return { todo: inState(wanted), held: wanted.includes("interrupted") ? inState(["running"]) : [] };
}

/** @throws {RangeError} for an unknown name or identity */
function checkNames(runs: readonly SweepRun[], only: readonly string[]): void {
  for (const word of only) {
    if (word !== "" && runs.some((run) => run.name === word || run.id.startsWith(word))) continue;
    const names = runs.map(({ name }) => name);
    throw new RangeError(
      `Cannot do the run ${JSON.stringify(word)}: the plan has no run with this name or identity; the nearest is ${closest(word, names)}.`,
    );
  }
}

/**
 * Submits the unfinished runs of a plan to Slurm as an array job and returns at once; `sweepStatus` shows their
 * progress. Runs that Slurm already has are not submitted again.
 * @param slurm additional #SBATCH lines, and the number of tasks at a time
 * @throws {Error} if sbatch or squeue fails
 */
export async function submitSweep(
  plan: SweepPlan,
  { slurm = {}, ...options }: Omit<SweepOptions, "signal"> & { readonly slurm?: SlurmFlags },
): Promise<SlurmJob | undefined> {
  const { folder, dataDir, threads = plan.threads } = options;
  fs.mkdirSync(folder, { recursive: true });
  const planFile = writePlan(folder, plan);
  const runs = identifyRuns(plan, folder, dataDir);
  await recordKept(folder, runs);
  const { todo } = chosen(runs, options);
  for (const run of todo) fs.rmSync(failureFile(run), { force: true });
  return submitToSlurm(todo, { planFile, folder, name: plan.name, threads, dataDir, ...slurm });
}

function machineShare(plan: SweepPlan, { workers, threads, gpus }: SweepOptions): { workers: number; threads: number } {
  if (gpus && workers === undefined) return share({ workers: gpus.length, ...(threads ? { threads } : {}) });
  if (workers !== undefined || threads !== undefined) {
    return share({ ...(workers ? { workers } : {}), ...(threads ? { threads } : {}) });
  }
  return { workers: plan.workers, threads: plan.threads };
}

interface PoolOptions {
  readonly options: SweepOptions;
  readonly planFile: string;
  readonly workers: number;
  readonly threads: number;
  readonly emit: (record: SweepRecord) => void;
}

/** The processes that do a list of runs. */
function openPool({ todo, held }: Chosen, { options, planFile, workers, threads, emit }: PoolOptions) {
  const { folder, dataDir, command, gpus } = options;
  const begin: StartJob =
    options.start ?? (command === undefined ? startLocal : (run, job) => startCommand(run, command, job));
  const waiting = [...todo];
  const elsewhere = [...held];
  const patientUntil = performance.now() + PATIENCE_MS;
  const jobs = new Set<Job>();
  const kills = new Map<string, number>();
  let stopping = false;
  let started = 0;

  const start = (run: SweepRun, slot: number): Job => {
    fs.rmSync(failureFile(run), { force: true });
    const onProgress = (progress: Progress) => emit({ kind: "progress", run, ...progress });
    const gpu = gpus?.[slot % gpus.length];
    return begin(run, { planFile, folder: path.resolve(folder), dataDir, threads, gpu, onProgress });
  };

  /**
   * The next run: one that waits, else one that another process has left unfinished. Processes of a killed command may
   * still be saving when the next command starts.
   */
  const next = async (): Promise<SweepRun | undefined> => {
    while (!stopping) {
      const run = waiting.shift();
      if (run) return run;
      const other = elsewhere.shift();
      if (!other) return undefined;
      const state = stateOf(other);
      if (state === "interrupted" || state === "pending") return other;
      if (state !== "running" || performance.now() > patientUntil) continue;
      elsewhere.push(other);
      await setTimeout(100);
    }
    return undefined;
  };

  /** Does one run after another. */
  const serve = async (slot: number): Promise<void> => {
    for (let run = await next(); run; run = await next()) {
      emit({ kind: "run-start", run, step: savedStep(run) });
      started++;
      const job = start(run, slot);
      jobs.add(job);
      const outcome = await job.done;
      jobs.delete(job);
      if (outcome.state === "failed" && failureOf(run) === undefined) writeFailure(run, outcome.message);
      // If its process was killed, the row may be in the run's folder only.
      if (outcome.state === "finished") await addResults(folder, [outcome.row]);
      emit({ kind: "run-end", run, outcome });
      const killed = (kills.get(run.id) ?? 0) + (outcome.state === "interrupted" ? 1 : 0);
      kills.set(run.id, killed);
      if (outcome.state === "interrupted" && killed < KILLS && !stopping) waiting.push(run);
    }
  };

  const done = Promise.all(Array.from({ length: workers }, (_, slot) => serve(slot))).then(() => {});
  const stop = () => {
    stopping = true;
    for (const job of jobs) job.stop();
  };
  return {
    done,
    stop,
    started: () => started,
    async end() {
      if (jobs.size > 0) stop();
      await done.catch(() => {});
    },
  };
}

function writeFailure(run: SweepRun, message: string): void {
  fs.mkdirSync(run.folder, { recursive: true });
  replaceFile(failureFile(run), `${JSON.stringify({ message, at: new Date().toISOString() })}\n`);
}

/** The status of a run. */
export interface RunStatus {
  readonly run: SweepRun;
  readonly state: RunState;
  /** Updates in the last checkpoint. */
  readonly step: number;
  readonly loss: number | null;
  readonly failure: string | null;
}

/** The status of every run of a plan, read from the sweep's folder. */
export function sweepStatus(
  plan: SweepPlan,
  { folder, dataDir }: Pick<SweepOptions, "folder" | "dataDir">,
): RunStatus[] {
  return identifyRuns(plan, folder, dataDir).map((run) => {
    const state = stateOf(run);
    const row: ResultRow | undefined = state === "finished" ? keptRow(run) : undefined;
    return {
      run,
      state,
      step: row ? run.steps : savedStep(run),
      loss: row ? Number(row.loss) : null,
      failure: state === "failed" ? failureOf(run)! : null,
    };
  });
}

function countStates(runs: readonly SweepRun[]): Counts {
  return countBy(runs.map(stateOf));
}

/** The number of runs in each state. */
export function countBy(states: readonly RunState[]): Counts {
  const counts = { finished: 0, failed: 0, interrupted: 0, running: 0, pending: 0 };
  for (const state of states) counts[state]++;
  return counts;
}
