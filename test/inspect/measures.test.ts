/** Measures against PyTorch's and against loops written out here, what is refused, and what stays in memory. */
import { beforeAll, describe, expect, test } from "vitest";
import type { TokenFile } from "../../lib/data/batches.js";
import { bpeTokenizer, charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { type LookedAt, look } from "../../lib/inspect/look.js";
import { activationPatching } from "../../lib/inspect/measures/activation-patching.js";
import { attentionEntropy, headScores, repeatedTokens } from "../../lib/inspect/measures/attention-scores.js";
import { layerUpdates } from "../../lib/inspect/measures/layer-updates.js";
import { logitAttribution } from "../../lib/inspect/measures/logit-attribution.js";
import { logitLens } from "../../lib/inspect/measures/logit-lens.js";
import type { Prediction } from "../../lib/inspect/measures/predictions.js";
import { residualNorms } from "../../lib/inspect/measures/residual-norms.js";
import { tokenLosses } from "../../lib/inspect/measures/token-losses.js";
import { expectNoLeakAwaited } from "../leaks.js";
import { goldenModel, goldenModels, goldenValues, relative } from "./golden-models.js";

beforeAll(() => {
  loadTensorFlow();
});

/** PyTorch's value of a measure: test/golden/make-values.py. */
const golden = (model: string, name: string) => Float32Array.from(goldenValues[`${model}/measure/${name}`]!.values);
const metric = { token: 3, minus: 8 };

/** A prediction's numbers from logits, by sorting all of them. */
function expectPrediction({ top, next }: Prediction, logits: readonly number[], id: number | undefined): void {
  const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0);
  const order = [...logits.keys()].sort((a, b) => logits[b]! - logits[a]! || a - b);
  expect(top.map((candidate) => candidate.id)).toEqual(order.slice(0, top.length));
  for (const { id, probability } of top) expect(probability).toBeCloseTo(Math.exp(logits[id]!) / sum, 5);
  if (id === undefined) {
    expect(next).toBeUndefined();
    return;
  }
  expect([next?.id, next?.rank]).toEqual([id, 1 + order.indexOf(id)]);
  expect(next?.probability).toBeCloseTo(Math.exp(logits[id]!) / sum, 5);
  expect(next?.loss).toBeCloseTo(Math.log(sum) - logits[id]!, 4);
}

