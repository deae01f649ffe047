/** Runs as processes: what they report while they run, how they end, and how their speed is measured. */
import fs from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { countParameters, tokensPerStep } from "../../../lib/model/sizing.js";
import { type PlanOptions, planSweep, savePlan } from "../../../scaling/plan.js";
import { type Progress, startCommand, startLocal } from "../../../scaling/sweep/processes.js";
import { identifyRuns } from "../../../scaling/sweep/run-identity.js";
import { measureSpeed } from "../../../scaling/sweep.js";
import { temporaryFolder, writeFox } from "../../tiny-run.js";

const folder = temporaryFolder();
writeFox(folder);

const options: PlanOptions = {
  ...{ name: "fox", dataset: "fox", dataDir: folder, batchTokens: 16, learningRate: 1e-2, workers: 1, threads: 1 },
  settings: { blockSize: 8, device: "cpu", dtype: "float32", compile: false },
  grid: { kind: "tokens-per-parameter", sizes: [1900], ratios: [0.2] },
  limits: { epochs: 100, fewestSteps: 1 },
  validationTokens: 128,
};

/** A run of the plan, as its process is given it. */
function planned(name: string) {
  const own = path.join(folder, name);
  const plan = planSweep(options);
  const planFile = path.join(own, "plan.json");
  savePlan(planFile, plan);
  const seen: Progress[] = [];
  const job = { planFile, folder: own, threads: 1, onProgress: (progress: Progress) => seen.push(progress) };
  return { run: identifyRuns(plan, own)[0]!, job, seen };
}

describe("a run in a process", () => {
  it("reports its steps and their losses, and ends with its row; threads are those of the plan", async () => {
    const { run, job, seen } = planned("local");
    const outcome = await startLocal(run, job).done;
    expect(outcome).toMatchObject({ state: "finished", row: { steps: run.settings.maxIters, threads: 1 } });
    expect(seen.length).toBeGreaterThan(0);
    for (const { step, loss } of seen) {
      expect(step).toBeGreaterThanOrEqual(1);
      expect(step).toBeLessThanOrEqual(run.settings.maxIters);
      expect(loss).toBeGreaterThan(1);
      expect(loss).toBeLessThan(5);
    }
  });

  it("of a command reads steps among other output, and knows its exit codes", async () => {
    const { run, job, seen } = planned("command");
    const outcome = (command: string) => startCommand(run, command, job).done;
    const lines = `echo hello; echo '{"step": 3, "loss": 2.5}'; echo '{"loss": 1}'; echo '{"step": 4}'`;
    expect(await outcome(`${lines}; exit 75`)).toEqual({ state: "busy", holder: "another process" });
    expect(seen).toEqual([
      { step: 3, loss: 2.5 },
      { step: 4, loss: Number.NaN },
    ]);
    expect(await outcome("exit 130")).toEqual({ state: "interrupted" });
    expect(await outcome("kill -KILL $$")).toEqual({ state: "interrupted" });
    expect(await outcome("echo one >&2; echo two >&2; exit 4")).toEqual({
      state: "failed",
      message: "its process ended with 4: two",
    });
  });

  it("whose program is not there fails, and does not hang", async () => {
    const { run, job } = planned("gone");
    const { execPath } = process;
    process.execPath = path.join(folder, "no-node");
    const { done } = startLocal(run, job);
    process.execPath = execPath;
    expect(await done).toEqual({
      state: "failed",
      message: `Cannot start the run: spawn ${path.join(folder, "no-node")} ENOENT.`,
    });
  });
});

describe("measureSpeed()", () => {
  it("measures a step and a start, of which each is measured once", async () => {
    const cacheFile = path.join(folder, "cache", "speed.json");
    const [plan, said] = [planSweep(options), [] as string[]];
    const measure = () => measureSpeed(plan, { workers: 1, threads: 1, cacheFile, log: (line) => said.push(line) });
    const begun = performance.now();
    const speed = await measure();
    const allSeconds = (performance.now() - begun) / 1000;
    const { settings } = plan.runs[0]!;
    const { nLayer, nEmbd, nHead, vocabSize } = settings;
    expect(said).toEqual([`measuring a step of ${nLayer}L${nEmbd}, 2 × 8 …`, "measuring a run's start and end …"]);
    // PaLM's FLOPs: six per weight but those of the positions, and attention's.
    const shape = { nLayer, nEmbd, nHead, vocabSize, blockSize: 8, bias: settings.bias, tieHead: settings.tieHead };
    const perToken = 6 * countParameters(shape, { positions: false }) + 12 * nLayer * nEmbd * 8;
    expect(speed.steps.map(({ flops }) => flops)).toEqual([perToken * tokensPerStep(settings)]);
    const { seconds } = speed.steps[0]!;
    expect(seconds).toBeGreaterThan(0);
    // 40 steps and a start fit into the time that all of it took; a start takes longer than a step.
    expect(40 * seconds + speed.startSeconds).toBeLessThan(allSeconds);
    expect(speed.startSeconds).toBeGreaterThan(seconds);
    expect(Object.values(JSON.parse(fs.readFileSync(cacheFile, "utf8")))).toEqual([seconds, speed.startSeconds]);
    expect(await measure()).toEqual(speed);
    expect(said).toHaveLength(2);
  });
});
