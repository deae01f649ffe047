/** Writing token by token: Folio's own operations against the plain forms, on shapes that do not fit eight lanes. */
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, describe, expect, test } from "vitest";
import { project, rowsOf, writeAt } from "../../lib/engine/decode.js";
import { enableFused, fusedEnabled } from "../../lib/engine/fused.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow.js";
import { fromHalf, toHalf } from "../../lib/half.js";
import { expectNoLeak } from "../leaks.js";

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

describe.skipIf(!available)("project()", () => {
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

test("writeAt() writes new positions, of one sequence into all where there is one, and leaves the others and no tensor", () => {
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
