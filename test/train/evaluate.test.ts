import fs from "node:fs";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, test } from "vitest";
import { type Dataset, openDataset, openTokenFile } from "../../lib/data/batches.js";
import { charTokenizer, gpt2Tokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { toHost } from "../../lib/engine/host-tensors.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { forward, initialParameters } from "../../lib/model/model.js";
import { evaluateSplit, lossUnits, targetBytes, tokensOfText } from "../../lib/train/evaluate.js";
import { train } from "../../lib/train/train.js";
import { openCheckpoint } from "../../lib/weights/checkpoint.js";
import type { TrainedModel } from "../../lib/weights/pretrained.js";
import { collect, temporaryFolder, tinySettings, writeFox } from "../tiny-run.js";

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

/** −log p of each target, one block and one position at a time, in double precision. */
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

/** −log p of the last id given the others. */
function lossOf(ids: Int32Array): number {
  return tf.tidy(() => {
    const params = Object.fromEntries(
      Object.entries(model.params).map(([name, { values, shape }]) => [name, tf.tensor(values, [...shape])]),
    );
    const context = ids.subarray(0, -1);
    const { logits } = forward(params, tf.tensor2d([...context], [1, context.length], "int32"), settings);
    const row = (logits.arraySync() as number[][][])[0]!.at(-1)!;
    return Math.log(row.reduce((sum, logit) => sum + Math.exp(logit), 0)) - row[ids.at(-1)!]!;
  });
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
      const inFloat32 = { ...model, settings: { ...settings, compile, dtype: "float32" as const } };
      const { loss, targets } = await evaluateSplit(inFloat32, dataset.val);
      const wanted = byHand(ids);
      expect(targets).toBe(dataset.val.length - 1);
      expect(wanted.length).toBe(targets);
      expect(Math.abs(loss - mean(wanted))).toBeLessThan(1e-6);
    });
  }

  // Batches of 2 × 8 targets: fewer than a batch, a whole batch, one more, and a row with a rest.
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

  test.each([1, 3, 8])(
    "with a stride of %i, each token sees at least blockSize − stride earlier ones",
    async (stride) => {
      const file = shortened(30);
      const ids = file.read(0, 30);
      const { loss, targets } = await evaluateSplit(model, file, { stride, batchSize: 3 });
      // Target i of the first window sees all earlier tokens; later targets are among the last `stride` of their window.
      const wanted: number[] = [];
      for (let target = 1; target < ids.length; target++) {
        const window = Math.max(0, Math.ceil((target - settings.blockSize) / stride));
        wanted.push(lossOf(ids.subarray(window * stride, target + 1)));
      }
      expect(targets).toBe(29);
      expect(Math.abs(loss - mean(wanted))).toBeLessThan(1e-6);
      file.close();
    },
  );

  test("refuses a stride larger than the block", async () => {
    await expect(evaluateSplit(model, dataset.val, { stride: 9 })).rejects.toThrow("must be 1 to blockSize = 8");
  });

  test("with a run's seed and step, samples the loss that training logged", async () => {
    const run = tinySettings(folder, "sampled", { maxIters: 4, evalIters: 3 });
    const records = await collect(train(run));
    const logged = records.findLast((record) => record.kind === "eval")!;
    const checkpoint = openCheckpoint(run.outDir);
    for (const [use, split, wanted] of [
      ["eval-train", dataset.train, logged.trainLoss],
      ["eval-val", dataset.val, logged.valLoss],
    ] as const) {
      const sampled = { batches: 3, use, seed: run.seed, step: checkpoint.step };
      const { loss, targets, standardError } = await evaluateSplit(checkpoint, split, { sampled });
      expect(loss).toBeCloseTo(wanted, 12);
      expect(targets).toBe(3 * 2 * 8);
      expect(standardError).toBeGreaterThan(0);
    }
  });

  test("sampled, has the standard error of a mean over batches: s / √n, s with n − 1", async () => {
    const of = (batches: number, seed = 5) =>
      evaluateSplit(model, dataset.val, { sampled: { batches, use: "eval-val", seed, step: 0 } });
    const [one, two, three] = [await of(1), await of(2), await of(3)];
    // Each batch's own loss, from means over one, two and three of them.
    const losses = [one.loss, 2 * two.loss - one.loss, 3 * three.loss - 2 * two.loss];
    const squares = losses.reduce((sum, loss) => sum + (loss - three.loss) ** 2, 0);
    expect(three.standardError! / Math.sqrt(squares / 2 / 3)).toBeCloseTo(1, 6);
    expect(two.standardError! / (Math.abs(losses[0]! - losses[1]!) / 2)).toBeCloseTo(1, 6);
    expect(one.standardError).toBeNaN();
    expect((await of(3, 6)).loss).not.toBe(three.loss);
  });

  test("takes device, number format, compilation and batch size from the options", async () => {
    const eager = await evaluateSplit(model, dataset.val);
    const shares: number[] = [];
    const options = { compile: true, dtype: "float32", device: "cpu", batchSize: 5 } as const;
    const compiled = await evaluateSplit(model, dataset.val, { ...options, onProgress: (share) => shares.push(share) });
    expect(Math.abs(compiled.loss - eager.loss)).toBeLessThan(1e-6);
    expect(shares.length).toBe(Math.ceil((dataset.val.length - 1) / 40));
    expect(shares.at(-1)).toBe(1);
    await expect(evaluateSplit(model, dataset.val, { dtype: "bfloat16", compile: false })).rejects.toThrow(/bfloat16/);
  });

  test("frees everything, even if it fails", async () => {
    await evaluateSplit(model, dataset.val);
    const { numTensors } = tf.memory();
    await evaluateSplit(model, dataset.val);
    const short = shortened(8);
    await expect(evaluateSplit(model, short)).rejects.toThrow(/has 8 ids, but a block of 8 and its targets need 9/);
    const small = { ...settings, vocabSize: 5 };
    await expect(evaluateSplit({ ...model, settings: small }, dataset.val)).rejects.toThrow(
      "not below the vocabulary size 5",
    );
    short.close();
    expect(tf.memory().numTensors).toBe(numTensors);
  });
});

