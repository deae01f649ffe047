/**
 * `folio scaling run`: does the unfinished runs of a plan, with a live table on a terminal and plain lines elsewhere.
 * The first Ctrl-C lets the processes save; the same command continues.
 */

import { existsSync } from "node:fs";
import path from "node:path";
import { type SweepPlan, savePlan } from "../../../scaling/plan.js";
import { doRun, exitCodes } from "../../../scaling/sweep/find-run.js";
import {
  type Counts,
  KILLS,
  type Retry,
  runSweep,
  type SweepOptions,
  type SweepRecord,
  submitSweep,
  writeParquet,
} from "../../../scaling/sweep.js";
import { statusOf } from "../../host/regular-file.js";
import { stopOnSignals } from "../shared/stop-signals.js";
import { duration, type Io, styled } from "../shared/terminal.js";
import { openDisplay } from "./shared/display.js";
import { type FlagKinds, type Flags, findPlan, folderOf, positive, readFlags } from "./shared/flags.js";

export function help(): string {
  return `folio scaling run: does the unfinished runs of a plan.

Usage: folio scaling run PLAN [--out=DIR] [--data_dir=DIR] [--workers=N] [--threads=N] [--gpus=0,1] [--json]
                         [--retry=failed|interrupted|all] [--run=NAME,…] [--only=ID] [--allow_other_numerics]
                         [--executor=local|command|slurm] [--command='… {run} …'] [--slurm='--time=…']

PLAN is as for \`folio scaling plan\`, or the JSON that it wrote. Everything goes to --out (default out-NAME): plan.json,
a folder per run, and the table results.csv, with a copy in results.parquet. After a kill the same command continues:
finished runs are kept, and interrupted ones resume from their last checkpoint. Failed runs are skipped without --retry.

  --workers, --threads  processes at a time, and threads of each; default one process per core
  --gpus                one run at a time on each of these GPUs, numbered as CUDA sees them
  --only                do only this run, in this process; for commands on other machines
  --executor=command    do each run by --command in a shell, with {run}, {name}, {plan} and {folder} replaced:
                        --command='ssh node7 folio scaling run {plan} --out={folder} --only={run}'
  --executor=slurm      submit the runs with sbatch as an array job, and return; a pre-empted task resumes.
                        The folder must be shared with the nodes. --slurm='--partition=gpu --gpus=1 --time=2:00:00' adds
                        flags of sbatch; --workers limits the tasks at a time. See \`folio scaling status\`.

All runs use the first run's number format, variant of Folio's operations and choice of matrix products. On a machine
that cannot use these, a run fails and says what differs, unless --allow_other_numerics accepts different rounding.

  folio scaling run novels
  folio scaling run novels --retry=failed`;
}

const kinds: FlagKinds = {
  ...{ out: "string", "data-dir": "string", workers: "string", threads: "string", gpus: "string", retry: "string" },
  ...{ run: "string", only: "string", executor: "string", command: "string", slurm: "string" },
  ...{ benchmark: "boolean", json: "boolean", "allow-other-numerics": "boolean" },
};

export async function run(args: readonly string[], io: Io): Promise<number> {
  const flags = readFlags(args, kinds, "folio scaling run");
  const dataDir = flags.text["data-dir"];
  const workers = positive(flags, "workers", { whole: true });
  const threads = positive(flags, "threads", { whole: true });
  const log = (line: string) => io.stderr.write(`${line}\n`);
  const found = await findPlan(flags.words[0], {
    dataDir,
    workers,
    threads,
    benchmark: flags.yes.benchmark ?? false,
    log,
  });
  const plan = flags.yes["allow-other-numerics"] ? allowingOtherNumerics(found) : found;
  const executor = executorOf(flags);
  checkTogether(flags, executor);
  const folder = folderOf(plan, flags.text.out);
  if (statusOf(folder)?.isDirectory() === false) {
    throw new Error(`Cannot write to ${folder}: it is a file; name a folder for the sweep with --out.`);
  }
  const stop = stopOnSignals(io, (reason) => log(`${reason}: letting the runs save (again: stop at once)`));
  try {
    if (flags.text.only !== undefined) {
      const planFile = path.resolve(folder, "plan.json");
      if (!existsSync(planFile)) savePlan(planFile, plan); // for status
      return await one(plan, folder, { flags, io, signal: stop.signal });
    }
    const options: SweepOptions = {
      folder,
      signal: stop.signal,
      ...(dataDir !== undefined && { dataDir }),
      ...(workers !== undefined && { workers }),
      ...(threads !== undefined && { threads }),
      ...(flags.text.command !== undefined && { command: flags.text.command }),
      ...(flags.text.run !== undefined && { only: flags.text.run.split(",") }),
      ...retryOf(flags),
      ...gpusOf(flags),
    };
    if (executor === "slurm") return await submit(plan, options, { flags, io, workers });
    return await all(plan, options, { io, json: flags.yes.json ?? false, stopped: stop.exitCode });
  } finally {
    stop.close();
  }
}

/** Sets allowOtherNumerics in the plan, which the processes read. It does not change a run's identity. */
function allowingOtherNumerics(plan: SweepPlan): SweepPlan {
  return {
    ...plan,
    runs: plan.runs.map((run) => ({ ...run, settings: { ...run.settings, allowOtherNumerics: true } })),
  };
}

/** The executor of the runs. */
function executorOf({ text: { executor, command } }: Flags): "local" | "command" | "slurm" {
  const named = executor ?? (command === undefined ? "local" : "command");
  if (named !== "local" && named !== "command" && named !== "slurm") {
    throw new RangeError(`Cannot read --executor: ${JSON.stringify(named)} is not local, command or slurm.`);
  }
  if ((named === "command") === (command !== undefined)) return named;
  const found = command === undefined ? "there is no --command" : `--command is for --executor=command, not ${named}`;
  throw new RangeError(`Cannot read --executor: ${found}; write --executor=command --command='… {run} …'.`);
}

