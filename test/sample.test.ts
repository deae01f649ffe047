import { readFileSync } from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, test } from "vitest";
import { defaultSettings } from "../lib/config.js";
import { float32, type HostTensor, mapRecord, toHost } from "../lib/engine/session.js";
import { loadTensorFlow } from "../lib/engine/tensorflow.js";
import type { TrainedModel } from "../lib/evaluate.js";
import { initialParameters } from "../lib/model.js";
import { uniform } from "../lib/random.js";
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

  const probabilities = (logits: number[], temperature: number, topK: number) =>
    tf.tidy(() => [...sampleProbabilities(tf.tensor2d([logits]), tf.scalar(temperature), topK).dataSync()]);

  test("keeps what is as likely as the k-th", () => {
    expect(probabilities([3, 1, 3, 3, 0], 1, 2).map((p) => p > 0)).toEqual([true, false, true, true, false]);
    expect(probabilities([3, 1, 3, 3, 0], 1, 1)[0]).toBeCloseTo(1 / 3, 6);
  });

  test("is all the likeliest token's when the temperature is next to nothing, and even when it is infinite", () => {
    for (const temperature of [1e-3, 1e-8, 1e-30, 1e-37]) {
      for (const topK of [0, 2]) expect(probabilities([90, -40, 100, 0], temperature, topK)).toEqual([0, 0, 1, 0]);
    }
    expect(probabilities([9, -40, 10, 0], Number.POSITIVE_INFINITY, 0)).toEqual([0.25, 0.25, 0.25, 0.25]);
  });

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
    // Whatever rounding makes of the total, the largest u ends at the last token that has a share.
    for (let trial = 0; trial < 200; trial++) {
      const shares = Array.from({ length: 50 }, (_, i) => (i < 40 ? uniform(trial, "share", i) : 0));
      const total = shares.reduce((sum, share) => sum + share, 0) * (1 + (trial - 100) * 1e-7);
      expect(
        shares[
          draw(
            shares.map((share) => share / total),
            1 - 2 ** -24,
          )!
        ],
      ).toBeGreaterThan(0);
    }
  });

  test("draws each token as often as its probability says", () => {
    const probabilities = [0.1, 0.2, 0.3, 0.4];
    const n = 2000;
    const count = (u: (i: number) => number) =>
      tf.tidy(() => {
        const table = tf.tile(tf.tensor2d([probabilities]), [n, 1]) as tf.Tensor2D;
        const tokens = drawTokens(table, tf.tensor2d(Array.from({ length: n }, (_, i) => [u(i)]))).dataSync();
        return probabilities.map((_, token) => tokens.filter((drawn) => drawn === token).length);
      });
    const error = (found: number[]) => found.map((times, i) => Math.abs(times / n - probabilities[i]!));
    // Evenly spaced u: exact up to rounding at the borders.
    for (const off of error(count((i) => (i + 0.5) / n))) expect(off).toBeLessThan(0.002);
    // The sampler's own u, of ten seeds: 3 degrees of freedom pass 21 once in 10,000.
    for (let seed = 0; seed < 10; seed++) {
      const counts = count((i) => uniform(seed, "sample", i % 10, Math.floor(i / 10)));
      const chi2 = counts.reduce(
        (sum, times, i) => sum + (times - n * probabilities[i]!) ** 2 / (n * probabilities[i]!),
        0,
      );
      expect(chi2, `seed ${seed}`).toBeLessThan(21);
    }
  });
});

