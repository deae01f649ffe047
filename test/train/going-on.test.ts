/** Resumed runs: their identity, tokens, checkpoints, starting weights, and exclusive use of the folder. */
import fs from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { openDataset } from "../../lib/data/batches.js";
import { float32, type HostState } from "../../lib/engine/host-tensors.js";
import type { Numerics } from "../../lib/engine/numerics.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { lockFolder } from "../../lib/host/folder-lock.js";
import { identityOf } from "../../lib/runs/identity.js";
import type { IterRecord, StartRecord, StepRecord } from "../../lib/runs/records.js";
import type { Settings } from "../../lib/settings/settings.js";
import { train } from "../../lib/train/train.js";
import { trainingState } from "../../lib/train/training-state.js";
import { type CheckpointState, numberedCheckpoints, openCheckpoint, readState } from "../../lib/weights/checkpoint.js";
import type { Training } from "../../lib/weights/pretrained.js";
import { checkpointFile, collect, results, temporaryFolder, tinySettings, writeFox } from "../tiny-run.js";

const folder = temporaryFolder();
let runs = 0;
const newRun = (overrides: Partial<Settings> = {}) => tinySettings(folder, `run-${runs++}`, overrides);
const iters = (records: StepRecord[]) => records.filter((record): record is IterRecord => record.kind === "iter");

beforeAll(() => {
  loadTensorFlow();
  writeFox(folder);
});

/** Stops after the update of `step`. */
async function stopAfter(settings: Settings, step: number): Promise<StepRecord[]> {
  const controller = new AbortController();
  const records: StepRecord[] = [];
  for await (const record of train(settings, { signal: controller.signal })) {
    records.push(record);
    if (record.kind === "iter" && record.step === step) controller.abort();
  }
  return records;
}

describe("two trainings into one folder", () => {
  test("exclude each other, with or without a checkpoint; the first one continues", async () => {
    const settings = newRun();
    const first = train(settings);
    await first.next();
    for (const initFrom of ["scratch", "resume"] as const) {
      await expect(collect(train({ ...settings, initFrom, overwrite: true }))).rejects.toThrow(
        /^Cannot train into .*: another training is running there \(process \d+ on .*, since .*\); choose another outDir, or stop that training\.$/,
      );
    }
    // evalOnly writes nothing.
    expect((await collect(train({ ...settings, evalOnly: true }))).at(-1)).toMatchObject({ kind: "end" });
    expect((await collect(first)).at(-1)).toMatchObject({ reason: "finished" });
    expect(fs.readdirSync(settings.outDir).sort()).toEqual(["checkpoint", "config.json", "log.jsonl", "tensorboard"]);
  });

  test("a training that fails, or whose consumer leaves, releases the folder", async () => {
    const settings = newRun();
    await expect(collect(train({ ...settings, vocabSize: 64, initFrom: "resume" }))).rejects.toThrow(
      "Cannot find a ch",
    );
    expect(fs.existsSync(settings.outDir)).toBe(false);
    for await (const _ of train(settings)) break;
    const lock = lockFolder(settings.outDir);
    if (!("release" in lock)) throw new Error(lock.holder);
    lock.release();
  });
});

describe("the identity of a resumed run", () => {
  const ids = (records: StepRecord[]) => records.flatMap((record) => (record.kind === "start" ? [record.runId] : []));

  test("stays the same with the same settings, wherever it is stopped", async () => {
    const settings = newRun();
    const [id] = ids(await stopAfter(settings, 2));
    expect(ids(await stopAfter({ ...settings, initFrom: "resume", logInterval: 2 }, 3))).toEqual([id]);
    expect(ids(await collect(train({ ...settings, initFrom: "resume" })))).toEqual([id]);
    const dataset = openDataset(folder, "fox");
    expect(identityOf(settings, dataset.meta)).toBe(id);
    dataset.close();
  });

  test("changes at the step where settings or text change, and differs from that of a run that always had them", async () => {
    const settings = newRun({ maxIters: 4 });
    const [id] = ids(await stopAfter(settings, 1));
    const changed = { ...settings, learningRate: 5e-3, initFrom: "resume" as const };
    const [other] = ids(await stopAfter(changed, 2));
    const [fresh] = ids(await collect(train({ ...changed, outDir: newRun().outDir, initFrom: "scratch" })));
    expect(new Set([id, other, fresh]).size).toBe(3);
    expect(readState(settings.outDir)).toMatchObject({ runId: other, origin: { runId: id, step: 2 } });
    // With the new settings, it keeps its new identity.
    expect(ids(await collect(train(changed)))).toEqual([other]);
    // Back to the old settings: a third identity.
    const [third] = ids(await collect(train({ ...settings, maxIters: 5, initFrom: "resume" })));
    expect(new Set([id, other, fresh, third]).size).toBe(4);
  });
});