describe.each(goldenModels)("of the model %s, PyTorch's values are those of", (model) => {
  const { held, ids, otherIds } = goldenModel(model);
  const { nHead, nLayer, vocabSize } = held.settings;

  test("logitLens(): likeliest tokens, probability and rank of the true one, at each state and position", async () => {
    const { states, predictions, axes } = await logitLens(held, ids, { top: 4 });
    expect(axes).toEqual(["state", "position"]);
    expect(states).toEqual(["embed", "h.0.resid_mid", "h.0.resid_out", "h.1.resid_mid", "h.1.resid_out"]);
    for (const [index, name] of states.entries()) {
      const logits = golden(model, `lens/${name}`);
      for (const [position, prediction] of predictions[index]!.entries()) {
        const row = [...logits.subarray(position * vocabSize, (position + 1) * vocabSize)];
        expectPrediction(prediction, row, ids[position + 1]);
      }
    }
  });

  test("tokenLosses(): the loss of each token but the first, and their mean", async () => {
    const { losses, expected, mean } = await tokenLosses(held, ids, { top: 3 });
    const wanted = golden(model, "losses");
    expect(losses[0]).toBeNull();
    expect(relative(losses.slice(1) as number[], wanted)).toBeLessThan(1e-4);
    expect(mean).toBeCloseTo([...wanted].reduce((sum, loss) => sum + loss, 0) / wanted.length, 5);
    expect(expected.map((prediction) => prediction?.next?.id)).toEqual([undefined, ...ids.slice(1)]);
    expect(expected[1]!.top).toHaveLength(3);
  });

  test("residualNorms() and attentionEntropy()", async () => {
    const { norms, means } = await residualNorms(held, ids);
    expect(relative(norms.flat(), golden(model, "norms"))).toBeLessThan(1e-5);
    expect(means[2]).toBeCloseTo(norms[2]!.reduce((sum, norm) => sum + norm, 0) / ids.length, 6);
    const { entropies } = await attentionEntropy(held, ids);
    expect([entropies.length, entropies[0]!.length]).toEqual([nLayer, nHead]);
    expect(relative(entropies.flat(2), golden(model, "entropy"))).toBeLessThan(1e-4);
  });

  test("logitAttribution(): each component's; and they add up to the logit, to 1e-4", async () => {
    const { contributions, sum, logit, position } = await logitAttribution(held, ids, metric);
    expect(position).toBe(ids.length - 1);
    const values = contributions.map(({ value }) => value);
    expect(relative(values, golden(model, "attribution"))).toBeLessThan(1e-4);
    expect(Math.abs(sum - logit)).toBeLessThan(1e-4);
    const logits = (await look(held, ids, ["logits"])).values.logits.values;
    for (const position of ids.keys()) {
      const one = await logitAttribution(held, ids, { position, token: 5 });
      expect(one.logit).toBeCloseTo(logits[position * vocabSize + 5]!, 5);
      expect(Math.abs(one.sum - one.logit)).toBeLessThan(1e-4);
    }
  });

  test("activationPatching(): every layer, head and position", async () => {
    const names = ["resid_mid", "resid_out", "attn.out", "mlp.out", "attn.head_out"] as const;
    const { maps } = await activationPatching(held, ids, otherIds, { metric, names });
    for (const name of names) {
      const effects = maps[name].flatMap((row) => row.effects);
      expect([name, relative(effects, golden(model, `patching/${name}`)) < 1e-3]).toEqual([name, true]);
    }
    expect(maps["attn.head_out"][nHead]).toMatchObject({ label: "head 1.0", layer: 1, head: 0 });
    expect(maps.resid_out[1]).toMatchObject({ label: "layer 1", layer: 1 });
  });

  test("layerUpdates(): norms of the gradient, the weights and AdamW's update by layer", async () => {
    const parts = ["wte", "wpe", "h.0", "h.1", "ln_f", ...(held.settings.tieHead ? [] : ["lm_head"])];
    const found = await layerUpdates(trainingOf(held), onlyBatch(held));
    expect(found.parts.map(({ part }) => part)).toEqual(parts);
    const [gradients, weights, updates] = ["gradientNorm", "weightNorm", "updateNorm"].map((key) =>
      found.parts.map((part) => part[key as "gradientNorm"]),
    );
    const wanted = golden(model, "updates");
    expect(relative(gradients!, wanted.subarray(0, parts.length))).toBeLessThan(1e-4);
    expect(relative(weights!, wanted.subarray(parts.length, 2 * parts.length))).toBeLessThan(1e-5);
    expect(relative(updates!, wanted.subarray(2 * parts.length))).toBeLessThan(1e-4);
    for (const { ratio, updateNorm, weightNorm } of found.parts) expect(ratio).toBe(updateNorm / weightNorm);
  });
});

/** A run's start, as make-values.py trains it. */
function trainingOf({ params, settings }: LookedAt) {
  const optimizer = { learningRate: 1e-3, decayLr: false, weightDecay: 0.1, beta1: 0.9, beta2: 0.95, gradClip: 1 };
  const progress = { step: 0, evaluated: false, bestValLoss: null, trainedMs: 0 };
  const trained = { ...settings, ...optimizer, batchSize: 1 };
  return { params, settings: trained, path: "golden", tokenizer: undefined, optimizer: {}, ...progress };
}

/** Tokens of which only one batch can be drawn. */
function onlyBatch({ settings: { blockSize, vocabSize } }: LookedAt): TokenFile {
  const ids = Int32Array.from({ length: blockSize + 1 }, (_, i) => (7 * i + 3) % vocabSize);
  const read = (start: number, count: number) => ids.subarray(start, start + count);
  return { path: "one batch", length: ids.length, read, close: () => {} };
}

