/** Optima by brute force, and every published constant by its source: on asymmetric cases, so that an exchange shows. */
import { describe, expect, test } from "vitest";
import {
  effectiveParameters,
  effectiveTokens,
  kaplanLoss,
  laws,
  muennighoffRepetition,
  repeatedLoss,
  type Surface,
  surfaceLoss,
} from "../../scaling/laws.js";
import {
  allocation,
  type Circumstances,
  optimumOfBudget,
  optimumOfLoss,
  parametersForLoss,
  tokensForLoss,
} from "../../scaling/optimum.js";
import type { Fit } from "../../scaling/points.js";
import { ask } from "../../scaling/questions/answer.js";
import { approach2Bias } from "../../scaling/questions/budget-width.js";
import { fittedLaw, publishedLaw } from "../../scaling/questions/known-law.js";
import { criticalBatchTokens, leastOfBoth, nanochatRule } from "../../scaling/rules.js";

const surface: Surface = { E: 1.7, A: 310, B: 1900, alpha: 0.33, beta: 0.39 };

/** The lowest of a function over ln x, by a grid that is refined about its lowest place. */
function lowestOver(of: (x: number) => number, from: number, to: number): number {
  let [low, high] = [Math.log(from), Math.log(to)];
  for (let round = 0; round < 12; round++) {
    const grid = Array.from({ length: 101 }, (_, k) => low + ((high - low) * k) / 100);
    const values = grid.map((t) => of(Math.exp(t)));
    const best = values.indexOf(Math.min(...values));
    [low, high] = [grid[Math.max(0, best - 2)]!, grid[Math.min(100, best + 2)]!];
  }
  return Math.exp((low + high) / 2);
}

describe("the best use of a budget that pays for inference, by brute force", () => {
  // Training takes k·N·D FLOPs and each token of inference a third of k·N: forward is a third of a training step.
  test.each([
    [6, 3e10],
    [8, 3e10],
    [7.3, 4e11],
    [6, 0],
  ])("%d FLOPs per parameter and token, %d tokens of inference", (flopsPerProduct, inferenceTokens) => {
    const budget = 4e20;
    const tokens = (n: number) => budget / (flopsPerProduct * n) - inferenceTokens / 3;
    const n = lowestOver((at) => (tokens(at) > 0 ? surfaceLoss(surface, at, tokens(at)) : 99), 1e7, 1e11);
    const found = optimumOfBudget(surface, budget, { flopsPerProduct, inferenceTokens });
    expect(found.n / n).toBeCloseTo(1, 3);
    expect(found.d / tokens(n)).toBeCloseTo(1, 3);
    expect(found.loss).toBeCloseTo(surfaceLoss(surface, n, tokens(n)), 9);
    expect(found.c).toBeCloseTo(flopsPerProduct * found.n * found.d, -10);
    // What training and inference take together is the budget.
    expect((found.c + (flopsPerProduct / 3) * found.n * inferenceTokens) / budget).toBeCloseTo(1, 12);
  });

  test("the cheapest training and inference that reach a loss", () => {
    const [loss, T] = [2.3, 5e11];
    const tokens = (n: number) => {
      const left = loss - surface.E - surface.A * n ** -surface.alpha;
      return left > 0 ? (surface.B / left) ** (1 / surface.beta) : Number.POSITIVE_INFINITY;
    };
    const n = lowestOver((at) => 6 * at * tokens(at) + 2 * at * T, 1e7, 1e12);
    const found = optimumOfLoss(surface, loss, { inferenceTokens: T });
    expect(found.n / n).toBeCloseTo(1, 3);
    expect((6 * found.n * found.d + 2 * found.n * T) / (6 * n * tokens(n) + 2 * n * T)).toBeCloseTo(1, 9);
    const plain = optimumOfLoss(surface, loss);
    const best = lowestOver((at) => at * tokens(at), 1e7, 1e12);
    expect(plain.n / best).toBeCloseTo(1, 3);
    expect(plain.loss).toBeCloseTo(loss, 12);
  });
});

