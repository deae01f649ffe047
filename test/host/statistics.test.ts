/** Quantiles and the resampled ratio of a benchmark, against NumPy and against the resampling written out. */
import { describe, expect, test } from "vitest";
import { uniform } from "../../lib/host/random.js";
import { median, medianRatio, quantile } from "../../lib/host/statistics.js";

describe("quantile()", () => {
  test("is NumPy's default, between two values in proportion", () => {
    // numpy.quantile([9, -2, 4, 7.5, 1, 30], [.025, .1, .35, .8, .975]) of NumPy 2.4
    const values = [9, -2, 4, 7.5, 1, 30];
    const wanted = [-1.625, -0.5, 3.25, 9, 27.375];
    expect([0.025, 0.1, 0.35, 0.8, 0.975].map((q) => quantile(values, q))).toEqual(
      wanted.map((value) => expect.closeTo(value, 12)),
    );
    expect(values).toEqual([9, -2, 4, 7.5, 1, 30]); // as it was
    expect(median([3, 1, 10, 2])).toBe(2.5);
  });
});

describe("medianRatio()", () => {
  const above = [[31, 30.5], [33, 34], [36, 30], [32], [41, 39, 40], [30.2, 31.7], [35]];
  const below = [[20, 21], [19.5, 20.2], [23, 26], [20.4], [22, 24, 23], [20.1, 19.9], [21]];

  /** By hand: 2,000 times as many rounds as there are, drawn by the seed; the middle 95 % of the ratios of medians. */
  const byHand = (seed: number, together: boolean) => {
    const flat = (rounds: number[][], use: string, index: number) =>
      rounds.flatMap((_, i) => rounds[Math.floor(uniform(seed, use, index, i) * rounds.length)]!);
    const middle = (values: number[]) => {
      const sorted = values.toSorted((x, y) => x - y);
      return (sorted[Math.floor((sorted.length - 1) / 2)]! + sorted[Math.ceil((sorted.length - 1) / 2)]!) / 2;
    };
    const ratios = Array.from({ length: 2000 }, (_, index) => {
      const second = together ? "bench-rounds" : "bench-rounds-2";
      return middle(flat(above, "bench-rounds", index)) / middle(flat(below, second, index));
    }).sort((x, y) => x - y);
    const at = (share: number) => {
      const place = share * 1999;
      const low = ratios[Math.floor(place)]!;
      return low + (place % 1) * (ratios[Math.ceil(place)]! - low);
    };
    return { ratio: middle(above.flat()) / middle(below.flat()), low: at(0.025), high: at(0.975) };
  };

  test.each([
    [0, true],
    [5, true],
    [5, false],
  ])("is the ratio of medians with its 95 % interval: seed %d, both sides together %s", (seed, together) => {
    const found = medianRatio(above, below, { seed, together });
    const wanted = byHand(seed, together);
    expect(found.ratio).toBeCloseTo(wanted.ratio, 12);
    expect(found.low).toBeCloseTo(wanted.low, 12);
    expect(found.high).toBeCloseTo(wanted.high, 12);
    expect(found.low).toBeLessThan(found.high);
  });

  test("takes both sides of a round together, and seed 0, unless told otherwise", () => {
    expect(medianRatio(above, below)).toEqual(medianRatio(above, below, { seed: 0, together: true }));
  });

  test("is turned over with its sides", () => {
    const [one, other] = [medianRatio(above, below), medianRatio(below, above)];
    expect(one.ratio * other.ratio).toBeCloseTo(1, 12);
    expect(one.ratio).toBeGreaterThan(1.4);
  });
});