describe("headScores()", () => {
  test("equal sums over the attention weights, written out", async () => {
    const { held } = goldenModel("untied");
    const ids = [3, 1, 4, 1, 5, 9, 1, 4, 3];
    const scores = await headScores(held, ids);
    const weights = (await look(held, ids, ["h.1.attn.weights"])).values["h.1.attn.weights"].values;
    for (let head = 0; head < held.settings.nHead; head++) {
      const w = (t: number, s: number) => weights[(head * 9 + t) * 9 + s]!;
      const previous = [1, 2, 3, 4, 5, 6, 7, 8].map((t) => w(t, t - 1)).reduce((sum, x) => sum + x, 0) / 8;
      // 1 stands at 1, 3 and 6, 4 at 2 and 7, 3 at 0 and 8.
      const duplicate = (w(3, 1) + w(6, 1) + w(6, 3) + w(7, 2) + w(8, 0)) / 4;
      const induction = (w(3, 2) + w(6, 2) + w(6, 4) + w(7, 3) + w(8, 1)) / 4;
      expect(scores.previousToken[1]![head]).toBeCloseTo(previous, 6);
      expect(scores.duplicateToken[1]![head]).toBeCloseTo(duplicate, 6);
      expect(scores.induction[1]![head]).toBeCloseTo(induction, 6);
    }
  });

  test("know no duplicate-token and no induction head where no token occurs twice", async () => {
    const { held } = goldenModel("erf");
    const { induction, duplicateToken, previousToken } = await headScores(held, [1, 2, 3]);
    expect([induction[0]![0], duplicateToken[1]![1]]).toEqual([Number.NaN, Number.NaN]);
    expect(previousToken[0]![0]).toBeGreaterThan(0);
  });

  test("on random tokens: different ones, twice, by the seed; not the end of text", () => {
    const { held } = goldenModel("erf");
    const ids = repeatedTokens(held, { seed: 4 });
    expect(ids).toHaveLength(12);
    expect(new Set(ids.slice(0, 6)).size).toBe(6);
    expect(ids.slice(6)).toEqual(ids.slice(0, 6));
    expect(repeatedTokens(held, { seed: 4 })).toEqual(ids);
    expect(repeatedTokens(held, { seed: 5 })).not.toEqual(ids);
    expect(repeatedTokens(held, { length: 3, repeats: 4 })).toHaveLength(12);
    const settings = { ...held.settings, blockSize: 1024, vocabSize: 320 };
    const padded = { ...held, settings, tokenizer: bpeTokenizer([97, 98]) }; // ids 0 to 256, and 257, the end of text
    const all = repeatedTokens(padded, { length: 257 });
    expect([Math.max(...all), new Set(all).size]).toEqual([256, 257]);
    expect(() => repeatedTokens(held, { length: 7 })).toThrow(
      "length 7 × repeats 2 does not fit; wanted whole numbers",
    );
    expect(() => repeatedTokens(held, { length: 2.5 })).toThrow("does not fit");
  });
});

