/**
 * One mode of a benchmark as a process of its own: worker.ts, or PyTorch in test/bench/peer.py. Both use one protocol:
 * one JSON object per line, one answer per request, in order. An idle process waits for input and uses no processor
 * time. modes.ts sends the requests.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { typescriptLoader } from "../host/package.js";
import type { Settings } from "../settings/settings.js";

/** The requests to a process. */
export type BenchRequest =
  /** Makes the model, or the factors of a product, as the other fields specify. */
  | ({ readonly op: "open" } & BenchTask)
  /** Takes `count` steps, the first of which compiles. */
  | { readonly op: "run"; readonly count: number }
  /** Reports the peak memory so far, and resets the peak if the system allows it. */
  | { readonly op: "memory" }
  /** Runs one more step with a profile; only for Folio's compiled mode, opened with `profiled`. */
  | { readonly op: "profile" };

/** The task of a process. */
export interface BenchTask {
  /**
   * Training steps; matrix products; and, on several devices, training steps without the mean of the gradients, or this
   * mean alone.
   */
  readonly task: "train" | "product" | "train apart" | "mean";
  /** With compile and dtype of the mode. */
  readonly settings: Readonly<Settings>;
  /** Use batches of the dataset; false: random ids. */
  readonly realData: boolean;
  /** The number of processor cores that it may use. */
  readonly threads: number;
  /** Whether steps can be profiled, which slows them. */
  readonly profiled: boolean;
}

/** Matrix products per step of the task "product". */
export const PRODUCTS = 4;
/** Rows and columns of their factors; a GPU needs larger ones to be fully used. */
export const productSize = (device: string): number => (device === "cuda" ? 8192 : device === "webgpu" ? 2048 : 1024);

/** The answers, by request. */
export interface BenchAnswers {
  readonly open: {
    /** Such as "cpu". */
    readonly device: string;
    /** The driver's name for it. */
    readonly deviceName: string;
    readonly dtype: string;
    /** "TensorFlow 2.21.0", "PyTorch 2.15.0"; with a note if Folio's own operations are missing. */
    readonly version: string;
  };
  readonly run: { readonly ms: readonly number[]; readonly loss: number };
  readonly memory: { readonly peakBytes: number };
  readonly profile: { readonly metadata: string; readonly ms: number };
}

/** A process that measures. */
export interface BenchProcess {
  ask<Op extends BenchRequest["op"]>(request: Extract<BenchRequest, { op: Op }>): Promise<BenchAnswers[Op]>;
  /** Ends it at once. */
  kill(): void;
}

/**
 * Starts a process of Folio, from dist or from the sources. On a GPU it takes memory as it needs it: by default TensorFlow
 * takes nearly all, and the next process would find none.
 */
export function startWorker(environment: Readonly<Record<string, string>> = {}): BenchProcess {
  const worker = fileURLToPath(new URL("./worker.js", import.meta.url));
  const fromSources = import.meta.url.endsWith(".ts");
  const args = fromSources ? ["--import", typescriptLoader(), worker.replace(/\.js$/, ".ts")] : [worker];
  return startProcess([process.execPath, ...args], {
    TF_FORCE_GPU_ALLOW_GROWTH: "true",
    ...process.env,
    ...environment,
  });
}

/**
 * Measures formats and products in a process of its own, which stores the result beside the build.
 * @throws {Error} when it fails, or the result cannot be stored
 */
export async function measureInProcess(): Promise<void> {
  const program = fileURLToPath(new URL("./measure-process.js", import.meta.url));
  const fromSources = import.meta.url.endsWith(".ts");
  const args = fromSources ? ["--import", typescriptLoader(), program.replace(/\.js$/, ".ts")] : [program];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"] });
  let complaints = "";
  child.stderr.on("data", (chunk: Buffer) => {
    complaints = (complaints + chunk).slice(-4000);
  });
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  if (code === 0) return;
  const said = /^Error: (.*)$/m.exec(complaints)?.[1];
  throw new Error(said ?? `Cannot measure: ${why({ command: "the process", code, signal, complaints })}`);
}

/** Starts a process of PyTorch. */
export function startPeer(python: string, script: string, threads: number): BenchProcess {
  // Set for NumPy on some machines; they slow PyTorch down.
  const { OPENBLAS_CORETYPE: _, OPENBLAS_L2_SIZE: __, ...environment } = process.env;
  return startProcess([python, "-u", script], { ...environment, OMP_NUM_THREADS: String(threads) });
}

/**
 * Allocates memory and writes to it, in a process that ends at once. A virtual machine gets memory from its host only
 * when it is first written to; that may take seconds per gigabyte, and would make the first step that needs it seem
 * slow.
 */
export async function touchMemory(bytes: number): Promise<void> {
  const most = Math.min(bytes, process.availableMemory() / 2);
  const script = `const held = []; for (let left = ${most}; left > 0; left -= 2 ** 28) held.push(Buffer.alloc(Math.min(left, 2 ** 28), 1));`;
  await once(spawn(process.execPath, ["-e", script], { stdio: "ignore" }), "exit");
}

function startProcess([command, ...args]: readonly string[], env: NodeJS.ProcessEnv): BenchProcess {
  // Not in the terminal's process group: Ctrl-C goes to the command, which ends the processes.
  const child = spawn(command!, args, { env, detached: true, stdio: ["pipe", "pipe", "pipe"] });
  const waiting: { resolve: (answer: never) => void; reject: (error: Error) => void }[] = [];
  let complaints = "";
  let ended: Error | undefined;
  const fail = (error: Error) => {
    ended ??= error;
    for (const { reject } of waiting.splice(0)) reject(ended);
  };
  child.stderr.on("data", (chunk: Buffer) => {
    complaints = (complaints + chunk).slice(-4000);
  });
  child.stdin.on("error", () => {}); // the process has ended, which "close" reports
  child.on("error", (error: NodeJS.ErrnoException) => {
    const missing = error.code === "ENOENT" ? "there is no such program" : error.message;
    fail(new Error(`Cannot start ${command}: ${missing}.`));
  });
  child.on("close", (code, signal) =>
    fail(new Error(`Cannot measure: ${why({ command: command!, code, signal, complaints })}`)),
  );
  readline.createInterface({ input: child.stdout }).on("line", (line) => {
    if (!line.startsWith("{")) return; // output of a library, not an answer
    const answer = JSON.parse(line) as { error?: string };
    const asked = waiting.shift();
    if (answer.error === undefined) asked?.resolve(answer as never);
    else asked?.reject(new Error(answer.error));
  });
  return {
    ask: (request) =>
      new Promise((resolve, reject) => {
        if (ended) return reject(ended);
        waiting.push({ resolve, reject });
        child.stdin.write(`${JSON.stringify(request)}\n`);
      }),
    kill: () => stop(child),
  };
}

function stop(child: ChildProcessWithoutNullStreams): void {
  if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
}

function why(end: { command: string; code: number | null; signal: string | null; complaints: string }): string {
  const { command, code, signal, complaints } = end;
  const last = complaints.trim().split("\n").at(-1);
  const memory = signal === "SIGKILL" ? " (out of memory? try a smaller --batch_size)" : "";
  return `${command} ended with ${signal ?? code}${memory}${last ? `: ${last}` : "."}`;
}
