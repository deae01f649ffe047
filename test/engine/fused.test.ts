/** Folio's own operations (lib/engine/native) against the plain forms, on shapes that do not fit eight lanes. */
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { parseSettings } from "../../lib/config.js";
import { enableFused, fusedAttention, fusedEnabled, fusedGelu } from "../../lib/engine/fused.js";
import { float32, int32, mapRecord, openSession, toHost } from "../../lib/engine/session.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow.js";
import { gelu, layerNorm } from "../../lib/functional.js";
import { initialParameters } from "../../lib/model.js";
import { biasCorrections } from "../../lib/optimizer.js";
import { trainingSteps } from "../../lib/steps.js";

loadTensorFlow();
const available = fusedEnabled();

function random(shape: number[], seed: number, scale = 1): tf.Tensor {
  return tf.mul(tf.randomNormal(shape, 0, 1, "float32", seed), scale);
}

/** Largest difference, relative to the largest value. */
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

/** Attention spelled out as model.ts does it. qkv [B·T, 3C] → [B·T, C] */
function plainAttention(qkv: tf.Tensor, batch: number, heads: number): tf.Tensor {
  const [T, C] = [qkv.shape[0]! / batch, qkv.shape[1]! / 3];
  const split = tf.transpose(tf.reshape(qkv, [batch, T, 3, heads, C / heads]), [2, 0, 3, 1, 4]);
  const [q, k, v] = tf.unstack(split) as [tf.Tensor, tf.Tensor, tf.Tensor];
  const mask = tf.tensor2d(
    Array.from({ length: T }, (_, i) => Array.from({ length: T }, (_, j) => (j > i ? -1e9 : 0))),
  );
  const weights = tf.softmax(tf.add(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(C / heads)), mask));
  return tf.reshape(tf.transpose(tf.matMul(weights, v), [0, 2, 1, 3]), [batch * T, C]);
}

describe.skipIf(!available)("Folio's own operations (skipped where they were not compiled)", () => {
  beforeAll(() => {
    loadTensorFlow();
  });
  afterEach(() => {
    enableFused(true);
  });

  for (const [N, C] of [
    [1, 1],
    [3, 5],
    [7, 16],
    [130, 33],
    [64, 128],
  ] as const) {
    test(`layerNorm() of [${N}, ${C}] and its gradients are the plain form's`, () => {
      tf.tidy(() => {
        const f = (x: tf.Tensor, w: tf.Tensor) => layerNorm(x as tf.Tensor2D, w as tf.Tensor1D);
        const [own, plain] = both(f, [tf.add(random([N, C], 1), 3), random([C], 2)], random([N, C], 3));
        // Of one feature everything cancels; what is left is rounding.
        const scale = C === 1 ? 1e3 : 1;
        for (const [i, value] of own.entries()) {
          if (C === 1) expect(tf.max(tf.abs(tf.sub(value, plain[i]!))).dataSync()[0]).toBeLessThan(1e-4 * scale);
          else expect(difference(value, plain[i]!)).toBeLessThan(2e-5);
        }
      });
    });
  }

  for (const kind of ["erf", "tanh"] as const) {
    test(`gelu() of kind ${kind} is the plain form's on [−30, 30], gradient included`, () => {
      tf.tidy(() => {
        const x = tf.linspace(-30, 30, 10_007);
        const [own, plain] = both((u) => gelu(u, kind), [x], tf.onesLike(x));
        const [value, gradient] = own.map((t, i) => tf.max(tf.abs(tf.sub(t, plain[i]!))).dataSync()[0]!);
        expect(value).toBeLessThan(3e-6);
        expect(gradient).toBeLessThan(1e-5);
      });
    });
  }

  for (const [batch, heads, T, D] of [
    [1, 1, 1, 1],
    [2, 3, 7, 5],
    [1, 2, 48, 16],
    [2, 1, 49, 33],
    [1, 6, 64, 64],
    [3, 2, 130, 8],
  ] as const) {
    test(`attention of ${batch} × ${heads} heads of ${D} over ${T} positions is the plain form's, gradient included`, () => {
      tf.tidy(() => {
        const qkv = random([batch * T, 3 * heads * D], 1, 2) as tf.Tensor2D;
        const dy = random([batch * T, heads * D], 2);
        const own = fusedAttention(qkv, { batch, heads })!;
        const { value, grads } = tf.valueAndGrads((x) => plainAttention(x!, batch, heads))([qkv], dy);
        expect(difference(own.value, value)).toBeLessThan(1e-5);
        expect(difference(own.gradient(dy, own.saved!)[0]!, grads[0]!)).toBeLessThan(2e-5);
      });
    });
  }

  test("attention does not overflow where scores are large", () => {
    tf.tidy(() => {
      const qkv = random([32, 24], 1, 60) as tf.Tensor2D;
      const own = fusedAttention(qkv, { batch: 1, heads: 1 })!;
      expect(difference(own.value, plainAttention(qkv, 1, 1))).toBeLessThan(1e-4);
      const gradient = own.gradient(random([32, 8], 2), own.saved!)[0]!;
      expect(Array.from(gradient.dataSync()).every(Number.isFinite)).toBe(true);
    });
  });

  test("a NaN is handed on, so that training notices it", () => {
    tf.tidy(() => {
      const hasNaN = (t: tf.Tensor) => Array.from(t.dataSync()).some(Number.isNaN);
      const holed = tf.tensor2d(
        Array.from({ length: 16 * 24 }, (_, i) => (i === 40 ? Number.NaN : 0.5)),
        [16, 24],
      );
      expect(hasNaN(fusedAttention(holed, { batch: 1, heads: 1 })!.value)).toBe(true);
      expect(hasNaN(layerNorm(holed, tf.ones([24])))).toBe(true);
      expect(hasNaN(fusedGelu(holed, "erf")!.value)).toBe(true);
      expect(hasNaN(fusedGelu(holed, "tanh")!.value)).toBe(true);
    });
  });

  test("a shape that does not fit is one clear error", () => {
    tf.tidy(() => {
      expect(() => fusedAttention(tf.zeros([7, 24]), { batch: 2, heads: 1 })).toThrow(
        /rows must be a multiple of batch/,
      );
    });
  });

  test("20 compiled steps end with the plain form's weights", async () => {
    const settings = parseSettings({
      nLayer: 2,
      nHead: 2,
      nEmbd: 20,
      blockSize: 9,
      vocabSize: 11,
      gradientAccumulationSteps: 1,
    });
    const params: Record<string, Awaited<ReturnType<typeof toHost>>> = {};
    for (const [name, tensor] of Object.entries(initialParameters(settings, 1))) params[name] = await toHost(tensor);
    const zeros = () => mapRecord(params, ({ shape, values }) => float32(new Float32Array(values.length), shape));
    const run = async (enabled: boolean) => {
      enableFused(enabled);
      const session = await openSession({ params, m: zeros(), v: zeros() });
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
        loss = (await update({ x: ids(0), y: ids(1), dropoutKey: int32([0, 0], [2]), ...rates })).loss!.values[0]!;
      }
      session.dispose();
      return loss;
    };
    expect(await run(true)).toBeCloseTo(await run(false), 4);
  });
});
