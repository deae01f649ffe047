/** Sampling token by token: compares Folio's operations with plain forms, on shapes that do not fit eight lanes. */
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, describe, expect, test } from "vitest";
import { type HostTensor, int32, toHost } from "../../../lib/engine/host-tensors.js";
import { project, rowsOf, writeAt, writingStep } from "../../../lib/engine/operations/decoding.js";
import { enableFused, fusedEnabled } from "../../../lib/engine/operations/fused.js";
import { openSession } from "../../../lib/engine/session.js";
import type { Step } from "../../../lib/engine/steps.js";
import { loadTensorFlow } from "../../../lib/engine/tensorflow/load.js";
import { fromHalf, toHalf } from "../../../lib/host/sixteen-bit.js";
import { cacheGroup, cacheOf, cacheState } from "../../../lib/model/kv-cache.js";
import { forward, initialParameters, parameterSpecs } from "../../../lib/model/model.js";
import { nextTokens } from "../../../lib/sample/next-token.js";
import { defaultSettings, type ModelSettings } from "../../../lib/settings/settings.js";
import { expectNoLeak } from "../../leaks.js";
import { needs, ownOperations } from "../../needs.js";

loadTensorFlow();
const available = fusedEnabled();
const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, "float32", seed);
const largest = (x: tf.Tensor) => tf.max(tf.abs(x)).dataSync()[0]!;

/** A matrix as pairs of bfloat16, and the same numbers in float32. */
function paired(matrix: tf.Tensor): [tf.Tensor2D, tf.Tensor2D] {
  const [rows, columns] = matrix.shape as [number, number];
  const bits = toHalf("bfloat16", matrix.dataSync<"float32">());
  const pairs = tf.tensor2d(new Int32Array(bits.buffer), [rows, columns / 2], "int32");
  return [pairs, tf.tensor2d(fromHalf("bfloat16", bits), [rows, columns])];
}

afterEach(() => {
  enableFused(available);
});

describe("project()", needs(ownOperations()), () => {
  for (const rows of [1, 2, 3, 16, 17]) {
    test(`of ${rows} rows is the matrix product, transposed or not, with bias or without`, () => {
      for (const [from, to] of [
        [1, 2],
        [5, 8],
        [64, 34],
        [130, 16],
        [770, 66],
      ] as const) {
        for (const transposed of [false, true]) {
          tf.tidy(() => {
            const x = random([rows, from], 1) as tf.Tensor2D;
            const columns = transposed ? from : to;
            const w = random(transposed ? [to, from] : [from, to], 2);
            const bias = from === 64 ? undefined : (random([to], 3) as tf.Tensor1D);
            const kinds: [tf.Tensor2D, tf.Tensor2D][] = [[w as tf.Tensor2D, w as tf.Tensor2D]];
            if (columns % 2 === 0) kinds.push(paired(w));
            for (const [held, meant] of kinds) {
              enableFused(true);
              const own = project(x, held, { bias, transposed });
              enableFused(false);
              const plain = project(x, meant, { bias, transposed });
              enableFused(true);
              expect(own.shape).toEqual([rows, to]);
              const what = `${rows} × ${from} → ${to}, ${held.dtype}, transposed ${transposed}`;
              expect(largest(tf.sub(own, plain)) / largest(plain), what).toBeLessThan(1e-5);
            }
          });
        }
      }
    });
  }

  test("refuses matrices that do not fit", () => {
    tf.tidy(() => {
      const [x, w] = [random([1, 4], 1) as tf.Tensor2D, random([5, 4], 2) as tf.Tensor2D];
      expect(() => project(x, w)).toThrow(/W must be \[K, N\]/);
      expect(() => project(x, random([4, 4], 2) as tf.Tensor2D, { bias: tf.ones([3]) })).toThrow(/bias \[N\] or \[0\]/);
    });
  });

  test("rowsOf() takes rows of pairs in float32", () => {
    tf.tidy(() => {
      const [pairs, meant] = paired(random([5, 6], 4));
      const ids = tf.tensor1d([4, 0, 4], "int32");
      expect([...rowsOf(pairs, ids).dataSync()]).toEqual([...tf.gather(meant, ids).dataSync()]);
    });
  });
});

test("writeAt() writes new positions (one sequence into all rows), keeps the others, and leaves no tensors", () => {
  const cache = tf.ones<tf.Rank.R4>([2, 1, 4, 2]);
  const value = tf.tensor4d([5, 6, 7, 8], [1, 1, 2, 2]);
  const position = tf.scalar(1, "int32");
  expectNoLeak(() => {
    const written = writeAt(cache, value, position);
    const row = [1, 1, 5, 6, 7, 8, 1, 1];
    expect([...written.dataSync()]).toEqual([...row, ...row]);
    written.dispose();
  });
  tf.dispose([cache, value, position]);
});

