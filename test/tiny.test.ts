/**
 * A ladder from one constant to a trained model. Read it from top to bottom as a tour of how Folio works; when
 * something is broken, the lowest rung that fails says where.
 */
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, test } from "vitest";
import { parseSettings } from "../lib/config.js";
import { float32, type HostTensors, int32, mapRecord, openSession, toHost } from "../lib/engine/session.js";
import { loadTensorFlow } from "../lib/engine/tensorflow.js";
import { crossEntropy, embedding, layerNorm } from "../lib/functional.js";
import { forward, initialParameters, loss, type Parameters } from "../lib/model.js";
import { biasCorrections } from "../lib/optimizer.js";
import { uniform } from "../lib/random.js";
import { sample } from "../lib/sample.js";
import { lossAndGradients, trainingSteps } from "../lib/steps.js";
import { charTokenizer } from "../lib/tokenizer.js";

beforeAll(() => {
  loadTensorFlow();
});

const values = (tensor: tf.Tensor) => Array.from(tensor.dataSync());
const ids = (rows: number[][]) => tf.tensor2d(rows, undefined, "int32");

const tokenizer = charTokenizer("abc ");
const settings = parseSettings({
  nLayer: 2,
  nHead: 2,
  nEmbd: 16,
  blockSize: 12,
  batchSize: 4,
  vocabSize: tokenizer.vocabSize,
  gradientAccumulationSteps: 1,
  learningRate: 1e-2,
});

describe("the ladder", () => {
  test("1. a constant goes to TensorFlow and comes back", () => {
    expect(values(tf.scalar(42))).toEqual([42]);
  });

  test("2. TensorFlow adds and multiplies", () => {
    expect(values(tf.add(tf.tensor1d([1, 2]), tf.tensor1d([3, 4])))).toEqual([4, 6]);
    expect(values(tf.matMul(tf.tensor2d([[1, 2]]), tf.tensor2d([[3], [4]])))).toEqual([11]);
  });

  test("3. it knows the slope of a function: d(x²)/dx = 2x", () => {
    expect(values(tf.grad((x) => tf.square(x))(tf.scalar(3)))).toEqual([6]);
  });

  test("4. following the slope downhill fits a line", () => {
    const x = tf.tensor1d([0, 1, 2, 3]);
    const y = tf.add(tf.mul(x, 2), 1);
    let [a, b]: tf.Tensor[] = [tf.scalar(0), tf.scalar(0)];
    const error = tf.grads((slope, shift) => tf.mean(tf.square(tf.sub(tf.add(tf.mul(x, slope), shift), y))));
    for (let step = 0; step < 500; step++) {
      const [da, db] = error([a!, b!]);
      [a, b] = [tf.sub(a!, tf.mul(da!, 0.1)), tf.sub(b!, tf.mul(db!, 0.1))];
    }
    expect(values(a!)[0]).toBeCloseTo(2, 3);
    expect(values(b!)[0]).toBeCloseTo(1, 3);
  });

  test("5. text becomes ids and ids become text", () => {
    expect(Array.from(tokenizer.encode("cab"))).toEqual([3, 1, 2]);
    expect(tokenizer.decode([3, 1, 2])).toBe("cab");
  });

  test("6. an id becomes a vector: a row of a table", () => {
    const table = tf.tensor2d([
      [0, 0],
      [1, 10],
      [2, 20],
    ]);
    expect(values(embedding(table, tf.tensor1d([2, 1], "int32")))).toEqual([2, 20, 1, 10]);
  });

  test("7. a layer norm makes a vector's mean 0 and its variance 1", () => {
    const { mean, variance } = tf.moments(layerNorm(tf.tensor2d([[1, 2, 3, 6]]), tf.ones([4])));
    expect(values(mean)[0]).toBeCloseTo(0, 5);
    expect(values(variance)[0]).toBeCloseTo(1, 4);
  });

  test("8. cross-entropy is ln V when all V tokens are equally likely, and small when the right one is sure", () => {
    const target = tf.tensor1d([1], "int32");
    expect(values(crossEntropy(tf.tensor2d([[5, 5, 5, 5]]), target))[0]).toBeCloseTo(Math.log(4), 5);
    expect(values(crossEntropy(tf.tensor2d([[0, 20, 0, 0]]), target))[0]).toBeLessThan(1e-6);
  });

  test("9. attention mixes what came before: a head's weights sum to 1 and never look ahead", () => {
    const seen: Record<string, tf.Tensor> = {};
    const at = (name: string, value: tf.Tensor) => {
      seen[name] = value;
      return value;
    };
    forward(initialParameters(settings, 1), ids([[1, 2, 3]]), settings, { at });
    const [q, k] = ["q", "k"].map((part) => seen[`h.0.attn.${part}`]!.arraySync() as number[][][][]);
    const weights = (seen["h.0.attn.weights"]!.arraySync() as number[][][][])[0]![0]!;
    // The same by hand, for the second position of the first head: softmax(q·k / √D) over positions 0 and 1.
    const score = (j: number) => q![0]![0]![1]!.reduce((sum, x, d) => sum + x * k![0]![0]![j]![d]!, 0) / Math.sqrt(8);
    const first = 1 / (1 + Math.exp(score(1) - score(0)));
    expect(weights[0]).toEqual([1, 0, 0]);
    expect(weights[1]![0]).toBeCloseTo(first, 5);
    expect(weights[1]![2]).toBe(0);
  });

  test("10. what comes later does not change what was predicted before", () => {
    const params = initialParameters(settings, 1);
    const predict = (row: number[]) =>
      values(tf.slice(forward(params, ids([row]), settings).logits, [0, 0, 0], [1, 2, -1]));
    expect(predict([1, 2, 3])).toEqual(predict([1, 2, 0]));
  });

  test("11. an untrained model knows nothing: its loss is near ln V", () => {
    const { logits } = forward(initialParameters(settings, 1), ids([[1, 2, 3, 1]]), settings);
    expect(Math.abs(values(loss(logits, ids([[2, 3, 1, 2]])))[0]! - Math.log(4))).toBeLessThan(0.1);
  });

  test("12. the gradient points uphill: a step against it lowers the loss", () => {
    const params = initialParameters(settings, 1);
    const batch = { x: ids([[1, 2, 3, 1]]), y: ids([[2, 3, 1, 2]]) };
    const { value, gradients } = lossAndGradients(params, batch, settings);
    const moved: Parameters = mapRecord(params, (p, name) => tf.sub(p, tf.mul(gradients[name]!, 0.1)));
    expect(values(lossAndGradients(moved, batch, settings).value)[0]).toBeLessThan(values(value)[0]!);
  });

  for (const compile of [false, true]) {
    test(`13. trained on "abc abc …", ${compile ? "compiled" : "eagerly"}, it writes "abc abc …"`, async () => {
      const { params, losses } = await trainOn("abc ".repeat(20), compile);
      expect(losses[0]).toBeGreaterThan(1.2);
      expect(losses.at(-1)).toBeLessThan(0.1);
      let text = "ab";
      const options = { prompt: text, maxNewTokens: 12, temperature: 0.5, compile };
      for await (const { text: added } of sample({ params, settings }, tokenizer, options)) text += added;
      expect(text).toBe("abc abc abc ab");
    });
  }
});

