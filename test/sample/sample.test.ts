import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { charTokenizer, type Tokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { float32, type HostTensor, mapRecord, toHost } from "../../lib/engine/host-tensors.js";
import { enableFused, fusedEnabled } from "../../lib/engine/operations/fused.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { machineBytes } from "../../lib/host/memory.js";
import { uniform } from "../../lib/host/random.js";
import { initialParameters } from "../../lib/model/model.js";
import { generate } from "../../lib/sample/generate.js";
import { drawTokens, penalize, sampleProbabilities } from "../../lib/sample/next-token.js";
import { noiseWarnings, type SampledToken, type SampleOptions, sample } from "../../lib/sample/sample.js";
import { defaultSettings, type Settings } from "../../lib/settings/settings.js";
import type { TrainedModel } from "../../lib/weights/pretrained.js";

import { readSafetensors } from "../../lib/weights/safetensors.js";

import { expectNoLeak } from "../leaks.js";
import { ownOperations } from "../needs.js";

// PyTorch's values: test/golden/make.py made them.
const golden = JSON.parse(readFileSync(new URL("../golden/index.json", import.meta.url), "utf8"));

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

  test("keeps tokens as likely as the k-th", () => {
    expect(probabilities([3, 1, 3, 3, 0], 1, 2).map((p) => p > 0)).toEqual([true, false, true, true, false]);
    expect(probabilities([3, 1, 3, 3, 0], 1, 1)[0]).toBeCloseTo(1 / 3, 6);
  });

  test("is 1 for the most likely token at a temperature near 0, and uniform at an infinite one", () => {
    for (const temperature of [1e-3, 1e-8, 1e-30, 1e-37]) {
      for (const topK of [0, 2]) expect(probabilities([90, -40, 100, 0], temperature, topK)).toEqual([0, 0, 1, 0]);
    }
    expect(probabilities([9, -40, 10, 0], Number.POSITIVE_INFINITY, 0)).toEqual([0.25, 0.25, 0.25, 0.25]);
  });

  test("does not leak inside tidy", () => {
    const logits = tf.tensor2d([[1, 2, 3]]);
    expectNoLeak(() => tf.tidy(() => void sampleProbabilities(logits, tf.scalar(1), 2)));
    logits.dispose();
  });
});

describe("topP", () => {
  const shares = (logits: number[], topP: number, topK = 0) =>
    tf.tidy(() => {
      const filter = { topK, topP: tf.scalar(topP) };
      return [...sampleProbabilities(tf.tensor2d([logits]), tf.scalar(1), filter).dataSync()];
    });
  const logits = [0.1, 0.5, 0.15, 0.25].map(Math.log);

  test("keeps the fewest most likely tokens that reach the share, and their proportions", () => {
    for (const [topP, kept] of [
      [0.01, [1]],
      [0.49, [1]],
      [0.51, [1, 3]],
      [0.76, [1, 3, 2]],
      [0.95, [1, 3, 2, 0]],
      [1, [1, 3, 2, 0]],
    ] as const) {
      const total = kept.reduce<number>((sum, i) => sum + Math.exp(logits[i]!), 0);
      for (const [i, p] of shares(logits, topP).entries()) {
        expect(p, `${topP}, ${i}`).toBeCloseTo(
          (kept as readonly number[]).includes(i) ? Math.exp(logits[i]!) / total : 0,
          5,
        );
      }
    }
  });

  test("is a share of the probability that top-k keeps", () => {
    expect(shares(logits, 0.6, 2).map((p) => p > 0)).toEqual([false, true, false, false]);
    expect(shares(logits, 0.7, 2).map((p) => p > 0)).toEqual([false, true, false, true]);
  });
});

test("penalize() makes tokens of the text less likely, whatever the sign of their logits", () => {
  tf.tidy(() => {
    const penalized = penalize(tf.tensor2d([[2, -2, 2, -2]]), tf.tensor2d([[1, 1, 0, 0]]), tf.scalar(4));
    expect([...penalized.dataSync()]).toEqual([0.5, -8, 2, -2]);
  });
});

