/** What a plan comes to where nothing is said, either side of its limits, and its times and rates by hand. */
import { describe, expect, test } from "vitest";
import { tokensPerStep } from "../../../lib/model/sizing.js";
import { defaultSettings } from "../../../lib/settings/settings.js";
import { type PlanOptions, planSweep, tuneLearningRates } from "../../../scaling/plan.js";
import { expectedOptimum, wantedCells } from "../../../scaling/planning/cells.js";
import { applyRule, rowsOf } from "../../../scaling/planning/learning-rates.js";
import { defaultLadder, nearestShape, shapeOfWidth, sizeOf } from "../../../scaling/planning/shapes.js";
import { runSeconds, stepFlops, sweepSeconds } from "../../../scaling/planning/time-estimate.js";
import { temporaryFolder, writeFox } from "../../tiny-run.js";

const folder = temporaryFolder();
writeFox(folder); // 1,500 ids to train on

const options: PlanOptions = {
  ...{
    name: "fox",
    dataset: "fox",
    dataDir: folder,
    batchTokens: 8,
    learningRate: 0.0123456,
    settings: { blockSize: 8 },
  },
  grid: { kind: "tokens-per-parameter", sizes: [3000], ratios: [1] },
};
const [first] = planSweep({ ...options, limits: { epochs: 10 } }).runs;
/** A plan of one run on so many tokens, a row of eight a step. */
const planOf = (tokens: number, more: Partial<PlanOptions> = {}) =>
  planSweep({
    ...options,
    grid: { kind: "tokens-per-parameter", sizes: [3000], ratios: [tokens / first!.parameters] },
    ...more,
  });

describe("cells", () => {
  test("of IsoFLOP grids are seven sizes, each half as large again as the one before, about 20 tokens per parameter", () => {
    const cells = wantedCells({ kind: "isoflop", budgets: [1.2e18] });
    expect(cells.map(({ parameters }) => Math.round(parameters))).toEqual(
      [-3, -2, -1, 0, 1, 2, 3].map((k) => Math.round(1e8 * 1.5 ** k)),
    );
    const [two] = wantedCells({ kind: "isoflop", budgets: [1.2e18], sizes: 2, spacing: 4, optimum: 80 });
    expect(two!.parameters).toBeCloseTo(5e7 / 2, 3);
  });

  test("go with the root of the budget from an optimum that is given, unless an exponent is", () => {
    const optimum = { budgetFlops: 1e18, parameters: 1e8 };
    expect(expectedOptimum(optimum, 1e20)).toBeCloseTo(1e9, 0);
    expect(expectedOptimum({ ...optimum, exponent: 0.3 }, 1e20)).toBeCloseTo(1e8 * 100 ** 0.3, 0);
    expect(expectedOptimum(20, 1.2e18)).toBeCloseTo(1e8, 0);
  });
});

describe("the ladder", () => {
  test("has a layer for 24 features, two at least, and heads of about 16", () => {
    const shapes = [8, 48, 59 + 1, 64, 96, 240].map((width) => shapeOfWidth(width, defaultLadder));
    expect(shapes.map(({ nLayer }) => nLayer)).toEqual([2, 2, 3, 3, 4, 10]);
    expect(shapes.map(({ nHead }) => nHead)).toEqual([1, 3, 4, 4, 6, 15]);
    expect(defaultLadder.widthStep).toBe(8);
  });

  test("gives the shape whose size is nearest in ratio", () => {
    const context = { blockSize: 8, vocabSize: 28, bias: false, tieHead: true };
    const [small, large] = [40, 48].map((width) => sizeOf(shapeOfWidth(width, defaultLadder), context)) as [
      number,
      number,
    ];
    const between = Math.sqrt(small * large);
    expect(nearestShape(between * 0.999, defaultLadder, context).nEmbd).toBe(40);
    expect(nearestShape(between * 1.001, defaultLadder, context).nEmbd).toBe(48);
  });
});

