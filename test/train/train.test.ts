import fs from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, test } from "vitest";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { countParameters } from "../../lib/model/sizing.js";
import type { EvalRecord, IterRecord, StepRecord } from "../../lib/runs/records.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import type { Settings } from "../../lib/settings/settings.js";
import { learningRate } from "../../lib/train/optimizers/schedule.js";
import { train } from "../../lib/train/train.js";
import { hasCheckpoint, openCheckpoint, readState } from "../../lib/weights/checkpoint.js";
import { checkpointFile, collect, mountDisk, results, temporaryFolder, tinySettings, writeFox } from "../tiny-run.js";

const folder = temporaryFolder();
let runs = 0;
const newRun = (overrides: Partial<Settings> = {}) => tinySettings(folder, `run-${runs++}`, overrides);

beforeAll(() => {
  loadTensorFlow();
  writeFox(folder);
});

const shape = (records: StepRecord[]) => records.map(({ kind, step }) => `${kind} ${step}`);
const iters = (records: StepRecord[]) => records.filter((record): record is IterRecord => record.kind === "iter");
const evals = (records: StepRecord[]) => records.filter((record): record is EvalRecord => record.kind === "eval");
const checkpoints = (outDir: string) =>
  fs.readdirSync(path.join(outDir, "checkpoint")).filter((entry) => entry.startsWith("step-"));

/** Aborts after the first record for which `when` is true. */
async function stopped(settings: Settings, when: (record: StepRecord) => boolean): Promise<StepRecord[]> {
  const controller = new AbortController();
  const records: StepRecord[] = [];
  for await (const record of train(settings, { signal: controller.signal })) {
    records.push(record);
    if (when(record)) controller.abort();
  }
  return records;
}