describe("repeated tokens", () => {
  const repetition = { tokens: 9, parameters: 4 };
  /** As Muennighoff 2023 has it, written out: U·(1 + R*·(1 − e^(−R / R*))). */
  const worth = (x: number, U: number, R: number) => (x <= U ? x : U * (1 + R * (1 - Math.exp(-(x / U - 1) / R))));

  test("count once beyond what a first pass is worth, and parameters beyond what the tokens can use", () => {
    const { A, B, alpha, beta } = surface;
    for (const [N, D, U] of [
      [3e8, 2e10, 5e9],
      [4e10, 2e10, 5e9],
      [4e10, 3e9, 5e9], // fewer tokens than there are different ones: those are all there are to use
      [3e7, 3e9, 5e9],
    ] as const) {
      const fresh = Math.min(U, D);
      // The N whose best number of tokens is `fresh`: alpha·A·N^−alpha = beta·B·D^−beta.
      const enough = ((alpha * A) / (beta * B * fresh ** -beta)) ** (1 / alpha);
      const [n, d] = [worth(N, enough, repetition.parameters), worth(D, fresh, repetition.tokens)];
      expect(effectiveParameters(surface, N, fresh, repetition) / n).toBeCloseTo(1, 9);
      expect(effectiveTokens(D, U, repetition) / worth(D, U, repetition.tokens)).toBeCloseTo(1, 12);
      expect(repeatedLoss(surface, { N, D, U }, repetition)).toBeCloseTo(surfaceLoss(surface, n, d), 12);
    }
    const endless = { tokens: 9, parameters: Number.POSITIVE_INFINITY };
    expect(effectiveParameters(surface, 4e10, 1e9, endless)).toBe(4e10);
  });

  test.each([
    ["of Muennighoff's", undefined],
    ["of a fit's", repetition],
  ])("the best use of a budget, by brute force, with the worth of repetitions %s", (_, given) => {
    const [budget, U] = [6e20, 8e9];
    const of = (n: number) =>
      repeatedLoss(surface, { N: n, D: budget / (6 * n), U }, given ?? { tokens: 15.387756, parameters: 5.309743 });
    const n = lowestOver(of, 1e7, 1e11);
    const circumstances: Circumstances = { uniqueTokens: U, repetition: given };
    const found = optimumOfBudget(surface, budget, circumstances);
    expect(found.n / n).toBeCloseTo(1, 3);
    expect(found.loss).toBeCloseTo(of(n), 9);
    expect(found.d).toBeGreaterThan(U);
    const more = tokensForLoss(surface, found.loss, 1.3 * found.n, circumstances);
    expect(allocation(surface, 1.3 * found.n, more, circumstances).loss).toBeCloseTo(found.loss, 9);
    const larger = parametersForLoss(surface, found.loss, 1.2 * found.d, circumstances);
    expect(allocation(surface, larger, 1.2 * found.d, circumstances).loss).toBeCloseTo(found.loss, 9);
  });

  test("count from the first that is seen twice", () => {
    const plain = optimumOfBudget(surface, 1e20);
    const few = optimumOfBudget(surface, 1e20, { uniqueTokens: 0.97 * plain.d });
    expect(few.loss).toBeGreaterThan(plain.loss);
    expect(few.n).not.toBe(plain.n);
    expect(optimumOfBudget(surface, 1e20, { uniqueTokens: plain.d })).toEqual(plain);
  });
});

describe("published laws", () => {
  test("have the constants, the conventions and the range of their sources", () => {
    const range = { n: [70e6, 16e9], d: [5e9, 500e9], c: [6e18, 3e21] };
    const counted = { parameters: "blocks-head", flops: "6ND", range };
    // Hoffmann 2022, eq. 10; its TeX source by Besiroglu 2024; Besiroglu 2024, table 1.
    expect(laws.hoffmann).toMatchObject({
      surface: { E: 1.69, A: 406.4, B: 410.7, alpha: 0.34, beta: 0.28 },
      ...counted,
    });
    expect(laws["hoffmann-unrounded"]).toMatchObject({
      surface: { E: 1.69337, A: 406.401, B: 410.723, alpha: 0.33917, beta: 0.28491 },
      ...counted,
    });
    expect(laws.epoch).toMatchObject({
      surface: { E: 1.8172, A: 482.01, B: 2085.43, alpha: 0.3478, beta: 0.3658 },
      ...counted,
    });
    // Muennighoff 2023, section 6: E 1.87, A 521, B 1488, alpha = beta .35, R*_D 15.39, R*_N 5.31.
    const { E, A, B } = laws.muennighoff.surface;
    expect([E, A, B].map((value) => Number(value.toPrecision(3)))).toEqual([1.87, 521, 1490]);
    expect(muennighoffRepetition).toEqual({ tokens: 15.387756, parameters: 5.309743 });
    expect(laws.muennighoff).not.toHaveProperty("range");
  });

  test("are asked with their names, sources and counting", () => {
    for (const name of ["hoffmann", "epoch", "muennighoff"] as const) {
      const { surface: own, source } = laws[name];
      expect(publishedLaw(name)).toMatchObject({ name, source, numbers: { surface: own }, flopsPerProduct: 6 });
    }
  });
});

