/**
 * A ladder from a constant to a trained model. Read it from top to bottom as a tour of how Folio works. If something is
 * broken, the first test that fails shows where.
 */
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, test } from "vitest";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { float32, type HostTensors, int32, mapRecord, toHost } from "../../lib/engine/host-tensors.js";
import { openSession } from "../../lib/engine/session.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { uniform } from "../../lib/host/random.js";
import { crossEntropy, embedding, layerNorm } from "../../lib/model/functional.js";
import { forward, initialParameters, loss, type Parameters } from "../../lib/model/model.js";
import { sample } from "../../lib/sample/sample.js";
import { parseSettings } from "../../lib/settings/settings.js";
import { biasCorrections } from "../../lib/train/optimizers/adamw.js";
import { lossAndGradients, trainingSteps } from "../../lib/train/steps.js";

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
const { batchSize: B, blockSize: T, nEmbd: C, nHead: H } = settings;

describe("the ladder", () => {
  test("1. a constant goes to TensorFlow and comes back", () => {
    expect(values(tf.scalar(42))).toEqual([42]);
  });

  test("2. TensorFlow adds and multiplies: 1 + 1 is 2", () => {
    expect(values(tf.add(1, 1))).toEqual([2]);
    expect(values(tf.matMul(tf.tensor2d([[1, 2]]), tf.tensor2d([[3], [4]])))).toEqual([11]);
  });

  test("3. it computes the derivative of a function: d(x²)/dx = 2x", () => {
    expect(values(tf.grad((x) => tf.square(x))(tf.scalar(3)))).toEqual([6]);
  });

  test("4. gradient descent fits a line", () => {
    const x = tf.tensor1d([0, 1, 2, 3]);
    const y = tf.add(tf.mul(x, 2), 1);
    let [a, b]: tf.Tensor[] = [tf.scalar(0), tf.scalar(0)];
    const error = tf.grads((slope, shift) => tf.mean(tf.square(tf.sub(tf.add(tf.mul(x, slope), shift), y))));
    for (let step = 0; step < 300; step++) {
      const [da, db] = error([a!, b!]);
      [a, b] = [tf.sub(a!, tf.mul(da!, 0.1)), tf.sub(b!, tf.mul(db!, 0.1))];
    }
    expect(values(a!)[0]).toBeCloseTo(2, 3);
    expect(values(b!)[0]).toBeCloseTo(1, 3);
  });

  test("5. softmax turns any numbers into probabilities: e^x divided by the sum of all", () => {
    const [p0, p1, p2] = values(tf.softmax(tf.tensor1d([0, Math.log(2), Math.log(5)])));
    expect(p0).toBeCloseTo(1 / 8, 6);
    expect(p1).toBeCloseTo(2 / 8, 6);
    expect(p2).toBeCloseTo(5 / 8, 6);
  });

  test("6. text becomes ids and ids become text", () => {
    expect(Array.from(tokenizer.encode("cab"))).toEqual([3, 1, 2]);
    expect(tokenizer.decode([3, 1, 2])).toBe("cab");
  });

  test("7. an id becomes a vector: a row of a table", () => {
    const table = tf.tensor2d([
      [0, 0],
      [1, 10],
      [2, 20],
    ]);
    expect(values(embedding(table, tf.tensor1d([2, 1], "int32")))).toEqual([2, 20, 1, 10]);
  });

  test("8. a layer norm makes a vector's mean 0 and its variance 1", () => {
    const { mean, variance } = tf.moments(layerNorm(tf.tensor2d([[1, 2, 3, 6]]), tf.ones([4])));
    expect(values(mean)[0]).toBeCloseTo(0, 5);
    expect(values(variance)[0]).toBeCloseTo(1, 4);
  });

  test("9. cross-entropy is ln V if all V tokens are equally likely, and small if the right one is almost certain", () => {
    const target = tf.tensor1d([1], "int32");
    expect(values(crossEntropy(tf.tensor2d([[5, 5, 5, 5]]), target))[0]).toBeCloseTo(Math.log(4), 5);
    expect(values(crossEntropy(tf.tensor2d([[0, 20, 0, 0]]), target))[0]).toBeLessThan(1e-6);
  });

  test("10. an attention head averages the values of earlier positions, weighted by how well their keys match the query", () => {
    const seen = look([1, 2, 3, 1]);
    const firstHead = (part: string) => (seen[`h.0.attn.${part}`]!.arraySync() as number[][][][])[0]![0]!; // [T, D]
    const [q, k, v] = ["q", "k", "v"].map(firstHead) as [number[][], number[][], number[][]];
    for (const [t, query] of q.entries()) {
      const matches = k.slice(0, t + 1).map((key) => Math.exp(dot(query, key) / Math.sqrt(C / H)));
      const total = matches.reduce((sum, match) => sum + match, 0);
      for (const [d, mixed] of firstHead("heads")[t]!.entries()) {
        const column = v.slice(0, t + 1).map((value) => value[d]!);
        expect(mixed).toBeCloseTo(dot(matches, column) / total, 5);
      }
    }
    const [itself, ...later] = firstHead("weights")[0]!; // the first position sees only itself
    expect(itself).toBeCloseTo(1, 5);
    expect(later).toEqual([0, 0, 0]);
  });

  test("11. a block adds the outputs of attention and the MLP to its input", () => {
    const seen = look([1, 2, 3, 1]);
    const sum = tf.addN(["embed", "h.0.attn.out", "h.0.mlp.out"].map((name) => seen[name]!));
    expect(distance(seen["h.0.resid_out"]!, sum)).toBeLessThan(1e-5);
    expect(distance(seen["h.0.resid_out"]!, seen.embed!)).toBeGreaterThan(0.1);
  });

  test("12. later tokens do not change earlier predictions", () => {
    const two = (row: number[]) => tf.slice(look(row).logits!, [0, 0, 0], [1, 2, -1]); // the logits of the first two positions
    expect(distance(two([1, 2, 3]), two([1, 2, 0]))).toBe(0);
    expect(distance(two([1, 2, 3]), two([3, 2, 3]))).toBeGreaterThan(0.1);
  });

  test("13. an untrained GPT knows nothing: its loss is near ln V", () => {
    const { logits } = forward(initialParameters(settings, 1), ids([[1, 2, 3, 1]]), settings);
    expect(Math.abs(values(loss(logits, ids([[2, 3, 1, 2]])))[0]! - Math.log(4))).toBeLessThan(0.1);
  });

  test("14. the gradient points uphill: a step against it lowers the loss", () => {
    const params = initialParameters(settings, 1);
    const batch = { x: ids([[1, 2, 3, 1]]), y: ids([[2, 3, 1, 2]]) };
    const { value, gradients } = lossAndGradients(params, batch, settings);
    const moved: Parameters = mapRecord(params, (p, name) => tf.sub(p, tf.mul(gradients[name]!, 0.1)));
    expect(values(lossAndGradients(moved, batch, settings).value)[0]).toBeLessThan(values(value)[0]!);
  });

  test("15. enough steps learn one batch by heart, even if it is noise", async () => {
    // Rows begin with different tokens, so that the next ones can be learned.
    const noise = Array.from({ length: B }, (_, row) => [
      row,
      ...Array.from({ length: T }, (_, place) => Math.floor(4 * uniform(1, "noise", row, place))),
    ]);
    const { losses } = await train(() => noise, { steps: 150 });
    expect(Math.abs(losses[0]! - Math.log(4))).toBeLessThan(0.1);
    expect(losses.at(-1)).toBeLessThan(0.05);
  });

  for (const compile of [false, true]) {
    test(`16. trained on "abc abc …", ${compile ? "compiled" : "eagerly"}, it writes "abc abc …"`, async () => {
      const corpus = Array.from(tokenizer.encode("abc ".repeat(20)));
      const passage = (step: number, row: number) => {
        const start = Math.floor(uniform(1, "tiny", step, row) * (corpus.length - T));
        return corpus.slice(start, start + T + 1);
      };
      const batch = (step: number) => Array.from({ length: B }, (_, row) => passage(step, row));
      const { params, losses } = await train(batch, { steps: 60, compile });
      expect(losses.at(-1)).toBeLessThan(0.1);
      let text = "ab";
      const options = { prompt: text, maxNewTokens: 12, temperature: 0.5, compile };
      for await (const { text: added } of sample({ params, settings }, tokenizer, options)) text += added;
      expect(text).toBe("abc abc abc ab");
    });
  }
});

