/**
 * Runs as processes of this machine, or as commands that go elsewhere: starting one, hearing how far it is, stopping it.
 * Both are the same to sweep.ts: a job that tells its progress and ends with an outcome.
 */
import { type ChildProcess, spawn } from "node:child_process";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { typescriptLoader } from "../../lib/host/package.js";
import { threadEnvironment } from "./environment.js";
import { exitCodes } from "./find-run.js";
import { failureOf, keptRow, type SweepRun } from "./run-identity.js";
import type { Outcome } from "./train-one.js";

/** How far a run is. */
export interface Progress {
  readonly step: number;
  readonly loss: number;
}

/** A run under way. */
export interface Job {
  readonly done: Promise<Outcome>;
  /** Asks it to save and end. */
  stop(): void;
  /** Ends it at once. */
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

/** Starts what does a run. */
export type StartJob = (run: SweepRun, options: JobOptions) => Job;

/** Starts a process that does the run. */
export function startLocal(run: SweepRun, options: JobOptions): Job {
  const { planFile, folder, dataDir, threads, gpu } = options;
  const worker = fileURLToPath(new URL("./run-process.js", import.meta.url));
  const fromSources = import.meta.url.endsWith(".ts");
  const program = fromSources ? ["--import", typescriptLoader(), worker.replace(/\.js$/, ".ts")] : [worker];
  const args = [...program, planFile, folder, run.id, ...(dataDir === undefined ? [] : [dataDir])];
  const env = { ...process.env, ...threadEnvironment(threads, gpu) };
  // Not in the terminal's process group: Ctrl-C is for the command, which asks them to save.
  const child = spawn(process.execPath, args, { env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  return jobOf(child, run, options.onProgress);
}

/** Runs a command of the user's in a shell, with {run}, {name}, {plan} and {folder} filled in. */
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
  child.stdin!.on("error", () => {}); // it ended: "close" says so
  readline.createInterface({ input: child.stdout! }).on("line", (line) => {
    try {
      const message = JSON.parse(line) as Partial<Progress>;
      if (typeof message.step === "number") onProgress({ step: message.step, loss: message.loss ?? Number.NaN });
    } catch {
      // what a library prints is no message
    }
  });
  const done = new Promise<Outcome>((resolve) => {
    child.on("error", (error) => resolve({ state: "failed", message: `Cannot start the run: ${error.message}.` }));
    child.on("close", (code, signal) => resolve(outcomeOf(run, { code, signal, complaints })));
  });
  const group = (signal: NodeJS.Signals) => {
    try {
      process.kill(-child.pid!, signal); // the shell of a command, and what it started
    } catch {
      // it has ended
    }
  };
  return { done, stop: () => group("SIGTERM"), kill: () => group("SIGKILL") };
}

/** What a process' end means: what it left in the run's folder counts, not how it ended. */
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