describe("measures", () => {
  test("take a text where the model brings its tokenizer, and a token as text", async () => {
    const { held } = goldenModel("untied");
    const model = { ...held, tokenizer: charTokenizer("abcdefghijk") };
    const { token, minus, logit } = await logitAttribution(model, "abca", { token: "c", minus: "d" });
    expect([token, minus]).toEqual(["c", "d"]);
    expect(logit).toBe((await logitAttribution(held, [0, 1, 2, 0], { token: 2, minus: 3 })).logit);
    const { tokens, expected } = await tokenLosses(model, "abca");
    expect(tokens).toEqual(["a", "b", "c", "a"]);
    expect("abcdefghijk").toContain(expected[1]!.top[0]!.token);
    expect((await logitLens(model, "ab")).predictions[0]![0]!.next?.token).toBe("b");
  });

  test("patch rows in several passes where a text is long", async () => {
    const { held, ids } = goldenModel("untied");
    const settings = { ...held.settings, blockSize: 80 };
    const wpe = held.params["wpe.weight"]!;
    const positions = Float32Array.from({ length: 80 * 16 }, (_, i) => wpe.values[i % wpe.values.length]!);
    const long = { params: { ...held.params, "wpe.weight": { ...wpe, shape: [80, 16], values: positions } }, settings };
    const clean = Array.from({ length: 80 }, (_, i) => ids[i % ids.length]!);
    const corrupted = clean.map((id, i) => (i === 70 ? (id + 1) % 11 : id));
    const { maps } = await activationPatching(long, clean, corrupted, { metric, names: ["resid_out"] });
    const [first, last] = maps.resid_out.map(({ effects }) => effects);
    expect(first).toHaveLength(80);
    expect(Math.max(...first!.slice(0, 70).map(Math.abs))).toBeLessThan(1e-4);
    expect(Math.abs(first![70]!)).toBeGreaterThan(1e-2);
    expect(last![79]).toBeCloseTo(1, 4);
  });

  test("refuse a position, a token or a text that the model does not have", async () => {
    const { held, ids, otherIds } = goldenModel("untied");
    const attribution = (options: object, model: LookedAt = held) =>
      logitAttribution(model, ids, { token: 1, ...options });
    await expect(attribution({ position: 16 })).rejects.toThrow("there is no position 16; the text has 0 to 15");
    await expect(attribution({ token: 11 })).rejects.toThrow("the logit of token 11: the model knows 0 to 10");
    await expect(attribution({ minus: -1 })).rejects.toThrow("the logit of token -1");
    await expect(attribution({ token: "a" })).rejects.toThrow("the model does not bring its tokenizer");
    const named = { ...held, tokenizer: charTokenizer("abcdefghijk") };
    await expect(attribution({ token: "ab" }, named)).rejects.toThrow('it is 2 tokens ("a", "b"); give one token');
    await expect(attribution({ token: "z" }, named)).rejects.toThrow("is not in the vocabulary");
    const patch = (other: number[]) => activationPatching(held, ids, other, { metric });
    await expect(patch(otherIds.slice(1))).rejects.toThrow("the clean text has 16 tokens and the corrupted one 15");
    await expect(patch(ids)).rejects.toThrow("in both runs; choose a logit that tells them apart");
    await expect(tokenLosses(held, [1])).rejects.toThrow("the text has 1 token; the first is not predicted");
    await expect(logitLens(held, [11])).rejects.toThrow("Cannot look at the id 11");
    await expect(layerUpdates(trainingOf(held), { ...onlyBatch(held), length: 3 })).rejects.toThrow(
      "it has 3 ids, but a block of 16",
    );
  });

  test("leave no tensor behind, also after errors", async () => {
    const { held, ids, otherIds } = goldenModel("tanh");
    await expectNoLeakAwaited(async () => {
      await logitLens(held, ids);
      await logitAttribution(held, ids, metric);
      await attentionEntropy(held, ids);
      await headScores(held, ids);
      await residualNorms(held, ids);
      await tokenLosses(held, ids);
      await activationPatching(held, ids, otherIds, { metric, names: ["resid_out", "attn.head_out"] });
      await layerUpdates(trainingOf(held), onlyBatch(held));
    });
    await expectNoLeakAwaited(async () => {
      await expect(logitAttribution(held, ids, { token: 99 })).rejects.toThrow();
      await expect(activationPatching(held, ids, ids, { metric })).rejects.toThrow();
      const { "ln_f.weight": _, ...incomplete } = held.params;
      await expect(logitLens({ ...held, params: incomplete }, ids)).rejects.toThrow();
      const wide = { ...onlyBatch(held), read: (_: number, count: number) => new Int32Array(count).fill(99) };
      await expect(layerUpdates(trainingOf(held), wide)).rejects.toThrow("id 99");
    });
  });
});
