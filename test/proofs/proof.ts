/** The type of a proof, and helpers: a folder, the real command, a description of the machine. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { instructionFlags } from "../../lib/engine/number-format.js";
import { folioVersion, packageRoot } from "../../lib/host/package.js";

export const root = packageRoot();

/** Named numbers and words for results.json. */
export interface Figures {
  readonly [name: string]: number | string | boolean | Figures;
}

export interface Proof {
  readonly name: string;
  /** The claim, in a sentence. */
  readonly claim: string;
  /** Files and folders that affect the result, besides the proof and its imports. */
  readonly inputs: readonly string[];
  /** Measures. `folder` is an empty folder for the proof; messages passed to `say` are shown, not stored. */
  run(tools: { folder: string; say: (line: string) => void }): Promise<{ holds: boolean; figures: Figures }>;
}

/** The share of a campaign to do; anything less than all is a trial whose result is not stored. */
export const campaignShare = Number(process.env.FOLIO_PROOF_SHARE ?? 1);

export interface Finished {
  readonly code: number | null;
  readonly output: string;
  readonly minutes: number;
}

const started = { ...process.env };

/** Starts a program in the original environment of this process. */
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

/** The Python with PyTorch, which is not part of Folio's set-up. */
export function peerPython(): string {
  const python = process.env.FOLIO_PEER_PYTHON;
  if (!python) throw new Error("PyTorch is needed: set FOLIO_PEER_PYTHON to a Python that has it.");
  return python;
}

export const folioCommand = path.join("bin", "folio.mjs");

/**
 * The inputs of proofs that run Folio's commands: the sources of the commands, of worker threads, and of native
 * operations. lib/cli/main.ts is not included, because it imports all commands.
 */
export const commands = (...names: readonly string[]): string[] => [
  ...["bin", "configs", "lib/engine", "lib/data/prepare/encode-worker.ts"],
  ...names.map((name) => `lib/cli/${name}.ts`),
];

/** Runs the real command. @throws {Error} with its output if it fails */
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

/** The widest vectors for products that a processor has, by its Linux flags; speed depends on them. */
const widest = [
  ["amx_bf16", "AMX"],
  ["avx512_bf16", "AVX-512 BF16"],
  ["avx512f", "AVX-512"],
  ["avx2", "AVX2"],
  ["bf16", "NEON BF16"],
  ["asimd", "NEON"],
] as const;

/** A processor's name with its vectors, since on virtual machines the model's name is not specific enough. */
export function processorName(model = os.cpus()[0]?.model, flags: readonly string[] = instructionFlags()): string {
  const vectors = widest.find(([flag]) => flags.includes(flag))?.[1];
  return `${model?.trim() || "unknown processor"}${vectors ? ` (${vectors})` : ""}`;
}

export function machine(): Figures {
  return {
    cores: os.availableParallelism(),
    memoryGiB: rounded(os.totalmem() / 2 ** 30, 1),
    system: `${os.type()} ${os.arch()}`,
    // Other processes on the machine affect timings.
    loadBefore: rounded(os.loadavg()[0]!, 1),
  };
}

/** The commit that is checked out, and whether files other than results have changed since. */
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

/** Notes that this commit trains something in a folder that outlives the proof; a training may take several sittings. */
export function noteSitting(folder: string): void {
  fs.appendFileSync(path.join(folder, "commits.txt"), `${commit()}\n`);
}

/** The commits that trained what is in the folder. */
export function sittingsOf(folder: string): string {
  const file = path.join(folder, "commits.txt");
  if (!fs.existsSync(file)) return "unknown";
  return [...new Set(fs.readFileSync(file, "utf8").trim().split("\n"))].join("; ");
}
