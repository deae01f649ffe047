import { describe, expect, test } from "vitest";
import {
  type BrokenLaw,
  brokenLoss,
  effectiveTokens,
  kaplan,
  laws,
  overTrainingLoss,
  pfDay,
  repeatedLoss,
  type Surface,
  surfaceExponents,
  surfaceLoss,
} from "../../scaling/laws.js";
import {
  allocation,
  optimumOfBudget,
  optimumOfLoss,
  parametersForLoss,
  parametersForTokens,
  tokensForLoss,
  tokensForParameters,
} from "../../scaling/optimum.js";
import { applyRule } from "../../scaling/planning/learning-rates.js";
import { approach2Points, chinchillaOptima, exponentsOf, nanochatSweep, tokensLine } from "../../scaling/published.js";
import { approach2Bias } from "../../scaling/questions/budget-width.js";
import { criticalBatchTokens, leastOfBoth, nanochatRule, stepLaw } from "../../scaling/rules.js";

const { hoffmann, epoch, muennighoff } = laws;
const unrounded = laws["hoffmann-unrounded"];
const ratio = ({ n, d }: { n: number; d: number }) => d / n;

describe("kaplan", () => {
  // Kaplan 2020, eq. 1.1 to 1.3 and 1.5: a law is 1 where its variable is its constant.
  test("has laws that are 1 at their constants", () => {
    expect(kaplan.ofParameters(8.8e13)).toBe(1);
    expect(kaplan.ofTokens(5.4e13)).toBe(1);
    expect(kaplan.ofCompute(1.6e7 * pfDay)).toBe(1);
    expect(kaplan.ofLeastCompute(3.1e8 * pfDay)).toBe(1);
    expect(kaplan.ofBoth(6.4e13, Number.POSITIVE_INFINITY)).toBe(1);
    expect(kaplan.ofBoth(Number.POSITIVE_INFINITY, 1.8e13)).toBeCloseTo(1, 12);
  });

  test("counts compute in PF-days: 10^15 operations per second, for 86,400 seconds", () => {
    expect(pfDay).toBe(8.64e19);
    expect(kaplan.ofCompute(1.6e8 * 8.64e19)).toBeCloseTo(10 ** -0.057, 12);
    expect(kaplan.ofLeastCompute(3.1e9 * 8.64e19)).toBeCloseTo(10 ** -0.05, 12);
  });

  test("has its exponents", () => {
    const exponent = (law: (x: number) => number) => -Math.log10(law(1e10) / law(1e9));
    expect(exponent(kaplan.ofParameters)).toBeCloseTo(0.076, 12);
    expect(exponent(kaplan.ofTokens)).toBeCloseTo(0.095, 12);
    expect(exponent(kaplan.ofCompute)).toBeCloseTo(0.057, 12);
    expect(exponent(kaplan.ofLeastCompute)).toBeCloseTo(0.05, 12);
    expect(exponent((N) => kaplan.ofBoth(N, Number.POSITIVE_INFINITY))).toBeCloseTo(0.076, 12);
    expect(exponent((D) => kaplan.ofBoth(Number.POSITIVE_INFINITY, D))).toBeCloseTo(0.103, 12);
  });
});

