/**
 * Starts and stops runs as processes on this machine, or as commands that run elsewhere, and reads their progress. To
 * sweep.ts, both are jobs that report progress and end with an outcome.
 */
import { type ChildProcess, spawn } from "node:child_process";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { typescriptLoader } from "../../lib/host/package.js";
import { threadEnvironment } from "./environment.js";
import { exitCodes } from "./find-run.js";
import { failureOf, keptRow, type SweepRun } from "./run-identity.js";
import type { Outcome } from "./train-one.js";

/** The progress of a run. */
export interface Progress {
  readonly step: number;
  readonly loss: number;
}

/** A run in progress. */
export interface Job {
  readonly done: Promise<Outcome>;
  /** Asks the run to save a checkpoint and end. */
  stop(): void;
  /** Ends the run at once. */
  kill(): void;
}

export interface JobOptions {
  /** The plan's file in the sweep's folder. */
  readonly planFile: string;
  readonly folder: string;
  readonly dataDir?: string | undefined;
  readonly threads: number;
  readonly gpu?: number | undefined;
  readonly onProgress: (progress: Progress) => void;
}

/** Starts a run. */
export type StartJob = (run: SweepRun, options: JobOptions) => Job;

/** Starts a process that does the run. */
export function startLocal(run: SweepRun, options: JobOptions): Job {
  const { planFile, folder, dataDir, threads, gpu } = options;
  const worker = fileURLToPath(new URL("./run-process.js", import.meta.url));
  const fromSources = import.meta.url.endsWith(".ts");
  const program = fromSources ? ["--import", typescriptLoader(), worker.replace(/\.js$/, ".ts")] : [worker];
  const args = [...program, planFile, folder, run.id, ...(dataDir === undefined ? [] : [dataDir])];
  const env = { ...process.env, ...threadEnvironment(threads, gpu) };
  // Not in the terminal's process group: Ctrl-C goes to the command only, which asks the runs to save.
  const child = spawn(process.execPath, args, { env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  return jobOf(child, run, options.onProgress);
}

/** Runs the user's command in a shell, with {run}, {name}, {plan} and {folder} replaced. */
export function startCommand(run: SweepRun, command: string, options: JobOptions): Job {
  const { planFile, folder, threads, gpu } = options;
  const words: Record<string, string> = { run: run.id.slice(0, 16), name: run.name, plan: planFile, folder };
  const filled = command.replace(/\{(run|name|plan|folder)\}/g, (_, word: string) => quoted(words[word]!));
  const env = { ...process.env, ...threadEnvironment(threads, gpu) };
  const child = spawn("/bin/sh", ["-c", filled], { env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  return jobOf(child, run, options.onProgress);
}

const quoted = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

function jobOf(child: ChildProcess, run: SweepRun, onProgress: (progress: Progress) => void): Job {
  let complaints = "";
  child.stderr!.on("data", (chunk: Buffer) => {
    complaints = (complaints + chunk).slice(-4000);
  });
  child.stdin!.on("error", () => {}); // it has ended; "close" follows
  readline.createInterface({ input: child.stdout! }).on("line", (line) => {
    try {
      const message = JSON.parse(line) as Partial<Progress>;
      if (typeof message.step === "number") onProgress({ step: message.step, loss: message.loss ?? Number.NaN });
    } catch {
      // other output, such as a library's
    }
  });
  const done = new Promise<Outcome>((resolve) => {
    child.on("error", (error) => resolve({ state: "failed", message: `Cannot start the run: ${error.message}.` }));
    child.on("close", (code, signal) => resolve(outcomeOf(run, { code, signal, complaints })));
  });
  const group = (signal: NodeJS.Signals) => {
    try {
      process.kill(-child.pid!, signal); // the process and all that it has started
    } catch {
      // it has already ended
    }
  };
  return { done, stop: () => group("SIGTERM"), kill: () => group("SIGKILL") };
}

/** The outcome of a process. The run's folder decides, not the exit code. */
function outcomeOf(
  run: SweepRun,
  { code, signal, complaints }: { code: number | null; signal: NodeJS.Signals | null; complaints: string },
): Outcome {
  const row = keptRow(run);
  if (row) return { state: "finished", row };
  const failure = failureOf(run);
  if (failure !== undefined) return { state: "failed", message: failure };
  if (code === exitCodes.busy) return { state: "busy", holder: "another process" };
  if (signal || code === exitCodes.interrupted || code === 143) return { state: "interrupted" };
  const last = complaints.trim().split("\n").at(-1);
  return { state: "failed", message: `its process ended with ${code}${last ? `: ${last}` : ""}` };
}