/** The next tokens, drawn by FolioDraw and by the composed operations. */
describe("nextTokens()", needs(ownOperations()), () => {
  const drawn = (
    fused: boolean,
    logits: tf.Tensor2D,
    u: tf.Tensor2D,
    filter: { topK: number; topP?: tf.Tensor | undefined },
  ) => {
    enableFused(fused);
    return [...nextTokens(logits, { ...filter, u, temperature: tf.scalar(0.7) }).dataSync()];
  };

  for (const V of [1, 7, 65, 3000]) {
    test(`draws the same of ${V} tokens for the same random numbers`, () => {
      tf.tidy(() => {
        const logits = tf.mul(random([64, V], V), 3) as tf.Tensor2D;
        const u = tf.randomUniform<tf.Rank.R2>([64, 1], 0, 1, "float32", 5);
        for (const topK of [0, 1, 5, 200]) {
          for (const topP of [undefined, tf.scalar(0.9), tf.scalar(0.3), tf.scalar(1e-6)]) {
            expect(drawn(true, logits, u, { topK, topP }), `topK ${topK}`).toEqual(
              drawn(false, logits, u, { topK, topP }),
            );
          }
        }
      });
    });
  }

  test("keeps tokens as likely as the k-th, never draws an impossible one, and returns even if logits are NaN", () => {
    tf.tidy(() => {
      const ends = tf.tensor2d([[0], [0.5], [1 - 2 ** -24]]);
      const rows = (row: number[]) => tf.tensor2d([row, row, row]);
      const never = Number.NEGATIVE_INFINITY;
      expect(drawn(true, rows([3, 1, 3, 3, 0]), ends, { topK: 2 })).toEqual([0, 2, 3]);
      expect(drawn(true, rows([never, never, 2, never]), ends, { topK: 3 })).toEqual([2, 2, 2]);
      expect(drawn(true, rows([1, Number.NaN, 2]), ends, { topK: 2, topP: tf.scalar(0.5) }).every((id) => id < 3)).toBe(
        true,
      );
      expect(drawn(true, rows([Number.NaN, Number.NaN]), ends, { topK: 1, topP: tf.scalar(0.5) })).toEqual([0, 0, 0]);
    });
  });
});

describe("writingStep()", needs(ownOperations()), () => {
  /** Logits after five tokens of two sequences, and after one more, by one operation or by `forward`. */
  async function logitsOf(fused: boolean, more: Partial<ModelSettings>): Promise<number[]> {
    const settings = { ...defaultSettings, nLayer: 2, nHead: 3, nEmbd: 12, blockSize: 9, vocabSize: 21, ...more };
    const tensors = initialParameters(settings, 5);
    const params: Record<string, HostTensor> = {};
    for (const [name, tensor] of Object.entries(tensors))
      params[name] = await toHost(tf.tidy(() => tf.mul(tf.add(tensor, 0.01), 5)));
    tf.dispose(tensors);
    const session = await openSession({ params, cache: cacheState(settings, 2) });
    const step =
      (first: boolean): Step =>
      ({ params, cache }, inputs) => {
        const { keys, values, position } = cacheOf(cache!, first ? undefined : inputs.position!);
        const weights = parameterSpecs(settings).map(({ name }) => params![name]!);
        const { bias, gelu, vocabSize } = settings;
        const ids = inputs.ids as tf.Tensor2D;
        const whole = {
          weights,
          keys,
          values,
          ids,
          position: position ?? tf.scalar(0, "int32"),
          bias,
          gelu,
          vocabSize,
        };
        const after = fused
          ? writingStep({ ...whole, last: inputs.last! })!
          : forward(params!, ids, settings, { cache: { keys, values, position }, lastOnly: inputs.last! });
        return { state: { cache: cacheGroup(after.cache!) }, outputs: { logits: after.logits } };
      };
    const scalar = (value: number) => int32([value], []);
    const [read, next] = [session.define(step(true)), session.define(step(false))];
    const text = {
      ids: int32([1, 2, 3, 4, 20, 0, 0, 6, 7, 8, 9, 0, 0, 0], [2, 7]),
      position: scalar(0),
      last: scalar(4),
    };
    const one = { ids: int32([3, 19], [2, 1]), position: scalar(5), last: scalar(0) };
    const found = [...(await read(text)).logits!.values, ...(await next(one)).logits!.values];
    if (fused) {
      await expect(next({ ...one, ids: int32([21, 0], [2, 1]) })).rejects.toThrow(
        /must be those of the model|vocabulary/,
      );
      await expect(next({ ...one, position: scalar(9) })).rejects.toThrow(/within the ids and the cache/);
      await expect(next({ ...one, last: scalar(1) })).rejects.toThrow(/within the ids and the cache/);
    }
    session.dispose();
    return found;
  }

  for (const more of [{}, { bias: true, gelu: "tanh" as const }, { tieHead: false, nEmbd: 24 }]) {
    test(`has the logits of forward(), ${JSON.stringify(more)}`, async () => {
      const [own, plain] = [await logitsOf(true, more), await logitsOf(false, more)];
      const most = Math.max(...plain.map(Math.abs));
      expect(own).toHaveLength(84);
      for (const [i, x] of own.entries()) expect(Math.abs(x - plain[i]!) / most, `${i}`).toBeLessThan(1e-5);
    });
  }
});