describe("limits", () => {
  test("are four passes over the data unless told otherwise", () => {
    expect(planOf(6000).runs[0]).toMatchObject({ tokens: 6000, epochs: 4 });
    expect(() => planOf(6008)).toThrow("the first because it sees the data 4.0 times; the limit is 4 (epochs)");
    expect(planOf(6008, { limits: { epochs: 4.01 } }).runs[0]!.epochs).toBeCloseTo(6008 / 1500, 12);
  });

  test("are a hundred steps", () => {
    expect(planOf(800).runs[0]).toMatchObject({ steps: 100 });
    expect(() => planOf(792)).toThrow("the first because it has 99 steps; the minimum is 100 (fewestSteps)");
    expect(planOf(792, { limits: { fewestSteps: 99 } }).runs[0]).toMatchObject({ steps: 99 });
  });

  test("are of FLOPs as counted", () => {
    const { flops } = planOf(800).runs[0]!;
    expect(planOf(800, { limits: { flopsPerRun: flops } }).runs).toHaveLength(1);
    expect(() => planOf(800, { limits: { flopsPerRun: flops * 0.999 } })).toThrow("(flopsPerRun)");
  });
});

describe("a run", () => {
  test("warms up for a twentieth, decays to nothing, is evaluated at its end and logged 200 times", () => {
    const [run] = planOf(5600).runs;
    expect(run!.settings).toMatchObject({
      ...{ maxIters: 700, warmupIters: 35, lrDecayIters: 700, learningRate: 0.01235, minLr: 0, batchSize: 1 },
      ...{
        evalInterval: 700,
        logInterval: 4,
        saveInterval: 70,
        seed: defaultSettings.seed,
        gradientAccumulationSteps: 1,
      },
    });
    expect(planOf(5600, { warmup: 0.1, finalRate: 0.1 }).runs[0]!.settings).toMatchObject({
      warmupIters: 70,
      minLr: 0.001235,
    });
  });

  test("has a context of 64, and 262,144 validation tokens", () => {
    const { settings: _, ...without } = options;
    const plan = planSweep({
      ...without,
      batchTokens: 64,
      grid: { kind: "tokens-per-parameter", sizes: [600], ratios: [5] },
      limits: { fewestSteps: 1, epochs: 100 },
    });
    expect(plan.runs[0]!.settings.blockSize).toBe(64);
    expect(plan.validationTokens).toBe(262_144);
  });
});

describe("rules", () => {
  test("are powers of N and D between their bounds", () => {
    const at = { parameters: 1e4, tokens: 1e6 };
    expect(applyRule({ factor: 3, parameters: -0.5, tokens: 0.25 }, at)).toBeCloseTo((3 / 100) * 10 ** 1.5, 12);
    expect(applyRule({ factor: 3, parameters: -0.5, least: 0.04 }, at)).toBe(0.04);
    expect(applyRule({ factor: 3, tokens: 0.25, most: 90 }, at)).toBe(90);
    expect(applyRule(0.7, at)).toBe(0.7);
    expect([95, 97, 3].map((tokens) => rowsOf(tokens, 64, at))).toEqual([1, 2, 1]);
  });
});

describe("times", () => {
  const { settings } = planOf(5600).runs[0]!;
  const flops = stepFlops(settings);
  const speed = (...steps: [flops: number, seconds: number][]) => ({
    startSeconds: 5,
    steps: steps.map(([times, seconds]) => ({ flops: times * flops, seconds })),
  });
  // 700 steps, and 240 validation tokens of which a step has 8: 30 forward passes, a third of a step each.
  const seconds = (...steps: [number, number][]) =>
    runSeconds(settings, { validationTokens: 240, speed: speed(...steps) });
  const whole = (step: number) => 5 + 700 * step + 30 * (step / 3);

  test("are the start, the steps, and an evaluation at a third of a step", () => {
    expect(tokensPerStep(settings)).toBe(8);
    expect(seconds([1, 0.25])).toBeCloseTo(whole(0.25), 9);
  });

  test("of a step lie between measured ones in logarithms, below them at the least, beyond them at the same FLOP/s", () => {
    expect(seconds([0.25, 0.1], [4, 0.9])).toBeCloseTo(whole(0.3), 9); // √(.1 · .9)
    expect(seconds([3, 0.2], [9, 0.5])).toBeCloseTo(whole(0.2), 9);
    expect(seconds([0.1, 0.01], [0.5, 0.02])).toBeCloseTo(whole(0.04), 9);
  });

  test("of a sweep are those of the longest first, each to whoever is free", () => {
    // 5 | 4, then 3 to the second, 3 to the first, 3 to the second: 8 and 10. The shortest first would take 11.
    expect(sweepSeconds([3, 5, 3, 4, 3], 2)).toBe(10);
    expect(sweepSeconds([3, 5, 3, 4, 3], 1)).toBe(18);
  });

  test("of a plan are the sum of its runs' and what its workers make of them", () => {
    const many = planOf(5600, { seeds: [1, 2, 3], workers: 2, validationTokens: 240 });
    expect(many.totals.processorSeconds).toBeNull();
    const timed = planSweep(
      {
        ...options,
        grid: { kind: "tokens-per-parameter", sizes: [3000], ratios: [5600 / first!.parameters] },
        seeds: [1, 2, 3],
        workers: 2,
        validationTokens: 240,
      },
      speed([1, 0.25]),
    );
    expect(timed.totals.processorSeconds).toBeCloseTo(3 * whole(0.25), 6);
    expect(timed.totals.seconds).toBeCloseTo(2 * whole(0.25), 6);
    expect(timed.totals).toMatchObject({ runs: 3, tokens: 3 * 5600, flops: expect.closeTo(3 * 700 * flops, 0) });
  });
});

