import fs from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, test } from "vitest";
import { type Dataset, openDataset, openTokenFile } from "../lib/data.js";
import { toHost } from "../lib/engine/session.js";
import { loadTensorFlow } from "../lib/engine/tensorflow.js";
import { evaluateSplit, type TrainedModel } from "../lib/evaluate.js";
import { forward, initialParameters } from "../lib/model.js";
import { temporaryFolder, tinySettings, writeFox } from "./tiny-run.js";

const folder = temporaryFolder();
const settings = { ...tinySettings(folder, "unused"), vocabSize: 28 };
let model: TrainedModel;
let dataset: Dataset;

beforeAll(async () => {
  loadTensorFlow();
  writeFox(folder);
  dataset = openDataset(folder, "fox");
  const params = initialParameters({ ...settings, nEmbd: 8 }, 3);
  const host = await Promise.all(Object.entries(params).map(async ([name, t]) => [name, await toHost(t)] as const));
  model = { params: Object.fromEntries(host), settings };
});

/** −log p of each target, one block and one position at a time, in numbers of JavaScript. */
function byHand(ids: Int32Array): number[] {
  const losses: number[] = [];
  const params = Object.fromEntries(
    Object.entries(model.params).map(([name, { values, shape }]) => [name, tf.tensor(values, [...shape])]),
  );
  for (let start = 0; start < ids.length - 1; start += settings.blockSize) {
    const block = ids.subarray(start, Math.min(start + settings.blockSize, ids.length - 1));
    const logits = tf.tidy(() => forward(params, tf.tensor2d([...block], [1, block.length], "int32"), settings).logits);
    const rows = (logits.arraySync() as number[][][])[0]!;
    for (const [i, row] of rows.entries()) {
      const logSum = Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0));
      losses.push(logSum - row[ids[start + i + 1]!]!);
    }
    logits.dispose();
  }
  tf.dispose(params);
  return losses;
}

const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** A token file with the first ids of the validation split. */
function shortened(tokens: number): ReturnType<typeof openTokenFile> {
  const file = path.join(folder, `${tokens}.bin`);
  fs.writeFileSync(file, Uint16Array.from(dataset.val.read(0, tokens)));
  return openTokenFile(file, { dtype: "uint16" });
}

describe("evaluateSplit()", () => {
  for (const compile of [false, true]) {
    test(`is the mean over all targets, as computed by hand, ${compile ? "compiled" : "eager"}`, async () => {
      const ids = dataset.val.read(0, dataset.val.length);
      const { loss, targets } = await evaluateSplit({ ...model, settings: { ...settings, compile } }, dataset.val);
      const wanted = byHand(ids);
      expect(targets).toBe(dataset.val.length - 1);
      expect(wanted.length).toBe(targets);
      expect(Math.abs(loss - mean(wanted))).toBeLessThan(1e-6);
    });
  }

  // Batches of 2 × 8 targets: less than a batch, a whole one, one more than it, a row and a bit.
  for (const tokens of [9, 10, 16, 17, 18, 33, 42]) {
    test(`counts a tail of ${tokens} ids once`, async () => {
      const file = shortened(tokens);
      const { loss, targets } = await evaluateSplit(model, file);
      expect(targets).toBe(tokens - 1);
      expect(Math.abs(loss - mean(byHand(file.read(0, tokens))))).toBeLessThan(1e-6);
      file.close();
    });
  }

  test("does not depend on the batch size", async () => {
    const losses = [];
    for (const batchSize of [1, 3, 64]) {
      losses.push((await evaluateSplit({ ...model, settings: { ...settings, batchSize } }, dataset.val)).loss);
    }
    for (const loss of losses) expect(Math.abs(loss - losses[0]!)).toBeLessThan(1e-6);
  });

  test("gives everything back, also when it fails", async () => {
    await evaluateSplit(model, dataset.val);
    const { numTensors } = tf.memory();
    await evaluateSplit(model, dataset.val);
    const short = shortened(8);
    await expect(evaluateSplit(model, short)).rejects.toThrow(/holds 8 ids, and a block of 8 and its targets need 9/);
    const small = { ...settings, vocabSize: 5 };
    await expect(evaluateSplit({ ...model, settings: small }, dataset.val)).rejects.toThrow(
      "not below the vocabulary size 5",
    );
    short.close();
    expect(tf.memory().numTensors).toBe(numTensors);
  });
});