describe("the numerics of a resumed run", () => {
  /** Changes the numerics in the last checkpoint. */
  function edit(settings: Settings, change: (numerics: Numerics | undefined) => Numerics | undefined): void {
    const file = path.join(openCheckpoint(settings.outDir).path, "state.json");
    const state = JSON.parse(fs.readFileSync(file, "utf8")) as CheckpointState;
    fs.writeFileSync(file, JSON.stringify({ ...state, numerics: change(state.numerics) }));
  }
  const start = (records: StepRecord[]) => records.find((record) => record.kind === "start") as StartRecord;
  const resume = { initFrom: "resume" } as const;

  test("are first those of the machine, stored in the start record and in each checkpoint", async () => {
    const settings = newRun({ compile: true });
    const { numerics, dtype } = start(await stopAfter(settings, 1));
    expect(numerics).toMatchObject({ device: "cpu", dtype, operations: expect.any(String) });
    expect(readState(settings.outDir).numerics).toEqual(numerics);
    expect(start(await collect(train({ ...settings, ...resume }))).numerics).toEqual(numerics);
  });

  test("keep format and products, whatever this machine would choose now", async () => {
    const settings = newRun({ compile: true });
    await stopAfter(settings, 1);
    const products = { small: "tensorflow", large: "folio" } as const;
    edit(settings, (numerics) => ({ ...numerics!, dtype: "bfloat16", products }));
    const records = await collect(train({ ...settings, ...resume }));
    expect(start(records)).toMatchObject({ dtype: "bfloat16", numerics: { dtype: "bfloat16", products } });
    expect(start(records).runId).toBe(readState(settings.outDir).runId);
    // Another requested format changes the run, like any other setting.
    const asked = await collect(train({ ...settings, ...resume, dtype: "float32", maxIters: 7 }));
    expect(start(asked)).toMatchObject({ dtype: "float32", dtypeReason: "asked for" });
  });

  test("are refused if the operations differ, without changes to the run, until told to continue", async () => {
    const settings = newRun({ compile: true });
    const { runId } = start(await stopAfter(settings, 1));
    edit(settings, (numerics) => ({ ...numerics!, operations: "another", dtype: "bfloat16" }));
    const before = fs.readFileSync(path.join(settings.outDir, "log.jsonl"), "utf8");
    await expect(collect(train({ ...settings, ...resume }))).rejects.toThrow(
      /^Cannot continue the run in .* with the same numbers: operations \w+ here, another there.*allowOtherNumerics: true/,
    );
    expect(fs.readFileSync(path.join(settings.outDir, "log.jsonl"), "utf8")).toBe(before);
    // An evaluation is not part of the run.
    await collect(train({ ...settings, ...resume, evalOnly: true }));
    const records = await collect(train({ ...settings, ...resume, allowOtherNumerics: true }));
    expect(start(records).numerics?.operations).not.toBe("another");
    expect(readState(settings.outDir).numerics).toEqual(start(records).numerics);
    // A setting without effect on results does not change the identity.
    expect(start(records).runId).toBe(runId);
  });

  test("are this machine's for an old run without them, and its identity is unchanged", async () => {
    const settings = newRun({ compile: true });
    const { runId } = start(await stopAfter(settings, 1));
    edit(settings, () => undefined);
    const file = path.join(openCheckpoint(settings.outDir).path, "state.json");
    const state = JSON.parse(fs.readFileSync(file, "utf8"));
    delete state.settings.allowOtherNumerics;
    fs.writeFileSync(file, JSON.stringify(state));
    expect(start(await collect(train({ ...settings, ...resume }))).runId).toBe(runId);
  });

  test("are reported if damaged in the checkpoint", async () => {
    const settings = newRun();
    await stopAfter(settings, 1);
    edit(settings, (numerics) => ({ ...numerics!, products: { small: "nobody", large: "folio" } }) as never);
    expect(() => readState(settings.outDir)).toThrow(/is damaged: .*numerics/);
  });
});

describe("the progress of a resumed run", () => {
  test("counts the tokens of earlier steps with their own batch size", async () => {
    const settings = newRun({ maxIters: 4 });
    await stopAfter(settings, 1);
    const records = await collect(train({ ...settings, batchSize: 5, initFrom: "resume" }));
    expect(iters(records).map(({ tokens }) => tokens)).toEqual([32 + 40, 32 + 80]);
    // A checkpoint of an earlier version has no such field: all its steps had the same batch size.
    const { outDir } = newRun();
    fs.cpSync(settings.outDir, outDir, { recursive: true });
    const file = path.join(openCheckpoint(outDir).path, "state.json");
    const { tokens: _, origin: __, ...state } = JSON.parse(fs.readFileSync(file, "utf8"));
    fs.writeFileSync(file, JSON.stringify(state));
    const more = await collect(train({ ...settings, outDir, batchSize: 5, initFrom: "resume", maxIters: 5 }));
    expect(iters(more).map(({ tokens }) => tokens)).toEqual([4 * 40 + 40]);
  });
});

