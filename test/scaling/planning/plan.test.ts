import fs from "node:fs";
import path from "node:path";
import { group } from "d3-array";
import { describe, expect, it } from "vitest";
import { help } from "../../../lib/cli/scaling/plan.js";
import { flopsPerToken, tokensPerStep } from "../../../lib/model/sizing.js";
import { defaultSettings } from "../../../lib/settings/settings.js";
import {
  defaultLadder,
  loadPlan,
  type PlanOptions,
  planSweep,
  planTable,
  type Speed,
  savePlan,
  share,
  tuneLearningRates,
} from "../../../scaling/plan.js";
import { wantedCells } from "../../../scaling/planning/cells.js";
import { nearestShape } from "../../../scaling/planning/shapes.js";
import { temporaryFolder, writeFox } from "../../tiny-run.js";

const folder = temporaryFolder();
writeFox(folder);

const options: PlanOptions = {
  name: "fox",
  dataset: "fox",
  dataDir: folder,
  settings: { blockSize: 8 },
  batchTokens: 64,
  learningRate: { factor: 1, parameters: -0.5 },
  grid: { kind: "isoflop", budgets: [1e11, 4e11], sizes: 3, spacing: 2, optimum: 20 },
  limits: { epochs: Number.POSITIVE_INFINITY, fewestSteps: 1 },
};