describe("train()", () => {
  test("evaluates every evalInterval steps and at the end, before the update, and saves after", async () => {
    const settings = newRun({ maxIters: 5 });
    const records = await collect(train(settings));
    expect(shape(records)).toEqual([
      "start 0",
      ...["eval 0", "iter 0", "iter 1"],
      ...["eval 2", "checkpoint 2", "iter 2", "iter 3"],
      ...["eval 4", "checkpoint 4", "iter 4"],
      ...["eval 5", "checkpoint 5", "end 5"],
    ]);
    const [start] = records;
    const params = { ...settings, vocabSize: 28 };
    expect(start).toMatchObject({ parameters: countParameters(params), tokensPerStep: 16, compiled: false });
    expect(start).not.toHaveProperty("resumedFrom");
    expect(iters(records).map(({ tokens }) => tokens)).toEqual([16, 32, 48, 64, 80]);
    expect(iters(records).map(({ learningRate }) => learningRate)).toEqual(
      [0, 1, 2, 3, 4].map((step) => learningRate(step, settings)),
    );
    expect(evals(records)[0]!.valLoss).toBeCloseTo(Math.log(28), 0);
    const best = Math.min(...evals(records).map(({ valLoss }) => valLoss));
    expect(records.at(-1)).toMatchObject({ kind: "end", reason: "finished", bestValLoss: best });
    expect(openCheckpoint(settings.outDir)).toMatchObject({ step: 5, evaluated: true, bestValLoss: best });
    expect(openCheckpoint(settings.outDir, "best").bestValLoss).toBe(best);
  });

  test("learns: the loss of a repeated sentence falls", async () => {
    const settings = newRun({ compile: true, maxIters: 150, lrDecayIters: 150, evalInterval: 150, nEmbd: 16 });
    const [before, after] = evals(await collect(train({ ...settings, learningRate: 3e-2 })));
    expect(after!.valLoss).toBeLessThan(before!.valLoss - 1.2);
  });

  test("with maxIters 0, evaluates once and saves nothing", async () => {
    const settings = newRun({ maxIters: 0 });
    expect(shape(await collect(train(settings)))).toEqual(["start 0", "eval 0", "end 0"]);
    expect(hasCheckpoint(settings.outDir)).toBe(false);
  });

  test("with evalOnly, evaluates once and writes nothing, also for an existing run at any step", async () => {
    const settings = newRun({ evalOnly: true });
    expect(shape(await collect(train(settings)))).toEqual(["start 0", "eval 0", "end 0"]);
    expect(fs.existsSync(settings.outDir)).toBe(false);

    const trained = newRun({ maxIters: 3 });
    const whole = await collect(train(trained));
    const files = () => [checkpointFile(trained.outDir, "state.json"), readRunLog(trained.outDir)];
    const before = files();
    const resumed = { ...trained, evalOnly: true, initFrom: "resume" as const };
    const records = await collect(train(resumed));
    expect(shape(records)).toEqual(["start 3", "eval 3", "end 3"]);
    expect(evals(records)[0]).toMatchObject({ valLoss: evals(whole).at(-1)!.valLoss });
    await collect(train({ ...resumed, initFrom: "scratch", overwrite: true }));
    expect(files()).toEqual(before);
  });

  test("with alwaysSaveCheckpoint false, saves only at the best evaluation and at the end", async () => {
    // With a rate that rises until the loss does, not every evaluation is the best.
    const settings = newRun({
      alwaysSaveCheckpoint: false,
      learningRate: 3,
      minLr: 3,
      maxIters: 8,
      schedule: "constant",
    });
    const records = await collect(train({ ...settings, warmupIters: 0, gradClip: 0 }));
    const bestSteps = evals(records).flatMap(({ best, step }) => (best && step > 0 ? [step] : []));
    const saved = records.flatMap((record) => (record.kind === "checkpoint" ? [record.step] : []));
    expect(saved).toEqual([...new Set([...bestSteps, 8])]);
    expect(
      evals(records)
        .slice(1)
        .some(({ best }) => !best),
    ).toBe(true);
  });

  test("averages accumulated gradients: two micro-batches of 2 rows equal a batch of 4", async () => {
    const whole = await collect(train(newRun({ batchSize: 4 })));
    const halves = await collect(train(newRun({ gradientAccumulationSteps: 2 })));
    expect(halves[0]).toMatchObject({ tokensPerStep: 32 });
    for (const [i, { loss, gradNorm }] of iters(halves).entries()) {
      expect(loss).toBeCloseTo(iters(whole)[i]!.loss, 5);
      expect(gradNorm).toBeCloseTo(iters(whole)[i]!.gradNorm, 4);
    }
  });

  for (const more of [{}, { dropout: 0.3 }, { gradientAccumulationSteps: 2, bias: true, tieHead: false }]) {
    test(`eager and compiled give the same numbers: ${JSON.stringify(more)}`, async () => {
      const eager = await collect(train(newRun(more)));
      const compiled = await collect(train(newRun({ ...more, compile: true, dtype: "float32" })));
      expect(shape(compiled)).toEqual(shape(eager));
      expect(compiled[0]).toMatchObject({ compiled: true });
      for (const [i, { loss, gradNorm }] of iters(eager).entries()) {
        expect(Math.abs(iters(compiled)[i]!.loss - loss)).toBeLessThan(1e-5);
        expect(Math.abs(iters(compiled)[i]!.gradNorm - gradNorm)).toBeLessThan(1e-4);
      }
      for (const [i, { valLoss }] of evals(eager).entries()) {
        expect(Math.abs(evals(compiled)[i]!.valLoss - valLoss)).toBeLessThan(1e-5);
      }
    });
  }

  for (const schedule of ["linear", "wsd", "constant"] as const) {
    test(`follows the ${schedule} schedule`, async () => {
      const settings = newRun({ schedule, maxIters: 6, decayFraction: 0.5 });
      const rates = iters(await collect(train(settings))).map((record) => record.learningRate);
      expect(rates).toEqual([0, 1, 2, 3, 4, 5].map((step) => learningRate(step, settings)));
      if (schedule === "constant") expect(rates.slice(2)).toEqual([1e-2, 1e-2, 1e-2, 1e-2]);
      else expect(rates[5]).toBeLessThan(rates[2]!);
    });
  }

  test("gives the same run for the same seed, and another for another seed", async () => {
    const losses = async (seed: number) => iters(await collect(train(newRun({ seed })))).map(({ loss }) => loss);
    const first = await losses(1);
    expect(await losses(1)).toEqual(first);
    expect(await losses(2)).not.toEqual(first);
  });

  test("logs the yielded records in log.jsonl, and every logInterval-th iteration", async () => {
    const settings = newRun({ logInterval: 3, maxIters: 7 });
    const records = await collect(train(settings));
    const logged = readRunLog(settings.outDir);
    expect(logged).toEqual(records.filter(({ kind, step }) => kind !== "iter" || step % 3 === 0));
    expect(logged.filter(({ kind }) => kind === "iter").map(({ step }) => step)).toEqual([0, 3, 6]);
    const config = JSON.parse(fs.readFileSync(path.join(settings.outDir, "config.json"), "utf8"));
    expect(config).toEqual({ ...settings, vocabSize: 28 });
  });
});