describe("the state of a training", () => {
  const params = { a: float32([1, 2], [2]), b: float32([3], [1, 1]) };
  const zeros = { a: float32([0, 0], [2]), b: float32([0], [1, 1]) };
  const of = (more: Partial<Settings>) => trainingState(newRun({ dtype: "float32", ...more }), params);

  test("is weights and moments of 0; sums only of several micro-batches, a scaler only in float16", () => {
    expect(of({})).toEqual({ params, m: zeros, v: zeros });
    expect(of({ gradientAccumulationSteps: 2 })).toEqual({ params, m: zeros, v: zeros, sums: zeros });
    expect(Object.keys(of({ dtype: "float16" }))).toEqual(["params", "m", "v", "scaler"]);
    expect(of({ evalOnly: true, gradientAccumulationSteps: 2 })).toEqual({ params });
  });

  test("of a checkpoint is its own moments, also by PyTorch's names; a later one must have all of them", () => {
    const settings = newRun();
    const own = { a: float32([5, 6], [2]), b: float32([7], [1, 1]) };
    const from = (step: number, optimizer: HostState) =>
      trainingState(settings, params, {
        ...({ path: "out", settings, params } as unknown as Training),
        step,
        optimizer,
      });
    expect(from(3, { m: own, v: zeros })).toEqual({ params, m: own, v: zeros });
    expect(from(3, { exp_avg: zeros, exp_avg_sq: own })).toEqual({ params, m: zeros, v: own });
    expect(from(0, {})).toEqual({ params, m: zeros, v: zeros });
    const refused = (optimizer: HostState, fault: string) =>
      expect(() => from(1, optimizer)).toThrow(`Cannot resume from out: its optimizer has ${fault}`);
    refused({ m: own }, "v/a missing; wanted float32 [2]");
    refused({ m: own, v: { ...own, a: float32([1], [1]) } }, "v/a as float32 [1]; wanted float32 [2]");
    refused({ m: own, v: own, w: own }, "the unknown group w");
    refused({ m: own, v: { ...own, c: own.a! } }, "v/c, which is unknown");
  });
});

describe("batchSampling epochs", () => {
  const epochs: Partial<Settings> = {
    batchSampling: "epochs",
    gradientAccumulationSteps: 2,
    maxIters: 60,
    dropout: 0.1,
  };

  test("a stopped and resumed run equals an uninterrupted one, beyond an epoch", async () => {
    const reference = newRun({ ...epochs, evalInterval: 60 });
    await collect(train(reference));
    const settings = newRun({ ...epochs, evalInterval: 60 });
    await stopAfter(settings, 17);
    await stopAfter({ ...settings, initFrom: "resume" }, 49);
    await collect(train({ ...settings, initFrom: "resume" }));
    expect(results(settings.outDir)).toEqual(results(reference.outDir));
    for (const file of ["model.safetensors", "optimizer.safetensors"]) {
      expect(checkpointFile(settings.outDir, file).equals(checkpointFile(reference.outDir, file))).toBe(true);
    }
  });

  test("trains on other rows than uniform offsets, and is another run", async () => {
    const [a, b] = [newRun({ maxIters: 2 }), newRun({ maxIters: 2, batchSampling: "epochs" })];
    const [first, second] = [await collect(train(a)), await collect(train(b))];
    expect(iters(first)[0]!.loss).not.toBe(iters(second)[0]!.loss);
    expect(readState(a.outDir).runId).not.toBe(readState(b.outDir).runId);
  });
});

describe("saveInterval", () => {
  test("keeps the newest keepCheckpoints checkpoints by step, besides those of evaluations", async () => {
    const settings = newRun({ maxIters: 8, evalInterval: 4, saveInterval: 3, keepCheckpoints: 1 });
    const records = await stopAfter(settings, 3);
    const saved = (all: StepRecord[]) => all.flatMap((record) => (record.kind === "checkpoint" ? [record.step] : []));
    expect(saved(records)).toEqual([3, 4]);
    expect(numberedCheckpoints(settings.outDir)).toEqual([3]);
    const more = await collect(train({ ...settings, initFrom: "resume" }));
    expect(saved(more)).toEqual([4, 6, 8]);
    expect(numberedCheckpoints(settings.outDir)).toEqual([6]);
    expect(openCheckpoint(settings.outDir, 6)).toMatchObject({ step: 6, evaluated: false });
    const all = await collect(train({ ...newRun({ maxIters: 6 }), saveInterval: 2, keepCheckpoints: 0 }));
    expect(saved(all)).toEqual([2, 4, 6]);
  });
});