describe("rules", () => {
  test("Kaplan's critical batch and least compute and steps (2020, eq. 5.3 to 5.5), by hand", () => {
    // 2^(1/.21) = 27.132…: half the loss is that many times the batch.
    expect(criticalBatchTokens(0.5) / 2e8).toBeCloseTo(2 ** (1 / 0.21), 6);
    expect(criticalBatchTokens(2.5)).toBeCloseTo(2e8 / 2.5 ** 4.761904761904762, 0);
    // A batch of three critical ones: a quarter of the compute and three quarters of the steps would do.
    const run = { flops: 4e18, steps: 1000, batchTokens: 3 * criticalBatchTokens(2.5), loss: 2.5 };
    const { flops, steps } = leastOfBoth(run);
    expect(flops / 1e18).toBeCloseTo(1, 9);
    expect(steps).toBeCloseTo(750, 9);
  });

  test("nanochat's rule keeps the run's own tokens", () => {
    const good = { tokens: 2e9, batchTokens: 1000, learningRate: 0.1 };
    const found = nanochatRule(good, 6e9);
    expect(found.tokens).toBe(6e9);
    expect(found.batchTokens).toBeCloseTo(1000 * 3 ** 0.383, 9);
    expect(found.learningRate).toBeCloseTo(0.1 * 3 ** (0.383 / 2), 12);
  });
});

describe("approach 2's bias", () => {
  test("is of 15 sizes per budget unless told otherwise", () => {
    const study = { budgetsFlops: [1e17, 1e18, 1e19], width: 8 };
    const of = (sizes?: number) => approach2Bias(surface, { ...study, ...(sizes && { sizes }) }, 1e21);
    expect(of()).toEqual(of(15));
    expect(of().n).not.toBe(of(16).n);
  });
});