describe("planSweep", () => {
  it("chooses sizes around the expected optimum of each budget, within half a step", () => {
    const { runs, dropped, totals } = planSweep(options);
    expect(dropped).toEqual([]);
    expect(runs.map(({ budgetFlops }) => budgetFlops)).toEqual([1e11, 1e11, 1e11, 4e11, 4e11, 4e11]);
    for (const { settings, budgetFlops, flops, tokens, steps } of runs) {
      expect(tokens).toBe(steps * tokensPerStep(settings));
      expect(flops).toBe(tokens * flopsPerToken(settings));
      expect(Math.abs(flops - budgetFlops!)).toBeLessThanOrEqual((64 * flopsPerToken(settings)) / 2);
    }
    // √(C / 6·20): 28,868 at 1e11, and twice that at 4e9; the ladder's shapes are coarse there.
    const middle = runs[1]!;
    expect(middle.parameters / 28868).toBeGreaterThan(0.5);
    expect(middle.parameters / 28868).toBeLessThan(2);
    expect(totals.flops).toBe(runs.reduce((sum, { flops }) => sum + flops, 0));
    expect(totals.seconds).toBeNull();
  });

  it("refuses a dataset with other tokens than the plan needs", () => {
    expect(planSweep({ ...options, tokenizer: "char" }).runs).not.toEqual([]);
    const message = "it needs bpe tokens, but fox has char tokens; prepare it again: folio prepare fox --from=TEXT";
    expect(() => planSweep({ ...options, tokenizer: "bpe" })).toThrow(`${message} --tokenizer=bpe:N --overwrite.`);
  });

  it("changes depth and heads with the width, or keeps both if the ladder fixes them", () => {
    const grid = { kind: "sizes", sizes: [3000, 200_000], budgets: [1e12] } as const;
    const shapes = (ladder: NonNullable<PlanOptions["ladder"]>) =>
      planSweep({ ...options, grid, ladder }).runs.map(({ settings: { nLayer, nHead } }) => ({ nLayer, nHead }));
    const [small, large] = shapes({ aspect: 16 });
    expect(large!.nLayer).toBeGreaterThan(small!.nLayer);
    expect(large!.nHead).toBeGreaterThan(small!.nHead);
    const fixed = { nLayer: 3, nHead: 2 };
    expect(shapes(fixed)).toEqual([fixed, fixed]);
    expect(() => shapes({ widthStep: 8, nHead: 3 })).toThrow("make the ladder's widthStep a multiple of nHead");
  });

  it("decays every learning rate to the end of the run, after a warm-up of a twentieth", () => {
    for (const { settings, parameters } of planSweep(options).runs) {
      expect(settings.lrDecayIters).toBe(settings.maxIters);
      expect(settings.minLr).toBe(0);
      expect(settings.warmupIters).toBe(Math.max(1, Math.round(0.05 * settings.maxIters)));
      expect(settings.learningRate).toBeCloseTo(parameters ** -0.5, 4);
    }
  });

  it("trains given sizes on multiples of their parameters, or at given budgets", () => {
    const ratios = planSweep({
      ...options,
      grid: { kind: "tokens-per-parameter", sizes: [3000, 9000], ratios: [5, 20] },
    });
    expect(ratios.runs.map(({ tokens, parameters }) => tokens / parameters)).toEqual([
      expect.closeTo(5, 1),
      expect.closeTo(20, 0),
      expect.closeTo(5, 1),
      expect.closeTo(20, 0),
    ]);
    const chosen = planSweep({ ...options, grid: { kind: "sizes", sizes: [3000, 9000], budgets: [1e9, 2e9] } });
    expect(chosen.runs).toHaveLength(4);
    expect(new Set(chosen.runs.map(({ parameters }) => parameters)).size).toBe(2);
  });

  it("gives a reason for each dropped cell", () => {
    const reasons = (limits: PlanOptions["limits"]) =>
      planSweep({ ...options, limits: { epochs: 1e9, fewestSteps: 1, ...limits } }).dropped.map(({ reason }) => reason);
    const plan = planSweep({ ...options, limits: { epochs: 1000, fewestSteps: 1 } });
    expect(plan.dropped[0]!.reason).toMatch(/^it sees the data \d+\.\d times; the limit is 1000 \(epochs\)$/);
    expect(reasons({ flopsPerRun: 2e11 })[0]).toMatch(/^it takes \S+ FLOPs; the limit is 2\.00e\+11 \(flopsPerRun\)$/);
    const [fewer] = planSweep({ ...options, limits: { epochs: 1e9, fewestSteps: 20_000 } }).dropped;
    expect(fewer!.reason).toMatch(/^it has \d+ steps; the minimum is 20000 \(fewestSteps\)$/);
    expect(() => reasons({ memoryBytes: 1e6 })).toThrow(
      /^Cannot plan the sweep fox: every cell was dropped, the first because it needs 0\.45 GB of memory; the limit is 1\.0 MB \(memoryBytes\)\.$/,
    );
    const twice = planSweep({ ...options, grid: { kind: "sizes", sizes: [3000, 3010], budgets: [1e9] } });
    expect(twice.dropped[0]!.reason).toMatch(
      /^the nearest shape to N = 3010 is 2L\d+, which grid-1\.00e9-2L\d+ already has$/,
    );
  });

  it("plans held-out and tuning runs, and one run per seed", () => {
    const plan = planSweep({
      ...options,
      heldOut: [{ budgetFlops: 2e12 }],
      tuning: { at: [{ budgetFlops: 1e9, parameters: 3000 }], learningRates: [1e-3, 1e-2] },
      seeds: [1, 2],
    });
    const roles = plan.runs.map(({ role }) => role);
    expect(roles.filter((role) => role === "held-out")).toHaveLength(2);
    expect(roles.filter((role) => role === "tuning")).toHaveLength(4);
    expect(roles.filter((role) => role === "grid")).toHaveLength(12);
    expect(plan.runs.filter(({ role }) => role === "tuning").map(({ settings }) => settings.learningRate)).toEqual([
      1e-3, 1e-2, 1e-3, 1e-2,
    ]);
    expect(new Set(plan.runs.map(({ name }) => name)).size).toBe(plan.runs.length);
  });

  it("estimates times from measured steps: start, steps, evaluation, with the longest runs first", () => {
    const speed: Speed = { startSeconds: 2, steps: [{ flops: 1, seconds: 0.001 }] };
    const { runs, totals, workers } = planSweep({ ...options, workers: 2 }, speed);
    expect(workers).toBe(2);
    expect(totals.processorSeconds).toBeCloseTo(
      runs.reduce((sum, { seconds }) => sum + seconds!, 0),
      6,
    );
    expect(totals.seconds!).toBeGreaterThanOrEqual(totals.processorSeconds! / 2);
    expect(totals.seconds!).toBeLessThan(
      totals.processorSeconds! / 2 + Math.max(...runs.map(({ seconds }) => seconds!)),
    );
  });

  it("is refused with one clear message", () => {
    const withGrid = (grid: unknown) => () => planSweep({ ...options, grid: grid as never });
    expect(withGrid({ kind: "isoflop", budgets: [] })).toThrow(
      "Cannot plan the sweep: budgets of the grid is []; wanted a list of numbers above 0, such as [1e11, 3e11].",
    );
    expect(withGrid({ kind: "sizes", budgets: [1e9], sizes: [1, -2] })).toThrow("sizes of the grid is -2;");
    expect(withGrid({ kind: "isoflop", budgets: [1e9], sizes: "five" })).toThrow(
      'sizes of the grid is "five"; wanted a whole number of sizes per budget, such as 7.',
    );
    expect(withGrid({ kind: "cube" })).toThrow(
      'its grid is of kind "cube"; wanted isoflop, sizes or tokens-per-parameter.',
    );
    expect(() => planSweep({ ...options, name: "a b" })).toThrow('its name is "a b"; wanted letters');
    const { grid: _, ...without } = options;
    expect(() => planSweep(without)).toThrow("Cannot plan the sweep fox: it has no grid, held-out or tuning runs.");
  });
});

