import { describe, expect, test } from "vitest";
import { key, permuted, philox4x32, uniform } from "../../lib/host/random.js";

function hex(words: Uint32Array): string {
  return Array.from(words, (word) => word.toString(16).padStart(8, "0")).join(" ");
}

test("philox4x32() gives Random123's known answers", () => {
  // Random123 1.14, tests/kat_vectors, lines "philox4x32 10".
  expect(hex(philox4x32(Uint32Array.of(0, 0, 0, 0), [0, 0]))).toBe("6627e8d5 e169c58d bc57ac4c 9b00dbd8");
  const ones = 0xffffffff;
  expect(hex(philox4x32(Uint32Array.of(ones, ones, ones, ones), [ones, ones]))).toBe(
    "408f276d 41c83b0e a20bc7c6 6d5451fd",
  );
  const pi = Uint32Array.of(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344);
  expect(hex(philox4x32(pi, [0xa4093822, 0x299f31d0]))).toBe("d16cfe09 94fdcceb 5001e420 24126ea1");
});

test("philox4x32() refuses a counter that is not four words, and does not change its input", () => {
  expect(() => philox4x32(new Uint32Array(3), [0, 0])).toThrow(/holds 3 words; it must hold 4/);
  const counter = Uint32Array.of(1, 2, 3, 4);
  philox4x32(counter, [5, 6]);
  expect([...counter]).toEqual([1, 2, 3, 4]);
});

test("uniform() depends on the seed, on each part of the path, on their order and kind, and on nothing else", () => {
  const draws = [
    uniform(1),
    uniform(2),
    uniform(2 ** 32 + 1),
    uniform(1, 0),
    uniform(1, 0, 0),
    uniform(1, 1),
    uniform(1, "1"),
    uniform(1, -1),
    uniform(1, 2 ** 40),
    uniform(1, 1, 2),
    uniform(1, 2, 1),
    uniform(1, ""),
    uniform(1, "train"),
    uniform(1, "train\0"),
    uniform(1, "tra", "in"),
    uniform(1, "eval-train", 0, 0),
    uniform(1, "eval-val", 0, 0),
  ];
  expect(new Set(draws).size).toBe(draws.length);
  expect(uniform(1, "train", 7, 3)).toBe(uniform(1, "train", 7, 3));
});

test("uniform() gives the same numbers in every version: a run can be replayed", () => {
  // Folio's own values: a change would change every run and requires a new format version.
  expect(uniform(1337, "train", 0, 0)).toBe(0.020479481976742875);
  expect([...key(1337, "dropout", 0)]).toEqual([-979403572, 2100591496]);
});

test("uniform() is uniform: 20 bins of 200,000 draws pass a chi-squared test", () => {
  const bins = new Array<number>(20).fill(0);
  const draws = 200_000;
  let sum = 0;
  let neighbours = 0;
  let previous = 0.5;
  for (let step = 0; step < draws; step++) {
    const value = uniform(42, "train", step, 0);
    bins[Math.floor(value * 20)]!++;
    sum += value;
    neighbours += (value - 0.5) * (previous - 0.5);
    previous = value;
  }
  const chiSquared = bins.reduce((total, count) => total + (count - draws / 20) ** 2 / (draws / 20), 0);
  expect(bins).toHaveLength(20); // no value outside [0, 1)
  expect(chiSquared).toBeLessThan(43.8); // 19 degrees of freedom, p = .001
  expect(Math.abs(sum / draws - 0.5)).toBeLessThan(0.003); // 4.6 standard errors
  expect(Math.abs(neighbours / draws) * 12).toBeLessThan(0.01); // correlation, 4.5 standard errors
});

test("key() gives two int32 and differs from uniform()'s bits", () => {
  const first = key(1, "dropout", 5);
  expect(first).toBeInstanceOf(Int32Array);
  expect(first).toHaveLength(2);
  expect([...key(1, "dropout", 6)]).not.toEqual([...first]);
  const seen = new Set<string>();
  for (let step = 0; step < 20_000; step++) seen.add(key(1, "dropout", step).join());
  expect(seen.size).toBe(20_000);
});

test("uniform() and key() refuse what is not an integer", () => {
  expect(() => uniform(0.5)).toThrow(/the seed is 0.5; it must be an integer/);
  expect(() => uniform(1, "train", Number.NaN)).toThrow(/part 1 of the path is NaN/);
  expect(() => key(2 ** 53)).toThrow(RangeError);
});

describe("permuted()", () => {
  test("is a permutation of 0 … count − 1 that depends on seed and path", () => {
    for (const count of [1, 2, 3, 4, 5, 16, 17, 100, 1000]) {
      const order = (epoch: number) =>
        Array.from({ length: count }, (_, i) => permuted(i, count, 1337, "epoch", epoch));
      expect([...order(0)].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
      expect(order(0)).toEqual(order(0));
      if (count > 5) expect(order(0)).not.toEqual(order(1));
    }
  });

  test("is uniform: each of 5 positions gets each number about equally often, and neighbours are separated", () => {
    const counts = new Int32Array(25);
    const epochs = 20_000;
    for (let epoch = 0; epoch < epochs; epoch++)
      for (let i = 0; i < 5; i++) counts[5 * i + permuted(i, 5, 7, epoch)]!++;
    // Standard deviation of a count: √(20,000 · 0.2 · 0.8) = 57.
    for (const count of counts) expect(Math.abs(count - epochs / 5)).toBeLessThan(5 * 57);
  });

  test("works beyond 2^32, and refuses an invalid index", () => {
    const count = 2 ** 45 + 1;
    expect(new Set([0, 1, 2, count - 1].map((i) => permuted(i, count, 1))).size).toBe(4);
    expect(Math.max(...[0, 1, 2, count - 1].map((i) => permuted(i, count, 1)))).toBeLessThan(count);
    for (const [index, size] of [
      [5, 5],
      [-1, 5],
      [0.5, 5],
      [0, 2 ** 54],
    ]) {
      expect(() => permuted(index!, size!, 1)).toThrow(/^Cannot permute: index is /);
    }
  });
});