describe("initFrom a run's folder", () => {
  test("starts with its best weights, its shape, fewer positions and new moments, and can be resumed", async () => {
    const source = newRun({ maxIters: 6, bias: true, gelu: "tanh" });
    await collect(train(source));
    const best = openCheckpoint(source.outDir, "best");
    const settings = newRun({ initFrom: source.outDir, nLayer: 3, nEmbd: 24, blockSize: 5, dropout: 0.1, maxIters: 2 });
    const records = await stopAfter(settings, 0);
    expect(records[0]).toMatchObject({ kind: "start", step: 0, initFrom: source.outDir });
    const state = readState(settings.outDir);
    expect(state.settings).toMatchObject({ nLayer: 1, nEmbd: 8, blockSize: 5, bias: true, gelu: "tanh", dropout: 0.1 });
    expect(state.origin?.weights).toMatch(/^[\da-f]{64}$/);
    const { params } = openCheckpoint(settings.outDir);
    expect(params["wpe.weight"]!.shape).toEqual([5, 8]);
    const moved = params["wte.weight"]!.values.map((value, i) => value - best.params["wte.weight"]!.values[i]!);
    expect(Math.max(...Array.from(moved, Math.abs))).toBeLessThan(2 * settings.learningRate);
    const resumed = await collect(train({ ...state.settings, initFrom: "resume" }));
    expect(resumed[0]).toMatchObject({ kind: "start", step: 1, runId: state.runId });
    expect(resumed[0]).not.toHaveProperty("initFrom");
    // The same settings from scratch give another run.
    const dataset = openDataset(folder, "fox");
    expect(identityOf(state.settings, dataset.meta)).not.toBe(state.runId);
    dataset.close();
  });

  test("refuses settings that do not fit, and names the nearest folder", async () => {
    const source = newRun({ maxIters: 1 });
    await collect(train(source));
    const start = (more: Partial<Settings>) => collect(train(newRun({ initFrom: source.outDir, ...more })));
    await expect(start({ blockSize: 16 })).rejects.toThrow(
      /^Cannot start from .*: blockSize is 16, but the weights have 8 positions; use blockSize: 8 or less\.$/,
    );
    const padded = newRun({ maxIters: 1, vocabSize: 64 });
    await collect(train(padded));
    await expect(start({ initFrom: padded.outDir, vocabSize: 40 })).rejects.toThrow(
      "vocabSize is 40, but the weights have 64 ids; use vocabSize: 0",
    );
    writeFox(folder, "longer", "!");
    await expect(start({ dataset: "longer" })).rejects.toThrow(
      /the weights' tokenizer \(28 ids\) is not that of the dataset longer \(29 ids\)/,
    );
    await expect(start({ initFrom: "rseume" })).rejects.toThrow(
      "Cannot start from rseume: there is no such file or folder; did you mean resume?",
    );
    await expect(start({ initFrom: "somewhere/else" })).rejects.toThrow(
      "there is no such file or folder; wanted one of scratch, resume, gpt2, gpt2-medium, gpt2-large, gpt2-xl, or a path.",
    );
  });
});

describe("a step of many micro-batches", () => {
  test("reports progress, and can stop between two of them, saving the previous step", async () => {
    const settings = newRun({ gradientAccumulationSteps: 1000, maxIters: 3, evalInterval: 100 });
    const controller = new AbortController();
    const seen: string[] = [];
    const onProgress = (progress: { doing: string; step: number; done: number; total: number }) => {
      seen.push(`${progress.doing} ${progress.step} ${progress.done}/${progress.total}`);
      if (progress.doing === "step" && progress.done === 5) controller.abort();
    };
    const records = await collect(train(settings, { signal: controller.signal, onProgress }));
    expect(records.map(({ kind, step }) => `${kind} ${step}`)).toEqual(["start 0", "eval 0", "end 0"]);
    expect(seen).toEqual([
      ...[1, 2, 3, 4].map((done) => `evaluation 0 ${done}/4`),
      ...[1, 2, 3, 4, 5].map((done) => `step 0 ${done}/1000`),
    ]);
  });
});

describe("memory", () => {
  test("that no machine has is refused before allocation, with numbers", async () => {
    const settings = newRun({ nEmbd: 2_000_000, nHead: 2 });
    await expect(collect(train(settings))).rejects.toThrow(
      /^Cannot build the model: its [\d,]+ parameters need [\d.]+ GB \(weights, gradients and AdamW's moments\), but there are only [\d.]+ GB; lower nEmbd, nLayer or blockSize\.$/,
    );
    expect(fs.existsSync(settings.outDir)).toBe(false);
  });
});
