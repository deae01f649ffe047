/** Compares Folio's operations (lib/engine/native) with plain forms, on shapes that do not fit eight lanes. */
import { execFile } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, describe, expect, test } from "vitest";
import { nativeVariants } from "../../../bin/native.mjs";
import { float32, type HostTensor, int32, mapRecord, toHost } from "../../../lib/engine/host-tensors.js";
import {
  enableFused,
  fusedAttention,
  fusedDropout,
  fusedGelu,
  fusedLayerNorm,
} from "../../../lib/engine/operations/fused.js";
import { type InPlaceUpdater, type ProductChoice, withUpdater } from "../../../lib/engine/operations/in-place.js";
import { readStepTrace } from "../../../lib/engine/profile.js";
import { openSession } from "../../../lib/engine/session.js";
import { loadTensorFlow } from "../../../lib/engine/tensorflow/load.js";
import { loadOperations, operationsVariant } from "../../../lib/engine/tensorflow/own-operations.js";
import { typescriptLoader } from "../../../lib/host/package.js";
import { fromHalf, toHalf } from "../../../lib/host/sixteen-bit.js";
import { crossEntropy, dropout, gelu, layerNorm, linear } from "../../../lib/model/functional.js";
import { initialParameters } from "../../../lib/model/model.js";
import { parseSettings } from "../../../lib/settings/settings.js";
import { adamW, biasCorrections } from "../../../lib/train/optimizers/adamw.js";
import { trainingSteps } from "../../../lib/train/steps.js";
import { expectNoLeak } from "../../leaks.js";
import { needs, ownOperations } from "../../needs.js";

loadTensorFlow();

function random(shape: number[], seed: number, scale = 1): tf.Tensor {
  return tf.mul(tf.randomNormal(shape, 0, 1, "float32", seed), scale);
}

/** The largest difference, relative to the largest value. */
function difference(a: tf.Tensor, b: tf.Tensor): number {
  return tf.tidy(() => tf.div(tf.max(tf.abs(tf.sub(a, b))), tf.add(tf.max(tf.abs(b)), 1e-6)).dataSync()[0]!);
}

/** Value and gradients of f, with Folio's operations and without. */
function both(
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: tf.Tensor[],
  dy: tf.Tensor,
): [tf.Tensor[], tf.Tensor[]] {
  const run = (enabled: boolean) => {
    enableFused(enabled);
    const { value, grads } = tf.valueAndGrads(f)(inputs, dy);
    return [value, ...grads];
  };
  return [run(true), run(false)];
}

/** The nearest bfloat16 of each number. */
function rounded(x: tf.Tensor): tf.Tensor {
  return tf.tensor(fromHalf("bfloat16", toHalf("bfloat16", x.dataSync<"float32">())), x.shape);
}

/** Attention composed as in model.ts. qkv [B·T, 3C] → [B·T, C] */
function plainAttention(
  qkv: tf.Tensor,
  batch: number,
  heads: number,
  drop = (weights: tf.Tensor) => weights,
): tf.Tensor {
  const [T, C] = [qkv.shape[0]! / batch, qkv.shape[1]! / 3];
  const split = tf.transpose(tf.reshape(qkv, [batch, T, 3, heads, C / heads]), [2, 0, 3, 1, 4]);
  const [q, k, v] = tf.unstack(split) as [tf.Tensor, tf.Tensor, tf.Tensor];
  const mask = tf.tensor2d(
    Array.from({ length: T }, (_, i) => Array.from({ length: T }, (_, j) => (j > i ? -1e9 : 0))),
  );
  const weights = tf.softmax(tf.add(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(C / heads)), mask));
  return tf.reshape(tf.transpose(tf.matMul(drop(weights), v), [0, 2, 1, 3]), [batch * T, C]);
}

