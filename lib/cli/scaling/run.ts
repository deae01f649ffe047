/**
 * `folio scaling run`: does the runs of a plan that are not done, with a live table on a terminal and plain lines
 * elsewhere. The first Ctrl-C lets the processes save; the same command goes on.
 */
import path from "node:path";
import { savePlan } from "../../../scaling/plan.js";
import { doRun, exitCodes } from "../../../scaling/sweep/one.js";
import { type Counts, type Retry, runSweep, type SweepOptions } from "../../../scaling/sweep.js";
import { duration, type Io, styled } from "../terminal.js";
import { openDisplay } from "./display.js";
import { type FlagKinds, type Flags, findPlan, folderOf, positive, readFlags } from "./flags.js";

export function help(): string {
  return `folio scaling run: does the runs of a plan that are not done yet.

Usage: folio scaling run PLAN [--out=DIR] [--data_dir=DIR] [--workers=N] [--threads=N] [--gpus=0,1] [--json]
                         [--retry=failed|interrupted|all] [--run=NAME …] [--only=ID] [--command='… {run} …']

PLAN is as for \`folio scaling plan\`, or the JSON that it wrote. Everything goes to --out (out-NAME): plan.json, a folder
a run, and the table results.csv, with results.parquet made of it. Whatever is killed, the same command goes on: finished
runs stay, interrupted ones go on from their last checkpoint. Failed ones are left alone unless --retry asks for them.

  --workers, --threads  processes at a time and threads of each; a process a core unless given
  --gpus                a process on each of these GPUs
  --only                does one run in this process, and nothing else: what a command elsewhere calls
  --command             does each run by a shell command, with {run}, {name}, {plan} and {folder} filled in:
                        --command='ssh node7 folio scaling run {plan} --out={folder} --only={run}'

  folio scaling run novels
  folio scaling run novels --retry=failed`;
}

const kinds: FlagKinds = {
  ...{ out: "string", "data-dir": "string", workers: "string", threads: "string", gpus: "string", retry: "string" },
  ...{ run: "string", only: "string", command: "string", benchmark: "boolean", json: "boolean" },
};

export async function run(args: readonly string[], io: Io): Promise<number> {
  const flags = readFlags(args, kinds, "folio scaling run");
  const dataDir = flags.text["data-dir"];
  const workers = positive(flags, "workers", { whole: true });
  const threads = positive(flags, "threads", { whole: true });
  const log = (line: string) => io.stderr.write(`${line}\n`);
  const plan = await findPlan(flags.words[0], {
    dataDir,
    workers,
    threads,
    benchmark: flags.yes.benchmark ?? false,
    log,
  });
  const folder = folderOf(plan, flags.text.out);
  const stop = stopOnSignals((signal) => log(`${signal}: letting the runs save (again: stop at once)`));
  try {
    if (flags.text.only !== undefined) {
      const planFile = path.resolve(folder, "plan.json");
      savePlan(planFile, plan);
      return await one(planFile, folder, { flags, io, signal: stop.signal });
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
    return await all(plan, options, { io, json: flags.yes.json ?? false, stopped: stop.exitCode });
  } finally {
    stop.close();
  }
}

function retryOf({ text: { retry } }: Flags): { retry?: Retry } {
  if (retry === undefined) return {};
  if (retry === "failed" || retry === "interrupted" || retry === "all") return { retry };
  throw new RangeError(`Cannot read --retry: ${JSON.stringify(retry)} is not failed, interrupted or all.`);
}

function gpusOf({ text: { gpus } }: Flags): { gpus?: readonly number[] } {
  if (gpus === undefined) return {};
  if (/^\d+(,\d+)*$/.test(gpus)) return { gpus: gpus.split(",").map(Number) };
  throw new RangeError(`Cannot read --gpus: ${JSON.stringify(gpus)} is no list of numbers, as 0,1.`);
}

interface One {
  readonly flags: Flags;
  readonly io: Io;
  readonly signal: AbortSignal;
}

/** One run, here. */
async function one(planFile: string, folder: string, { flags, io, signal }: One): Promise<number> {
  const dataDir = flags.text["data-dir"];
  let saidAt = 0;
  const outcome = await doRun(planFile, {
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
  io.stdout.write(`${JSON.stringify(outcome)}\n`);
  return exitCodes[outcome.state];
}

interface All {
  readonly io: Io;
  readonly json: boolean;
  readonly stopped: () => number | undefined;
}

async function all(
  plan: Parameters<typeof runSweep>[0],
  options: SweepOptions,
  { io, json, stopped }: All,
): Promise<number> {
  const begun = performance.now();
  const display = openDisplay(json ? { write: () => {} } : io.stdout);
  let counts: Counts | undefined;
  try {
    for await (const record of runSweep(plan, options)) {
      display.show(record);
      if (json && record.kind !== "progress") io.stdout.write(`${JSON.stringify(record)}\n`);
      if (record.kind === "end") counts = record.counts;
    }
  } finally {
    display.close();
  }
  const open = counts!.pending + counts!.interrupted + counts!.running;
  if (!json) {
    const took = duration(performance.now() - begun);
    const parts = Object.entries(counts!).flatMap(([state, count]) => (count > 0 ? [`${count} ${state}`] : []));
    const style = counts!.failed > 0 ? "red" : open > 0 ? "yellow" : "green";
    io.stdout.write(
      styled(io.stdout, style, `${parts.join(", ")} after ${took}; results in ${options.folder}/results.csv\n`),
    );
  }
  return stopped() ?? (counts!.failed > 0 ? 1 : 0);
}

interface Stop {
  readonly signal: AbortSignal;
  exitCode(): number | undefined;
  close(): void;
}

function stopOnSignals(announce: (signal: NodeJS.Signals) => void): Stop {
  const controller = new AbortController();
  let exitCode: number | undefined;
  const listener = (signal: NodeJS.Signals) => {
    if (controller.signal.aborted) {
      // With no listener left the signal does what it does by default; the processes notice that nobody hears them.
      close();
      process.kill(process.pid, signal);
      return;
    }
    exitCode = signal === "SIGINT" ? 130 : 143;
    announce(signal);
    controller.abort();
  };
  const close = () => {
    process.off("SIGINT", listener);
    process.off("SIGTERM", listener);
  };
  process.on("SIGINT", listener);
  process.on("SIGTERM", listener);
  return { signal: controller.signal, exitCode: () => exitCode, close };
}
