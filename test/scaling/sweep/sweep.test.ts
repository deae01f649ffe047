import fs from "node:fs";
import path from "node:path";
import { parquetReadObjects } from "hyparquet";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { type FolderLock, lockFolder } from "../../../lib/host/folder-lock.js";
import { flopsPerToken, tokensPerStep, countParameters as totalOf } from "../../../lib/model/sizing.js";
import { readRunLog } from "../../../lib/runs/run-folder.js";
import { loadPlan, type PlanOptions, planSweep } from "../../../scaling/plan.js";
import { doRun } from "../../../scaling/sweep/find-run.js";
import { identifyRuns } from "../../../scaling/sweep/run-identity.js";
import {
  readResults,
  resultsTable,
  runSweep,
  type StartJob,
  type SweepOptions,
  type SweepRecord,
  sweepStatus,
} from "../../../scaling/sweep.js";
import { temporaryFolder, writeFox } from "../../tiny-run.js";

const dataDir = temporaryFolder();
writeFox(dataDir);

const options: PlanOptions = {
  name: "fox",
  dataset: "fox",
  dataDir,
  settings: { blockSize: 8, compile: false },
  batchTokens: 16,
  learningRate: 1e-2,
  grid: { kind: "tokens-per-parameter", sizes: [1900], ratios: [0.1, 0.2] },
  limits: { epochs: 10, fewestSteps: 1 },
  validationTokens: 130, // of which whole contexts of 8 are 128
  workers: 2,
  threads: 1,
};

/** Does a run in this process, because starting one takes seconds; test/cli/scaling/run.test.ts starts processes. */
const inProcess: StartJob = (run, { planFile, folder, onProgress }) => {
  const controller = new AbortController();
  const done = doRun(loadPlan(planFile), {
    ...{ folder, run: run.id, signal: controller.signal },
    onRecord: (record) => record.kind === "iter" && onProgress({ step: record.step + 1, loss: record.loss }),
  });
  return { done, stop: () => controller.abort(), kill: () => {} };
};

async function sweep(
  folder: string,
  more: Partial<SweepOptions> = {},
  planned: PlanOptions = options,
  seen: (record: SweepRecord) => void = () => {},
) {
  const records: SweepRecord[] = [];
  for await (const record of runSweep(planSweep(planned), {
    folder,
    ...(more.command ? {} : { start: inProcess }),
    ...more,
  })) {
    records.push(record);
    seen(record);
  }
  const end = records.at(-1) as Extract<SweepRecord, { kind: "end" }>;
  return { records, started: end.started, counts: end.counts };
}

const csv = (folder: string) => fs.readFileSync(path.join(folder, "results.csv"), "utf8");

