/**
 * One mode of a benchmark as a process of its own: worker.ts, or PyTorch in test/bench/peer.py. They speak one
 * protocol: a JSON object a line, one answer a request, in order. A process that is not asked waits for its input and
 * uses no processor. What is asked when is modes.ts' matter.
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { typescriptLoader } from "../host/package.js";
import type { Settings } from "../settings/settings.js";

/** What a process may be asked. */
export type BenchRequest =
  /** Makes the model, or the factors of a product; the rest of the fields say which. */
  | ({ readonly op: "open" } & BenchTask)
  /** Takes `count` steps, the first of which compiles. */
  | { readonly op: "run"; readonly count: number }
  /** Peak memory so far; afterwards a new peak begins where the system allows it. */
  | { readonly op: "memory" }
  /** One more step, traced: Folio's compiled mode only, opened for it. */
  | { readonly op: "profile" };

/** What a process measures. */
export interface BenchTask {
  readonly task: "train" | "product";
  /** compile and dtype are those of the mode. */
  readonly settings: Readonly<Settings>;
  /** Batches of the dataset, or of random ids. */
  readonly realData: boolean;
  /** Processor cores that it may use. */
  readonly threads: number;
  /** Whether steps can be traced, which slows them. */
  readonly profiled: boolean;
}

/** Matrix products in a step of the task "product". */
export const PRODUCTS = 4;
/** Rows and columns of their factors: a GPU needs larger ones to be busy. */
export const productSize = (device: string): number => (device === "cuda" ? 8192 : device === "webgpu" ? 2048 : 1024);

/** The answers, by request. */
export interface BenchAnswers {
  readonly open: {
    /** Such as "cpu". */
    readonly device: string;
    /** As the driver names it. */
    readonly deviceName: string;
    readonly dtype: string;
    /** "TensorFlow 2.21.0", "PyTorch 2.15.0"; where Folio's own operations are missing, that too. */
    readonly version: string;
  };
  readonly run: { readonly ms: readonly number[]; readonly loss: number };
  readonly memory: { readonly peakBytes: number };
  readonly profile: { readonly metadata: string; readonly ms: number };
}

/** A process that measures. */
export interface BenchProcess {
  ask<Op extends BenchRequest["op"]>(request: Extract<BenchRequest, { op: Op }>): Promise<BenchAnswers[Op]>;
  /** Ends it, whatever it does. */
  kill(): void;
}

/** Starts Folio's own, from dist or from the sources. */
export function startWorker(environment: Readonly<Record<string, string>> = {}): BenchProcess {
  const worker = fileURLToPath(new URL("./worker.js", import.meta.url));
  const fromSources = import.meta.url.endsWith(".ts");
  const args = fromSources ? ["--import", typescriptLoader(), worker.replace(/\.js$/, ".ts")] : [worker];
  return startProcess([process.execPath, ...args], { ...process.env, ...environment });
}

/**
 * Measures formats and products in a process of its own, which keeps the figures beside the build.
 * @throws {Error} when it fails, or they cannot be kept
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

/** Starts PyTorch's. */
export function startPeer(python: string, script: string, threads: number): BenchProcess {
  // Chosen for NumPy in some set-ups, where they slow PyTorch down.
  const { OPENBLAS_CORETYPE: _, OPENBLAS_L2_SIZE: __, ...environment } = process.env;
  return startProcess([python, "-u", script], { ...environment, OMP_NUM_THREADS: String(threads) });
}

/**
 * Takes memory, writes to it and gives it back, in a process that ends at once. A virtual machine has its memory from the
 * host only where it was written to before: a gigabyte of it may take seconds, and the first step to need it would seem slow.
 */
export async function touchMemory(bytes: number): Promise<void> {
  const most = Math.min(bytes, process.availableMemory() / 2);
  const script = `const held = []; for (let left = ${most}; left > 0; left -= 2 ** 28) held.push(Buffer.alloc(Math.min(left, 2 ** 28), 1));`;
  await once(spawn(process.execPath, ["-e", script], { stdio: "ignore" }), "exit");
}

function startProcess([command, ...args]: readonly string[], env: NodeJS.ProcessEnv): BenchProcess {
  // Not in the terminal's process group: Ctrl-C is for the command, which ends them.
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
  child.stdin.on("error", () => {}); // it ended: "close" says so
  child.on("error", (error) => fail(new Error(`Cannot start ${command}: ${error.message}.`)));
  child.on("close", (code, signal) =>
    fail(new Error(`Cannot measure: ${why({ command: command!, code, signal, complaints })}`)),
  );
  readline.createInterface({ input: child.stdout }).on("line", (line) => {
    if (!line.startsWith("{")) return; // what a library prints is no answer
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
  const memory = signal === "SIGKILL" ? " (out of memory? A smaller --batch_size needs less)" : "";
  return `${command} ended with ${signal ?? code}${memory}${last ? `: ${last}` : "."}`;
}