describe("an AbortSignal", () => {
  test("saves after the current update and ends as aborted", async () => {
    const settings = newRun({ evalInterval: 100 });
    const records = await stopped(settings, ({ kind, step }) => kind === "iter" && step === 2);
    expect(shape(records).slice(-2)).toEqual(["checkpoint 3", "end 3"]);
    expect(records.at(-1)).toMatchObject({ reason: "aborted" });
    expect(readState(settings.outDir)).toMatchObject({ step: 3, evaluated: false });
  });

  test("that comes as a step begins lets the step finish", async () => {
    const settings = newRun({ evalInterval: 100 });
    const controller = new AbortController();
    const records: StepRecord[] = [];
    for await (const record of train(settings, { signal: controller.signal })) {
      records.push(record);
      // Before the step's own turn of the event loop.
      if (record.kind === "eval") setImmediate(() => controller.abort());
    }
    expect(shape(records)).toEqual(["start 0", "eval 0", "iter 0", "checkpoint 1", "end 1"]);
  });

  test("before the first update saves nothing", async () => {
    const settings = newRun();
    const records = await collect(train(settings, { signal: AbortSignal.abort() }));
    expect(shape(records)).toEqual(["start 0", "end 0"]);
    expect(records.at(-1)).toMatchObject({ reason: "aborted" });
    expect(hasCheckpoint(settings.outDir)).toBe(false);
  });

  test("in the last update still saves, and the resumed run is evaluated", async () => {
    const settings = newRun({ maxIters: 3, evalInterval: 100 });
    const records = await stopped(settings, ({ kind, step }) => kind === "iter" && step === 2);
    expect(shape(records).slice(-2)).toEqual(["checkpoint 3", "end 3"]);
    expect(records.at(-1)).toMatchObject({ reason: "aborted" });
    const more = await collect(train({ ...settings, initFrom: "resume" }));
    expect(shape(more)).toEqual(["start 3", "eval 3", "checkpoint 3", "end 3"]);
    expect(more.at(-1)).toMatchObject({ reason: "finished" });
    const { valLoss } = evals(more)[0]!;
    expect(readState(settings.outDir)).toMatchObject({ step: 3, evaluated: true, bestValLoss: valLoss });
  });

  test("does not wait for the current evaluation", async () => {
    const settings = newRun({ evalIters: 1_000_000 }); // hours
    const controller = new AbortController();
    const onProgress = ({ doing, done }: { doing: string; done: number }) => {
      if (doing === "evaluation" && done === 3) controller.abort();
    };
    expect(shape(await collect(train(settings, { signal: controller.signal, onProgress })))).toEqual([
      ...["start 0", "end 0"],
    ]);
  });
});

describe("the memory of a run", () => {
  const openFiles = () => (process.platform === "linux" ? fs.readdirSync("/proc/self/fd").length : 0);

  for (const compile of [false, true]) {
    test(`is freed at the end, and when the consumer leaves the loop: ${compile ? "compiled" : "eager"}`, async () => {
      const leave = async (at: number) => {
        const settings = newRun({ compile, maxIters: 3 });
        let left = at;
        for await (const _ of train(settings)) if (left-- === 0) break;
      };
      await leave(2); // to fill the caches
      const before = [tf.memory().numTensors, openFiles()];
      for (const at of [0, 1, 2, 4, 99]) await leave(at);
      expect([tf.memory().numTensors, openFiles()]).toEqual(before);
    });
  }

  test("is freed if it does not start", async () => {
    const before = [tf.memory().numTensors, openFiles()];
    fs.writeFileSync(path.join(folder, "a-file"), "");
    for (const wrong of [{ vocabSize: 5 }, { blockSize: 4000 }, { outDir: path.join(folder, "a-file") }]) {
      await expect(collect(train(newRun(wrong)))).rejects.toThrow(/^Cannot /);
    }
    expect([tf.memory().numTensors, openFiles()]).toEqual(before);
  });
});