/** Trains on one text; what train() does with files, evaluation and checkpoints, in a few lines. */
async function trainOn(text: string, compile: boolean): Promise<{ params: HostTensors; losses: number[] }> {
  const corpus = Array.from(tokenizer.encode(text));
  const params: Record<string, Awaited<ReturnType<typeof toHost>>> = {};
  for (const [name, tensor] of Object.entries(initialParameters(settings, 1))) params[name] = await toHost(tensor);
  const zeros = () => mapRecord(params, ({ shape, values }) => float32(new Float32Array(values.length), shape));
  const session = await openSession({ params, m: zeros(), v: zeros() }, { compile });
  const update = session.define(trainingSteps(settings).update);
  const { batchSize: B, blockSize: T } = settings;
  const losses: number[] = [];
  for (let step = 0; step < 60; step++) {
    const starts = Array.from({ length: B }, (_, row) =>
      Math.floor(uniform(1, "tiny", step, row) * (corpus.length - T)),
    );
    const rows = (shift: number) =>
      int32(
        starts.flatMap((at) => corpus.slice(at + shift, at + shift + T)),
        [B, T],
      );
    const [correction1, correction2] = biasCorrections(step + 1, settings);
    const outputs = await update({
      x: rows(0),
      y: rows(1),
      dropoutKey: int32([0, step], [2]),
      learningRate: float32([settings.learningRate], []),
      biasCorrection1: float32([correction1], []),
      biasCorrection2: float32([correction2], []),
    });
    losses.push(outputs.loss!.values[0]!);
  }
  const trained = await session.read("params");
  session.dispose();
  return { params: trained, losses };
}
