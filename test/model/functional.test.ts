/** Compares gradients with finite differences, with Folio's operations (if compiled) and without. */
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, describe, expect, test } from "vitest";
import { enableFused, fusedEnabled } from "../../lib/engine/operations/fused.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { crossEntropy, dropout, embedding, gelu, layerNorm, linear, toRows } from "../../lib/model/functional.js";
import { expectNoLeak } from "../leaks.js";
import { needs, ownOperations } from "../needs.js";

loadTensorFlow();
const available = fusedEnabled();
afterEach(() => {
  enableFused(available);
});

const random = (shape: number[], seed: number): tf.Tensor => tf.randomNormal(shape, 0, 1, "float32", seed);
const ids = (values: number[]): tf.Tensor1D => tf.tensor1d(values, "int32");

/** Compares the gradient of Σ f(inputs) · c, c random, with central differences at every element of every input. */
function expectGradients(f: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: tf.Tensor[], tolerance = 3e-3): void {
  tf.tidy(() => {
    const c = tf.tidy(() => random(f(...inputs).shape, 99));
    const scalar = (...xs: tf.Tensor[]) => tf.sum(tf.mul(f(...xs), c)) as tf.Scalar;
    const found = tf
      .grads(scalar)(inputs)
      .map((gradient) => [...gradient.dataSync()]);
    const h = 1e-2;
    for (const [which, input] of inputs.entries()) {
      const values = [...input.dataSync()];
      for (const [i, value] of values.entries()) {
        const at = (moved: number) => {
          const replaced = tf.tensor(values.with(i, moved), input.shape);
          // Summed in double precision on the host: the difference of two float32 sums is too coarse.
          const y = f(...inputs.with(which, replaced)).dataSync();
          return c.dataSync<"float32">().reduce((sum, weight, k) => sum + weight * y[k]!, 0);
        };
        const wanted = tf.tidy(() => (at(value + h) - at(value - h)) / (2 * h));
        const error = Math.abs(found[which]![i]! - wanted) / Math.max(1, Math.abs(wanted));
        expect(error, `input ${which}, element ${i}: ${found[which]![i]} and ${wanted}`).toBeLessThan(tolerance);
      }
    }
  });
}

function expectClose(found: tf.Tensor, wanted: number[]): void {
  const values = found.dataSync();
  expect(values.length).toBe(wanted.length);
  for (const [i, value] of wanted.entries()) expect(values[i]).toBeCloseTo(value, 5);
}

