import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, test } from "vitest";
import charSettings from "../../../configs/train_shakespeare_char.js";
import { float32, type HostTensors, int32, mapRecord } from "../../../lib/engine/host-tensors.js";
import { openSession } from "../../../lib/engine/session.js";
import { loadTensorFlow } from "../../../lib/engine/tensorflow/load.js";
import { parameterSpecs } from "../../../lib/model/model.js";
import { defaultSettings, parseSettings, type Settings } from "../../../lib/settings/settings.js";
import { adamW, adamw, biasCorrections, decayGroups, initialMoments } from "../../../lib/train/optimizers/adamw.js";
import { clipScale, globalNorm } from "../../../lib/train/optimizers/clipping.js";
import { learningRate } from "../../../lib/train/optimizers/schedule.js";
import { trainingSteps } from "../../../lib/train/steps.js";
import { readSafetensors } from "../../../lib/weights/safetensors.js";
import { expectNoLeak } from "../../leaks.js";

// PyTorch's values: test/golden/make.py made them.
const folder = new URL("../../golden/", import.meta.url);
const golden = JSON.parse(readFileSync(new URL("index.json", folder), "utf8"));
const tensors = (name: string) => readSafetensors(new URL(`${name}.safetensors`, folder).pathname);

beforeAll(() => {
  loadTensorFlow();
});

describe("learningRate()", () => {
  for (const { name, settings, at } of golden.schedules) {
    test(`is nanoGPT's cosine: ${name}`, () => {
      for (const [step, expected] of at) {
        expect(learningRate(step, { ...defaultSettings, ...settings })).toBeCloseTo(expected, 12);
      }
    });
  }

  test("gives the rates published for nanoGPT's settings", () => {
    const char = parseSettings(charSettings);
    expect(learningRate(0, defaultSettings)).toBeCloseTo(2.9985e-7, 11);
    expect(learningRate(1999, defaultSettings)).toBeCloseTo(5.997e-4, 8);
    expect(learningRate(301_000, defaultSettings)).toBeCloseTo(3.3e-4, 12);
    expect(learningRate(0, char)).toBeCloseTo(9.90099e-6, 11);
    expect(learningRate(2550, char)).toBeCloseTo(5.5e-4, 12);
  });

  const short = {
    ...defaultSettings,
    learningRate: 1,
    minLr: 0.1,
    warmupIters: 10,
    lrDecayIters: 110,
    decayFraction: 0.2,
  };

  for (const schedule of ["cosine", "linear", "wsd"] as const) {
    test(`reaches minLr at lrDecayIters and stays there: ${schedule}`, () => {
      const settings = { ...short, schedule };
      expect(learningRate(10, settings)).toBeCloseTo(1, 12);
      expect(learningRate(110, settings)).toBeCloseTo(0.1, 12);
      expect(learningRate(1000, settings)).toBe(0.1);
    });
  }

  test("linear is half-way in the middle; wsd holds the peak until the last fifth", () => {
    expect(learningRate(60, { ...short, schedule: "linear" })).toBeCloseTo(0.55, 12);
    expect(learningRate(88, { ...short, schedule: "wsd" })).toBe(1);
    expect(learningRate(99, { ...short, schedule: "wsd" })).toBeCloseTo(0.55, 12);
  });

  test("ends the warm-up even if it lasts longer than the schedule: minLr follows, as in nanoGPT", () => {
    const late = { ...short, warmupIters: 20, lrDecayIters: 10 };
    expect(learningRate(19, late)).toBeCloseTo(20 / 21, 12);
    expect(learningRate(20, late)).toBe(0.1);
  });

  test("constant warms up and stays; decayLr false does not even warm up", () => {
    expect(learningRate(4, { ...short, schedule: "constant" })).toBeCloseTo(5 / 11, 12);
    expect(learningRate(5000, { ...short, schedule: "constant" })).toBe(1);
    expect(learningRate(0, { ...short, decayLr: false })).toBe(1);
  });
});

