import { expect, test } from "vitest";
import { ngramLosses } from "../../lib/data/ngrams.js";
import { uniform } from "../../lib/host/random.js";

const [a, b, c] = [0, 1, 2];

/** P(w | context) of the `order`-gram model: from the losses of the two texts that end with and without w. */
function probability(train: number[], context: number[], w: number, options: { vocabSize: number; order: number }) {
  const total = (ids: number[]) => (ids.length < 2 ? 0 : ngramLosses(train, ids, options).at(-1)! * (ids.length - 1));
  return Math.exp(total(context) - total([...context, w]));
}

test("ngramLosses() of one id agrees with a calculation by hand", () => {
  // Train a a b, V 3, discounts ½ and 1: freed (½·1 + 1·1), total 3.
  // P(a) = (2 − 1 + 1.5/3)/3 = 1/2, P(b) = (1 − ½ + 1.5/3)/3 = 1/3, P(c) = (1.5/3)/3 = 1/6.
  const options = { vocabSize: 3, order: 1 };
  expect(probability([a, a, b], [a], a, options)).toBeCloseTo(1 / 2, 12);
  expect(probability([a, a, b], [a], b, options)).toBeCloseTo(1 / 3, 12);
  expect(probability([a, a, b], [a], c, options)).toBeCloseTo(1 / 6, 12);
  expect(ngramLosses([a, a, b], [c, a, b, c], options)[0]).toBeCloseTo(Math.log(2 * 3 * 6) / 3, 12);
});

test("ngramLosses() of two ids backs off to the count of different predecessors, by hand", () => {
  // Train a b a b a c: after a stand b, b, c; b has the predecessor a, a has b, c has a: one each, total 3.
  // Shorter: each of a, b, c: (1 − ½ + (½·3)·⅓)/3 = 1/3, though a is the most frequent.
  // P(b | a) = (2 − 1 + (½ + 1)·⅓)/3 = 1/2; P(c | a) = (1 − ½ + ½)/3 = 1/3; P(a | a) = ½/3 = 1/6.
  const train = [a, b, a, b, a, c];
  const options = { vocabSize: 3, order: 2 };
  expect(probability(train, [a], b, options)).toBeCloseTo(1 / 2, 12);
  expect(probability(train, [a], c, options)).toBeCloseTo(1 / 3, 12);
  expect(probability(train, [a], a, options)).toBeCloseTo(1 / 6, 12);
  expect(probability(train, [c], a, options)).toBeCloseTo(1 / 3, 12); // nothing follows c, so only the shorter model counts
});

/** Interpolated modified Kneser–Ney as it is defined (Chen and Goodman 1998), by looking through the text for every count. */
function bySearching(train: readonly number[], val: readonly number[], vocabSize: number, order: number): number {
  const places = (gram: readonly number[]) =>
    Array.from(train.keys()).filter((at) => gram.every((id, k) => train[at + k] === id));
  /** Occurrences, or how many different ids stand before. */
  const count = (gram: readonly number[], longest: boolean) =>
    longest ? places(gram).length : new Set(places(gram).flatMap((at) => (at > 0 ? [train[at - 1]] : []))).size;
  const ids = Array.from({ length: vocabSize }, (_, id) => id);
  const known = new Map<string, number[]>();
  const discounts = (length: number, longest: boolean): number[] => {
    const name = `${length} ${longest}`;
    if (known.has(name)) return known.get(name)!;
    const grams = new Map(
      Array.from({ length: train.length - length + 1 }, (_, at) => train.slice(at, at + length)).map((g) => [
        g.join(),
        g,
      ]),
    );
    const n = [0, 0, 0, 0, 0];
    for (const gram of grams.values()) {
      const times = count(gram, longest);
      if (times > 0 && times <= 4) n[times]!++;
    }
    const Y = n[1]! / (n[1]! + 2 * n[2]!);
    const raw = [1, 2, 3].map((i) => Math.min(i, Math.max(0, i - ((i + 1) * Y * n[i + 1]!) / n[i]!)));
    known.set(name, n.slice(1).includes(0) ? [0, 0.5, 1, 1.5] : [0, ...raw]);
    return known.get(name)!;
  };
  const probabilityOf = (w: number, h: readonly number[], longest: boolean): number => {
    const lower = h.length === 0 ? 1 / vocabSize : probabilityOf(w, h.slice(1), false);
    const after = ids.map((id) => count([...h, id], longest));
    const total = after.reduce((sum, times) => sum + times, 0);
    if (total === 0) return lower;
    const D = discounts(h.length + 1, longest);
    const freed = after.reduce((sum, times) => sum + D[Math.min(times, 3)]!, 0);
    return (after[w]! - D[Math.min(after[w]!, 3)]! + freed * lower) / total;
  };
  const targets = Array.from({ length: val.length - 1 }, (_, k) => k + 1);
  const sum = targets.reduce(
    (total, at) => total - Math.log(probabilityOf(val[at]!, val.slice(Math.max(0, at - order + 1), at), true)),
    0,
  );
  return sum / targets.length;
}