/** Checks for flags that would have no effect. @throws {RangeError} naming one */
function checkTogether({ text }: Flags, executor: "local" | "command" | "slurm"): void {
  const pairs: readonly [flag: string, without: boolean, why: string][] = [
    ["slurm", executor !== "slurm", "it is only for --executor=slurm"],
    ["gpus", executor === "slurm", "with Slurm, use --slurm='--gpus=1'"],
    ...(["run", "retry", "executor", "command", "workers"] as const).map(
      (flag) => [flag, text.only !== undefined, "--only does one run in this process"] as [string, boolean, string],
    ),
  ];
  for (const [flag, wrong, why] of pairs) {
    if (text[flag] !== undefined && wrong) throw new RangeError(`Cannot use --${flag} here: ${why}.`);
  }
}

async function submit(
  plan: SweepPlan,
  options: SweepOptions,
  { flags, io, workers }: { flags: Flags; io: Io; workers: number | undefined },
): Promise<number> {
  const more = flags.text.slurm?.split(/\s+(?=-)/).filter((flag) => flag !== "") ?? [];
  const slurm = { flags: more, ...(workers === undefined ? {} : { tasksAtOnce: workers }) };
  const job = await submitSweep(plan, { ...options, slurm });
  if (flags.yes.json) io.stdout.write(`${JSON.stringify(job ?? null)}\n`);
  else if (!job) io.stdout.write("nothing to submit: every run is finished or already submitted\n");
  else {
    const text = `submitted job ${job.job}: ${job.runs.length} runs; see \`folio scaling status ${options.folder}\`\n`;
    io.stdout.write(text);
  }
  return 0;
}

function retryOf({ text: { retry } }: Flags): { retry?: Retry } {
  if (retry === undefined) return {};
  if (retry === "failed" || retry === "interrupted" || retry === "all") return { retry };
  throw new RangeError(`Cannot read --retry: ${JSON.stringify(retry)} is not failed, interrupted or all.`);
}

function gpusOf({ text: { gpus } }: Flags): { gpus?: readonly number[] } {
  if (gpus === undefined) return {};
  if (/^\d+(,\d+)*$/.test(gpus)) return { gpus: gpus.split(",").map(Number) };
  throw new RangeError(`Cannot read --gpus: ${JSON.stringify(gpus)} is not a list of numbers, such as 0,1.`);
}

interface One {
  readonly flags: Flags;
  readonly io: Io;
  readonly signal: AbortSignal;
}

/** Does one run in this process. */
async function one(plan: SweepPlan, folder: string, { flags, io, signal }: One): Promise<number> {
  const dataDir = flags.text["data-dir"];
  let saidAt = 0;
  const outcome = await doRun(plan, {
    folder: path.resolve(folder),
    run: flags.text.only!,
    signal,
    ...(dataDir !== undefined && { dataDir }),
    onRecord(record) {
      if (record.kind !== "iter" || performance.now() - saidAt < 1000) return;
      saidAt = performance.now();
      io.stdout.write(`${JSON.stringify({ step: record.step + 1, loss: record.loss })}\n`);
    },
  });
  // With separate tasks no process finishes last, so each writes the complete table.
  if (outcome.state === "finished") writeParquet(folder);
  io.stdout.write(`${JSON.stringify(outcome)}\n`);
  return exitCodes[outcome.state];
}

interface All {
  readonly io: Io;
  readonly json: boolean;
  readonly stopped: () => number | undefined;
}

async function all(plan: SweepPlan, options: SweepOptions, { io, json, stopped }: All): Promise<number> {
  const begun = performance.now();
  const display = openDisplay(json ? { write: () => {} } : io.stdout);
  let end: Extract<SweepRecord, { kind: "end" }> | undefined;
  try {
    for await (const record of runSweep(plan, options)) {
      display.show(record);
      if (json && record.kind !== "progress") io.stdout.write(`${JSON.stringify(record)}\n`);
      if (record.kind === "end") end = record;
    }
  } finally {
    display.close();
  }
  const { counts, chosen, aborted } = end!;
  if (!json) {
    const took = duration(performance.now() - begun);
    const parts = Object.entries(counts).flatMap(([state, count]) => (count > 0 ? [`${count} ${state}`] : []));
    const open = counts.pending + counts.interrupted + counts.running;
    const style = counts.failed > 0 ? "red" : open > 0 ? "yellow" : "green";
    const text = `${parts.join(", ")} after ${took}; results in ${options.folder}/results.csv`;
    io.stdout.write(`${[styled(io.stdout, style, text), ...whatNext(counts, chosen, aborted)].join("\n")}\n`);
  }
  return stopped() ?? exitCodeOf(counts, chosen);
}

/** Advice about unfinished runs. */
function whatNext(counts: Counts, chosen: Counts, aborted: boolean): string[] {
  const left = chosen.interrupted + chosen.pending;
  return [
    ...(counts.failed > 0
      ? ["failed runs are skipped; --retry=failed does them again, and `folio scaling status` shows why they failed"]
      : []),
    ...(left > 0 && !aborted
      ? [
          `${left} of the runs did not finish: their processes were killed ${KILLS} times, perhaps for lack of memory (try --workers=1)`,
        ]
      : []),
  ];
}

/** 0 if all chosen runs are finished; 75 (temporary failure) if another process has the rest. */
function exitCodeOf(counts: Counts, chosen: Counts): number {
  if (counts.failed > 0 || chosen.interrupted + chosen.pending > 0) return exitCodes.failed;
  return chosen.running > 0 ? exitCodes.busy : 0;
}