describe("decayGroups()", () => {
  const groups = (settings: Partial<Settings>) => decayGroups(parameterSpecs({ ...defaultSettings, ...settings }));

  test("counts what nanoGPT prints for GPT-2 124M from scratch", () => {
    expect(groups({ vocabSize: 50_304 })).toEqual({
      decayed: { tensors: 50, parameters: 124_354_560 },
      undecayed: { tensors: 25, parameters: 19_200 },
    });
  });

  test("counts what nanoGPT prints for OpenAI's GPT-2", () => {
    expect(groups({ vocabSize: 50_257, bias: true })).toEqual({
      decayed: { tensors: 50, parameters: 124_318_464 },
      undecayed: { tensors: 98, parameters: 121_344 },
    });
  });

  test("counts what nanoGPT prints for its character model", () => {
    expect(groups({ ...charSettings, vocabSize: 65 })).toEqual({
      decayed: { tensors: 26, parameters: 10_740_096 },
      undecayed: { tensors: 13, parameters: 4_992 },
    });
  });
});

describe("training steps", () => {
  for (const compile of [false, true]) {
    for (const { model, settings, steps } of golden.adamw) {
      test(`20 steps of ${model} equal PyTorch's, ${compile ? "compiled" : "eager"}`, async () => {
        const config = { ...defaultSettings, ...golden.models[model].config, ...settings, compile } as Settings;
        const result = await trainGolden(config, tensors(model), steps);
        for (const [i, { loss, gradNorm }] of steps.entries()) {
          expect(Math.abs(result.losses[i]! - loss), `loss of step ${i}`).toBeLessThan(1e-3);
          expect(Math.abs(result.gradNorms[i]! / gradNorm - 1), `gradient norm of step ${i}`).toBeLessThan(1e-3);
        }
        const last = tensors(`${model}-adamw`);
        for (const [name, tensor] of Object.entries(result.params)) {
          expect(largestDifference(name, tensor.values, last[`param/${name}`]!.values), name).toBeLessThan(1e-3);
        }
      });
    }
  }
});

/** nanoGPT's loop over the stored batches. */
async function trainGolden(config: Settings, stored: HostTensors, steps: GoldenStep[]) {
  const params = Object.fromEntries(parameterSpecs(config).map(({ name }) => [name, stored[`param/${name}`]!]));
  const zeros = () => mapRecord(params, ({ shape, values }) => float32(new Float32Array(values.length), shape));
  const session = await openSession({ params, m: zeros(), v: zeros(), sums: zeros() }, { compile: config.compile });
  const losses: number[] = [];
  const gradNorms: number[] = [];
  try {
    const { accumulate, update } = trainingSteps(config);
    const [runAccumulate, runUpdate] = [session.define(accumulate), session.define(update)];
    for (const [step, { micro }] of steps.entries()) {
      const [first, second] = micro.map(({ x, y }) => ({ x: ids(x), y: ids(y), dropoutKey: int32([0, step], [2]) }));
      const [correction1, correction2] = biasCorrections(step + 1, config);
      const a = await runAccumulate(first!);
      const b = await runUpdate({
        ...second!,
        learningRate: float32([learningRate(step, config)], []),
        biasCorrection1: float32([correction1], []),
        biasCorrection2: float32([correction2], []),
      });
      losses.push((a.loss!.values[0]! + b.loss!.values[0]!) / 2);
      gradNorms.push(b.gradNorm!.values[0]!);
    }
    return { losses, gradNorms, params: await session.read("params") };
  } finally {
    session.dispose();
  }
}

interface GoldenStep {
  loss: number;
  gradNorm: number;
  micro: { x: number[][]; y: number[][] }[];
}

const ids = (rows: number[][]) => int32(rows.flat(), [rows.length, rows[0]!.length]);

/**
 * A key's bias adds the same number to all scores of a row, which softmax ignores, so its true gradient is 0. AdamW
 * turns its rounding errors into steps of full size. Therefore, this third of c_attn.bias is not compared.
 */
function largestDifference(name: string, found: ArrayLike<number>, wanted: ArrayLike<number>): number {
  const third = found.length / 3;
  const differences = Array.from(found, (value, i) => {
    const free = name.endsWith("c_attn.bias") && i >= third && i < 2 * third;
    return free ? 0 : Math.abs(value - wanted[i]!);
  });
  return Math.max(...differences);
}