for (const fused of available ? [true, false] : [false]) {
  describe(`gradients by finite differences, ${fused ? "Folio's own operations" : "composed"}`, () => {
    const differentiates = (name: string, f: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: () => tf.Tensor[]) =>
      test(name, () => {
        enableFused(fused);
        tf.tidy(() => expectGradients(f, inputs()));
      });

    test("layerNorm(), gelu() and crossEntropy() are their formulas, computed in double precision", () => {
      enableFused(fused);
      tf.tidy(() => {
        const [x, weight, bias] = [tf.add(tf.mul(random([3, 7], 1), 4), 2), random([7], 2), random([7], 3)];
        const rows = x.arraySync() as number[][];
        const [w, b] = [[...weight.dataSync()], [...bias.dataSync()]];
        const mean = (values: number[]) => values.reduce((total, value) => total + value, 0) / values.length;
        const normal = rows.flatMap((row) => {
          const variance = mean(row.map((value) => (value - mean(row)) ** 2));
          return row.map((value, i) => ((value - mean(row)) / Math.sqrt(variance + 1e-5)) * w[i]! + b[i]!);
        });
        expectClose(layerNorm(x as tf.Tensor2D, weight as tf.Tensor1D, bias as tf.Tensor1D), normal);
        const tanh = (u: number) => 0.5 * u * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (u + 0.044715 * u ** 3)));
        expectClose(gelu(x, "tanh"), rows.flat().map(tanh));
        // A variance of 1e-6, in which the epsilon of 1e-5 shows: 0.001 / sqrt(1.1e-5).
        const [flat, ones] = [tf.tensor2d([[0, 0.002]]), tf.ones([2]) as tf.Tensor1D];
        expectClose(layerNorm(flat, ones), [-0.3015113, 0.3015113]);
        const targets = [6, -1, 0];
        const losses = rows.flatMap((row, n) => {
          const total = row.reduce((sum, logit) => sum + Math.exp(logit), 0);
          return targets[n]! < 0 ? [] : [Math.log(total) - row[targets[n]!]!];
        });
        expectClose(crossEntropy(x as tf.Tensor2D, ids(targets)), [mean(losses)]);
      });
    });

    differentiates(
      "layerNorm() by input, weight and bias",
      (x, weight, bias) => layerNorm(x as tf.Tensor2D, weight as tf.Tensor1D, bias as tf.Tensor1D),
      () => [random([3, 5], 1), random([5], 2), random([5], 3)],
    );
    differentiates(
      "layerNorm() without bias",
      (x, weight) => layerNorm(x as tf.Tensor2D, weight as tf.Tensor1D),
      () => [random([2, 9], 1), random([9], 2)],
    );
    for (const kind of ["erf", "tanh"] as const) {
      const wide = () => [tf.linspace(-6, 6, 41)];
      differentiates(`gelu() of kind ${kind}`, (x) => gelu(x!, kind), wide);
    }
    differentiates(
      "crossEntropy(), a row that does not count included",
      (logits) => crossEntropy(logits as tf.Tensor2D, ids([2, -1, 0, 3])),
      () => [random([4, 5], 1)],
    );
    differentiates(
      "embedding(), a row taken twice and one not at all",
      (table) => embedding(table as tf.Tensor2D, ids([2, 0, 2])),
      () => [random([4, 3], 1)],
    );
    differentiates(
      "dropout()",
      (x) => dropout(x!, { rate: 0.4, key: ids([1, 2]), use: 3 }),
      () => [random([3, 6], 1)],
    );
  });
}

describe("Folio's own operations", needs(ownOperations()), () => {
  const matrix = (rows: number, columns: number) => tf.ones([rows, columns]) as tf.Tensor2D;
  test.each<[string, () => tf.Tensor]>([
    ["linear()", () => linear(matrix(2, 3), matrix(3, 2))],
    ["layerNorm()", () => layerNorm(matrix(2, 3), tf.ones([3]))],
    ["gelu() of kind erf", () => gelu(matrix(2, 3), "erf")],
    ["gelu() of kind tanh", () => gelu(matrix(2, 3), "tanh")],
    ["crossEntropy()", () => crossEntropy(matrix(2, 3), ids([0, 1]))],
  ])("serve %s, which composed runs more kernels of TensorFlow.js", async (_, f) => {
    const run = async (fused: boolean) => {
      enableFused(fused);
      const { kernels, result } = await tf.profile(f);
      tf.dispose(result);
      return kernels.length;
    };
    expect(await run(true)).toBeLessThan(await run(false));
  });
});

test("toRows() makes the rows of a tensor once, and again under another gradient tape", () => {
  tf.tidy(() => {
    const x = tf.ones([2, 3, 4]) as tf.Tensor3D;
    const rows = toRows(x);
    expect(rows.shape).toEqual([6, 4]);
    expect(toRows(x)).toBe(rows);
    tf.grad((y) => {
      const under = toRows(x);
      expect(under).not.toBe(rows);
      expect(toRows(x)).toBe(under);
      return tf.sum(y);
    })(tf.ones([1]));
    const kept = toRows(x);
    kept.dispose();
    expect(toRows(x)).not.toBe(kept);
  });
});

test("the functions have the values of their formulas", () => {
  tf.tidy(() => {
    const at = (kind: "erf" | "tanh") => [...gelu(tf.tensor1d([-1, 0, 1, 2]), kind).dataSync()];
    // x Φ(x), with Φ(1) = 0.8413447, Φ(2) = 0.9772499 (tables of the normal distribution)
    for (const [i, wanted] of [-0.1586553, 0, 0.8413447, 1.9544997].entries()) {
      expect(at("erf")[i]).toBeCloseTo(wanted, 5);
      expect(at("tanh")[i]).toBeCloseTo(wanted, 2);
    }
    const normal = [...layerNorm(tf.tensor2d([[1, 3]]), tf.tensor1d([1, 2]), tf.tensor1d([0, 5])).dataSync()];
    expect(normal[0]).toBeCloseTo(-1, 4);
    expect(normal[1]).toBeCloseTo(7, 4);
  });
});

