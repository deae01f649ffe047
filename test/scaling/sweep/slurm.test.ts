import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { type PlanOptions, planSweep } from "../../../scaling/plan.js";
import { readResults, submitSweep, sweepStatus } from "../../../scaling/sweep.js";
import { needs } from "../../needs.js";
import { temporaryFolder, writeFox } from "../../tiny-run.js";

const folder = temporaryFolder();
writeFox(folder);

const options: PlanOptions = {
  ...{ name: "fox", dataset: "fox", dataDir: folder, batchTokens: 16, learningRate: 1e-2, threads: 1 },
  settings: { blockSize: 8, device: "cpu", dtype: "float32" },
  grid: { kind: "tokens-per-parameter", sizes: [1900], ratios: [0.2] },
  limits: { fewestSteps: 1 },
  validationTokens: 128,
};

const there = !spawnSync("slurmctld", ["-V"]).error && !spawnSync("munged", ["--version"]).error;
const script = (name: string) => path.join(import.meta.dirname, "..", "..", "slurm", name);

// test/slurm/start.sh says what it needs; without it, the test is reported as skipped.
const missing = !there
  ? "Slurm and munge are not installed"
  : process.getuid?.() !== 0
    ? "Slurm's test needs root"
    : undefined;
describe("a sweep through Slurm", needs(missing), () => {
  const cluster = path.join(folder, "cluster");
  afterAll(() => spawnSync("sh", [script("stop.sh"), cluster]));

  it("is submitted once, done by an array task, and its folder shows the state", async () => {
    process.env.SLURM_CONF = execFileSync("sh", [script("start.sh"), cluster], { encoding: "utf8" }).trim();
    const plan = planSweep(options);
    const out = path.join(folder, "out");
    const job = await submitSweep(plan, { folder: out });
    expect(job).toMatchObject({ job: expect.stringMatching(/^\d+$/), runs: [expect.stringMatching(/^[\da-f]{64}$/)] });
    expect(await submitSweep(plan, { folder: out })).toBeUndefined();
    while (sweepStatus(plan, { folder: out })[0]!.state !== "finished") await setTimeout(200);
    expect(readResults(out)).toMatchObject([{ name: plan.runs[0]!.name, steps: plan.runs[0]!.steps }]);
    expect(await submitSweep(plan, { folder: out })).toBeUndefined();
    const [list] = fs.readdirSync(path.join(out, "slurm")).filter((file) => file.endsWith(".sh"));
    expect(fs.readFileSync(path.join(out, "slurm", list!), "utf8")).toMatch(/^#SBATCH --array=0-0$/m);
  });
});

describe("a batch script", () => {
  it("is not written for a folder whose name contains a line break", async () => {
    const out = path.join(folder, "x\ntouch OWNED");
    await expect(submitSweep(planSweep(options), { folder: out })).rejects.toThrow(
      /^Cannot hand the sweep to Slurm: "--output=.*x\\ntouch OWNED.*" is not a valid #SBATCH line; use options without line breaks\.$/,
    );
    expect(fs.readdirSync(path.join(out, "slurm")).filter((file) => file.endsWith(".sh"))).toEqual([]);
  });
});

describe("a machine without Slurm", needs(there ? "Slurm is installed" : undefined), () => {
  it("is reported", async () => {
    await expect(submitSweep(planSweep(options), { folder: path.join(folder, "none") })).rejects.toThrow(
      "Cannot hand the sweep to Slurm: sbatch: it is not installed on this machine.",
    );
  });
});