describe("a loss that explodes", () => {
  test("stops with the step, the last good checkpoint and the likely causes; that checkpoint stays", async () => {
    const settings = newRun({ maxIters: 4 });
    await collect(train(settings));
    const weights = checkpointFile(settings.outDir, "model.safetensors");
    const wild = { ...settings, initFrom: "resume" as const, maxIters: 40, evalInterval: 1 };
    const failing = collect(train({ ...wild, learningRate: 1e30, minLr: 1e30, gradClip: 0 }));
    await expect(failing).rejects.toThrow(
      /^Cannot continue: .* at step \d+\. The last good checkpoint is step 4 in .*run-\d+\. Likely causes: a learning rate that is too high \(1\.00e\+30 now; lower learningRate or raise warmupIters\), no clipping \(gradClip 0\)/,
    );
    expect(checkpointFile(settings.outDir, "model.safetensors")).toEqual(weights);
    // The run resumes from there with a lower rate.
    const last = (await collect(train({ ...settings, initFrom: "resume", maxIters: 6 }))).at(-1);
    expect(last).toMatchObject({ kind: "end", step: 6, reason: "finished" });
  });

  for (const compile of [false, true]) {
    test(`says when nothing was saved yet: ${compile ? "compiled" : "eager"}`, async () => {
      const settings = newRun({
        learningRate: 1e30,
        minLr: 1e30,
        warmupIters: 0,
        evalInterval: 50,
        maxIters: 50,
        compile,
      });
      await expect(collect(train(settings))).rejects.toThrow(/at step \d+\. No checkpoint has been saved yet\./);
      expect(hasCheckpoint(settings.outDir)).toBe(false);
    });
  }

  test("is found by the evaluation after the update, or by the update, whichever comes first", async () => {
    const wild = { learningRate: 1e6, minLr: 1e6, warmupIters: 0, gradClip: 0, maxIters: 9 };
    const message = (evalInterval: number) => collect(train(newRun({ ...wild, evalInterval })));
    await expect(message(1)).rejects.toThrow(/^Cannot continue: the evaluated loss is \d+\S* at step 1\./);
    await expect(message(9)).rejects.toThrow(/^Cannot continue: the loss is \d+\S* at step 1\./);
  });

  test("is not saved at a signal either", async () => {
    const settings = newRun({ learningRate: 1e38, minLr: 1e38, warmupIters: 0, evalInterval: 50, maxIters: 50 });
    await expect(stopped(settings, ({ kind }) => kind === "iter")).rejects.toThrow(
      /^Cannot continue: \S+ has values as large as \S+ at/,
    );
    expect(hasCheckpoint(settings.outDir)).toBe(false);
  });
});