describe("asking a law", () => {
  const range = { n: [1e7, 1e9], d: [1e8, 2e10], c: [1e17, 1e20] } as const;
  const fitOf = (change: Partial<Fit>): Fit => ({
    ...{ method: "projection", params: { ...surface }, huberSum: 0, converged: true, se: {}, ci80: {}, ci95: {} },
    ...{ points: 9, dropped: [], influence: [], warnings: [], intervals: "covariance", range },
    ...change,
  });

  test("inference costs a third of what the law's points count for training", () => {
    const law = fittedLaw(fitOf({ counting: { flopsPerProduct: 9 } }));
    const [C, T] = [1e20, 2e10];
    const answer = ask(law, { budgetFlops: C, inferenceTokens: T });
    expect(answer.totalFlops! / C).toBeCloseTo(1, 9);
    expect(answer.c).toBeCloseTo(9 * answer.n * answer.d, -9);
    expect(answer.totalFlops).toBeCloseTo(answer.c + 3 * answer.n * T, -9);
  });

  test("a fit of repeated data is asked with its own R*, and parameters keep their worth", () => {
    const law = fittedLaw(fitOf({ method: "repeated", params: { ...surface, rStar: 3 } }));
    const [N, D, U] = [5e9, 4e10, 5e9];
    const answer = ask(law, { parameters: N, tokens: D, uniqueTokens: U });
    const worth = U * (1 + 3 * (1 - Math.exp(-(D / U - 1) / 3)));
    expect(answer.loss).toBeCloseTo(surfaceLoss(surface, N, worth), 9);
    expect(answer.epochs).toBeCloseTo(8, 12);
    // Fewer than are there: each is seen once.
    expect(ask(law, { parameters: N, tokens: U / 2, uniqueTokens: U }).epochs).toBe(1);
  });

  test("beside a training on repeated tokens stands the best one with as many different tokens", () => {
    const [N, D, U] = [2e9, 6e10, 6e9];
    const { best, c } = ask(publishedLaw("muennighoff"), { parameters: N, tokens: D, uniqueTokens: U });
    expect(c).toBeCloseTo(6 * N * D, -6);
    const law = laws.muennighoff.surface;
    const n = lowestOver((at) => repeatedLoss(law, { N: at, D: c / (6 * at), U }), 1e7, 1e11);
    expect(best!.n / n).toBeCloseTo(1, 3);
    expect(best!.loss).toBeCloseTo(repeatedLoss(law, { N: n, D: c / (6 * n), U }), 9);
    expect(best!.c).toBe(c);
  });

  test("lines of approaches 1 and 2 are read in each of the three directions", () => {
    const law = fittedLaw(
      fitOf({ method: "isoflop", params: { nScale: 0.03, dScale: 5 }, exponents: { a: 0.55, b: 0.45 } }),
    );
    const c = 3e19;
    const [n, d] = [0.03 * c ** 0.55, 5 * c ** 0.45];
    for (const question of [{ budgetFlops: c }, { parameters: n }, { tokens: d }]) {
      const answer = ask(law, question);
      for (const [name, value] of Object.entries({ n, d, c })) {
        expect(answer[name as "n"] / value, name).toBeCloseTo(1, 9);
      }
      expect(answer.exponents).toEqual({ a: 0.55, b: 0.45 });
    }
  });

  test("Kaplan's law is asked in its own losses", () => {
    const params = { Nc: 5e12, Dc: 2e12, alphaN: 0.09, alphaD: 0.12 };
    const law = fittedLaw(fitOf({ method: "kaplan", params }));
    const C = 2e19;
    const n = lowestOver((at) => kaplanLoss(params, at, C / (6 * at)), 1e6, 1e11);
    const answer = ask(law, { budgetFlops: C });
    expect(answer.n / n).toBeCloseTo(1, 3);
    expect(answer.loss).toBeCloseTo(kaplanLoss(params, n, C / (6 * n)), 9);
    expect(answer.exponents.a).toBeCloseTo(0.12 / 0.21, 12);
  });

  test("warns beyond ten times what was fitted, and below a tenth of it", () => {
    const law = fittedLaw(fitOf({}));
    const kindsOf = (question: Parameters<typeof ask>[1]) => ask(law, question).warnings.map(({ message }) => message);
    expect(kindsOf({ parameters: 9.99e9, tokens: 1e10 })).toEqual([]);
    expect(kindsOf({ parameters: 10.1e9, tokens: 1e10 })).toEqual([
      "1.01e+10 parameters: this is 10 times the largest fitted value (fitted range 1.00e+7 to 1.00e+9).",
    ]);
    expect(kindsOf({ parameters: 1.01e6, tokens: 1.7e10 })).toEqual([]);
    expect(kindsOf({ parameters: 0.99e6, tokens: 1.7e10 })).toEqual([
      "9.90e+5 parameters: the smallest fitted value is 10 times as large (fitted range 1.00e+7 to 1.00e+9).",
    ]);
    expect(kindsOf({ parameters: 2e7, tokens: 2.01e11 })).toEqual([
      "2.01e+11 tokens: this is 10 times the largest fitted value (fitted range 1.00e+8 to 2.00e+10).",
    ]);
  });

  test("intervals are of twenty refits that have an answer, or more", () => {
    const refits = (count: number) =>
      Array.from({ length: count }, (_, k) => ({ ...surface, A: surface.A * (1 + k / 100) }));
    expect(ask(fittedLaw(fitOf({ bootstrap: refits(19) })), { budgetFlops: 1e19 }).intervals).toBeNull();
    const answer = ask(fittedLaw(fitOf({ bootstrap: refits(21) })), { budgetFlops: 1e19 });
    const own = refits(21).map((law) => optimumOfBudget(law, 1e19).n);
    // Of 21 sorted values the quantile .1 is the third, .025 lies half-way between the first two.
    expect(answer.intervals!.ci80.n![0]).toBeCloseTo(own[2]!, 3);
    expect(answer.intervals!.ci95.n![1]).toBeCloseTo((own[19]! + own[20]!) / 2, 3);
  });
});