describe("crossEntropy()", () => {
  const of = (logits: tf.Tensor2D, targets: number[]) => {
    const { value, grad } = tf.valueAndGrad((x: tf.Tensor) => crossEntropy(x as tf.Tensor2D, ids(targets)))(logits);
    return { value: value.dataSync()[0]!, gradient: [...grad.dataSync()].map((g) => g + 0) };
  };

  test("is the mean over the rows whose target is not −1", () => {
    tf.tidy(() => {
      const logits = random([4, 5], 1) as tf.Tensor2D;
      const some = of(logits, [1, -1, 4, -1]);
      const alone = of(tf.gather(logits, ids([0, 2])), [1, 4]);
      expect(some.value).toBeCloseTo(alone.value, 6);
      expect(some.gradient.slice(5, 10)).toEqual([0, 0, 0, 0, 0]);
      for (let i = 0; i < 5; i++) expect(some.gradient[10 + i]).toBeCloseTo(alone.gradient[5 + i]!, 6);
    });
  });

  test("is 0, with a gradient of 0 and no NaN, if all rows are ignored", () => {
    tf.tidy(() => {
      const { value, gradient } = of(random([2, 3], 1) as tf.Tensor2D, [-1, -1]);
      expect([value, ...gradient]).toEqual([0, 0, 0, 0, 0, 0, 0]);
    });
  });
});

describe("dropout()", () => {
  const mask = (shape: number[], { rate = 0.2, key = [7, 8], use = 0 } = {}) =>
    tf.tidy(() => [...dropout(tf.ones(shape), { rate, key: ids(key), use }).dataSync()]);
  const rows = (values: number[], from: number, to: number) => values.slice(from * 50, to * 50);

  test("drops its share and scales the rest, which keeps the mean", () => {
    const values = mask([40, 1000]);
    const dropped = values.filter((value) => value === 0).length / values.length;
    expect(Math.abs(dropped - 0.2)).toBeLessThan(5 * Math.sqrt((0.2 * 0.8) / 40_000)); // five standard errors
    expect(values.every((value) => value === 0 || Math.abs(value - 1.25) < 1e-6)).toBe(true);
    expect(Math.abs(values.reduce((sum, value) => sum + value, 0) / 40_000 - 1)).toBeLessThan(0.0125);
    expect(mask([4, 9], { rate: 0 })).toEqual(new Array(36).fill(1));
  });

  test("gives the rows of a split batch the same masks as in the whole batch", () => {
    const whole = mask([6, 50]);
    expect(mask([2, 50])).toEqual(rows(whole, 0, 2));
    expect(mask([4, 50], { key: [7, 8 + 2] })).toEqual(rows(whole, 2, 6));
    expect(mask([1, 5, 10], { key: [7, 8 + 5] })).toEqual(rows(whole, 5, 6));
  });

  test("draws another mask for another row, key or use", () => {
    const whole = mask([2, 50]);
    expect(rows(whole, 0, 1)).not.toEqual(rows(whole, 1, 2));
    expect(mask([2, 50], { use: 1 })).not.toEqual(whole);
    expect(mask([2, 50], { key: [9, 8] })).not.toEqual(whole);
    // Neither row of one place is a row of another: the place is not part of the row's number.
    const places = [0, 1, 2, 3, 7].flatMap((use) =>
      [0, 1].map((row) => rows(mask([2, 50], { use }), row, row + 1).join()),
    );
    expect(new Set(places).size).toBe(10);
  });
});

test("inside tidy, the functions leave no tensors", () => {
  expectNoLeak(() =>
    tf.tidy(() => {
      const x = tf.ones([2, 3]) as tf.Tensor2D;
      tf.grad((y: tf.Tensor) => {
        const z = gelu(layerNorm(y as tf.Tensor2D, tf.ones([3])), "erf");
        return crossEntropy(dropout(z, { rate: 0.1, key: ids([1, 2]), use: 0 }), ids([0, 1]));
      })(x);
    }),
  );
});