describe("a folder that holds a run", () => {
  test("is overwritten only on request, and only if everything else is valid", async () => {
    const settings = newRun({ maxIters: 2 });
    await collect(train(settings));
    const before = [checkpointFile(settings.outDir, "model.safetensors"), readRunLog(settings.outDir)];
    await expect(collect(train({ ...settings, seed: 5 }))).rejects.toThrow(
      /^Cannot train into .*: it already has a run, at step 2, with other settings \(seed 1337 there, 5 here\)\. Continue it \(initFrom: "resume"\), choose another outDir, or replace it \(overwrite: true\)\.$/,
    );
    await expect(collect(train(settings))).rejects.toThrow("it already has a run, at step 2. Continue it");
    for (const wrong of [{ blockSize: 4000 }, { vocabSize: 5 }, { dtype: "float16" as const, compile: false }]) {
      await expect(collect(train({ ...settings, overwrite: true, ...wrong }))).rejects.toThrow(/^Cannot /);
    }
    expect([checkpointFile(settings.outDir, "model.safetensors"), readRunLog(settings.outDir)]).toEqual(before);

    await collect(train({ ...settings, seed: 5, overwrite: true }));
    expect(checkpointFile(settings.outDir, "model.safetensors")).not.toEqual(before[0]);
    expect(checkpoints(settings.outDir).length).toBeLessThanOrEqual(2);
    expect(results(settings.outDir).at(-1)).toMatchObject({ kind: "end", step: 2 });
  });

  test("resumes with permitted changes, and refuses another shape, naming the differences", async () => {
    const settings = newRun({ maxIters: 2 });
    await collect(train(settings));
    const resume = (more: Partial<Settings>) => collect(train({ ...settings, initFrom: "resume", ...more }));
    await expect(resume({ nLayer: 2, nEmbd: 16, gelu: "tanh" })).rejects.toThrow(
      /^Cannot resume from .*: the checkpoint has another shape \(nLayer 1 there, 2 here; nEmbd 8 there, 16 here; gelu erf there, tanh here\)\. Use its settings, or train from scratch into another outDir\.$/,
    );
    await expect(resume({ nHead: 4 })).rejects.toThrow("nHead 2 there, 4 here");
    await expect(resume({ blockSize: 9 })).rejects.toThrow("another shape (blockSize 8 there, 9 here)");
    await expect(resume({ vocabSize: 64 })).rejects.toThrow("vocabSize 28 there, 64 here");
    writeFox(folder, "other", "!");
    await expect(resume({ dataset: "other" })).rejects.toThrow("vocabSize 28 there, 29 here");
    const longer = await resume({ maxIters: 4, batchSize: 3, dropout: 0.1, learningRate: 1e-3, minLr: 1e-4 });
    expect(shape(longer)[0]).toBe("start 2");
    expect(longer.at(-1)).toMatchObject({ step: 4, reason: "finished" });
  });

  test("does not resume with ids of another tokenizer", async () => {
    const settings = newRun({ maxIters: 1, vocabSize: 64 });
    await collect(train(settings));
    writeFox(folder, "other", "!");
    await expect(collect(train({ ...settings, dataset: "other", initFrom: "resume" }))).rejects.toThrow(
      /^Cannot resume from .*: its tokenizer is not that of other.* Use its dataset \(fox\)/,
    );
  });

  test("is not emptied by overwrite when it is resumed", async () => {
    const settings = newRun({ maxIters: 2 });
    await collect(train(settings));
    const again = { ...settings, maxIters: 4, initFrom: "resume" as const, overwrite: true };
    const records = await collect(train(again, { signal: AbortSignal.abort() }));
    expect(shape(records)).toEqual(["start 2", "end 2"]);
    expect(readState(settings.outDir).step).toBe(2);
  });

  test("a finished run ends at once when resumed, with an unchanged log", async () => {
    const settings = newRun({ maxIters: 2 });
    await collect(train(settings));
    const before = results(settings.outDir);
    expect(shape(await collect(train({ ...settings, initFrom: "resume" })))).toEqual(["start 2", "end 2"]);
    expect(results(settings.outDir)).toEqual(before);
  });
});

describe("the vocabulary", () => {
  test("may be padded, to 64 or more", async () => {
    const settings = newRun({ vocabSize: 64, maxIters: 2 });
    await collect(train(settings));
    expect(openCheckpoint(settings.outDir).params["wte.weight"]!.shape).toEqual([64, 8]);
  });

  test("is not smaller than the dataset's", async () => {
    await expect(collect(train(newRun({ vocabSize: 27 })))).rejects.toThrow(
      "Cannot train on fox: vocabSize is 27, but the dataset has 28 ids; use vocabSize 0 or at least 28.",
    );
  });
});

test("a full disk stops the run with a message, and the previous checkpoint is intact", async (context) => {
  const settings = newRun({ maxIters: 2000, evalInterval: 2, lrDecayIters: 2000 });
  const disk = mountDisk(settings.outDir, "size=128k");
  if ("reason" in disk) return context.skip(disk.reason);
  try {
    // The log grows until there is no space for it or for a checkpoint.
    await expect(collect(train(settings))).rejects.toThrow(/^Cannot (save|write).*the disk is full/);
    const { step } = openCheckpoint(settings.outDir);
    expect(step).toBeGreaterThan(0);
    expect(checkpoints(settings.outDir).length).toBeLessThanOrEqual(2);
  } finally {
    disk.unmount();
  }
});