/** erf in double precision: its series, and where that has rounded to ±1, these. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let [term, sum] = [x, x];
  for (let n = 1; Math.abs(term) > 1e-18; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return Math.max(-1, Math.min(1, (2 / Math.sqrt(Math.PI)) * sum));
}

/** GELU and its derivative in double precision. */
const exactly = {
  erf(x: number): [number, number] {
    // For large |x| the series loses precision, but Φ is 0 or 1 in float32.
    const phi = Math.abs(x) > 7 ? Number(x > 0) : 0.5 * (1 + erf(x * Math.SQRT1_2));
    return [x * phi, phi + (x * Math.exp(-0.5 * x * x)) / Math.sqrt(2 * Math.PI)];
  },
  tanh(x: number): [number, number] {
    const k = 2 * Math.sqrt(2 / Math.PI);
    const s = 1 / (1 + Math.exp(-k * (x + 0.044715 * x ** 3)));
    return [x * s, s + x * s * (1 - s) * k * (1 + 3 * 0.044715 * x * x)];
  },
};

const isBad = (x: number) => !Number.isFinite(x);
const host = (tensor: tf.Tensor) => Array.from(tensor.dataSync());

describe("Folio's own operations", needs(ownOperations()), () => {
  afterEach(() => {
    enableFused(true);
  });

  for (const C of [1, 5, 8, 16, 33, 64, 130]) {
    test(`layerNorm() over ${C} features and its gradients equal those of the plain form`, () => {
      for (const N of [1, 3, 64, 130]) {
        tf.tidy(() => {
          const f = (x: tf.Tensor, w: tf.Tensor) => layerNorm(x as tf.Tensor2D, w as tf.Tensor1D);
          const [own, plain] = both(f, [tf.add(random([N, C], 1), 1), random([C], 2)], random([N, C], 3));
          for (const [i, value] of own.entries()) {
            // With one feature, everything cancels; the rest is rounding times 1 / √1e-5.
            if (C === 1) expect(tf.max(tf.abs(tf.sub(value, plain[i]!))).dataSync()[0]).toBeLessThan(1e-3);
            else expect(difference(value, plain[i]!), `[${N}, ${C}], ${i}`).toBeLessThan(1e-5);
          }
        });
      }
    });
  }

  for (const V of [1, 7, 8, 65, 1003]) {
    test(`crossEntropy() over ${V} logits and its gradient equal those of the plain form, with ignored rows`, () => {
      for (const N of [1, 5, 64]) {
        tf.tidy(() => {
          const targets = Array.from({ length: N }, (_, n) => (n % 4 === 3 ? -1 : (n * 31) % V));
          const f = (x: tf.Tensor) => crossEntropy(x as tf.Tensor2D, tf.tensor1d(targets, "int32"));
          const [own, plain] = both(f, [random([N, V], 5, 20)], tf.scalar(0.7));
          for (const [i, value] of own.entries()) {
            if (V === 1) expect(tf.max(tf.abs(value)).dataSync()[0]).toBeLessThan(1e-6);
            else expect(difference(value, plain[i]!), `[${N}, ${V}], ${i}`).toBeLessThan(1e-6);
          }
        });
      }
    });
  }

  test("crossEntropy() names a target out of range, and returns NaN for NaN", () => {
    tf.tidy(() => {
      const of = (target: number, first = 0) =>
        crossEntropy(tf.tensor2d([[first, 1, 2]]), tf.tensor1d([target], "int32")).dataSync()[0];
      expect(() => of(3)).toThrow("Received a label value of 3 which is outside the valid range of [0, 3)");
      expect(of(1, Number.NaN)).toBeNaN();
    });
  });

  for (const kind of ["erf", "tanh"] as const) {
    test(`gelu() of kind ${kind} and its derivative equal the formula to float32 precision on [−30, 30]`, () => {
      tf.tidy(() => {
        const x = tf.concat([tf.linspace(-30, 30, 20_007), tf.linspace(-6, 6, 20_007)]);
        const own = fusedGelu(x, kind)!;
        const [values, slopes] = [own.value, own.gradient(tf.onesLike(x), own.saved!)[0]!].map(host);
        const worst = [0, 0];
        for (const [i, at] of host(x).entries()) {
          const [value, slope] = exactly[kind](at);
          worst[0] = Math.max(worst[0]!, Math.abs(values![i]! - value) / Math.max(1, Math.abs(at)));
          worst[1] = Math.max(worst[1]!, Math.abs(slopes![i]! - slope));
        }
        expect(worst[0]).toBeLessThan(3e-7);
        // The rounding of 2√(2/π)(x + 0.044715x³) is amplified, most near −8.
        expect(worst[1]).toBeLessThan(kind === "erf" ? 3e-7 : 3e-6);
        expect(host(fusedGelu(tf.tensor1d([-1e4, -30, 0, 30, 1e4]), kind)!.value).map((y) => y + 0)).toEqual([
          0, 0, 0, 30, 1e4,
        ]);
      });
    });
  }

  for (const D of [1, 5, 16, 33, 64]) {
    test(`attention with head size ${D} and its gradient equal those of the plain form`, () => {
      for (const [i, T] of [1, 7, 48, 49, 64, 130].entries()) {
        const [batch, heads] = [1 + (i % 3), 1 + ((i + D) % 6)];
        tf.tidy(() => {
          const qkv = random([batch * T, 3 * heads * D], 1) as tf.Tensor2D;
          const dy = random([batch * T, heads * D], 2);
          const own = fusedAttention(qkv, { batch, heads })!;
          const { value, grads } = tf.valueAndGrads((x) => plainAttention(x!, batch, heads))([qkv], dy);
          const what = `${batch} × ${heads} heads over ${T}`;
          expect(difference(own.value, value), what).toBeLessThan(1e-5);
          expect(difference(own.gradient(dy, own.saved!)[0]!, grads[0]!), what).toBeLessThan(1e-5);
        });
      }
    });
  }

  test("dropout() and its gradient have the bits of the plain form", () => {
    for (const shape of [[1], [3, 5], [2, 64], [7, 3, 67], [2, 2, 33, 65], [3, 9001], [4, 0]]) {
      for (const [rate, use, key] of [
        [0.2, 0, [1337, 0]],
        [0.5, 3, [-7, 2 ** 31 - 1]],
        [0.9, 12, [2 ** 31 - 1, -1]],
      ] as const) {
        tf.tidy(() => {
          const x = random(shape, 1);
          const f = (of: tf.Tensor) => dropout(of, { rate, key: tf.tensor1d([...key], "int32"), use });
          const [own, plain] = both(f, [x], random(shape, 2));
          expect(own.map(host), `${shape}, ${rate}`).toEqual(plain.map(host));
          expect(host(own[0]!)).toEqual(host(dropout(x, { rate, key: tf.tensor1d([...key], "int32"), use })));
        });
      }
    }
  });

  for (const D of [4, 17, 64]) {
    test(`attention with head size ${D} drops the weights that the plain form drops`, () => {
      for (const [i, T] of [1, 7, 49, 64, 130].entries()) {
        const [batch, heads] = [1 + (i % 3), 1 + ((i + D) % 6)];
        tf.tidy(() => {
          const qkv = random([batch * T, 3 * heads * D], 1) as tf.Tensor2D;
          const dy = random([batch * T, heads * D], 2);
          const how = { rate: 0.3, key: tf.tensor1d([5, -9], "int32"), use: 4 };
          const own = fusedAttention(qkv, { batch, heads, dropout: how })!;
          enableFused(false);
          const plain = (x: tf.Tensor) => plainAttention(x, batch, heads, (weights) => dropout(weights, how));
          const { value, grads } = tf.valueAndGrads(plain as never)([qkv], dy);
          enableFused(true);
          const what = `${batch} × ${heads} heads over ${T}`;
          expect(difference(own.value, value), what).toBeLessThan(1e-5);
          expect(difference(own.gradient(dy, own.saved!)[0]!, grads[0]!), what).toBeLessThan(1e-5);
        });
      }
    });
  }

  // M × K · K × N: tails in all directions, several blocks in depth, rows one page apart, and empty matrices.
  for (const [M, K, N] of [
    [1, 1, 1],
    [7, 5, 17],
    [50, 33, 65],
    [200, 400, 70],
    [13, 1024, 130],
    [3, 0, 4],
    [0, 3, 4],
  ] as const) {
    for (const transposed of [false, true]) {
      const what = `${M} × ${K} · ${K} × ${N}${transposed ? ", transposed," : ""}`;
      const product = (a: tf.Tensor, b: tf.Tensor): tf.Tensor =>
        linear(a as tf.Tensor2D, b as tf.Tensor2D, { transposed });
      const inputs = () => [random([M, K], 1), random(transposed ? [N, K] : [K, N], 2), random([M, N], 3)] as const;
      const expectSame = (own: tf.Tensor[], plain: tf.Tensor[]) => {
        for (const [index, tensor] of own.entries()) {
          expect(tensor.shape).toEqual(plain[index]!.shape);
          // Empty sums are 0; TensorFlow's product leaves uninitialized memory.
          if (M * K === 0) expect(Array.from(tensor.dataSync()).every((value) => value === 0)).toBe(true);
          else expect(difference(tensor, plain[index]!)).toBeLessThan(3e-6);
        }
      };

      test(`linear() of ${what} and its gradients equal those of the plain form`, () => {
        tf.tidy(() => {
          const [x, w, dy] = inputs();
          expectSame(...both(product, [x, w], dy));
        });
      });

      test(`linear() of ${what} in bfloat16 and its gradients equal those of the plain form with rounded factors`, () => {
        tf.tidy(() => {
          const [x, w, dy] = inputs();
          const run = () => tf.valueAndGrads(product)([x, w], dy);
          const own = withUpdater({ products: "bfloat16" } as InPlaceUpdater, run);
          enableFused(false);
          const plain = tf.valueAndGrads(product)([rounded(x), rounded(w)], rounded(dy));
          expectSame([own.value, ...own.grads], [plain.value, ...plain.grads]);
        });
      });
    }
  }

  test("a product in bfloat16 rounds to nearest, ties to even, and propagates NaN", () => {
    const product = (a: number[], b: number[]) =>
      withUpdater({ products: "bfloat16" } as InPlaceUpdater, () =>
        tf.tidy(() => linear(tf.tensor2d(a, [1, a.length]), tf.tensor2d(b, [b.length, 1])).dataSync()[0]),
      );
    const ulp = 2 ** -7;
    for (const length of [1, 2, 33]) {
      const first = (value: number) => [value, ...Array.from({ length: length - 1 }, () => 0)];
      expect(product(first(1 + ulp / 2), first(1))).toBe(1);
      expect(product(first(1 + (3 * ulp) / 2), first(-1))).toBe(-1 - 2 * ulp);
      expect(product(first(Number.NaN), first(1))).toBeNaN();
      expect(product(first(Number.POSITIVE_INFINITY), first(-1))).toBe(Number.NEGATIVE_INFINITY);
    }
  });

  test("operations fused in a compiled step give the same results as separate ones", async () => {
    const [x, w, bias] = await Promise.all([random([9, 20], 1), random([20, 20], 2), random([20], 3)].map(toHost));
    const session = await openSession({ params: { w: w!, bias: bias! } });
    // A product with bias and GELU, and one with a residual; both are also used directly.
    const f = (a: tf.Tensor, b: tf.Tensor, c: tf.Tensor) => {
      const before = tf.add(linear(a as tf.Tensor2D, b as tf.Tensor2D), c) as tf.Tensor2D;
      const after = tf.add(linear(gelu(before, "erf"), b as tf.Tensor2D), a);
      return tf.sum(tf.mul(after, tf.add(before, layerNorm(after as tf.Tensor2D, c as tf.Tensor1D))));
    };
    // A new step each time, because a session caches the traces of a step.
    const run = (enabled: boolean) => {
      enableFused(enabled);
      return session.define((state, inputs) => {
        const { value, grads } = tf.valueAndGrads(f)([inputs.x!, state.params!.w!, state.params!.bias!]);
        return { outputs: { value, x: grads[0]!, w: grads[1]!, bias: grads[2]! } };
      })({ x: x! });
    };
    const [joined, apart] = [await run(true), await run(false)];
    session.dispose();
    for (const name of ["value", "x", "w", "bias"]) {
      const [a, b] = [joined[name]!, apart[name]!].map(({ values, shape }) => tf.tensor(values, [...shape]));
      expect(difference(a!, b!), name).toBeLessThan(1e-5);
    }
  });

  test("attention does not overflow for large scores, and is exact if all are 0", () => {
    tf.tidy(() => {
      // q · k / √D = ±80
      const signs = tf.sign(random([100, 16], 1));
      const large = tf.concat([tf.mul(signs, Math.sqrt(20)), tf.mul(signs, Math.sqrt(20)), random([100, 16], 2)], 1);
      for (const qkv of [large, random([100, 48], 3, 60), tf.zeros([100, 48])]) {
        const own = fusedAttention(qkv as tf.Tensor2D, { batch: 2, heads: 1 })!;
        const dy = random([100, 16], 4);
        const { value, grads } = tf.valueAndGrads((x) => plainAttention(x!, 2, 1))([qkv], dy);
        expect(difference(own.value, value)).toBeLessThan(1e-4);
        const gradient = own.gradient(dy, own.saved!)[0]!;
        expect(host(gradient).some(isBad)).toBe(false);
        expect(difference(gradient, grads[0]!)).toBeLessThan(1e-3);
      }
    });
  });

  test("a NaN or infinity at any place is propagated, so that training notices it", () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      // 20 rows of 24: rows at the start, inside and in the tail; queries, keys and values; vector lanes and tails.
      for (const place of [0, 9, 17, 23, 24 * 7 + 3, 24 * 12 + 12, 24 * 19 + 1, 24 * 19 + 15, 24 * 19 + 23]) {
        tf.tidy(() => {
          const spoil = (shape: [number, number], at: number) => {
            const values = Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => Math.sin(i));
            values[at] = bad;
            return tf.tensor2d(values, shape);
          };
          const x = spoil([20, 24], place);
          const clean = (shape: [number, number]) => tf.mul(tf.ones(shape), 0.5) as tf.Tensor2D;
          const handsOn = (what: string, tensors: tf.Tensor[]) =>
            expect(
              tensors.some((tensor) => host(tensor).some(isBad)),
              `${what}, ${bad} at ${place}`,
            ).toBe(true);
          handsOn("layer norm", [layerNorm(x, tf.ones([24]))]);
          const norm = fusedLayerNorm(clean([20, 24]), tf.ones([24]))!;
          handsOn("layer norm's gradient", norm.gradient(x, norm.saved!));
          for (const kind of ["erf", "tanh"] as const) {
            const own = fusedGelu(x, kind)!;
            // GELU of −∞ is 0 in the limit.
            if (bad !== Number.NEGATIVE_INFINITY) handsOn(`gelu ${kind}`, [own.value]);
            if (Number.isNaN(bad)) handsOn(`gelu ${kind}'s gradient`, own.gradient(tf.onesLike(x), own.saved!));
          }
          const own = fusedAttention(x, { batch: 1, heads: 1 })!;
          // Only the last row sees its own key; −∞ there gives a weight of 0 if the query is positive.
          if (Number.isNaN(bad)) handsOn("attention", [own.value]);
          if (Number.isNaN(bad)) handsOn("attention's gradient", own.gradient(tf.ones([20, 8]), own.saved!));
          const from = fusedAttention(clean([20, 72]), { batch: 1, heads: 3 })!;
          handsOn("attention's gradient by dy", from.gradient(x, from.saved!));
        });
      }
    }
  });

  test("a shape that does not fit is one clear error, not a crash", () => {
    const of = (...shapes: number[][]) => shapes.map((shape) => tf.ones(shape)) as never[];
    tf.tidy(() => {
      const [x, w] = of([4, 6], [6]);
      const norm = fusedLayerNorm(x!, w!)!;
      const attention = fusedAttention(x!, { batch: 2, heads: 1 })!;
      for (const [message, call] of [
        [/x must be \[N, C\]/, () => fusedLayerNorm(...(of([6], [6]) as [never, never]))],
        [/weight must be \[C\]/, () => fusedLayerNorm(...(of([4, 6], [5]) as [never, never]))],
        [/dy must be \[N, C\]/, () => norm.gradient(tf.ones([3, 6]), norm.saved!)],
        [/shapes must be equal/, () => fusedGelu(x!, "erf")!.gradient(tf.ones([4, 5]), [x!])],
        [/qkv must be \[B T, 3 C\]/, () => fusedAttention(of([6])[0]!, { batch: 1, heads: 1 })],
        [/rows must be a multiple of batch/, () => fusedAttention(of([7, 24])[0]!, { batch: 2, heads: 1 })],
        [/columns of 3 heads/, () => fusedAttention(of([4, 7])[0]!, { batch: 2, heads: 1 })],
        [/columns of 3 heads/, () => fusedAttention(x!, { batch: 2, heads: 3 })],
        [/columns of 3 heads/, () => fusedAttention(x!, { batch: 0, heads: 1 })],
        [/dropout: key must be \[2\]/, () => fusedDropout(x!, { rate: 0.5, key: tf.tensor1d([1], "int32"), use: 0 })],
        [
          /dropout: x must be/,
          () => fusedDropout(tf.scalar(1), { rate: 0.5, key: tf.tensor1d([1, 2], "int32"), use: 0 }),
        ],
        [/dout and out must be/, () => attention.gradient(tf.ones([4, 3]), attention.saved!)],
        [/lse \[B heads, T\]/, () => attention.gradient(tf.ones([4, 2]), [x!, tf.ones([4, 2]), tf.ones([1])])],
      ] as [RegExp, () => unknown][])
        expect(call).toThrow(message);
    });
  });

  test("adamW() in a compiled session equals the plain formula over 20 updates", async () => {
    const settings = { beta1: 0.9, beta2: 0.95, weightDecay: 0.1 };
    const shapes = { matrix: [37, 5], vector: [13], one: [1] };
    const values = (shape: number[], f: (i: number) => number) =>
      float32(
        Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => f(i)),
        shape,
      );
    const run = async (compile: boolean) => {
      const zeros = () => mapRecord(shapes, (shape) => values(shape, () => 0));
      const params = mapRecord(shapes, (shape) => values(shape, (i) => Math.sin(i)));
      const session = await openSession({ params, m: zeros(), v: zeros() }, { compile });
      const update = session.define(({ params, m, v }, { learningRate, biasCorrection1, biasCorrection2, ...g }) => {
        const rates = { learningRate, biasCorrection1, biasCorrection2, gradientScale: tf.scalar(0.5) };
        return { outputs: {}, state: adamW({ params: params!, m: m!, v: v! }, g, rates as never, settings) };
      });
      for (let step = 1; step <= 20; step++) {
        const [c1, c2] = biasCorrections(step, settings);
        await update({
          ...mapRecord(shapes, (shape) => values(shape, (i) => Math.cos(i * step) * 10 ** (i % 7) * 1e-4)),
          learningRate: float32([0.01], []),
          biasCorrection1: float32([c1], []),
          biasCorrection2: float32([c2], []),
        });
      }
      const groups = await Promise.all((["params", "m", "v"] as const).map((group) => session.read(group)));
      session.dispose();
      return groups.map((group) => Object.values(group).flatMap((tensor) => [...tensor.values]));
    };
    const [own, plain] = [await run(true), await run(false)];
    for (const [group, wanted] of plain.entries()) {
      const scale = Math.max(...wanted.map(Math.abs));
      for (const [i, value] of wanted.entries()) expect(Math.abs(own[group]![i]! - value) / scale).toBeLessThan(1e-6);
    }
  });

  test("a session uses TensorFlow's products for the given size, and Folio's for the other", async () => {
    // 2^27 multiplications count as large, one row less as small.
    const w = float32(new Float32Array(512 * 512).fill(0.01), [512, 512]);
    const typesOf = async (rows: number, products?: ProductChoice) => {
      const session = await openSession({ params: { w } }, { profiled: true, ...(products && { products }) });
      const step = session.define(({ params }, { x }) => {
        const gradient = tf.grad((x: tf.Tensor) => tf.sum(linear(x as tf.Tensor2D, params!.w as tf.Tensor2D)));
        return { outputs: { dx: tf.sum(gradient(x!)) } };
      });
      const seen = new Set<string>();
      const inputs = { x: float32(new Float32Array(rows * 512).fill(1), [rows, 512]) };
      const { dx } = await step(inputs, (bytes) => {
        for (const { type } of readStepTrace(bytes).operations) seen.add(type);
      });
      session.dispose();
      expect(dx!.values[0]! / (rows * 512 * 512 * 0.01)).toBeCloseTo(1, 4);
      return [...seen].filter((type) => /MatMul|LinearGrad/.test(type)).map((type) => type.startsWith("Folio"));
    };
    const large = { small: "folio", large: "tensorflow" } as const;
    for (const [rows, products, own] of [
      [511, undefined, true],
      [512, undefined, true],
      [511, large, true],
      [512, large, false],
      [511, { small: "tensorflow", large: "folio" }, false],
    ] as const) {
      const found = await typesOf(rows, products);
      expect(found.length).toBeGreaterThan(0);
      expect(found.every((each) => each === own)).toBe(true);
    }
  });

  test("20 compiled steps end with the weights of the plain form", async () => {
    const settings = parseSettings({
      nLayer: 2,
      nHead: 2,
      nEmbd: 20,
      blockSize: 9,
      vocabSize: 11,
      gradientAccumulationSteps: 1,
    });
    const params: Record<string, HostTensor> = {};
    for (const [name, tensor] of Object.entries(initialParameters(settings, 1))) params[name] = await toHost(tensor);
    const zeros = () => mapRecord(params, ({ shape, values }) => float32(new Float32Array(values.length), shape));
    const run = async (enabled: boolean) => {
      enableFused(enabled);
      const session = await openSession({ params, m: zeros(), v: zeros() }, { profiled: true });
      const update = session.define(trainingSteps(settings).update);
      let loss = 0;
      for (let step = 0; step < 20; step++) {
        const ids = (shift: number) =>
          int32(
            Array.from({ length: 27 }, (_, i) => (i * i + step + shift) % 11),
            [3, 9],
          );
        const [c1, c2] = biasCorrections(step + 1, settings);
        const rates = {
          learningRate: float32([1e-2], []),
          biasCorrection1: float32([c1], []),
          biasCorrection2: float32([c2], []),
        };
        const inputs = { x: ids(0), y: ids(1), dropoutKey: int32([0, 0], [2]), ...rates };
        const trace = (bytes: Uint8Array) => {
          const types = readStepTrace(bytes).operations.map(({ type }) => type);
          expect(types.some((type) => type.startsWith("Folio"))).toBe(enabled);
        };
        loss = (await update(inputs, step === 19 ? trace : undefined)).loss!.values[0]!;
      }
      session.dispose();
      return loss;
    };
    expect(await run(true)).toBeCloseTo(await run(false), 4);
  });

  test("the number of threads does not change a single bit", async () => {
    const digest = async (threads: number) => {
      const file = path.join(import.meta.dirname, "fused-digest.ts");
      const env = { ...process.env, TF_NUM_INTRAOP_THREADS: String(threads) };
      return (await promisify(execFile)(process.execPath, ["--import", typescriptLoader(), file], { env })).stdout;
    };
    const one = await digest(1);
    expect(one).toMatch(/^[0-9a-f]{64}\n$/);
    expect(await digest(2)).toBe(one);
  });

  test("2,000 calls leak no tensors and no memory", () => {
    const qkv = tf.ones([128, 96]) as tf.Tensor2D;
    const body = () =>
      tf.tidy(() => {
        const [x, w] = [tf.ones([128, 32]) as tf.Tensor2D, tf.ones([32]) as tf.Tensor1D];
        const made = [fusedLayerNorm(x, w)!, fusedGelu(x, "erf")!, fusedAttention(qkv, { batch: 2, heads: 2 })!];
        for (const { gradient, saved } of made) gradient(x, saved!);
      });
    expectNoLeak(body);
    for (let i = 0; i < 500; i++) body();
    const before = process.memoryUsage.rss();
    for (let i = 0; i < 2_000; i++) body();
    // The results of one call take 0.2 MB, so a leak of 2,000 calls would be 400 MB.
    expect(process.memoryUsage.rss() - before).toBeLessThan(200e6);
    qkv.dispose();
  });

  test("use the variant in FOLIO_TARGET; an unknown one is an error", () => {
    const { libraryPath } = loadTensorFlow();
    const best = operationsVariant();
    const [first] = nativeVariants();
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-operations-"));
    try {
      process.env.FOLIO_TARGET = first!.name;
      expect(loadOperations(libraryPath)).toBe(true);
      expect(operationsVariant()).toBe(first!.name);
      process.env.FOLIO_TARGET = "sse9";
      expect(() => loadOperations(libraryPath)).toThrow(
        /^Cannot use FOLIO_TARGET=sse9: there is no such variant for .*; available are /,
      );
      expect(() => loadOperations(libraryPath, folder)).toThrow("Folio's operations are not compiled");
      const file = path.join(folder, path.basename(libraryOf()));
      fs.copyFileSync(libraryOf(), file);
      const stamp = JSON.parse(fs.readFileSync(libraryOf().replace(/so$/, "json"), "utf8"));
      const left = { [first!.name]: "it needs a better compiler" };
      fs.writeFileSync(file.replace(/so$/, "json"), JSON.stringify({ ...stamp, variants: ["elsewhere"], left }));
      process.env.FOLIO_TARGET = "elsewhere";
      expect(() => loadOperations(libraryPath, folder)).toThrow("this processor lacks its instructions");
      process.env.FOLIO_TARGET = first!.name;
      expect(() => loadOperations(libraryPath, folder)).toThrow("set-up left it out: it needs a better compiler");
    } finally {
      process.env.FOLIO_TARGET = best;
      loadOperations(libraryPath);
      delete process.env.FOLIO_TARGET;
      fs.rmSync(folder, { recursive: true });
    }
  });

  test("may be loaded twice, and are not loaded if switched off, damaged, stale or absent", () => {
    const { libraryPath } = loadTensorFlow();
    expect(loadOperations(libraryPath)).toBe(true);
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-operations-"));
    try {
      expect(loadOperations(libraryPath, folder)).toBe(false);
      const there = path.join(path.dirname(libraryOf()), path.basename(libraryOf(), ".so"));
      const here = path.join(folder, path.basename(there));
      const stamp = JSON.parse(fs.readFileSync(`${there}.json`, "utf8"));
      const write = (bytes: Buffer, changes: object) => {
        fs.writeFileSync(`${here}.so`, bytes);
        fs.writeFileSync(`${here}.json`, JSON.stringify({ ...stamp, ...changes }));
      };
      const whole = fs.readFileSync(`${there}.so`);
      write(whole.subarray(0, 50_000), {}); // loading it would crash the process
      expect(loadOperations(libraryPath, folder)).toBe(false);
      write(Buffer.from("no library"), { bytes: 10 });
      expect(loadOperations(libraryPath, folder)).toBe(false);
      write(whole, { sources: "those of yesterday" });
      expect(loadOperations(libraryPath, folder)).toBe(false);
      process.env.FOLIO_FUSED = "0";
      expect(loadOperations(libraryPath)).toBe(false);
    } finally {
      delete process.env.FOLIO_FUSED;
      fs.rmSync(folder, { recursive: true });
    }
  });
});

/** The library loaded in this process. */
function libraryOf(): string {
  const { sharedObjects } = process.report.getReport() as unknown as { sharedObjects: string[] };
  return sharedObjects.find((file) => /folio_ops-\w+\.so$/.test(file)) ?? "";
}