const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
const distance = (a: tf.Tensor, b: tf.Tensor) => values(tf.max(tf.abs(tf.sub(a, b))))[0]!;

/** Every named value of a forward pass with weights ten times as large as initially, so that effects are visible. */
function look(row: number[]): Record<string, tf.Tensor> {
  const seen: Record<string, tf.Tensor> = {};
  const params = mapRecord(initialParameters(settings, 1), (p) => (p.rank === 2 ? tf.mul(p, 10) : p));
  const at = (name: string, value: tf.Tensor) => {
    seen[name] = value;
    return value;
  };
  forward(params, ids([row]), settings, { at });
  return seen;
}

/** train() in a few lines, without files, evaluation and checkpoints. Rows of a batch have T + 1 ids. */
async function train(
  batch: (step: number) => number[][],
  { steps, compile = true }: { steps: number; compile?: boolean },
): Promise<{ params: HostTensors; losses: number[] }> {
  const params: Record<string, Awaited<ReturnType<typeof toHost>>> = {};
  for (const [name, tensor] of Object.entries(initialParameters(settings, 1))) params[name] = await toHost(tensor);
  const zeros = () => mapRecord(params, ({ shape, values }) => float32(new Float32Array(values.length), shape));
  const session = await openSession({ params, m: zeros(), v: zeros() }, { compile });
  const update = session.define(trainingSteps(settings).update);
  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const rows = batch(step);
    const shifted = (by: number) =>
      int32(
        rows.flatMap((row) => row.slice(by, by + T)),
        [B, T],
      );
    const [correction1, correction2] = biasCorrections(step + 1, settings);
    const outputs = await update({
      x: shifted(0),
      y: shifted(1),
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
