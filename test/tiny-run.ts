/** Helpers for tests of runs: a temporary folder, a tiny dataset and model, child processes, a small disk. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import { writeDataset } from "../lib/data/batches.js";
import { charTokenizer } from "../lib/data/tokenizers/tokenizer.js";
import type { HostTensors } from "../lib/engine/host-tensors.js";
import { typescriptLoader } from "../lib/host/package.js";
import type { StepRecord } from "../lib/runs/records.js";
import { readRunLog } from "../lib/runs/run-folder.js";
import { defaultSettings, type Settings } from "../lib/settings/settings.js";

const root = fileURLToPath(new URL("..", import.meta.url));

/** A folder for this test file, removed after its tests. */
export function temporaryFolder(): string {
  const folder = fs.mkdtempSync(path.join(tmpdir(), "folio-test-"));
  afterAll(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** The dataset "fox" in `dataDir`: 1,500 and 260 ids of 28 characters. */
export function writeFox(dataDir: string, name = "fox", more = ""): void {
  const text = `the quick brown fox jumps over the lazy dog${more}\n`.repeat(40);
  const tokenizer = charTokenizer(text);
  const ids = tokenizer.encode(text);
  writeDataset(dataDir, { name, tokenizer, train: ids.subarray(0, 1500), val: ids.subarray(1500) });
}

/** A model of 1,232 parameters on "fox", eager, 6 steps, evaluated every 2. */
export function tinySettings(dataDir: string, outDir: string, overrides: Partial<Settings> = {}): Settings {
  return {
    ...defaultSettings,
    dataDir,
    dataset: "fox",
    outDir: path.join(dataDir, outDir),
    nLayer: 1,
    nHead: 2,
    nEmbd: 8,
    blockSize: 8,
    batchSize: 2,
    gradientAccumulationSteps: 1,
    evalIters: 2,
    evalInterval: 2,
    maxIters: 6,
    warmupIters: 2,
    lrDecayIters: 6,
    learningRate: 1e-2,
    minLr: 1e-3,
    compile: false,
    ...overrides,
  };
}

export async function collect(records: AsyncIterable<StepRecord>): Promise<StepRecord[]> {
  const all: StepRecord[] = [];
  for await (const record of records) all.push(record);
  return all;
}

/** A record without times and paths, which differ between two runs with the same settings. */
export function timeless(record: StepRecord): Partial<StepRecord> {
  const varying = ["elapsedMs", "tokensPerSecond", "trainedMs", "path", "resumedFrom"];
  return Object.fromEntries(Object.entries(record).filter(([key]) => !varying.includes(key)));
}

/** The log's evaluations, iterations and end, without times; equal for a resumed and an uninterrupted run. */
export function results(outDir: string): Partial<StepRecord>[] {
  return readRunLog(outDir)
    .filter(({ kind }) => kind === "eval" || kind === "iter" || kind === "end")
    .map(timeless);
}

/** A file in a checkpoint's folder, as bytes. */
export function checkpointFile(outDir: string, file: string, pointer = "last"): Buffer {
  const folder = path.join(outDir, "checkpoint");
  return fs.readFileSync(path.join(folder, fs.readFileSync(path.join(folder, pointer), "utf8").trim(), file));
}

/** Node's arguments before the body of a module that imports sources by their paths from the checkout's folder. */
export const runsSource = ["--import", typescriptLoader(), "--input-type=module", "-e"];

/**
 * A Node process that runs `code` (a module's body, with `load("lib/x.ts")` to import a source file and `argument`,
 * any JSON value).
 */
export function startChild(code: string, argument: unknown, env = {}): ChildProcess & { output(): string } {
  const script = `
    const load = (file) => import("./" + file);
    const argument = JSON.parse(process.argv[1]);
    ${code}`;
  const args = [...runsSource, script, "--", JSON.stringify(argument)];
  const child = endedWithThis(spawn(process.execPath, args, { cwd: root, env: { ...process.env, ...env } }));
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk;
    });
  }
  return Object.assign(child, { output: () => output });
}

const children = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

/** Ends child processes that a failed test has left behind. */
export function endedWithThis<Child extends ChildProcess>(child: Child): Child {
  children.add(child);
  child.once("close", () => children.delete(child));
  return child;
}

/**
 * An environment in which a process and its children kill themselves (test/kill-self.cjs) after the given number of
 * saved checkpoints and then of calls that change files.
 */
export function killingItself(checkpoints: number, calls: number, signal: "SIGKILL" | "SIGSTOP" = "SIGKILL") {
  const preload = `--require ${JSON.stringify(path.join(root, "test", "kill-self.cjs"))}`;
  const options = `${process.env.NODE_OPTIONS ?? ""} ${preload}`.trim();
  return { NODE_OPTIONS: options, FOLIO_KILL_SELF: `${checkpoints} ${calls} ${signal}` };
}

/**
 * Closes a connection once the given number of bytes is in a file; if closed earlier, bytes in transit could be lost.
 */
export function cutWhenWritten(response: ServerResponse, file: string, bytes: number): void {
  const timer = setInterval(() => {
    if ((fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0) >= bytes) response.destroy();
  }, 5);
  response.on("close", () => clearInterval(timer));
}

export const ended = (child: ChildProcess): Promise<{ code: number | null; signal: string | null }> =>
  new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) {
      resolve({ code: child.exitCode, signal: child.signalCode });
    } else child.on("close", (code, signal) => resolve({ code, signal }));
  });

interface Disk {
  unmount(): void;
  makeReadOnly(): void;
}

/** Mounts a small disk in `folder`. @returns the disk, or why it cannot be mounted */
export function mountDisk(folder: string, options: string): Disk | { reason: string } {
  if (process.platform !== "linux" || process.getuid?.() !== 0) {
    return { reason: "only root on Linux can mount a disk for this" };
  }
  fs.mkdirSync(folder, { recursive: true });
  const { status, stderr } = spawnSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", folder], { encoding: "utf8" });
  if (status !== 0) return { reason: `no disk can be mounted here: ${stderr?.trim()}` };
  return {
    unmount: () => spawnSync("umount", [folder]),
    makeReadOnly: () => spawnSync("mount", ["-o", "remount,ro", folder]),
  };
}

/** ‖Δw‖ / ‖w‖ over all tensors. */
export function relativeDifference(tensors: HostTensors, others: HostTensors): number {
  let [difference, norm] = [0, 0];
  for (const [name, { values }] of Object.entries(tensors)) {
    values.forEach((value, i) => {
      difference += (value - others[name]!.values[i]!) ** 2;
      norm += value ** 2;
    });
  }
  return Math.sqrt(difference / norm);
}