describe("sample()", () => {
  const tokenizer = charTokenizer("abcdefg");
  const settings = { ...defaultSettings, nLayer: 1, nHead: 2, nEmbd: 8, blockSize: 4, vocabSize: 7, compile: false };

  /** An untrained model, whose logits differ more than they would: `scale` times. */
  async function modelOf(more: Partial<typeof settings> = {}, scale = 1): Promise<TrainedModel> {
    const own = { ...settings, ...more };
    const tensors = initialParameters(own, 5);
    const hosts = Object.entries(tensors).map(async ([name, tensor]) => [name, await toHost(tensor)] as const);
    const params = Object.fromEntries(await Promise.all(hosts));
    tf.dispose(tensors);
    const larger = (host: HostTensor) =>
      float32(
        Float32Array.from(host.values, (w) => w * scale),
        host.shape,
      );
    return { params: mapRecord(params, larger), settings: own };
  }

  async function texts(options: Partial<SampleOptions>, model?: TrainedModel): Promise<string[]> {
    const written: string[] = [];
    for await (const { sample: number, text } of sample(model ?? (await modelOf()), tokenizer, {
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

  test("goes on from the last blockSize tokens of a longer prompt", async () => {
    const model = await modelOf({}, 20);
    const writtenAfter = (prompt: string) => texts({ prompt, compile: false, maxNewTokens: 20 }, model);
    expect(await writtenAfter("gfedcbagfedcbaabcd")).toEqual(await writtenAfter("abcd"));
    expect(await writtenAfter("gfedcbagfedcbaabcd")).not.toEqual(await writtenAfter("dcba"));
  });

  test("does not depend on where its contexts were rounded up to: a long block and a short one agree", async () => {
    // Contexts of up to 20 tokens are computed as 16, then 32 (or 20 where the block ends).
    const of = async (blockSize: number) => {
      const model = await modelOf({ blockSize: 32 }, 20);
      const wpe = model.params["wpe.weight"]!;
      const rows = float32(wpe.values.slice(0, blockSize * settings.nEmbd) as Float32Array, [
        blockSize,
        settings.nEmbd,
      ]);
      const cut = { params: { ...model.params, "wpe.weight": rows }, settings: { ...model.settings, blockSize } };
      return texts({ compile: false, maxNewTokens: 18 }, cut);
    };
    expect(await of(32)).toEqual(await of(20));
  });

  test("never draws an id that the tokenizer does not have, and refuses a tokenizer of more ids", async () => {
    const wide = await modelOf({ vocabSize: 64 });
    for (const topK of [0, 3, 200]) {
      for (const text of await texts({ topK, temperature: 100, maxNewTokens: 30, compile: false }, wide)) {
        expect(text).toMatch(/^[a-g]{30}$/);
      }
    }
    await expect(texts({}, await modelOf({ vocabSize: 5 }))).rejects.toThrow(/tokenizer has 7 ids and the model 5/);
  });

  for (const compile of [false, true]) {
    test(`takes the likeliest token at a temperature next to nothing, whatever the seed, ${compile ? "compiled" : "eagerly"}`, async () => {
      const model = await modelOf({}, 20);
      const greedy = await texts({ topK: 1, compile, seed: 1 }, model);
      for (const temperature of [1e-6, 1e-30, 1e-60]) {
        expect(await texts({ topK: 0, temperature, compile, seed: 2 }, model)).toEqual(greedy);
      }
    });

    test(`stops when its signal is raised between two tokens, ${compile ? "compiled" : "eagerly"}`, async () => {
      const controller = new AbortController();
      let tokens = 0;
      const options = { prompt: "a", maxNewTokens: 100, compile, signal: controller.signal };
      for await (const _ of sample(await modelOf(), tokenizer, options)) if (++tokens === 3) controller.abort();
      expect(tokens).toBe(3);
    });
  }

  test("leaves no tensor, nor when its reader stops early", async () => {
    await texts({ compile: false });
    const { numTensors } = tf.memory();
    await texts({ compile: false });
    const signal = AbortSignal.abort();
    expect(await texts({ compile: false, signal })).toEqual([]);
    for await (const _ of sample(await modelOf(), tokenizer, { prompt: "a", compile: false })) break;
    expect(tf.memory().numTensors).toBe(numTensors);
  });

  test("says which option is impossible", async () => {
    await expect(texts({ prompt: "" })).rejects.toThrow(RangeError);
    await expect(texts({ prompt: "xyz" })).rejects.toThrow(/"x"/);
    await expect(texts({ temperature: 0 })).rejects.toThrow(/temperature/);
    await expect(texts({ temperature: Number.NaN })).rejects.toThrow(/temperature is NaN/);
    await expect(texts({ topK: -1 })).rejects.toThrow(/topK/);
    await expect(texts({ numSamples: 0 })).rejects.toThrow(/numSamples is 0/);
    await expect(texts({ maxNewTokens: 1.5 })).rejects.toThrow(/maxNewTokens is 1.5/);
  });
});
