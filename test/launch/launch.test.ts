/** `folio launch` with real processes: they train what one process trains, and end together whatever happens. */
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { packageRoot } from "../../lib/host/package.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import type { Settings } from "../../lib/settings/settings.js";
import { train } from "../../lib/train/train.js";
import { openCheckpoint } from "../../lib/weights/checkpoint.js";
import { checkpointFile, collect, relativeDifference, temporaryFolder, tinySettings, writeFox } from "../tiny-run.js";

const folder = temporaryFolder();
beforeAll(() => writeFox(folder));

const common = {
  ...{ compile: true, device: "cpu", dtype: "float32", gradientAccumulationSteps: 2, dropout: 0.1, tensorboard: false },
  ...{ maxIters: 30, lrDecayIters: 30, evalInterval: 10 },
} as const satisfies Partial<Settings>;

interface Launched {
  readonly child: ChildProcess;
  output(): string;
  /** Waits for its end. */
  code(): Promise<number | null>;
}

const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
});

/** Starts the real command. */
function launched(flags: readonly string[], run: string, more: Partial<Settings> = {}): Launched {
  const { vocabSize: _, ...settings } = tinySettings(folder, run, { ...common, ...more });
  const given = Object.entries(settings).filter(([key, value]) => value !== "" && key !== "devices");
  const args = given.map(([key, value]) => `--${key}=${value}`);
  const command = [path.join(packageRoot(), "bin", "folio.mjs"), "launch", ...flags, "train", ...args];
  const child = spawn(process.execPath, command, { stdio: ["ignore", "pipe", "pipe"] });
  children.push(child);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => (output += chunk));
  const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
  return { child, output: () => output, code: () => closed };
}

const port = 20_000 + (process.pid % 12_000);
const standalone = ["--standalone", "--nproc_per_node=2", "--heartbeat_s=5"];

/** The processes of the ranks. */
function ranksOf({ child }: Launched): number[] {
  const children = fs.readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8");
  return children.trim().split(" ").map(Number);
}

async function until(condition: () => boolean, launch: Launched): Promise<void> {
  while (!condition()) {
    if (launch.child.exitCode !== null) throw new Error(`it ended early:\n${launch.output()}`);
    await setTimeout(20);
  }
}

const outDir = (run: string) => path.join(folder, run);
const saved = (run: string) => fs.existsSync(path.join(outDir(run), "checkpoint", "last"));
const weights = (run: string) => checkpointFile(outDir(run), "model.safetensors", "last");

