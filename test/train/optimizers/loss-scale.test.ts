/** Loss scaling by PyTorch's rule (torch.amp.GradScaler), and float16 runs that use it. */
import fs from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, test } from "vitest";
import { float32, type HostTensors, int32, mapRecord, toHost } from "../../../lib/engine/host-tensors.js";
import { openSession } from "../../../lib/engine/session.js";
import { loadTensorFlow } from "../../../lib/engine/tensorflow/load.js";
import { initialParameters } from "../../../lib/model/model.js";
import type { IterRecord } from "../../../lib/runs/records.js";
import { defaultSettings } from "../../../lib/settings/settings.js";
import { adamW, adamw, biasCorrections } from "../../../lib/train/optimizers/adamw.js";
import { initialLossScale, LEAST_SCALE, scaleStep } from "../../../lib/train/optimizers/loss-scale.js";
import { trainingSteps } from "../../../lib/train/steps.js";
import { train } from "../../../lib/train/train.js";
import { openCheckpoint } from "../../../lib/weights/checkpoint.js";
import { expectNoLeak } from "../../leaks.js";
import { checkpointFile, collect, results, temporaryFolder, tinySettings, writeFox } from "../../tiny-run.js";

loadTensorFlow();
const dataDir = temporaryFolder();
writeFox(dataDir);
const betas = { beta1: 0.9, beta2: 0.999 };

describe("scaleStep()", () => {
  function stepped(scaler: Record<"scale" | "goodSteps" | "updates", number>, scaledNorm: number) {
    const found: Record<string, number> = {};
    tf.tidy(() => {
      const scalars = mapRecord(scaler, (value) => tf.scalar(value));
      const { scaler: next, norm, when, count } = scaleStep(scalars, tf.scalar(scaledNorm));
      const corrections = adamw.inputsOf(count, { ...defaultSettings, ...betas });
      const all = { norm, when, ...next, ...corrections };
      for (const [name, tensor] of Object.entries(all)) found[name] = tensor.dataSync()[0]!;
    });
    return found;
  }

  test("halves the scale at a non-finite gradient, and does not count the update", () => {
    for (const norm of [Number.POSITIVE_INFINITY, Number.NaN]) {
      const next = stepped({ scale: 65536, goodSteps: 1999, updates: 5000 }, norm);
      expect(next).toMatchObject({ scale: 32768, goodSteps: 0, updates: 5000, when: 0 });
    }
  });

  test("doubles it after 2,000 good steps", () => {
    expect(stepped({ scale: 512, goodSteps: 1998, updates: 7 }, 1)).toMatchObject({ scale: 512, goodSteps: 1999 });
    const grown = { scale: 1024, goodSteps: 0, updates: 8, when: 1, norm: 2 };
    expect(stepped({ scale: 512, goodSteps: 1999, updates: 7 }, 1024)).toMatchObject(grown);
  });

  test("corrects the bias of moments by the number of completed updates, in single precision", () => {
    for (const updates of [0, 1, 9, 999, 100_000]) {
      const next = stepped({ scale: 1, goodSteps: 0, updates }, 1);
      const [first, second] = biasCorrections(updates + 1, betas);
      expect(next.biasCorrection1! / first).toBeCloseTo(1, 6);
      expect(next.biasCorrection2! / second).toBeCloseTo(1, 6);
    }
  });
});

test("the scale begins at PyTorch's 65,536, with no good step, and at least is float16's smallest normal number", () => {
  const scalar = (value: number) => ({ dtype: "float32", shape: [], values: Float32Array.of(value) });
  expect(initialLossScale(7)).toEqual({ scale: scalar(65_536), goodSteps: scalar(0), updates: scalar(7) });
  expect(LEAST_SCALE).toBe(6.103515625e-5);
});

test("a step of the scaler leaves only its results", () => {
  const scaler = mapRecord({ scale: 1, goodSteps: 2, updates: 3 }, (value) => tf.scalar(value));
  const norm = tf.scalar(1) as tf.Scalar;
  expectNoLeak(() => tf.dispose({ ...scaleStep(scaler, norm) } as unknown as tf.TensorContainer));
  tf.dispose([scaler, norm]);
});