describe("runSweep", () => {
  it("does each run once, writes its row, and does nothing when called again", async () => {
    const folder = path.join(dataDir, "once");
    const plan = planSweep(options);
    const { started, counts, records } = await sweep(folder);
    expect(started).toBe(2);
    expect(counts).toEqual({ finished: 2, failed: 0, interrupted: 0, running: 0, pending: 0 });
    expect(records[0]).toMatchObject({ kind: "start", todo: 2, workers: 2, threads: 1 });
    const rows = readResults(folder);
    expect(rows.map(({ name }) => name).sort()).toEqual(plan.runs.map(({ name }) => name).sort());
    for (const row of rows) {
      const { settings, flops, tokens } = plan.runs.find(({ name }) => name === row.name)!;
      expect(row).toMatchObject({
        ...{ d: tokens, c: flops, c_palm: flopsPerToken(settings) * tokens, steps: settings.maxIters, seed: 1337 },
        ...{ n_convention: "blocks-head", flops_convention: "palm", batch_tokens: tokensPerStep(settings) },
        ...{ learning_rate: 0.01, warmup_steps: settings.warmupIters, role: "grid", validation_tokens: 128 },
      });
      expect(row.loss).toBeGreaterThan(1);
      expect(row.loss).toBeLessThan(5);
      expect(row).toMatchObject({
        epochs: tokens / 1500,
        batch_size: 2,
        block_size: 8,
        tokens,
        n_total: totalOf(settings),
      });
      // What the run's own log says: the mean loss of its last tenth, its last rate, a point per step.
      const own = identifyRuns(plan, folder).find(({ name }) => name === row.name)!;
      const iters = readRunLog(own.settings.outDir).filter((record) => record.kind === "iter");
      const last = iters.slice(-Math.round(iters.length / 10));
      const { device, dtype, compiled } = readRunLog(own.settings.outDir).find((record) => record.kind === "start")!;
      expect(row).toMatchObject({ device, dtype, compiled: Number(compiled), sittings: 1 });
      expect(row.loss_smoothed).toBeCloseTo(last.reduce((sum, { loss }) => sum + loss, 0) / last.length, 12);
      expect(row.final_lr_ratio).toBeCloseTo(iters.at(-1)!.learningRate / 0.01, 12);
      expect(JSON.parse(String(row.curve))).toEqual(iters.map(({ tokens, loss }) => [tokens, Number(loss.toFixed(5))]));
    }
    expect(resultsTable(folder).numRows()).toBe(2);
    const parquet = await parquetReadObjects({ file: asBuffer(path.join(folder, "results.parquet")) });
    expect(parquet.map(({ run, loss, d }) => ({ run, loss, d }))).toEqual(
      rows.map(({ run, loss, d }) => ({ run, loss, d })),
    );

    const before = csv(folder);
    expect((await sweep(folder)).started).toBe(0);
    expect(csv(folder)).toBe(before);
  });

  it("uses the numerics of the first run, or reports how the machine differs, unless told to continue", async () => {
    const folder = path.join(dataDir, "numerics");
    const compiled: PlanOptions = { ...options, settings: { ...options.settings, compile: true, device: "cpu" } };
    const [first, second] = planSweep(compiled).runs;
    await sweep(folder, { only: [first!.name] }, compiled);
    const [name] = fs.readdirSync(path.join(folder, "numerics"));
    const file = path.join(folder, "numerics", name!);
    const kept = JSON.parse(fs.readFileSync(file, "utf8"));
    expect(kept).toMatchObject({ device: "cpu", operations: expect.any(String) });
    fs.writeFileSync(file, JSON.stringify({ ...kept, operations: "another" }));
    const { records } = await sweep(folder, {}, compiled);
    expect(records.find((record) => record.kind === "run-end")).toMatchObject({
      outcome: {
        state: "failed",
        message: expect.stringMatching(
          /^Cannot continue the sweep with the same numbers: operations \w+ here, another there/,
        ),
      },
    });
    // The sweep determines the format, not the machine.
    fs.writeFileSync(file, JSON.stringify({ ...kept, dtype: "bfloat16" }));
    const settings = { ...compiled.settings, allowOtherNumerics: true };
    expect((await sweep(folder, { retry: "failed" }, { ...compiled, settings })).counts.finished).toBe(2);
    const rows = readResults(folder);
    expect(rows.find((row) => row.name === first!.name)!.dtype).toBe(kept.dtype);
    expect(rows.find((row) => row.name === second!.name)!.dtype).toBe("bfloat16");
  });

  it("takes a changed learning rate for new runs, and keeps the rows of the others", async () => {
    const folder = path.join(dataDir, "changed");
    const one: PlanOptions = { ...options, grid: { kind: "tokens-per-parameter", sizes: [1900], ratios: [0.1] } };
    await sweep(folder, {}, one);
    const { started, counts } = await sweep(folder, {}, { ...one, learningRate: 2e-2 });
    expect(started).toBe(1);
    expect(counts.finished).toBe(1);
    expect(readResults(folder).map(({ learning_rate }) => learning_rate)).toEqual([0.01, 0.02]);
  });

  it("keeps the plan of current runs when another plan starts in the same folder", async () => {
    const folder = path.join(dataDir, "two");
    const late: PlanOptions = { ...options, name: "late", learningRate: 3e-2 };
    const both = await Promise.all([sweep(folder, { workers: 1 }), sweep(folder, { workers: 1 }, late)]);
    expect(both.map(({ counts }) => counts.finished)).toEqual([2, 2]);
    const learned = readResults(folder).map(({ plan, learning_rate }) => `${plan} ${learning_rate}`);
    expect(both.map(({ records }) => records[0])).toMatchObject([{ workers: 1 }, { workers: 1 }]);
    const names = fs.readdirSync(path.join(folder, "plans")).map((file) => file.replace(/-[\da-f]{8}\.json$/, ""));
    expect(names.sort()).toEqual(["fox", "late"]);
    expect(learned.sort()).toEqual(["fox 0.01", "fox 0.01", "late 0.03", "late 0.03"]);
  });

  it("distinguishes failed and interrupted runs, and repeats failed ones only on request", async () => {
    const folder = path.join(dataDir, "failed");
    const one: PlanOptions = {
      ...options,
      settings: { ...options.settings, gradClip: 0, weightDecay: 0 },
      learningRate: 1e30,
      grid: { kind: "tokens-per-parameter", sizes: [1900], ratios: [0.2] },
    };
    const first = await sweep(folder, {}, one);
    expect(first.counts.failed).toBe(1);
    const [status] = sweepStatus(planSweep(one), { folder });
    expect(status).toMatchObject({ state: "failed", failure: expect.stringMatching(/loss|weights|gradient/) });
    expect((await sweep(folder, {}, one)).started).toBe(0);
    expect((await sweep(folder, { retry: "interrupted" }, one)).started).toBe(0);
    expect((await sweep(folder, { retry: "failed" }, one)).started).toBe(1);
  });

  it("stops at a signal with everything saved, and resumes to the same loss", async () => {
    const long: PlanOptions = { ...options, grid: { kind: "tokens-per-parameter", sizes: [1900], ratios: [0.4] } };
    const [folder, whole] = [path.join(dataDir, "stopped"), path.join(dataDir, "whole")];
    const plan = planSweep(long);
    const controller = new AbortController();
    let last: SweepRecord | undefined;
    for await (const record of runSweep(plan, { folder, start: inProcess, signal: controller.signal })) {
      if (record.kind === "progress") controller.abort();
      last = record;
    }
    expect(last).toMatchObject({ kind: "end", aborted: true, counts: { interrupted: 1, finished: 0 } });
    const [status] = sweepStatus(plan, { folder });
    expect(status!.step).toBeGreaterThan(0);
    const begun = fs.readFileSync(path.join(status!.run.folder, "started"), "utf8");
    expect((await sweep(folder, {}, long)).counts.finished).toBe(1);
    await sweep(whole, {}, long);
    const [stopped, reference] = [readResults(folder)[0]!, readResults(whole)[0]!];
    expect(stopped).toMatchObject({ sittings: 2, started: begun });
    expect(JSON.parse(String(reference.curve))).toHaveLength(40);
    for (const column of ["run", "loss", "loss_smoothed", "curve"]) expect(stopped[column]).toBe(reference[column]);
  });

  it.each([
    ["undone", true],
    ["before it had begun", false],
  ])("takes over a run that another process had in hand and let go of %s, as after a kill", async (when, begun) => {
    const folder = path.join(dataDir, `let go ${when}`);
    const [status] = sweepStatus(planSweep(options), { folder });
    const lock = lockFolder(status!.run.folder) as FolderLock;
    if (begun) fs.writeFileSync(path.join(status!.run.folder, "started"), new Date().toISOString());
    // After the sweep has seen that another process has the run.
    const { records, started, counts } = await sweep(folder, {}, options, ({ kind }) => {
      if (kind === "start") lock.release();
    });
    expect(records[0]).toMatchObject({ kind: "start", todo: 1, counts: { running: 1, pending: 1 } });
    expect(started).toBe(2);
    expect(counts).toMatchObject({ finished: 2, interrupted: 0 });
    expect((await sweep(folder)).started).toBe(0);
  });

  it("does runs with a user's command", async () => {
    const folder = path.join(dataDir, "command");
    const { counts, records } = await sweep(folder, {
      start: undefined as never,
      command: "echo {run} {name} >> {folder}/told; exit 3",
    });
    expect(counts.failed).toBe(2);
    const ended = records.find((record) => record.kind === "run-end");
    expect(ended).toMatchObject({ outcome: { state: "failed", message: "its process ended with 3" } });
    expect(fs.readFileSync(path.join(folder, "told"), "utf8")).toMatch(
      /^[\da-f]{16} grid-\S+\n[\da-f]{16} grid-\S+\n$/,
    );
  });
});

