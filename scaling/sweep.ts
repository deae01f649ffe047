/**
 * A plan → its runs: an async generator that keeps as many processes at work as the machine holds, hands out the longest
 * runs first, and yields a record of each thing that happens. Everything that counts lies in the sweep's folder: killed
 * at any moment, the same call goes on. Training stands in sweep/work.ts. `folio scaling run` drives it.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { closest } from "fastest-levenshtein";
import { replaceFile } from "../lib/host/replace-file.js";
import { type SweepPlan, savePlan, share } from "./plan.js";
import type { ResultRow } from "./sweep/columns.js";
import { type Job, type Progress, type StartJob, startCommand, startLocal } from "./sweep/processes.js";
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

/** Which runs that are not finished are done: those not begun and the interrupted ones unless given. */
export type Retry = "failed" | "interrupted" | "all";

export interface SweepOptions {
  /** Of the sweep: plan, runs, results. */
  readonly folder: string;
  /** Of the datasets, in place of the plan's. */
  readonly dataDir?: string;
  readonly retry?: Retry;
  /** Processes at a time; the plan's unless given. */
  readonly workers?: number;
  readonly threads?: number;
  /** Numbers of the GPUs, which take a process each; without them the environment is left alone. */
  readonly gpus?: readonly number[];
  /** A shell command that does a run elsewhere, with {run}, {name}, {plan} and {folder}. */
  readonly command?: string;
  /** What does a run in place of a process: an executor of one's own. */
  readonly start?: StartJob;
  /** Names or identities; all unless given. */
  readonly only?: readonly string[];
  /** Aborting lets the batches under way finish, saves, and ends. */
  readonly signal?: AbortSignal;
}

export type Counts = Readonly<Record<RunState, number>>;

/** What runSweep() tells. */
export type SweepRecord =
  | {
      readonly kind: "start";
      readonly counts: Counts;
      /** How many are to be done, besides those that another process may let go of. */
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
      /** Where those stand that this call was to do. */
      readonly chosen: Counts;
    };

/** How often a run whose process was killed is begun again in one call: memory may be short for a moment, or for good. */
export const KILLS = 3;

/**
 * Does the runs of a plan that are not done. Runs that failed stay failed until `retry` asks for them; a run whose
 * process is killed goes on from its last checkpoint. Runs that another process is at are left to it; those that it lets
 * go of undone, within ten seconds or by the time that the others are done, are done too.
 * @throws {Error} when the folder cannot be written, or the dataset is not prepared
 * @example
 * for await (const record of runSweep(plan, { folder: "out-small" })) if (record.kind === "run-end") console.log(record.outcome);
 */
export async function* runSweep(plan: SweepPlan, options: SweepOptions): AsyncGenerator<SweepRecord> {
  const { folder, dataDir, signal } = options;
  fs.mkdirSync(folder, { recursive: true });
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
    await pool.end(); // whoever leaves the loop early leaves no process behind
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
 * plan.json is the plan that was run there last; processes read a file that another plan does not replace.
 * @returns that file
 */
function writePlan(folder: string, plan: SweepPlan): string {
  const hash = createHash("sha256").update(JSON.stringify(plan)).digest("hex").slice(0, 8);
  const file = path.resolve(folder, "plans", `${plan.name}-${hash}.json`);
  for (const each of [path.resolve(folder, "plan.json"), file]) savePlan(each, plan);
  return file;
}

/** Rows of runs that were killed between their own folder and the table. */
async function recordKept(folder: string, runs: readonly SweepRun[]): Promise<void> {
  const rows = runs.map((run) => keptRow(run)).filter((row) => row !== undefined);
  if (rows.length > 0) await addResults(folder, rows);
}

/** What is to be done, and what another process is at. */
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

/** @throws {RangeError} for a name or identity that the plan does not have */
function checkNames(runs: readonly SweepRun[], only: readonly string[]): void {
  for (const word of only) {
    if (word !== "" && runs.some((run) => run.name === word || run.id.startsWith(word))) continue;
    const names = runs.map(({ name }) => name);
    throw new RangeError(
      `Cannot do the run ${JSON.stringify(word)}: the plan has none of that name or identity; the nearest is ${closest(word, names)}.`,
    );
  }
}

/**
 * Hands the runs of a plan that are not done to Slurm, as an array job, and returns at once; `sweepStatus` tells how far
 * they are. Runs that Slurm has already are not handed in again.
 * @param slurm lines of #SBATCH besides, and how many tasks at a time
 * @throws {Error} when sbatch or squeue fail
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

/** Processes at work on a list of runs. */
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
   * What waits; then what other processes had in hand and let go of undone: those of a command that was killed may still be
   * saving when the next one begins.
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

  /** One process after another. */
  const serve = async (slot: number): Promise<void> => {
    for (let run = await next(); run; run = await next()) {
      emit({ kind: "run-start", run, step: savedStep(run) });
      started++;
      const job = start(run, slot);
      jobs.add(job);
      const outcome = await job.done;
      jobs.delete(job);
      if (outcome.state === "failed" && failureOf(run) === undefined) writeFailure(run, outcome.message);
      // Its row may have stayed behind in its folder, were it killed there.
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

/** What is pushed by callbacks, as an async iterable. */
function openQueue<Item>() {
  const queue: Item[] = [];
  let wake = () => {};
  let closed = false;
  let failure: unknown;
  const finish = () => {
    closed = true;
    wake();
  };
  return {
    push(item: Item) {
      queue.push(item);
      wake();
    },
    close: finish,
    fail(error: unknown) {
      failure = error;
      finish();
    },
    async *items(): AsyncGenerator<Item> {
      for (;;) {
        yield* queue.splice(0);
        if (queue.length > 0) continue;
        if (failure) throw failure;
        if (closed) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

/** A run of a sweep and where it stands. */
export interface RunStatus {
  readonly run: SweepRun;
  readonly state: RunState;
  /** Updates that are saved. */
  readonly step: number;
  readonly loss: number | null;
  readonly failure: string | null;
}

/** Where every run of a plan stands, read from the sweep's folder. */
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

/** How many are in each state. */
export function countBy(states: readonly RunState[]): Counts {
  const counts = { finished: 0, failed: 0, interrupted: 0, running: 0, pending: 0 };
  for (const state of states) counts[state]++;
  return counts;
}