describe("adamW(), globalNorm() and clipScale()", () => {
  test("clip to the norm, and leave smaller gradients unchanged, and all with maxNorm 0", () => {
    tf.tidy(() => {
      const gradients = { a: tf.tensor1d([3, 0]), b: tf.tensor2d([[4]]) };
      const norm = globalNorm(gradients);
      expect(norm.dataSync()[0]).toBeCloseTo(5, 5);
      expect(clipScale(norm, 1).dataSync()[0]).toBeCloseTo(0.2, 5);
      expect(clipScale(norm, 10).dataSync()[0]).toBe(1);
      expect(clipScale(norm, 0).dataSync()[0]).toBe(1);
    });
  });

  test("clip by maxNorm / (norm + 1e-6), as PyTorch does: half of a norm of 1e-6", () => {
    const scale = tf.tidy(() => clipScale(tf.scalar(1e-6), 1e-6).dataSync()[0]);
    expect(scale).toBeCloseTo(0.5, 6);
  });

  test("the change of an update is what it added to each parameter", () => {
    tf.tidy(() => {
      const params = { matrix: tf.tensor2d([[1, -3]]), vector: tf.tensor1d([2]) };
      const moments = { m: mapRecord(params, (p) => tf.mul(p, 0.2)), v: mapRecord(params, (p) => tf.square(p)) };
      const gradients = { matrix: tf.tensor2d([[4, 5]]), vector: tf.tensor1d([-7]) };
      const settings = { ...defaultSettings, beta1: 0.9, beta2: 0.95, weightDecay: 0.5 };
      const [learningRate, biasCorrection1, biasCorrection2] = [tf.scalar(0.1), tf.scalar(0.19), tf.scalar(0.0975)];
      const inputs = { learningRate, biasCorrection1, biasCorrection2 };
      const next = adamW({ params, ...moments }, gradients, inputs, settings);
      const change = adamw.change({ ...next }, inputs, settings);
      // By PyTorch's formula, in double precision.
      const added = (before: number, gradient: number, decay: number) => {
        const m = (0.9 * 0.2 * before + 0.1 * gradient) / 0.19;
        const v = (0.95 * before ** 2 + 0.05 * gradient ** 2) / 0.0975;
        return -0.1 * decay * before - (0.1 * m) / (Math.sqrt(v) + 1e-8);
      };
      const [first, second] = change.matrix!.dataSync();
      expect(first).toBeCloseTo(added(1, 4, 0.5), 5);
      expect(second).toBeCloseTo(added(-3, 5, 0.5), 5);
      expect(change.vector!.dataSync()[0]).toBeCloseTo(added(2, -7, 0), 5);
      expect(next.params.matrix!.dataSync()[1]).toBeCloseTo(-3 + added(-3, 5, 0.5), 5);
    });
  });

  test("move each parameter by the learning rate in the first update, and decay only matrices", () => {
    tf.tidy(() => {
      const params = { matrix: tf.tensor2d([[1]]), vector: tf.tensor1d([1]) };
      const gradients = { matrix: tf.tensor2d([[2]]), vector: tf.tensor1d([-2]) };
      const settings = { beta1: 0.9, beta2: 0.95, weightDecay: 0.5 };
      const [biasCorrection1, biasCorrection2] = biasCorrections(1, settings).map((c) => tf.scalar(c));
      const inputs = {
        learningRate: tf.scalar(0.1),
        biasCorrection1: biasCorrection1!,
        biasCorrection2: biasCorrection2!,
      };
      const next = adamW({ params, ...initialMoments(params) }, gradients, inputs, settings);
      expect(next.params.matrix!.dataSync()[0]).toBeCloseTo(1 - 0.1 * 0.5 - 0.1, 5);
      expect(next.params.vector!.dataSync()[0]).toBeCloseTo(1.1, 5);
    });
  });

  test("leave only their results, which the caller owns", () => {
    const w = tf.ones([2, 2]);
    const state = { params: { w }, ...initialMoments({ w }) };
    const [rate, norm] = [tf.scalar(0.1), tf.scalar(3) as tf.Scalar];
    const inputs = { learningRate: rate, biasCorrection1: rate, biasCorrection2: rate };
    const settings = { beta1: 0.9, beta2: 0.99, weightDecay: 0.1 };
    const yes = tf.scalar(true, "bool");
    expectNoLeak(() => globalNorm({ w }).dispose());
    for (const limit of [0, 1]) expectNoLeak(() => clipScale(norm, limit).dispose());
    for (const more of [{}, { gradientScale: rate }, { when: yes }]) {
      expectNoLeak(() => tf.dispose(adamW(state, { w }, { ...inputs, ...more }, settings) as tf.TensorContainer));
    }
    tf.dispose([w, rate, norm, yes, state.m.w!, state.v.w!]);
  });

  test("initialMoments() leaves nothing behind once its tensors are disposed of", () => {
    expectNoLeak(() => {
      const params = { a: tf.ones([2, 3]) };
      tf.dispose([params, initialMoments(params)]);
    });
  });
});