describe("tuned rates", () => {
  const at = (batch: number, learningRate: number, loss: number, more = {}) => ({
    ...{ parameters: 1e4, tokens: 1e6, batch, learningRate, loss },
    ...more,
  });

  test("are of the batch with the lowest loss, at the vertex over the logarithm of the rate", () => {
    const { best } = tuneLearningRates([
      ...[at(64, 0.01, 3.2), at(64, 0.02, 3.0), at(64, 0.04, 3.1)],
      ...[at(128, 0.02, 3.1), at(128, 0.04, 2.9), at(128, 0.16, 3.3)],
    ]);
    // Through (0, 3.1), (1, 2.9), (3, 3.3) over log2 of the rate: slopes −.2 and .2, so bend .4 / 3 and vertex 1.25.
    expect(best).toHaveLength(1);
    expect(best[0]!.learningRate / (0.02 * 2 ** 1.25)).toBeCloseTo(1, 9);
    expect(best[0]!.loss).toBeCloseTo(3.1 - 0.2 * 1.25 + (0.4 / 3) * 1.25 * 0.25, 9);
    expect(best[0]).toMatchObject({ batch: 128, otherBatches: [64] });
  });

  test("are of seeds' means, which may differ by a fifth and no more", () => {
    const seeds = (high: number) => () =>
      tuneLearningRates([at(1, 0.01, 2.5), at(1, 0.02, 2), at(1, 0.02, high), at(1, 0.04, 2.6)]).best[0]!;
    const mean = seeds(2.39)();
    // (2.5, 2.195, 2.6) over log2: the vertex is .07 of a step beyond the middle towards the lower rate.
    const shift = (2.5 - 2.6) / (2 * (2.5 + 2.6 - 2 * 2.195));
    expect(mean.learningRate / (0.02 * 2 ** shift)).toBeCloseTo(1, 9);
    expect(seeds(2.41)).toThrow("have losses from 2 to 2.41, a larger difference than seeds explain");
  });

  test("make a rule in N and D where N explains all but a twentieth of D's variance, or less; else in N alone", () => {
    // ln N −1, 0, 1 and ln D = ln N + e·(1, −2, 1): what N does not explain is 3e² / (1 + 3e²).
    const of = (own: number) => {
      const e = Math.sqrt(own / (1 - own) / 3);
      const cells = [-1, 0, 1].map((ln, k) => ({ n: 1e5 * Math.exp(ln), d: 1e7 * Math.exp(ln + e * [1, -2, 1][k]!) }));
      const points = cells.flatMap(({ n, d }) => {
        const rate = 2 * n ** -0.4 * d ** 0.2;
        return [0.5, 1, 2].map((times) => ({
          parameters: n,
          tokens: d,
          learningRate: rate * times,
          loss: 2 + 0.1 * Math.log(times) ** 2,
        }));
      });
      return tuneLearningRates(points).rule;
    };
    expect(of(0.051)).toEqual({
      factor: expect.closeTo(2, 6),
      parameters: expect.closeTo(-0.4, 8),
      tokens: expect.closeTo(0.2, 8),
    });
    expect(Object.keys(of(0.049))).toEqual(["factor", "parameters"]);
  });
});
