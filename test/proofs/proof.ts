/** What a proof is, and what proofs share: a folder to work in, the real command, the machine they ran on. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { instructionFlags } from "../../lib/engine/number-format.js";
import { folioVersion, packageRoot } from "../../lib/host/package.js";

export const root = packageRoot();

/** Numbers and words by name; they go into results.json. */
export interface Figures {
  readonly [name: string]: number | string | boolean | Figures;
}

export interface Proof {
  readonly name: string;
  /** What holds, in a sentence. */
  readonly claim: string;
  /** Files and folders that decide it, besides the proof and what it imports. */
  readonly inputs: readonly string[];
  /** Measures. `folder` is empty and the proof's own; what is said is shown, not kept. */
  run(tools: { folder: string; say: (line: string) => void }): Promise<{ holds: boolean; figures: Figures }>;
}

/** How much of a campaign is done: all of it, or less to try it out, which then counts for nothing. */
export const campaignShare = Number(process.env.FOLIO_PROOF_SHARE ?? 1);

export interface Finished {
  readonly code: number | null;
  readonly output: string;
  readonly minutes: number;
}

const started = { ...process.env };

/** Starts a program in an environment without what this process has set since it began. */
export function start(command: string, args: readonly string[], cwd = root): ChildProcess {
  return spawn(command, args, { cwd, env: started, stdio: ["ignore", "pipe", "pipe"] });
}

/** Runs a program to its end. */
export async function finish(command: string, args: readonly string[], cwd = root): Promise<Finished> {
  const begun = performance.now();
  const child = start(command, args, cwd);
  let output = "";
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk;
    });
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  return { code, output, minutes: rounded((performance.now() - begun) / 60_000, 2) };
}

/** The Python that has PyTorch, which is never part of Folio's set-up. */
export function peerPython(): string {
  const python = process.env.FOLIO_PEER_PYTHON;
  if (!python) throw new Error("PyTorch is needed: set FOLIO_PEER_PYTHON to a Python that has it.");
  return python;
}

export const folioCommand = path.join("bin", "folio.mjs");

/**
 * What decides what some of Folio's commands do: their sources, their worker threads', and the engine's native ones. Not
 * lib/cli/main.ts, which finds a command, and imports all others.
 */
export const commands = (...names: readonly string[]): string[] => [
  ...["bin", "configs", "lib/engine", "lib/data/prepare/encode-worker.ts"],
  ...names.map((name) => `lib/cli/${name}.ts`),
];

/** The real command. @throws {Error} with its output when it fails */
export async function folio(...args: string[]): Promise<Finished> {
  const finished = await finish(process.execPath, [folioCommand, ...args]);
  if (finished.code !== 0) throw new Error(`folio ${args.join(" ")} ended with ${finished.code}:\n${finished.output}`);
  return finished;
}

export function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

export function versions(): Figures {
  const installed = (name: string) =>
    (JSON.parse(fs.readFileSync(path.join(root, "node_modules", name, "package.json"), "utf8")) as { version: string })
      .version;
  const pinned = /^tensorflow\S*==(\S+)/m.exec(
    fs.readFileSync(path.join(root, "requirements-tensorflow.txt"), "utf8"),
  )?.[1];
  return {
    folio: folioVersion(),
    node: process.versions.node,
    tensorflow: pinned ?? "unknown",
    typescript: installed("typescript"),
  };
}

/** The widest vectors of products that a processor has, by its flags as Linux names them: they decide what is measured. */
const widest = [
  ["amx_bf16", "AMX"],
  ["avx512_bf16", "AVX-512 BF16"],
  ["avx512f", "AVX-512"],
  ["avx2", "AVX2"],
  ["bf16", "NEON BF16"],
  ["asimd", "NEON"],
] as const;

/** A processor's name with its vectors: on virtual machines the model's name alone says too little. */
export function processorName(model = os.cpus()[0]?.model, flags: readonly string[] = instructionFlags()): string {
  const vectors = widest.find(([flag]) => flags.includes(flag))?.[1];
  return `${model?.trim() || "unknown processor"}${vectors ? ` (${vectors})` : ""}`;
}

export function machine(): Figures {
  return {
    cores: os.availableParallelism(),
    memoryGiB: rounded(os.totalmem() / 2 ** 30, 1),
    system: `${os.type()} ${os.arch()}`,
    // Others at work on the machine slow what is timed.
    loadBefore: rounded(os.loadavg()[0]!, 1),
  };
}

/** The commit that is checked out, and whether something besides results was changed since. */
export function commit(): string {
  const git = (...args: string[]) => execFileSync("git", args, { cwd: root, encoding: "utf8" }).trim();
  try {
    const others = ["README.md", "test/proofs/results.json", "test/proofs/curve.svg"].map((file) => `:!${file}`);
    const changed = git("status", "--porcelain", "--", ".", ...others) !== "";
    return `${git("rev-parse", "--short=10", "HEAD")}${changed ? ", changed" : ""}`;
  } catch {
    return "unknown";
  }
}
