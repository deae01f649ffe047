/**
 * The table of raw operations: on "tensorflow" and, in plain form, on TensorFlow.js's "cpu" backend, as in a browser.
 */
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, describe, expect, test } from "vitest";
import { float32, type HostTensors, int32, toTensor } from "../../../lib/engine/host-tensors.js";
import {
  gatherRows,
  randomNormal,
  randomUniform,
  rawBackend,
  sparseCrossEntropy,
} from "../../../lib/engine/operations/raw.js";
import { loadTensorFlow } from "../../../lib/engine/tensorflow/load.js";
import { initialParameters } from "../../../lib/model/model.js";
import { defaultSettings } from "../../../lib/settings/settings.js";
import { lossAndGradients } from "../../../lib/train/steps.js";
import { expectNoLeak } from "../../leaks.js";

loadTensorFlow(); // @tensorflow/tfjs, which it loads, registers "cpu" too
const backends = ["tensorflow", "cpu"] as const;

afterEach(() => {
  tf.setBackend("tensorflow");
});

/** Values of what `body` returns on a backend, whose tensors it makes itself. */
function on(backend: "tensorflow" | "cpu", body: () => Record<string, tf.Tensor>): Record<string, number[]> {
  tf.setBackend(backend);
  try {
    return tf.tidy(() => {
      expect(rawBackend() !== undefined).toBe(backend === "tensorflow");
      return Object.fromEntries(Object.entries(body()).map(([name, tensor]) => [name, [...tensor.dataSync()]]));
    }) as unknown as Record<string, number[]>;
  } finally {
    tf.setBackend("tensorflow");
  }
}

function expectClose(found: Record<string, number[]>, wanted: Record<string, number[]>, tolerance: number): void {
  expect(Object.keys(found)).toEqual(Object.keys(wanted));
  for (const [name, values] of Object.entries(found)) {
    expect(values.length).toBe(wanted[name]!.length);
    const worst = values.reduce((most, value, i) => Math.max(most, Math.abs(value - wanted[name]![i]!)), 0);
    expect(worst, name).toBeLessThanOrEqual(tolerance);
  }
}

describe("on TensorFlow and on the plain backend", () => {
  test("gatherRows() takes the same rows, each as often as asked", () => {
    const rows = () => {
      const table = tf.tensor2d([0, 1, 10, 11, 20, 21, 30, 31], [4, 2]);
      return { y: gatherRows(table, tf.tensor1d([3, 0, 3, 2], "int32")) };
    };
    for (const backend of backends) expect(on(backend, rows).y).toEqual([30, 31, 0, 1, 30, 31, 20, 21]);
  });

  test("sparseCrossEntropy() gives the same losses and gradients, of large logits too", () => {
    const f = () => {
      const logits = tf.tensor2d([1, 2, 3, 0, 0, 0, 500, -500, 0, -3, 80, 80], [4, 3]);
      const { loss, backprop } = sparseCrossEntropy(logits, tf.tensor1d([2, 1, 1, 0], "int32"));
      return { loss, backprop };
    };
    const [raw, plain] = [on("tensorflow", f), on("cpu", f)];
    expectClose(raw, plain, 1e-4); // of losses up to 1000
    expect(raw.loss![1]).toBeCloseTo(Math.log(3), 6);
    expect(raw.loss![2]).toBeCloseTo(1000, 3);
    expectClose({ b: raw.backprop! }, { b: plain.backprop! }, 1e-6);
  });

  for (const bias of [false, true]) {
    test(`a whole model has the same loss and gradients, ${bias ? "with" : "without"} biases: it runs in a browser`, async () => {
      const model = { nLayer: 2, nHead: 2, nEmbd: 16, blockSize: 8, vocabSize: 11, bias, tieHead: !bias };
      const settings = { ...defaultSettings, ...model, gelu: bias ? ("tanh" as const) : ("erf" as const) };
      const made = initialParameters(settings, 1);
      const params: HostTensors = Object.fromEntries(
        // Larger than initial weights, so that attention is not almost uniform.
        Object.entries(made).map(([name, p]) => [
          name,
          float32(
            p.dataSync<"float32">().map((w) => 5 * w),
            p.shape,
          ),
        ]),
      );
      tf.dispose(made);
      const ids = (step: number) =>
        int32(
          Array.from({ length: 24 }, (_, i) => (i * i + step * i) % 11),
          [3, 8],
        );
      const run = () => {
        const tensors = Object.fromEntries(Object.entries(params).map(([name, host]) => [name, toTensor(host)]));
        const inputs = { x: toTensor(ids(1)), y: toTensor(ids(2)) };
        const { value, gradients } = lossAndGradients(tensors, inputs, settings);
        return { value, ...gradients };
      };
      const [raw, plain] = [on("tensorflow", run), on("cpu", run)];
      expect(raw.value![0]).toBeGreaterThan(1);
      expectClose(raw, plain, 1e-4);
    });
  }
});

