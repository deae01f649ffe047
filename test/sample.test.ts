import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, test } from "vitest";
import { defaultSettings } from "../lib/config.js";
import { mapRecord, toHost } from "../lib/engine/session.js";
import { loadTensorFlow } from "../lib/engine/tensorflow.js";
import { initialParameters } from "../lib/model.js";
import { drawTokens, type SampleOptions, sample, sampleProbabilities } from "../lib/sample.js";
import { charTokenizer } from "../lib/tokenizer.js";
import { expectNoLeak } from "./leaks.js";

// PyTorch's values: test/golden/make.py made them.
const golden = JSON.parse(readFileSync(new URL("golden/index.json", import.meta.url), "utf8"));

beforeAll(() => {
  loadTensorFlow();
});

describe("sampleProbabilities()", () => {
  for (const { logits, temperature, topK, probabilities } of golden.filters) {
    test(`is PyTorch's, temperature ${temperature}, topK ${topK} of ${logits.length}`, () => {
      tf.tidy(() => {
        const found = sampleProbabilities(tf.tensor2d([logits]), tf.scalar(temperature), topK).dataSync<"float32">();
        for (const [i, p] of found.entries()) expect(p).toBeCloseTo(probabilities[i], 6);
      });
    });
  }

  test("does not leak in a tidy", () => {
    const logits = tf.tensor2d([[1, 2, 3]]);
    expectNoLeak(() => tf.tidy(() => void sampleProbabilities(logits, tf.scalar(1), 2)));
    logits.dispose();
  });
});

describe("drawTokens()", () => {
  const draw = (probabilities: number[], u: number) =>
    tf.tidy(() => drawTokens(tf.tensor2d([probabilities]), tf.tensor2d([[u]])).dataSync()[0]);

  test("takes the token at which the cumulative probability passes u", () => {
    expect([0, 0.24, 0.26, 0.7, 0.76, 0.999].map((u) => draw([0.25, 0.5, 0.25], u))).toEqual([0, 0, 1, 1, 2, 2]);
  });

  test("never takes a token of probability 0, at either end", () => {
    expect(draw([0, 0, 1, 0], 0)).toBe(2);
    expect(draw([0, 0, 1, 0], 1 - 2 ** -24)).toBe(2);
  });

  test("draws each token as often as its probability says", () => {
    const probabilities = [0.1, 0.2, 0.3, 0.4];
    const n = 2000; // evenly spaced u: exact up to rounding at the borders
    const counts = [0, 0, 0, 0];
    tf.tidy(() => {
      const u = tf.tensor2d(Array.from({ length: n }, (_, i) => [(i + 0.5) / n]));
      for (const token of drawTokens(tf.tile(tf.tensor2d([probabilities]), [n, 1]), u).dataSync()) counts[token]!++;
    });
    for (const [i, count] of counts.entries()) expect(Math.abs(count / n - probabilities[i]!)).toBeLessThan(0.002);
  });
});

describe("sample()", () => {
  const tokenizer = charTokenizer("abcdefg");
  const settings = { ...defaultSettings, nLayer: 1, nHead: 2, nEmbd: 8, blockSize: 4, vocabSize: 7, compile: false };

  async function texts(options: Partial<SampleOptions>): Promise<string[]> {
    const tensors = initialParameters(settings, 5);
    const hosts = await Promise.all(Object.entries(tensors).map(async ([name, t]) => [name, await toHost(t)] as const));
    tf.dispose(tensors);
    const model = { params: mapRecord(Object.fromEntries(hosts), (host) => host), settings };
    const written: string[] = [];
    for await (const { sample: number, text } of sample(model, tokenizer, {
      prompt: "ab",
      maxNewTokens: 12, // longer than blockSize: the context slides
      numSamples: 2,
      ...options,
    })) {
      written[number] = (written[number] ?? "") + text;
    }
    return written;
  }

  test("writes numSamples different texts of maxNewTokens, the same for the same seed", async () => {
    const first = await texts({ seed: 1, compile: false });
    expect(first.map((text) => text.length)).toEqual([12, 12]);
    expect(first[0]).not.toBe(first[1]);
    expect(await texts({ seed: 1, compile: false })).toEqual(first);
    expect(await texts({ seed: 2, compile: false })).not.toEqual(first);
  });

  test("writes compiled what it writes eagerly", async () => {
    expect(await texts({ compile: true })).toEqual(await texts({ compile: false }));
  });

  test("writes the first sample whatever the number of samples", async () => {
    expect((await texts({ numSamples: 1, compile: false }))[0]).toBe(
      (await texts({ numSamples: 3, compile: false }))[0],
    );
  });

  test("leaves no tensor, nor when its reader stops early", async () => {
    await texts({ compile: false });
    const { numTensors } = tf.memory();
    await texts({ compile: false });
    const signal = AbortSignal.abort();
    expect(await texts({ compile: false, signal })).toEqual([]);
    expect(tf.memory().numTensors).toBe(numTensors);
  });

  test("says which option is impossible", async () => {
    await expect(texts({ prompt: "" })).rejects.toThrow(RangeError);
    await expect(texts({ prompt: "xyz" })).rejects.toThrow(/"x"/);
    await expect(texts({ temperature: 0 })).rejects.toThrow(/temperature/);
    await expect(texts({ topK: -1 })).rejects.toThrow(/topK/);
  });
});
