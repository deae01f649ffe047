/** train() as a whole against nanoGPT's loop in PyTorch, from log to checkpoint: test/golden/make-train.py made the values. */
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { writeDataset } from "../../lib/data/batches.js";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import type { HostTensors } from "../../lib/engine/host-tensors.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import type { Settings } from "../../lib/settings/settings.js";
import { train } from "../../lib/train/train.js";
import { openCheckpoint, saveCheckpoint } from "../../lib/weights/checkpoint.js";
import { readSafetensors } from "../../lib/weights/safetensors.js";
import { collect, temporaryFolder, tinySettings } from "../tiny-run.js";

const folder = new URL("../golden/", import.meta.url);
const golden = JSON.parse(readFileSync(new URL("train.json", folder), "utf8")) as {
  settings: Partial<Settings>;
  train: number[];
  val: number[];
  evals: { step: number; trainLoss: number; valLoss: number; best: boolean }[];
  steps: { step: number; loss: number; gradNorm: number; learningRate: number }[];
  bestStep: number;
};
const tensors = readSafetensors(new URL("train.safetensors", folder).pathname);

/** The tensors of a part of the file, by parameter. */
const part = (name: string): HostTensors =>
  Object.fromEntries(
    Object.entries(tensors).flatMap(([key, tensor]) =>
      key.startsWith(`${name}/`) ? [[key.slice(name.length + 1), tensor]] : [],
    ),
  );

const dataDir = temporaryFolder();
const tokenizer = charTokenizer("abcdefghijklm");
const settingsOf = (compile: boolean): Settings =>
  tinySettings(dataDir, `compile-${compile}`, {
    ...{ ...golden.settings, dataset: "golden", compile, dtype: "float32", device: "cpu" },
    ...{ initFrom: "resume", logInterval: 1 },
  });

beforeAll(() => {
  loadTensorFlow();
  const [ids, val] = [Int32Array.from(golden.train), Int32Array.from(golden.val)];
  writeDataset(dataDir, { name: "golden", tokenizer, train: ids, val });
});

/** A checkpoint of step 0: a run begins with PyTorch's weights as it would with its own. */
function begin(settings: Settings): void {
  const state = { step: 0, tokens: 0, evaluated: false, bestValLoss: null, trainedMs: 0, settings };
  const rest = { runId: "0".repeat(64), origin: {}, tokenizer: tokenizer.toJSON(), versions: {} };
  saveCheckpoint(settings.outDir, { params: part("start"), optimizer: {}, ...state, ...rest }, { best: false });
}

/** The largest difference by the largest value. */
function expectTensors(found: HostTensors, wanted: HostTensors, share: number, what: string): void {
  expect(Object.keys(found).sort()).toEqual(Object.keys(wanted).sort());
  for (const [name, { values, shape }] of Object.entries(wanted)) {
    expect(found[name]!.shape, name).toEqual(shape);
    const most = Array.from(values, Math.abs).reduce((high, value) => Math.max(high, value), 0);
    values.forEach((value, i) => {
      const off = Math.abs(found[name]!.values[i]! - value) / most;
      expect(off, `${what} ${name} [${i}]: ${found[name]!.values[i]} for ${value}`).toBeLessThan(share);
    });
  }
}

describe("the fixture", () => {
  test("clips some steps, warms up, decays, ends at the lowest rate, and has its best evaluation in the middle", () => {
    const { steps, evals, settings, bestStep } = golden;
    const clipped = steps.filter(({ gradNorm }) => gradNorm > settings.gradClip!);
    expect(clipped.length).toBeGreaterThan(2);
    expect(clipped.length).toBeLessThan(steps.length - 2);
    expect(steps[1]!.learningRate).toBeGreaterThan(steps[0]!.learningRate);
    expect(steps.at(-1)!.learningRate).toBe(settings.minLr);
    const lowest = evals.reduce((low, other) => (other.trainLoss < low.trainLoss ? other : low));
    expect(new Set([bestStep, lowest.step, settings.maxIters]).size).toBe(3);
    expect(settings).toMatchObject({ gradientAccumulationSteps: 3, dropout: 0, weightDecay: 0.3 });
  });
});

for (const compile of [false, true]) {
  describe(`train(), ${compile ? "compiled" : "eager"}`, () => {
    const settings = settingsOf(compile);
    beforeAll(async () => {
      begin(settings);
      await collect(train(settings));
    });

    test("logs each step's loss over its micro-batches, the norm before clipping and the rate that was applied", () => {
      const iters = readRunLog(settings.outDir).filter((record) => record.kind === "iter");
      expect(iters.map(({ step }) => step)).toEqual(golden.steps.map(({ step }) => step));
      for (const [i, { loss, gradNorm, learningRate }] of golden.steps.entries()) {
        expect(Math.abs(iters[i]!.loss - loss), `loss of step ${i}`).toBeLessThan(2e-5);
        expect(Math.abs(iters[i]!.gradNorm / gradNorm - 1), `norm of step ${i}`).toBeLessThan(1e-4);
        expect(iters[i]!.learningRate).toBeCloseTo(learningRate, 12);
        expect(iters[i]!.tokens).toBe((i + 1) * 3 * 3 * 6);
      }
    });

    test("logs each evaluation's losses of both splits, and which is the best by validation", () => {
      const evals = readRunLog(settings.outDir).filter((record) => record.kind === "eval");
      expect(evals.map(({ step, best }) => [step, best])).toEqual(golden.evals.map(({ step, best }) => [step, best]));
      for (const [i, { trainLoss, valLoss }] of golden.evals.entries()) {
        expect(Math.abs(evals[i]!.trainLoss - trainLoss), `training loss of evaluation ${i}`).toBeLessThan(2e-5);
        expect(Math.abs(evals[i]!.valLoss - valLoss), `validation loss of evaluation ${i}`).toBeLessThan(2e-5);
      }
    });

    test("leaves PyTorch's weights and moments in the last checkpoint, and the best weights in the best", () => {
      const last = openCheckpoint(settings.outDir);
      expect(last.step).toBe(golden.settings.maxIters);
      expectTensors(last.params, part("param"), 1e-4, "weights");
      expectTensors(last.optimizer.m!, part("m"), 1e-4, "first moments");
      expectTensors(last.optimizer.v!, part("v"), 1e-4, "second moments");
      const best = openCheckpoint(settings.outDir, "best");
      expect(best.step).toBe(golden.bestStep);
      expect(best.bestValLoss).toBeCloseTo(golden.evals.find(({ step }) => step === golden.bestStep)!.valLoss, 4);
      expectTensors(best.params, part("best"), 1e-4, "best weights");
    });
  });
}