describe("several GPUs", () => {
  /**
   * A stand-in for a training: notes its GPU, and whether another run has it at the same time. It ends once the second, or
   * the fourth, of the runs has begun, so the two GPUs take turns however fast a process starts.
   */
  const standIn =
    "cd {folder}; mkdir gpu-$CUDA_VISIBLE_DEVICES || echo {name} >> shared; " +
    "echo {name} $CUDA_VISIBLE_DEVICES >> used; begun=$(grep -nF '{name} ' used | cut -d: -f1); " +
    "until [ $(wc -l < used) -ge $(((begun + 1) / 2 * 2)) ]; do sleep 0.05; done; " +
    "rmdir gpu-$CUDA_VISIBLE_DEVICES; exit 3";
  const four: PlanOptions = { ...options, grid: { ...options.grid, ratios: [0.1, 0.2, 0.3, 0.4] } as never };
  const usedIn = (folder: string) => fs.readFileSync(path.join(folder, "used"), "utf8").match(/\S+$/gm);
  const onGpus = async (name: string, gpus: number[]) => {
    const folder = path.join(dataDir, name);
    const { counts, records } = await sweep(folder, { command: standIn, gpus }, four);
    return { folder, counts, records };
  };

  it("each do one run at a time, and all are used", async () => {
    const { folder, counts, records } = await onGpus("gpus", [0, 3]);
    expect(records[0]).toMatchObject({ kind: "start", todo: 4, workers: 2 });
    expect(counts.failed).toBe(4);
    expect(fs.existsSync(path.join(folder, "shared"))).toBe(false);
    expect(usedIn(folder)!.sort()).toEqual(["0", "0", "3", "3"]);
  });

  it("are numbered among those that a scheduler shows, and refused beyond them", async () => {
    vi.stubEnv("CUDA_VISIBLE_DEVICES", "GPU-5e2f,7");
    onTestFinished(() => void vi.unstubAllEnvs());
    const { folder } = await onGpus("gpus-shown", [1, 0]);
    expect(new Set(usedIn(folder))).toEqual(new Set(["GPU-5e2f", "7"]));
    await expect(onGpus("gpus-beyond", [0, 2])).rejects.toThrow(
      "Cannot use GPU 2: CUDA_VISIBLE_DEVICES=GPU-5e2f,7 shows 2, numbered from 0; give fewer --gpus, or unset it.",
    );
  });
});

describe("the result table", () => {
  it("removes a line that was cut short by a kill, and restores it from the run's folder", async () => {
    const folder = path.join(dataDir, "torn");
    await sweep(folder);
    const whole = readResults(folder);
    const text = csv(folder);
    fs.writeFileSync(path.join(folder, "results.csv"), text.slice(0, -200));
    expect(readResults(folder)).toHaveLength(1);
    expect((await sweep(folder)).started).toBe(0);
    expect(csv(folder)).toBe(text);
    expect(readResults(folder)).toEqual(whole);
    // With columns of another version, the rows stay, under the header of this version.
    fs.writeFileSync(path.join(folder, "results.csv"), "run,loss\nabc,1.5\n");
    await sweep(folder);
    expect(readResults(folder).map(({ run }) => run)).toEqual(["abc", ...whole.map(({ run }) => run)]);
  });
});

function asBuffer(file: string): ArrayBuffer {
  const bytes = fs.readFileSync(file);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
}