describe.runIf(process.platform === "linux")("folio launch", () => {
  beforeAll(async () => {
    const undisturbed = launched(standalone, "undisturbed");
    expect(await undisturbed.code(), undisturbed.output()).toBe(0);
  });

  test("trains what one process trains", async () => {
    const one = tinySettings(folder, "one", common);
    await collect(train(one));
    const losses = (run: string) =>
      readRunLog(outDir(run)).flatMap((record) => (record.kind === "iter" ? [record.loss] : []));
    const [a, b] = [losses("one"), losses("undisturbed")];
    expect(b).toHaveLength(30);
    for (const [step, loss] of a.entries()) expect(Math.abs(loss - b[step]!) / loss).toBeLessThan(1e-5);
    const [p, q] = [openCheckpoint(outDir("one")).params, openCheckpoint(outDir("undisturbed")).params];
    expect(relativeDifference(p, q)).toBeLessThan(1e-5);
  });

  test("starts again when a rank is killed, and ends with the same bits", async () => {
    const launch = launched([...standalone, "--max_restarts=1"], "killed", { maxIters: 30 });
    await until(() => saved("killed"), launch);
    const [, second] = ranksOf(launch);
    process.kill(second!, "SIGKILL");
    expect(await launch.code()).toBe(0);
    expect(launch.output()).toMatch(/rank 1 \(process \d+ on .*\) was ended by SIGKILL\. Starting all again/);
    expect(weights("killed").equals(weights("undisturbed"))).toBe(true);
  });

  test("ends all when a rank hangs, and names it", async () => {
    const launch = launched(standalone, "hung", { maxIters: 100_000 });
    await until(() => saved("hung"), launch);
    const ranks = ranksOf(launch);
    process.kill(ranks[0]!, "SIGSTOP");
    expect(await launch.code()).toBe(1);
    expect(launch.output()).toMatch(
      /Training ended: rank 0 \(process \d+ on .*\) has given no sign of life for 5 s\.\n$/,
    );
    for (const pid of ranks) expect(fs.existsSync(`/proc/${pid}/task`)).toBe(false);
  });

  test("ends all when a rank computes nothing for too long", async () => {
    const slow = { nEmbd: 256, nLayer: 4, blockSize: 128, batchSize: 64, maxIters: 100 };
    const launch = launched([...standalone, "--step_timeout_s=3"], "stuck", slow);
    expect(await launch.code()).toBe(1);
    expect(launch.output()).toMatch(
      /Training ended: rank [01] \(process \d+ on .*\) has computed nothing for 3 s: a step takes longer/,
    );
  });

  test("stops at once when it is told to before the first step, and says so", async () => {
    const launch = launched(
      ["--nnodes=2", "--node_rank=0", "--master_addr=127.0.0.1", `--master_port=${port}`],
      "early",
    );
    await until(() => launch.output().includes("waiting for 2 nodes"), launch);
    launch.child.kill("SIGINT");
    expect(await launch.code()).toBe(130);
    expect(launch.output()).toContain("Stopped while no step was computed: there is nothing to save.");
  });

  test("stops all ranks after the same step when one is told to, saves, and says how to resume", async () => {
    const launch = launched(standalone, "stopped", { maxIters: 100_000, alwaysSaveCheckpoint: false });
    await until(() => saved("stopped"), launch);
    process.kill(ranksOf(launch)[1]!, "SIGINT");
    expect(await launch.code()).toBe(130);
    expect(launch.output()).toMatch(
      /stopped at step \d+ of 100000, saved\. Resume with:\n {2}npx folio launch --standalone/,
    );
    const step = Number(/stopped at step (\d+)/.exec(launch.output())![1]);
    const resumed = launched(standalone, "stopped", { maxIters: step + 2, initFrom: "resume" });
    expect(await resumed.code()).toBe(0);
    expect(resumed.output()).toContain(`(step ${step})`);
  });

  test("of one process stops and saves as well", async () => {
    const launch = launched(["--standalone"], "alone", { maxIters: 100_000, gradientAccumulationSteps: 1 });
    await until(() => saved("alone"), launch);
    launch.child.kill("SIGINT");
    expect(await launch.code()).toBe(130);
    expect(launch.output()).toMatch(/stopped at step \d+ of 100000, saved\./);
  });

  test("refuses machines with other settings before the first step, and keeps servers to their address", async () => {
    const flags = ["--nnodes=2", "--master_addr=127.0.0.1", `--master_port=${port}`];
    const nodes = [
      launched([...flags, "--node_rank=0"], "node-0"),
      launched([...flags, "--node_rank=1"], "node-1", { seed: 7 }),
    ];
    for (const node of nodes) expect(await node.code()).toBe(1);
    for (const node of nodes)
      expect(node.output()).toMatch(/Cannot train together: seed is 7 on rank 1 \(127\.0\.0\.1:\d+\), 1337 on rank 0/);
    expect(saved("node-0")).toBe(false);
    // A rank with a server that listens anywhere else would have ended with an error.
    const again = [0, 1].map((node) => launched([...flags, `--node_rank=${node}`], `pair-${node}`));
    for (const node of again) expect(await node.code()).toBe(0);
    expect(weights("pair-0").equals(weights("undisturbed"))).toBe(true);
    expect(fs.existsSync(outDir("pair-1"))).toBe(false);
  });

  test("says what to do when node 0 is not there", async () => {
    const flags = ["--nnodes=2", "--node_rank=1", "--master_addr=127.0.0.1", "--master_port=9", "--heartbeat_s=3"];
    const launch = launched(flags, "unreachable");
    expect(await launch.code()).toBe(1);
    expect(launch.output()).toMatch(
      /node 0 cannot be reached at 127\.0\.0\.1:9 for 3 s \(nobody listens there\)\. Is it started/,
    );
  });
});