test.each([false, true])("a skipped AdamW update does not change any bit, compiled: %s", async (compile) => {
  const group = (value: number) => ({ w: float32([value, 2 * value, 1e-30, 3], [2, 2]), b: float32([value], [1]) });
  const session = await openSession({ params: group(0.1), m: group(0.2), v: group(0.3) }, { compile });
  const run = session.define((state, { when, scale }) => {
    const { params, m, v } = state as Record<"params" | "m" | "v", Record<string, tf.Tensor>>;
    const gradients = mapRecord(params, (param) => tf.onesLike(param));
    const one = tf.scalar(0.5);
    const rates = { learningRate: one, biasCorrection1: one, biasCorrection2: one, gradientScale: scale!, when: when! };
    const next = adamW({ params, m, v }, gradients, rates, { ...betas, weightDecay: 0.1 });
    return { state: { ...next }, outputs: { old: params.w!, next: next.params.w! } };
  });
  const step = (when: 0 | 1, scale: number) =>
    run({ when: { dtype: "bool", shape: [], values: Uint8Array.of(when) }, scale: float32([scale], []) });
  const everything = async () => [await session.read("params"), await session.read("m"), await session.read("v")];
  const before = await everything();
  const outputs = await step(0, Number.NaN);
  expect(outputs.next).toEqual(outputs.old);
  expect(await everything()).toEqual(before);
  const updated = await step(1, 1);
  expect(updated.next!.values[0]).not.toBe(updated.old!.values[0]);
  expect((await session.read("params")).w).toEqual(updated.next);
  expect((await everything()).flatMap((tensors) => [...tensors.w!.values]).every(Number.isFinite)).toBe(true);
  session.dispose();
});

describe("a float16 step", () => {
  const settings = { ...tinySettings(dataDir, "step"), vocabSize: 28, dtype: "float16" } as const;

  async function openStep(accumulation: number) {
    const tensors = initialParameters(settings, 1);
    const entries = Object.entries(tensors).map(async ([name, tensor]) => [name, await toHost(tensor)] as const);
    const params: HostTensors = Object.fromEntries(await Promise.all(entries));
    tf.dispose(tensors);
    const zeros = mapRecord(params, ({ shape, values }) => float32(new Float32Array(values.length), shape));
    const state = { params, m: zeros, v: zeros, sums: zeros, scaler: initialLossScale(0) };
    const session = await openSession(state, { dtype: "float16" });
    const steps = trainingSteps({ ...settings, gradientAccumulationSteps: accumulation });
    return { session, update: session.define(steps.update), accumulate: session.define(steps.accumulate) };
  }

  const batch = { x: int32(new Int32Array(16).fill(3), [2, 8]), y: int32(new Int32Array(16).fill(5), [2, 8]) };
  const inputs = {
    ...{ ...batch, dropoutKey: int32([1, 2], [2]), learningRate: float32([1e-2], []) },
    ...{ biasCorrection1: float32([1], []), biasCorrection2: float32([1], []) },
  };

  test.each([1, 2])("whose gradients overflow changes nothing but the scale, micro-batches: %i", async (micros) => {
    const { session, update, accumulate } = await openStep(micros);
    const groups = async () => Promise.all(["params", "m", "v"].map((group) => session.read(group)));
    const before = await groups();
    await session.write("scaler", { scale: float32([2 ** 60], []) });
    if (micros > 1) await accumulate(inputs);
    await session.write("scaler", { scale: float32([2 ** 60], []) });
    const skipped = await update(inputs);
    expect(Number.isFinite(skipped.gradNorm!.values[0])).toBe(false);
    expect(skipped.loss!.values[0]).toBeCloseTo(Math.log(28), 1); // the reported loss is not scaled
    expect(skipped.lossScale!.values[0]).toBe(2 ** 59);
    expect(await groups()).toEqual(before);
    if (micros > 1) {
      const sums = Object.values(await session.read("sums")).flatMap(({ values }) => [...values]);
      expect(new Set(sums)).toEqual(new Set([0]));
    }
    await session.write("scaler", { scale: float32([1024], []) });
    const good = await update(inputs);
    expect(good.gradNorm!.values[0]).toBeLessThan(10);
    expect((await session.read("scaler")).updates!.values[0]).toBe(1);
    expect(await groups()).not.toEqual(before);
    session.dispose();
  });

  test("has the gradient of the same step in float32, to float16 precision", async () => {
    const { session, update } = await openStep(1);
    const plain = await openSession({ params: await session.read("params") });
    const { evaluate } = trainingSteps(settings);
    const exact = await plain.define(evaluate)(batch);
    const { loss, gradNorm } = await update(inputs);
    expect(Math.abs(loss!.values[0]! / exact.loss!.values[0]! - 1)).toBeLessThan(2 ** -9);
    expect(loss!.values[0]).not.toBe(exact.loss!.values[0]); // it was computed in another format
    expect(gradNorm!.values[0]).toBeGreaterThan(0.1);
    session.dispose();
    plain.dispose();
  });
});