describe("optimumOfBudget()", () => {
  // nanoGPT's scaling_laws.ipynb has the same budget on a 64-point grid: 316.23M, 11.65B.
  test("at 2.21e19 the printed law has 326.1M parameters and 11.29B tokens", () => {
    const { n, d, c } = optimumOfBudget(hoffmann.surface, 2.21e19);
    expect((n / 1e6).toFixed(1)).toBe("326.1");
    expect((d / 1e9).toFixed(2)).toBe("11.29");
    expect(c).toBeCloseTo(2.21e19, -8);
  });

  test("nanoGPT's grid of 64 sizes finds 316.23M and 11.65B", () => {
    const grid = Array.from({ length: 64 }, (_, k) => 10 ** (7 + k / 16));
    const losses = grid.map((n) => surfaceLoss(hoffmann.surface, n, 2.21e19 / (6 * n)));
    const best = grid[losses.indexOf(Math.min(...losses))]!;
    expect((best / 1e6).toFixed(2)).toBe("316.23");
    expect((2.21e19 / (6 * best) / 1e9).toFixed(2)).toBe("11.65");
  });

  test("tokens per parameter at 5.76e23 are 58.9 with the unrounded constants and 92.7 with rounded exponents", () => {
    expect(ratio(optimumOfBudget(unrounded.surface, 5.76e23)).toFixed(1)).toBe("58.9");
    const rounded = { ...unrounded.surface, alpha: 0.34, beta: 0.28 };
    expect(ratio(optimumOfBudget(rounded, 5.76e23)).toFixed(1)).toBe("92.7");
    // With all five constants as printed, it is 92.65.
    expect(ratio(optimumOfBudget(hoffmann.surface, 5.76e23))).toBeCloseTo(92.65, 2);
  });

  // Besiroglu 2024: the re-fit is consistent with the 20 tokens per parameter that Chinchilla was trained on.
  test("Epoch's fit has 18.4 tokens per parameter at Chinchilla's budget", () => {
    expect(ratio(optimumOfBudget(epoch.surface, 5.76e23)).toFixed(1)).toBe("18.4");
  });

  test.each(Object.entries(laws))("%s: no neighbour on the budget is better", (_name, { surface }) => {
    const { n, d, loss } = optimumOfBudget(surface, 1e21);
    for (const step of [0.999, 1.001]) expect(surfaceLoss(surface, n * step, d / step)).toBeGreaterThan(loss);
    const { a, b } = surfaceExponents(surface);
    expect(Math.log10(optimumOfBudget(surface, 1e22).n / n)).toBeCloseTo(a, 12);
    expect(a + b).toBeCloseTo(1, 15);
  });

  test("a size, its tokens, its loss and its budget give the same optimum", () => {
    const { surface } = epoch;
    const best = optimumOfBudget(surface, 3e22);
    expect(tokensForParameters(surface, best.n) / best.d).toBeCloseTo(1, 12);
    expect(parametersForTokens(surface, best.d) / best.n).toBeCloseTo(1, 12);
    const cheapest = optimumOfLoss(surface, best.loss);
    expect(cheapest.n / best.n).toBeCloseTo(1, 9);
    expect(cheapest.c / best.c).toBeCloseTo(1, 9);
    expect(tokensForLoss(surface, best.loss, best.n) / best.d).toBeCloseTo(1, 9);
    expect(parametersForLoss(surface, best.loss, best.d) / best.n).toBeCloseTo(1, 9);
  });

  test("a loss that the law cannot reach is refused", () => {
    expect(() => optimumOfLoss(epoch.surface, 1.8)).toThrow(
      "Cannot reach a loss of 1.8: the law cannot go below 1.817 (E is 1.817); ask for a higher loss.",
    );
    expect(() => parametersForLoss(epoch.surface, 1.9, 1e9)).toThrow("training on 1.00e+9 tokens cannot go below");
    expect(tokensForLoss(epoch.surface, 1.9, 1e6)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe("inference", () => {
  // Sardana 2024, figure 1, with the constants of their section 2: 13B parameters and 2e12 tokens of inference are
  // 1.7e22 FLOPs (17 %) more expensive than the 7B model with the same loss.
  const sardana: Surface = { E: 1.69, A: 406.4, B: 410.7, alpha: 0.336, beta: 0.283 };
  const d = tokensForParameters(sardana, 13e9);
  const large = allocation(sardana, 13e9, d);
  const total = ({ n, c }: { n: number; c: number }) => c + 2 * n * 2e12;

  test("a 7B model saves 1.7e22 FLOPs, 17 %, over Chinchilla's 13B at 2e12 tokens of inference", () => {
    const best = optimumOfLoss(sardana, large.loss, { inferenceTokens: 2e12 });
    expect((best.n / 1e9).toFixed(0)).toBe("7");
    expect(best.loss).toBeCloseTo(large.loss, 9);
    expect(((total(large) - total(best)) / 1e22).toFixed(1)).toBe("1.7");
    expect((100 * (1 - total(best) / total(large))).toFixed(0)).toBe("17");
  });

  test("at the optimum αA·N^−α / (βB·D^−β) is 1 + D_inf / 3D", () => {
    const { A, B, alpha, beta } = sardana;
    for (const T of [1e9, 1e12, 1e14]) {
      for (const best of [
        optimumOfLoss(sardana, large.loss, { inferenceTokens: T }),
        optimumOfBudget(sardana, large.c + T * 1e9, { inferenceTokens: T }),
      ]) {
        const slopes = (alpha * A * best.n ** -alpha) / (beta * B * best.d ** -beta);
        expect(slopes / (1 + T / (3 * best.d))).toBeCloseTo(1, 6);
      }
    }
  });

  test("a budget covers training and inference, and agrees with the optimum for its loss", () => {
    const budget = total(large);
    const best = optimumOfBudget(sardana, budget, { inferenceTokens: 2e12 });
    expect(total(best) / budget).toBeCloseTo(1, 9);
    const same = optimumOfLoss(sardana, best.loss, { inferenceTokens: 2e12 });
    expect(same.n / best.n).toBeCloseTo(1, 6);
    expect(total(same) / budget).toBeCloseTo(1, 9);
  });
});

describe("repeated data", () => {
  // Muennighoff 2023, section 6: R*_D = 15.39.
  test("4 epochs are worth 3.7257 epochs of new data, 16 are worth 10.582", () => {
    expect(effectiveTokens(4e9, 1e9) / 1e9).toBeCloseTo(3.7257, 4);
    expect(effectiveTokens(16e9, 1e9) / 1e9).toBeCloseTo(10.582, 3);
    expect(effectiveTokens(1e9, 1e9)).toBe(1e9);
    expect(effectiveTokens(1e20, 1e9) / 1e9).toBeCloseTo(16.387756, 9);
  });

  // The README of the authors' code (datablations) prints these two losses, and 227B tokens and 6.8B parameters.
  test("gives the losses and the allocation that the authors print", () => {
    expect(repeatedLoss(muennighoff.surface, { N: 6.34e9, D: 242e9, U: 25e9 })).toBeCloseTo(2.2256440889984477, 12);
    expect(repeatedLoss(muennighoff.surface, { N: 8.67e9, D: 178e9, U: 25e9 })).toBeCloseTo(2.2269634075087867, 12);
    const best = optimumOfBudget(muennighoff.surface, 6 * 8.67e9 * 178e9, { uniqueTokens: 25e9 });
    expect((best.d / 1e9).toFixed(0)).toBe("227");
    expect((best.n / 1e9).toFixed(1)).toBe("6.8");
    for (const step of [0.999, 1.001]) {
      const near = allocation(muennighoff.surface, best.n * step, best.d / step, { uniqueTokens: 25e9 });
      expect(near.loss).toBeGreaterThan(best.loss);
    }
  });

  test("changes nothing if there are enough tokens; otherwise its answers are consistent", () => {
    const { surface } = muennighoff;
    const plain = optimumOfBudget(surface, 1e21);
    expect(optimumOfBudget(surface, 1e21, { uniqueTokens: 1e13 })).toEqual(plain);
    expect(optimumOfLoss(surface, plain.loss, { uniqueTokens: 1e13 }).n / plain.n).toBeCloseTo(1, 9);
    const circumstances = { uniqueTokens: 2e9 };
    const best = optimumOfBudget(surface, 1e21, circumstances);
    expect(best.n).toBeLessThan(plain.n);
    expect(tokensForLoss(surface, best.loss, best.n, circumstances) / best.d).toBeCloseTo(1, 6);
    expect(parametersForLoss(surface, best.loss, best.d, circumstances) / best.n).toBeCloseTo(1, 6);
    expect(optimumOfLoss(surface, best.loss, circumstances).c / 1e21).toBeCloseTo(1, 6);
    expect(() => optimumOfLoss(surface, 1.95, { uniqueTokens: 1e6 })).toThrow("with 1.00e+6 unique tokens");
  });
});

describe("other laws", () => {
  test("over-training changes the scale of the power law, not its exponent", () => {
    // Gadre 2024, section 3: at a fixed M the reducible loss is λ(M)·C^(b/2).
    const law = { E: 1.84, a: 212, b: -0.272, c: 367 };
    const flops = (N: number, M: number) => 6 * M * N * N;
    for (const M of [20, 640]) {
      const [small, large] = [1e8, 1e10].map((N) => overTrainingLoss(law, N, M) - law.E) as [number, number];
      expect(Math.log(large / small) / Math.log(flops(1e10, M) / flops(1e8, M))).toBeCloseTo(law.b / 2, 9);
    }
    // With c·6^(b/2) for B it is Chinchilla's surface with one exponent.
    const surface = { E: law.E, A: law.a, B: law.c * 6 ** (law.b / 2), alpha: -law.b, beta: -law.b };
    expect(overTrainingLoss(law, 4e8, 50)).toBeCloseTo(surfaceLoss(surface, 4e8, 2e10), 12);
  });

  test("a broken law has its slopes on both sides of a break, and is a power law without breaks", () => {
    const law: BrokenLaw = { a: 0.5, b: 3, c0: 0.2, breaks: [{ c: 0.3, d: 1e6, f: 0.1 }] };
    const slope = (x: number) => Math.log10((brokenLoss(law, 10 * x) - 0.5) / (brokenLoss(law, x) - 0.5));
    expect(slope(1)).toBeCloseTo(-0.2, 9);
    expect(slope(1e12)).toBeCloseTo(-0.5, 9);
    expect(brokenLoss({ ...law, breaks: [] }, 1e6)).toBeCloseTo(0.5 + 3 * 1e6 ** -0.2, 12);
    // As written (Caballero 2023, eq. 1), where nothing overflows.
    expect(brokenLoss(law, 2e6)).toBeCloseTo(0.5 + 3 * 2e6 ** -0.2 * (1 + 2 ** 10) ** (-0.3 * 0.1), 12);
  });

  test("the critical batch is 2e8 tokens at a loss of 1, and grows as the loss falls", () => {
    // Kaplan 2020, eq. 5.3; section 5.1: it doubles for every 13 % of the loss.
    expect(criticalBatchTokens(1)).toBe(2e8);
    expect(criticalBatchTokens(0.87) / criticalBatchTokens(1)).toBeCloseTo(1.94, 2);
    const run = { flops: 4e18, steps: 1000, batchTokens: criticalBatchTokens(3), loss: 3 };
    expect(leastOfBoth(run)).toEqual({ flops: 2e18, steps: 500 });
  });

  test("Step Law's rate and batch of 1B parameters and 100B tokens", () => {
    const inputs = { parameters: 1e9, tokens: 100e9 };
    expect(applyRule(stepLaw.learningRate, inputs)).toBeCloseTo(1.79 * 10 ** (-0.713 * 9 + 0.307 * 11), 15);
    expect(applyRule(stepLaw.batchTokens, inputs)).toBeCloseTo(0.58 * 10 ** (0.571 * 11), 6);
  });

  test("nanochat's rule: the batch grows by D^.383, the learning rate by the root of the batch", () => {
    const good = { tokens: 1e9, batchTokens: 2 ** 19, learningRate: 0.02 };
    const ten = nanochatRule(good, 10e9);
    expect(ten.batchTokens / good.batchTokens).toBeCloseTo(10 ** 0.383, 12);
    expect(ten.learningRate / good.learningRate).toBeCloseTo(Math.sqrt(ten.batchTokens / good.batchTokens), 12);
  });
});

describe("published optima", () => {
  test("the line through approach 2's nine points is nanoGPT's", () => {
    const line = tokensLine();
    expect(line.slope).toBeCloseTo(1.0409573, 7);
    expect(line.intercept).toBeCloseTo(0.9353887, 7);
    expect(line.tokensFor(124e6).toExponential(6)).toBe("2.292426e+9");
  });

  test("6ND of every published optimum is its compute, up to rounding; the misprint is corrected", () => {
    for (const rows of Object.values(chinchillaOptima)) {
      expect(rows.map(({ n }) => n)).toEqual([400e6, 1e9, 10e9, 67e9, 175e9, 1e12]);
      for (const { n, d, c } of rows) expect(Math.abs((6 * n * d) / c - 1)).toBeLessThan(0.055);
    }
    const { approach2 } = chinchillaOptima;
    for (const { n, d } of approach2) expect(approach2Points).toContainEqual({ n, d });
  });

  // Table 2 of Hoffmann 2022: a = .50, .49 and .46.
  test.each([
    ["approach1", "0.50"],
    ["approach2", "0.49"],
    ["approach3", "0.46"],
  ] as const)("%s has N ∝ C^%s", (approach, exponent) => {
    expect(exponentsOf(chinchillaOptima[approach]).a.toFixed(2)).toBe(exponent);
  });

  test("nanochat's sweep has three exponents, depending on how parameters are counted", () => {
    const matrices = exponentsOf(nanochatSweep["blocks-head"]);
    expect([matrices.a.toFixed(3), matrices.b.toFixed(3)]).toEqual(["0.536", "0.489"]);
    expect(exponentsOf(nanochatSweep.total).a.toFixed(2)).toBe("0.37");
    expect(exponentsOf(nanochatSweep.blocks).a.toFixed(2)).toBe("0.70");
  });
});

describe("approach2Bias()", () => {
  // Czech 2026: D* at 1e24 from 1e17 … 1e21 on the printed surface; 15 sizes per budget.
  test.each([
    [2, "-0.327"],
    [4, "-1.301"],
    [8, "-2.903"],
    [16, "-5.100"],
  ])("sizes ±%d× wide: D at 1e24 is off by %s %%", (width, percent) => {
    const study = { budgetsFlops: [1e17, 1e18, 1e19, 1e20, 1e21], width };
    const { n, d } = approach2Bias(hoffmann.surface, study, 1e24);
    expect((100 * d).toFixed(3)).toBe(percent);
    expect((1 + n) * (1 + d)).toBeCloseTo(1, 9);
  });

  test("is 0 if alpha equals beta", () => {
    const { n, d } = approach2Bias(muennighoff.surface, { budgetsFlops: [1e18, 1e19, 1e20], width: 16 }, 1e22);
    expect(Math.max(Math.abs(n), Math.abs(d))).toBeLessThan(1e-9);
  });
});