it("the README's plan has five shapes for each of its budgets, as the help of plan does", () => {
  const [json] = /\{ "name": "small"[\s\S]*?\} \}/.exec(fs.readFileSync("README.md", "utf8"))!;
  const sample = JSON.parse(json) as PlanOptions;
  const squeezed = (text: string) => text.replaceAll(/\s+/g, " ");
  expect(squeezed(help())).toContain(squeezed(json));
  const context = { ...defaultSettings, ...sample.settings, vocabSize: 93 };
  const ladder = { ...defaultLadder, ...sample.ladder };
  const shapes = group(wantedCells(sample.grid!), ({ budgetFlops }) => budgetFlops);
  expect(shapes.size).toBe(4);
  for (const cells of shapes.values()) {
    const widths = cells.map(({ parameters }) => nearestShape(parameters, ladder, context).nEmbd);
    expect(new Set(widths).size).toBe(5);
  }
});

describe("a plan", () => {
  it("is a table, and a JSON file that is read back unchanged", () => {
    const plan = planSweep(options);
    const table = planTable(plan);
    expect(table.numRows()).toBe(plan.runs.length);
    expect(table.get("flops", 0)).toBe(plan.runs[0]!.flops);
    const file = path.join(folder, "plan.json");
    savePlan(file, plan);
    expect(loadPlan(file)).toEqual(plan);
    fs.writeFileSync(file, "{}");
    expect(() => loadPlan(file)).toThrow(
      /^Cannot read the plan .*plan\.json: it is not a plan of this version of Folio \(format: /,
    );
  });
});

describe("a plan from elsewhere", () => {
  const plan = planSweep(options);
  const [run] = plan.runs;

  it.each([
    ["a name with a line break", { name: "x\ntouch OWNED #" }, "name: wanted letters"],
    ["a name that is a path", { name: "../../x" }, "name: wanted letters"],
    ["a run whose name is a path", { runs: [{ ...run, name: "../../x" }] }, "runs.0.name: wanted letters"],
    ["no workers", { workers: 0 }, "workers: "],
    ["a billion workers", { workers: 1e9 }, "workers: "],
    ["a run that is null", { runs: [null] }, "runs.0: "],
    ["validation tokens below 0", { validationTokens: -5 }, "validationTokens: "],
    ["steps that are no number", { runs: [{ ...run, steps: "many" }] }, "runs.0.steps: "],
    ["no runs", { runs: [] }, "runs: "],
  ])("is refused with %s", (_, change, message) => {
    const file = path.join(folder, "elsewhere.json");
    fs.writeFileSync(file, JSON.stringify({ ...plan, ...change }));
    expect(() => loadPlan(file)).toThrow(`it is not a plan of this version of Folio (${message}`);
  });

  it.each([
    [{ lerningRate: 1 }, 'there is no key "lerningRate"; did you mean learningRate?'],
    [{ grid: { ...options.grid, budget: [1] } }, 'there is no key "budget" of grid; did you mean budgets?'],
    [{ limits: { epoch: 3 } }, 'there is no key "epoch" of limits; did you mean epochs?'],
    [{ validationTokens: -5 }, "validationTokens is -5; "],
    [{ workers: 1e9 }, "workers is 1000000000; "],
    [{ learningRate: "fast" }, 'learningRate is "fast"; wanted a number above 0, or a rule'],
    [{ name: "../../x" }, 'its name is "../../x"; wanted letters'],
    [{ warmup: 1.5 }, "warmup is 1.5; "],
  ])("is refused with options %j", (change, message) => {
    expect(() => planSweep({ ...options, ...(change as object) })).toThrow(message);
  });

  it("says how to prepare its text if it is not prepared", () => {
    expect(() => planSweep({ ...options, dataset: "tales", tokenizer: "char" })).toThrow(
      `there is no dataset tales in ${folder}; prepare it: folio prepare tales --from=TEXT --tokenizer=char; TEXT is a text`,
    );
  });
});

describe("share", () => {
  it("gives each process its share of the cores", () => {
    const { workers, threads } = share();
    expect(threads).toBe(1);
    expect(share({ threads: workers })).toEqual({ workers: 1, threads: workers });
    expect(share({ workers: 1 })).toEqual({ workers: 1, threads: workers });
  });
});

describe("tuneLearningRates", () => {
  const parabola = (parameters: number, best: number, tokens = 20 * parameters) =>
    [0.5, 1, 2, 4].map((times) => {
      const learningRate = best * times * 0.8;
      return { parameters, tokens, learningRate, loss: 2 + 0.1 * Math.log(learningRate / best) ** 2 };
    });

  it("finds the vertices over log rate and the power law through them", () => {
    const { best, rule } = tuneLearningRates([...parabola(1e4, 1e-2), ...parabola(1e6, 1e-3)]);
    expect(best.map(({ learningRate }) => learningRate)).toEqual([expect.closeTo(1e-2, 8), expect.closeTo(1e-3, 8)]);
    expect(rule.parameters).toBeCloseTo(-0.5, 8);
    expect(rule.factor).toBeCloseTo(1, 6);
    expect(rule.tokens).toBeUndefined();
  });

  it("finds the power law in N and D if both vary independently", () => {
    const law = (n: number, d: number) => 3 * n ** -0.7 * d ** 0.3;
    const cells = [
      [1e4, 1e6],
      [1e4, 4e6],
      [1e5, 1e6],
      [1e5, 4e6],
    ] as const;
    const { best, rule } = tuneLearningRates(cells.flatMap(([n, d]) => parabola(n, law(n, d), d)));
    expect(best.map(({ parameters, tokens }) => [parameters, tokens])).toEqual(cells);
    expect(rule.parameters).toBeCloseTo(-0.7, 8);
    expect(rule.tokens).toBeCloseTo(0.3, 8);
    expect(rule.factor).toBeCloseTo(3, 6);
  });

  it("leaves a quantity that does not vary out of the rule", () => {
    const sizes = [1e4, 3e4, 1e5].flatMap((n) => parabola(n, n ** -0.5, 3e6));
    const bySize = tuneLearningRates(sizes).rule;
    expect(bySize).toEqual({ factor: expect.closeTo(1, 6), parameters: expect.closeTo(-0.5, 8) });
    const byTokens = tuneLearningRates([1e6, 3e6, 1e7].flatMap((d) => parabola(3e6, d ** -0.2, d))).rule;
    expect(byTokens).toEqual({ factor: expect.closeTo(1, 6), tokens: expect.closeTo(-0.2, 8) });
    expect(tuneLearningRates(parabola(1e4, 1e-2)).rule).toEqual({ factor: expect.closeTo(1e-2, 8) });
  });

  it("refuses a lowest loss at the edge of the rates", () => {
    const points = parabola(1e4, 1e-2).filter(({ learningRate }) => learningRate > 7e-3);
    expect(() => tuneLearningRates(points)).toThrow(
      "Cannot tune the learning rate: for the model of 10000 parameters on 200000 tokens, the lowest rate, 0.008, is best; add lower ones.",
    );
  });
});