describe("drawTokens()", () => {
  const draw = (probabilities: number[], u: number) =>
    tf.tidy(() => drawTokens(tf.tensor2d([probabilities]), tf.tensor2d([[u]])).dataSync()[0]);

  test("takes the token at which the cumulative probability exceeds u", () => {
    expect([0, 0.24, 0.26, 0.7, 0.76, 0.999].map((u) => draw([0.25, 0.5, 0.25], u))).toEqual([0, 0, 1, 1, 2, 2]);
  });

  test("never takes a token of probability 0, at either end", () => {
    expect(draw([0, 0, 1, 0], 0)).toBe(2);
    expect(draw([0, 0, 1, 0], 1 - 2 ** -24)).toBe(2);
    // Whatever the rounding of the total, the largest u gives the last token of nonzero probability.
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

  test("draws each token as often as its probability predicts", () => {
    const probabilities = [0.1, 0.2, 0.3, 0.4];
    const n = 2000;
    const count = (u: (i: number) => number) =>
      tf.tidy(() => {
        const table = tf.tile(tf.tensor2d([probabilities]), [n, 1]) as tf.Tensor2D;
        const tokens = drawTokens(table, tf.tensor2d(Array.from({ length: n }, (_, i) => [u(i)]))).dataSync();
        return probabilities.map((_, token) => tokens.filter((drawn) => drawn === token).length);
      });
    const error = (found: number[]) => found.map((times, i) => Math.abs(times / n - probabilities[i]!));
    // Evenly spaced u: exact except for rounding at the borders.
    for (const off of error(count((i) => (i + 0.5) / n))) expect(off).toBeLessThan(0.002);
    // The sampler's u for ten seeds: with 3 degrees of freedom, 21 is exceeded once in 10,000.
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
  // What is written by two ways is compared: not where `auto` is a format that only compiled steps have.
  const shape = { nLayer: 1, nHead: 2, nEmbd: 8, blockSize: 4, vocabSize: 7 };
  const settings = { ...defaultSettings, ...shape, compile: false, dtype: "float32" as Settings["dtype"] };

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
      maxNewTokens: 12, // longer than blockSize, so the context slides
      numSamples: 2,
      ...options,
    })) {
      written[number] = (written[number] ?? "") + text;
    }
    return written;
  }

  test("generates numSamples different texts of maxNewTokens tokens, the same for the same seed", async () => {
    const first = await texts({ seed: 1, compile: false });
    expect(first.map((text) => text.length)).toEqual([12, 12]);
    expect(first[0]).not.toBe(first[1]);
    expect(await texts({ seed: 1, compile: false })).toEqual(first);
    expect(await texts({ seed: 2, compile: false })).not.toEqual(first);
  });

  test("ids beyond the tokenizer's change nothing: the text is that of a model without them", async () => {
    const model = await modelOf({ nLayer: 2 }, 4);
    const { shape, values } = model.params["wte.weight"]!;
    const [V, C] = shape as [number, number];
    const padded = new Float32Array((V + 6) * C).fill(3); // they would be likely
    padded.set(values as Float32Array);
    const params = { ...model.params, "wte.weight": float32(padded, [V + 6, C]) };
    const wide = { params, settings: { ...model.settings, vocabSize: V + 6 } };
    const [found, wanted] = [await texts({ numSamples: 3 }, wide), await texts({ numSamples: 3 }, model)];
    expect(found).toEqual(wanted);
    expect(new Set(wanted).size).toBe(3);
  });

  test("generates the same text in compiled and eager mode", async () => {
    expect(await texts({ compile: true })).toEqual(await texts({ compile: false }));
  });

  test("generates the same first sample for any number of samples", async () => {
    expect((await texts({ numSamples: 1, compile: false }))[0]).toBe(
      (await texts({ numSamples: 3, compile: false }))[0],
    );
  });

  for (const compile of [false, true]) {
    test(`generates the same text with and without a cache, up to blockSize, ${compile ? "compiled" : "eagerly"}`, async () => {
      for (const bias of [false, true]) {
        const model = await modelOf({ blockSize: 24, nLayer: 2, bias }, 20);
        const write = (options: Partial<SampleOptions>) =>
          texts({ compile, maxNewTokens: 23, numSamples: 3, ...options }, model);
        for (const options of [{ topK: 1 }, { temperature: 2 }]) {
          const cached = await write({ ...options, cache: true });
          expect(cached).toEqual(await write({ ...options, cache: false }));
          expect(new Set(cached).size).toBe(options.topK ? 1 : 3);
        }
      }
    });

    test(`starts again from the last half of the context when it is full, ${compile ? "compiled" : "eagerly"}`, async () => {
      const model = await modelOf({ blockSize: 8 }, 20);
      const write = (prompt: string, maxNewTokens: number) =>
        texts({ prompt, compile, maxNewTokens, topK: 1, numSamples: 1 }, model);
      const [whole] = await write("ab", 16);
      // The window is full with "ab" and the six that follow; the seventh is drawn from it, the eighth from four.
      const text = `ab${whole}`;
      expect((await write(text.slice(5, 9), 5))[0]).toBe(text.slice(9, 14));
    });
  }

  test("continues from the last blockSize tokens of a longer prompt", async () => {
    const model = await modelOf({}, 20);
    const writtenAfter = (prompt: string) => texts({ prompt, compile: false, maxNewTokens: 20 }, model);
    expect(await writtenAfter("gfedcbagfedcbaabcd")).toEqual(await writtenAfter("abcd"));
    expect(await writtenAfter("gfedcbagfedcbaabcd")).not.toEqual(await writtenAfter("dcba"));
  });

  test("does not depend on the padding of contexts: long and short blocks agree", async () => {
    // Contexts of up to 20 tokens are padded to 16, then to 32 (or to 20, the end of the block).
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

  test("never draws an id that the tokenizer lacks, and refuses a tokenizer with more ids", async () => {
    const wide = await modelOf({ vocabSize: 64 });
    for (const topK of [0, 3, 200]) {
      for (const text of await texts({ topK, temperature: 100, maxNewTokens: 30, compile: false }, wide)) {
        expect(text).toMatch(/^[a-g]{30}$/);
      }
    }
    await expect(texts({}, await modelOf({ vocabSize: 5 }))).rejects.toThrow(/tokenizer has 7 ids and the model 5/);
  });

  for (const compile of [false, true]) {
    test(`takes the most likely token at a temperature near 0, for any seed, ${compile ? "compiled" : "eagerly"}`, async () => {
      const model = await modelOf({}, 20);
      const greedy = await texts({ topK: 1, compile, seed: 1 }, model);
      for (const temperature of [1e-6, 1e-30, 1e-60]) {
        expect(await texts({ topK: 0, temperature, compile, seed: 2 }, model)).toEqual(greedy);
      }
    });

    test(`stops when its signal is aborted between two tokens, ${compile ? "compiled" : "eagerly"}`, async () => {
      const controller = new AbortController();
      let tokens = 0;
      const options = { prompt: "a", maxNewTokens: 100, compile, signal: controller.signal };
      for await (const _ of sample(await modelOf(), tokenizer, options)) if (++tokens === 3) controller.abort();
      expect(tokens).toBe(3);
    });
  }

  async function records(options: Partial<SampleOptions>, model?: TrainedModel, own: Tokenizer = tokenizer) {
    const all: SampledToken[] = [];
    const generated = sample(model ?? (await modelOf()), own, { prompt: "ab", compile: false, ...options });
    for await (const record of generated) all.push(record);
    return all;
  }

  test("reports the probability of each token, and the alternatives", async () => {
    const all = await records({ alternatives: 3, topK: 4, temperature: 1, maxNewTokens: 6 }, await modelOf({}, 20));
    for (const { token, probability, alternatives } of all) {
      expect(alternatives!.length).toBe(3);
      expect(alternatives!.map((other) => other.probability)).toEqual(
        alternatives!.map((other) => other.probability).sort((a, b) => b - a),
      );
      const drawn = alternatives!.find((other) => other.token === token);
      if (drawn) expect(drawn.probability).toBeCloseTo(probability!, 6);
      else expect(probability).toBeLessThanOrEqual(alternatives!.at(-1)!.probability);
    }
    expect((await records({ maxNewTokens: 1 }))[0]).not.toHaveProperty("probability");
    // In greedy text, one token has all of the probability; tokens that cannot be drawn are not alternatives.
    const [greedy] = await records({ alternatives: 3, topK: 1, maxNewTokens: 1 }, await modelOf({}, 20));
    expect(greedy!.alternatives).toHaveLength(1);
  });

  test("draws by the seed, the sample and the place: where the cumulative probability passes that number", async () => {
    const model = await modelOf({}, 20);
    const options = { alternatives: 7, topK: 0, temperature: 2, maxNewTokens: 10, numSamples: 2 };
    for (const seed of [3, 4]) {
      const places = [0, 0];
      for (const { sample: number, token, alternatives } of await records({ ...options, seed }, model)) {
        const u = uniform(seed, "sample", number, places[number]!++);
        const sorted = [...alternatives!].sort((one, other) => one.token - other.token);
        let passed = 0;
        const drawn = sorted.find(({ probability }) => {
          passed += probability;
          return passed > u;
        });
        expect(token, `${number} ${places[number]}`).toBe(drawn!.token);
      }
      expect(places).toEqual([10, 10]);
    }
  });

  test("is, unless told otherwise, one sample of 500 tokens, of the 200 likeliest at temperature .8, by seed 1337", async () => {
    const wide = charTokenizer(Array.from({ length: 260 }, (_, k) => String.fromCharCode(0x4e00 + k)).join(""));
    const model = await modelOf({ vocabSize: 260, blockSize: 8 }, 3);
    const given = { prompt: wide.decode([1, 2]), alternatives: 260, maxNewTokens: 3 };
    const plain = await records(given, model, wide);
    expect(plain.map(({ sample: number }) => number)).toEqual([0, 0, 0]);
    for (const { alternatives } of plain) expect(alternatives).toHaveLength(200);
    const said = { numSamples: 1, temperature: 0.8, topK: 200, topP: 1, repetitionPenalty: 1, seed: 1337, cache: true };
    expect(await records({ ...given, ...said, stop: [], stopAtEnd: false }, model, wide)).toEqual(plain);
    // Of two logits the probabilities are apart by the difference over the temperature.
    const [one, two] = (await records({ ...given, temperature: 1, topK: 0 }, model, wide))[0]!.alternatives!;
    const [first, second] = plain[0]!.alternatives!;
    const apart = Math.log(one!.probability / two!.probability);
    expect(Math.log(first!.probability / second!.probability) / apart).toBeCloseTo(1 / 0.8, 4);
    const { maxNewTokens: _, ...endless } = given;
    const all = await records({ ...endless, alternatives: 0, compile: true }, model, wide);
    expect(all).toHaveLength(500);
    expect(all.at(-1)!.ended).toBe("length");
  });

  test("ends a sample at a stop text, which is not part of it, while the others continue", async () => {
    const model = await modelOf({}, 20);
    const plain = await texts({ compile: false, maxNewTokens: 40, temperature: 2, numSamples: 3 }, model);
    const stop = plain[0]!.slice(7, 10);
    const all = await records({ maxNewTokens: 40, temperature: 2, numSamples: 3, stop: [stop, "zz"] }, model);
    for (const [number, text] of plain.entries()) {
      const own = all.filter((record) => record.sample === number);
      const at = text.indexOf(stop);
      expect(own.map((record) => record.text).join("")).toBe(at < 0 ? text : text.slice(0, at));
      expect(own.at(-1)!.ended).toBe(at < 0 ? "length" : "stop");
      expect(own.length).toBe(at < 0 ? 40 : at + stop.length);
    }
  });

  test("ends at the end-of-text token on request", async () => {
    const ending = { ...tokenizer, endOfText: 2 };
    const all = await records({ maxNewTokens: 60, temperature: 5, stopAtEnd: true }, undefined, ending);
    expect(all.at(-1)!.ended).toBe("end");
    expect(all.at(-1)).toMatchObject({ token: 2, text: "" });
    expect(all.slice(0, -1).every(({ token }) => token !== 2)).toBe(true);
    expect((await records({ maxNewTokens: 60, temperature: 5 }, undefined, ending)).length).toBe(60);
  });

  test("a repetition penalty makes tokens of the text less frequent", async () => {
    const model = await modelOf({}, 20);
    const distinct = async (repetitionPenalty: number) => {
      const options = { topK: 1, maxNewTokens: 12, repetitionPenalty, compile: true, numSamples: 1 };
      return new Set((await texts(options, model))[0]).size;
    };
    expect(await distinct(1e6)).toBeGreaterThan(await distinct(1));
  });

  test("a repetition penalty counts each sample's own tokens: two that are greedy are the same", async () => {
    const model = await modelOf({}, 20);
    const options = { topK: 1, maxNewTokens: 12, repetitionPenalty: 1e6, compile: false };
    const [first, second] = await texts({ ...options, numSamples: 2 }, model);
    expect(second).toBe(first);
    expect(await texts({ ...options, numSamples: 1 }, model)).toEqual([first]);
  });

  test("says how much memory the keys and values of too many samples need, before it takes any", async () => {
    const huge = { ...settings, nLayer: 2, blockSize: 1000, nEmbd: 500 };
    const how = { temperature: 1, topK: 0, topP: 1, repetitionPenalty: 1, seed: 1, alternatives: 0 };
    const drawn = generate({ params: {}, settings: huge }, [0], { ...how, rows: 1e9, vocabSize: 7, cache: true });
    const available = (machineBytes() / 1e9).toFixed(1);
    // Keys and values: 2 · 4 bytes · 1e9 texts · 2 layers · 1,000 positions · 500.
    await expect(drawn.next()).rejects.toThrow(
      `Cannot sample: 1,000,000,000 texts in one batch need 8000000.0 GB for their keys and values, but there are only ${available} GB; lower numSamples (1000000000).`,
    );
  });

  test("can be aborted between rounds even without other awaits, and yields nothing if aborted before", async () => {
    expect(await records({ signal: AbortSignal.abort() })).toEqual([]);
  });

  test("warns of an untrained model and of a tokenizer that cannot belong to it", async () => {
    const wide = await modelOf({ vocabSize: 640 });
    expect(noiseWarnings(await modelOf(), tokenizer, 100)).toEqual([]);
    expect(noiseWarnings(await modelOf({ vocabSize: 134 }), tokenizer)).toEqual([]);
    expect(noiseWarnings(await modelOf({ vocabSize: 135 }), tokenizer)).toHaveLength(1); // 128 more than 7
    expect(noiseWarnings(await modelOf(), tokenizer, 0).join()).toMatch(/untrained \(step 0\)/);
    expect(noiseWarnings(wide, tokenizer, 5).join()).toMatch(/has 640 ids and the tokenizer 7/);
  });

  describe("with weights in bfloat16", () => {
    let own = false;
    const available = () => fusedEnabled();
    beforeAll(() => {
      own = fusedEnabled();
    });
    afterEach(() => {
      enableFused(own); // with FOLIO_FUSED=0 there are none to switch on again
    });

    // Of an odd width only the matrices with an even number of columns: two columns are stored as a pair.
    test.for([
      ["", {}],
      [", of an odd width", { nEmbd: 9, nHead: 3 }],
    ] as const)("generates the same text as a float32 model with the rounded weights%s", async ([, width], context) => {
      context.skip(!available(), ownOperations());
      const model = await modelOf({ blockSize: 40, nLayer: 2, bias: true, ...width }, 20);
      const isPaired = ({ shape }: HostTensor, name: string) =>
        shape.length === 2 && name !== "wpe.weight" && shape[1]! % 2 === 0;
      const rounded = mapRecord(model.params, (host, name) =>
        isPaired(host, name) ? float32(roundedTo16(host.values), host.shape) : host,
      );
      const options = { compile: true, maxNewTokens: 30, numSamples: 2, prompt: "abcdefgabcdefgabcd" };
      const short = await texts({ ...options, dtype: "bfloat16" }, model);
      expect(short).toEqual(await texts({ ...options, dtype: "float32" }, { ...model, params: rounded }));
    });

    test("still generates text without Folio's operations", async () => {
      if (!available()) return;
      enableFused(false);
      const written = await texts({ compile: true, dtype: "bfloat16" });
      expect(written.map((text) => text.length)).toEqual([12, 12]);
    });
  });

  test("leaks no tensors, even if its consumer stops early", async () => {
    await texts({ compile: false });
    const { numTensors } = tf.memory();
    await texts({ compile: false });
    const signal = AbortSignal.abort();
    expect(await texts({ compile: false, signal })).toEqual([]);
    for await (const _ of sample(await modelOf(), tokenizer, { prompt: "a", compile: false })) break;
    expect(tf.memory().numTensors).toBe(numTensors);
  });

  test("names an invalid option", async () => {
    await expect(texts({ prompt: "" })).rejects.toThrow(RangeError);
    await expect(texts({ prompt: "xyz" })).rejects.toThrow(/"x"/);
    await expect(texts({ temperature: 0 })).rejects.toThrow(/temperature/);
    await expect(texts({ temperature: Number.NaN })).rejects.toThrow(/temperature is NaN/);
    await expect(texts({ topK: -1 })).rejects.toThrow(/topK/);
    await expect(texts({ numSamples: 0 })).rejects.toThrow(/numSamples is 0/);
    await expect(texts({ topP: 1.5 })).rejects.toThrow(/topP is 1.5/);
    await expect(texts({ repetitionPenalty: 0 })).rejects.toThrow(/repetitionPenalty is 0/);
    await expect(texts({ stop: [""] })).rejects.toThrow(/stop text is empty/);
    await expect(texts({ maxNewTokens: 1.5 })).rejects.toThrow(/maxNewTokens is 1.5/);
  });
});

/** The nearest numbers with 8 bits of fraction, ties to even. */
function roundedTo16(values: ArrayLike<number>): Float32Array {
  const words = new Uint32Array(Float32Array.from(values).buffer);
  const rounded = words.map((word) => ((word + 0x7fff + ((word >>> 16) & 1)) >>> 16) << 16);
  return new Float32Array(rounded.buffer);
}

describe("a text longer than the context", () => {
  // test/golden/make-context.py wrote it in PyTorch, by the formula of nanoGPT's generate().
  const path = (name: string) => fileURLToPath(new URL(`../golden/${name}`, import.meta.url));
  const wanted = JSON.parse(readFileSync(path("context.json"), "utf8"));
  const model: TrainedModel = {
    params: readSafetensors(path("context.safetensors")),
    settings: { ...defaultSettings, ...wanted.model, bias: false, device: "cpu" },
  };
  const written = async (options: Partial<SampleOptions>) => {
    const tokenizer = charTokenizer("abcdefghijklmnopqrstuvwxyz012"); // 29 ids
    const ids: number[] = [];
    const prompt = tokenizer.decode(wanted.prompt);
    const given = { prompt, topK: 1, maxNewTokens: wanted.ids.length, dtype: "float32" as const, ...options };
    for await (const { token } of sample(model, tokenizer, given)) ids.push(token);
    return ids;
  };

  for (const compile of [false, true]) {
    test(`with context slide equals nanoGPT's greedy text, up to three times the context, ${compile ? "compiled" : "eager"}`, async () => {
      expect(wanted.ids.length).toBe(3 * wanted.model.blockSize);
      expect(await written({ context: "slide", compile })).toEqual(wanted.ids);
    });
  }

  test("with context half is the same up to the end of the context, and different after it", async () => {
    const ids = await written({ compile: false });
    const before = wanted.model.blockSize - wanted.prompt.length + 1;
    expect(ids.slice(0, before)).toEqual(wanted.ids.slice(0, before));
    expect(ids).not.toEqual(wanted.ids);
  });
});