describe("lossUnits()", () => {
  test("1 bit per token of 4 bytes is a quarter of a bit per byte, and a perplexity of 2", () => {
    const units = lossUnits({ loss: Math.LN2, targets: 100, bytes: 400 });
    expect(units.perplexity).toBeCloseTo(2, 12);
    expect(units.bitsPerByte).toBeCloseTo(0.25, 12);
  });
});

describe("targetBytes()", () => {
  const text = "naïve — 日本語 🤷🏽‍♀️ done\n".repeat(9000); // 65,536 tokens end within a character somewhere
  const length = Buffer.byteLength(text);

  test("counts all bytes except those of the first character", () => {
    const tokenizer = charTokenizer(text);
    expect(targetBytes(tokensOfText(text, tokenizer, "text"), tokenizer)).toBe(length - 1);
  });

  test("is exact if a piece would end within a character", () => {
    const tokenizer = gpt2Tokenizer();
    const tokens = tokensOfText(text, tokenizer, "text");
    expect(tokens.length).toBeGreaterThan(3 * 65_536);
    expect(targetBytes(tokens, tokenizer)).toBe(length - Buffer.byteLength(tokenizer.decode(tokens.read(0, 1))));
  });

  test("does not count the end of a document", () => {
    const tokenizer = gpt2Tokenizer();
    const ids = Int32Array.from([...tokenizer.encode("one two"), 50_256, ...tokenizer.encode("three")]);
    const tokens = {
      path: "",
      length: ids.length,
      read: (at: number, n: number) => ids.subarray(at, at + n),
      close() {},
    };
    expect(targetBytes(tokens, tokenizer)).toBe(" twothree".length);
  });
});
