/** Prints a hash of the results of Folio's operations; fused.test.ts runs it with few and with many threads. */
import crypto from "node:crypto";
import * as tf from "@tensorflow/tfjs-core";
import { float32 } from "../../../lib/engine/host-tensors.js";
import {
  fusedAttention,
  fusedDropout,
  fusedGelu,
  fusedLayerNorm,
  fusedLinear,
  fusedSquares,
} from "../../../lib/engine/operations/fused.js";
import { type InPlaceUpdater, withUpdater } from "../../../lib/engine/operations/in-place.js";
import { openSession } from "../../../lib/engine/session.js";
import { loadTensorFlow } from "../../../lib/engine/tensorflow/load.js";
import { adamW } from "../../../lib/train/optimizers/adamw.js";

loadTensorFlow();
const hash = crypto.createHash("sha256");
const normal = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, "float32", seed);
const add = (tensors: tf.Tensor[]) => {
  for (const tensor of tensors) hash.update(new Uint8Array(tensor.dataSync().buffer));
};

tf.tidy(() => {
  // Odd sizes, and some denormal numbers, which threads may or may not flush to zero.
  const x = tf.concat([normal([700, 127], 1), tf.fill([1, 127], 3e-39), tf.fill([1, 127], 1e-38)]) as tf.Tensor2D;
  const dropout = { rate: 0.2, key: tf.tensor1d([3, 5], "int32"), use: 2 };
  const made = [
    fusedLayerNorm(x, normal([127], 2) as tf.Tensor1D)!,
    fusedGelu(x, "erf")!,
    fusedGelu(x, "tanh")!,
    fusedLinear(x, normal([127, 401], 8) as tf.Tensor2D, false)!,
    fusedLinear(x, normal([65, 127], 9) as tf.Tensor2D, true)!,
    withUpdater({ products: "bfloat16" } as InPlaceUpdater, () =>
      fusedLinear(x, normal([127, 401], 8) as tf.Tensor2D, false),
    )!,
    fusedAttention(normal([4 * 67, 3 * 6 * 17], 3) as tf.Tensor2D, { batch: 4, heads: 6 })!,
    fusedAttention(normal([4 * 67, 3 * 6 * 17], 3) as tf.Tensor2D, { batch: 4, heads: 6, dropout })!,
    fusedDropout(x, dropout)!,
  ];
  for (const { value, saved = [], gradient } of made)
    add([value, ...saved, ...gradient(normal(value.shape, 4), saved)]);
  add([fusedSquares([x, normal([50_001], 10)])!]);
});

const values = (seed: number, scale = 1) =>
  float32(
    tf.tidy(() => tf.mul(normal([50_003], seed), scale).dataSync<"float32">()),
    [50_003],
  );
const session = await openSession({ params: { w: values(5) }, m: { w: values(6) }, v: { w: values(7, 0) } });
const update = session.define(({ params, m, v }, { g, one }) => ({
  outputs: {},
  state: adamW(
    { params: params!, m: m!, v: v! },
    { w: g! },
    { learningRate: one! as tf.Scalar, biasCorrection1: one! as tf.Scalar, biasCorrection2: one! as tf.Scalar },
    { beta1: 0.9, beta2: 0.95, weightDecay: 0 },
  ),
}));
await update({ g: values(8, 1e-19), one: float32([1], []) });
for (const group of ["params", "m", "v"] as const)
  hash.update(new Uint8Array(((await session.read(group)).w!.values as Float32Array).slice().buffer));
session.dispose();
console.log(hash.digest("hex"));