test("randomNormal() is the same on both, of negative and large keys too: new models are the same everywhere", () => {
  for (const key of [
    [0, 0],
    [3, 4],
    [-3, 4],
    [2 ** 31 - 1, -(2 ** 31)],
  ] as const) {
    const normal = () => ({ x: randomNormal([3, 7], Int32Array.from(key)) });
    expectClose(on("tensorflow", normal), on("cpu", normal), 1e-6);
  }
});

for (const backend of backends) {
  describe(`random numbers on ${backend}`, () => {
    const N = backend === "cpu" ? 20_000 : 40_000; // the plain backend is slow
    const uniform = (shape: number[], key: [number, number]) => randomUniform(shape, tf.tensor1d(key, "int32"));
    const normal = (shape: number[], key: [number, number]) => randomNormal(shape, Int32Array.from(key));
    const draw = (kind: typeof uniform, key: [number, number], shape = [N]) =>
      on(backend, () => ({ x: kind(shape, key) })).x!;
    const mean = (x: number[]) => x.reduce((sum, value) => sum + value, 0) / x.length;
    const deviation = (x: number[], m = mean(x)) => Math.sqrt(mean(x.map((value) => (value - m) ** 2)));
    const correlation = (x: number[], y: number[]) => {
      const [mx, my] = [mean(x), mean(y)];
      return mean(x.map((value, i) => (value - mx) * (y[i]! - my))) / (deviation(x) * deviation(y));
    };
    // Five standard errors of N draws; the draws are fixed, so the result is always the same.
    const error = 5 / Math.sqrt(N);

    test("randomUniform() is uniform on [0, 1)", () => {
      const x = draw(uniform, [3, 4]);
      expect(Math.min(...x)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...x)).toBeLessThan(1);
      expect(Math.abs(mean(x) - 0.5)).toBeLessThan(error * Math.sqrt(1 / 12));
      expect(Math.abs(deviation(x) - Math.sqrt(1 / 12))).toBeLessThan(error * 0.2);
      const bins = new Array<number>(16).fill(0);
      for (const value of x) bins[Math.floor(value * 16)]! += 1;
      const chi2 = bins.reduce((sum, count) => sum + (count - N / 16) ** 2 / (N / 16), 0);
      expect(chi2).toBeLessThan(44); // 15 degrees of freedom: 44 is exceeded once in 10,000
    });

    test("randomNormal() has mean 0, standard deviation 1 and the tails of the normal distribution", () => {
      const x = draw(normal, [3, 4]);
      expect(x.every(Number.isFinite)).toBe(true);
      expect(Math.abs(mean(x))).toBeLessThan(error);
      expect(Math.abs(deviation(x) - 1)).toBeLessThan(error);
      const beyond = x.filter((value) => Math.abs(value) > 2).length / N; // 4.55 %
      expect(Math.abs(beyond - 0.0455)).toBeLessThan(error * 0.21);
    });

    for (const [name, kind] of [
      ["randomUniform", uniform],
      ["randomNormal", normal],
    ] as const) {
      test(`${name}() depends on key and shape; neighbouring keys and elements are independent`, () => {
        const x = draw(kind, [3, 4]);
        expect(draw(kind, [3, 4])).toEqual(x);
        const keys: [number, number][] = [
          [4, 4],
          [3, 5],
          [4, 3],
          [3, 6],
          [3 + 65536, 4],
          [3, 4 + 32768],
          [-3, 4],
        ];
        const squares = (values: number[]) => values.map((value) => (value - center) ** 2);
        const center = kind === uniform ? 0.5 : 0;
        for (const key of keys) {
          const y = draw(kind, key);
          expect(Math.abs(correlation(x, y)), `${key}`).toBeLessThan(error);
          // Values can be uncorrelated and yet have correlated magnitudes.
          expect(Math.abs(correlation(squares(x), squares(y))), `squares, ${key}`).toBeLessThan(error);
        }
        for (const lag of [1, 2, 64, 256]) {
          expect(Math.abs(correlation(x.slice(lag), x.slice(0, -lag))), `lag ${lag}`).toBeLessThan(error);
        }
        expect(draw(kind, [2 ** 31 - 1, -(2 ** 31)], [2, 3])).toHaveLength(6);
      });
    }
  });
}

test("the operations leave no tensors behind", () => {
  for (const backend of backends) {
    tf.setBackend(backend);
    const key = tf.tensor1d([1, 2], "int32");
    const table = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    const ids = tf.tensor1d([1, 0], "int32");
    expectNoLeak(() =>
      tf.dispose([randomUniform([5], key), randomNormal([5], Int32Array.of(1, 2)), gatherRows(table, ids)]),
    );
    expectNoLeak(() => tf.dispose({ ...sparseCrossEntropy(table, ids) }));
    tf.dispose([key, table, ids]);
  }
});