describe("a float16 run", () => {
  const long = { maxIters: 40, lrDecayIters: 40, learningRate: 3e-2, evalInterval: 20 };
  const settings = (outDir: string, overrides = {}) =>
    tinySettings(dataDir, outDir, { compile: true, dtype: "float16", ...long, ...overrides });
  const iters = (records: readonly { kind: string }[]) => records.filter((r) => r.kind === "iter") as IterRecord[];

  test("trains, reports its scale, and after a stop resumes to the same result", async () => {
    const whole = await collect(train(settings("whole")));
    expect(whole[0]).toMatchObject({ kind: "start", dtype: "float16", dtypeReason: "asked for" });
    const steps = iters(whole);
    expect(steps.every(({ lossScale }) => lossScale! > LEAST_SCALE)).toBe(true);
    expect(steps.at(-1)!.loss).toBeLessThan(steps[0]!.loss - 0.2);

    await collect(train(settings("parts", { maxIters: 15 })));
    await collect(train(settings("parts", { initFrom: "resume" })));
    for (const file of ["model.safetensors", "optimizer.safetensors"]) {
      const [a, b] = ["whole", "parts"].map((name) => checkpointFile(path.join(dataDir, name), file));
      expect(a!.equals(b!)).toBe(true);
    }
    expect(results(path.join(dataDir, "parts")).at(-1)).toEqual(results(path.join(dataDir, "whole")).at(-1));
    expect(openCheckpoint(path.join(dataDir, "parts")).optimizer.scaler!.updates!.values[0]).toBe(
      steps.filter(({ skipped }) => !skipped).length,
    );
  });

  test("can be resumed in float32, and a float32 run in float16", async () => {
    await collect(train(settings("other", { maxIters: 4 })));
    await collect(train(settings("other", { maxIters: 6, dtype: "float32", initFrom: "resume" })));
    expect(openCheckpoint(path.join(dataDir, "other")).optimizer.scaler).toBeUndefined();
    const records = await collect(train(settings("other", { maxIters: 8, initFrom: "resume" })));
    expect(iters(records).map(({ step }) => step)).toEqual([6, 7]);
    expect(openCheckpoint(path.join(dataDir, "other")).optimizer.scaler!.updates!.values[0]).toBeGreaterThan(6);
  });

  test("is refused if the scaler in its checkpoint is damaged", async () => {
    const { safetensors } = { safetensors: await import("../../../lib/weights/safetensors.js") };
    await collect(train(settings("damaged", { maxIters: 2 })));
    const folder = openCheckpoint(path.join(dataDir, "damaged")).path;
    const file = path.join(folder, "optimizer.safetensors");
    const { "scaler/scale": _, ...rest } = safetensors.readSafetensors(file);
    fs.rmSync(file);
    safetensors.writeSafetensors(file, rest);
    await expect(collect(train(settings("damaged", { maxIters: 4, initFrom: "resume" })))).rejects.toThrow(
      /^Cannot resume from .*: its optimizer has scaler\/scale missing; wanted float32 \[\]\.$/,
    );
  });
});