test("ngramLosses() are those of the definition, count by count, where discounts are estimated and where they are not", () => {
  // Ids of unequal frequency, one that never occurs, and contexts in which the next id hangs on the one before.
  const drawn = (use: string, length: number) => {
    const ids: number[] = [];
    for (let at = 0; at < length; at++) {
      const u = uniform(11, use, at);
      ids.push(u < 0.35 && at > 0 ? (ids[at - 1]! * 2 + 1) % 6 : Math.floor(u ** 2 * 6));
    }
    return ids;
  };
  const [train, val] = [drawn("train", 220), [...drawn("val", 25), 6, 0, 1]];
  const found = ngramLosses(train, val, { vocabSize: 7, order: 4 });
  for (let order = 1; order <= 4; order++) {
    expect(found[order - 1], `${order}`).toBeCloseTo(bySearching(train, val, 7, order), 10);
  }
  expect(ngramLosses(train.slice(0, 20), val, { vocabSize: 7, order: 2 })[1]).toBeCloseTo(
    bySearching(train.slice(0, 20), val, 7, 2),
    10,
  );
  // Three unless told otherwise.
  expect(ngramLosses(train, val, { vocabSize: 7 })).toEqual(found.slice(0, 3));
});

test("ngramLosses() come from distributions: for each context, the probabilities sum to 1", () => {
  const vocabSize = 4;
  const train = Array.from({ length: 400 }, (_, at) => Math.floor(uniform(7, "text", at) ** 2 * 3)); // id 3 never occurs
  for (let order = 1; order <= 5; order++) {
    for (const context of [[0], [1, 0], [2, 1, 0], [0, 0, 1, 2], [2, 2, 2, 2, 2, 2], [0, 3], [3, 3, 3]]) {
      let sum = 0;
      for (let w = 0; w < vocabSize; w++) sum += probability(train, context, w, { vocabSize, order });
      expect(sum).toBeCloseTo(1, 9);
    }
  }
});

test("ngramLosses() of independent ids are their entropy, at any order", () => {
  const draw = (use: string, length: number) => Array.from({ length }, (_, at) => (uniform(1, use, at) < 0.25 ? 0 : 1));
  const entropy = -(0.25 * Math.log(0.25) + 0.75 * Math.log(0.75));
  const losses = ngramLosses(draw("train", 50_000), draw("val", 50_000), { vocabSize: 2, order: 5 });
  for (const loss of losses) expect(loss).toBeCloseTo(entropy, 1.7);
});

test("ngramLosses() of a cycle fall to almost 0 once the context determines the position", () => {
  const cycle = (length: number) => Array.from({ length }, (_, at) => [a, b, a, c][at % 4]!);
  const [unigram, bigram, trigram] = ngramLosses(cycle(4000), cycle(400), { vocabSize: 3 });
  expect(unigram).toBeCloseTo(1.5 * Math.log(2), 1);
  expect(bigram).toBeCloseTo(0.5 * Math.log(2), 1);
  expect(trigram).toBeLessThan(0.01);
});

test("ngramLosses() works with a large vocabulary", () => {
  const text = Int32Array.from({ length: 30_000 }, (_, at) => Math.floor(uniform(3, "big", at) * 50_257));
  const losses = ngramLosses(text, text.subarray(0, 1000), { vocabSize: 50_257, order: 5 });
  expect(losses.every((loss) => Number.isFinite(loss) && loss > 0)).toBe(true);
});

test("ngramLosses() refuses a wrong order, a short split and ids beyond the vocabulary", () => {
  expect(() => ngramLosses([0], [0, 0], { vocabSize: 1, order: 6 })).toThrow(/the order is 6; .* from 1 to 5/);
  expect(() => ngramLosses([], [0, 0], { vocabSize: 1 })).toThrow(/the training split has 0 ids; wanted at least 1/);
  expect(() => ngramLosses([0], [0], { vocabSize: 1 })).toThrow(/the validation split has 1 ids; wanted at least 2/);
  expect(() => ngramLosses([0], [0, 1], { vocabSize: 1 })).toThrow(/id 1 at position 1 of the validation split/);
  expect(() => ngramLosses([-1], [0, 0], { vocabSize: 1 })).toThrow(/id -1 at position 0 of the training split/);
});
