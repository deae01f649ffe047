/** The next runs: what they leave of a prediction's variance, what is chosen, and the command. The proof scaling-next simulates them. */
import { writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { fitLawNow } from "../../scaling/fit.js";
import type { Fit, Point } from "../../scaling/points.js";
import { type NextRuns, nextRuns, type RunSet } from "../../scaling/questions/next.js";
import { predictionVariance } from "../../scaling/questions/prediction-variance.js";
import { folio } from "../cli/in-process.js";
import { temporaryFolder } from "../tiny-run.js";
import { hoffmann, isoflopSweep, lossOf, normal, optimumOf } from "./simulate.js";

const folder = temporaryFolder();
const sweep = isoflopSweep({ noise: 0.01, seed: 3 });
const fit = fitLawNow(sweep, { method: "projection", diagnostics: false });
const largest = 1e21;

/** The same scatter everywhere, so that the classical formulas hold. */
const evenly = (found: Fit): Fit => ({ ...found, scatter: { ...found.scatter!, slope: 0 } });

describe("the variance that runs leave", () => {
  const c = [1e18, 2e18, 5e18, 1e19, 3e19, 1e20];
  const points = c.map((flops, k) => ({
    n: Number.NaN,
    d: Number.NaN,
    c: flops,
    loss: 30 * flops ** -0.05 * (1 + 0.01 * (-1) ** k),
  }));
  const line = evenly(fitLawNow(points, { method: "power", offset: false }));
  const place = (flops: number) => ({ n: Number.NaN, d: Number.NaN, c: flops });
  const places = [1e18, 1e20, 5e20].map(place);

  /** σ²·(1 / n + (x − mean)² / Σ (x − mean)²) at x = ln 1e22, of a straight line. */
  function variance(flops: readonly number[]): number {
    const x = flops.map(Math.log);
    const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
    return 1 / x.length + (Math.log(1e22) - mean) ** 2 / x.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  }

  test("of a straight line is the textbook's", () => {
    const found = predictionVariance(line, line.trainings!, { target: place(1e22), places });
    for (const runs of [[0], [1], [2], [0, 2, 2]]) {
      const wanted = Math.sqrt(variance([...c, ...runs.map((k) => places[k]!.c)]) / variance(c));
      expect(found.after(runs).left).toBeCloseTo(wanted, 8);
      expect(found.after(runs.slice(1)).and(runs[0]!)).toBeCloseTo(wanted, 8);
    }
  });

  test("counts a run of weight 2 as two", () => {
    const twice = line.trainings!.map((training, k) => (k === 5 ? { ...training, weight: 2 } : training));
    const found = predictionVariance(line, twice, { target: place(1e22), places });
    const wanted = Math.sqrt(variance([...c, 1e20, 5e20]) / variance([...c, 1e20]));
    expect(found.after([2]).left).toBeCloseTo(wanted, 8);
  });

  test("of noisier small runs is less, the more of the runs are large", () => {
    const noisy: Fit = {
      ...line,
      scatter: { slope: -0.3, center: Math.log(1e19), ends: [Math.log(1e18), Math.log(1e20)], ci80: 0.01, ci95: 0.02 },
    };
    const options = { target: place(1e22), places };
    const [same, less] = [line, noisy].map(
      (each) => predictionVariance(each, each.trainings!, options).after([2]).left,
    );
    expect(less).toBeLessThan(same!);
  });

  test("of squares of the loss itself falls less by a small run, whose loss is high and noisier", () => {
    const target = { n: 1e10, d: 1e12, c: 6e22 };
    const at = [{ n: 1e8, d: 1e9, c: 6e17 }];
    const [log, linear] = (["log", "linear"] as const).map((scale) => {
      const found = evenly(fitLawNow(sweep, { method: "parametric", objective: "squared", scale, diagnostics: false }));
      return predictionVariance(found, found.trainings!, { target, places: at }).after([0]).left;
    });
    expect(log).toBeLessThan(1);
    expect(linear! - log!).toBeGreaterThan(1e-3);
  });

  test("is that of fits of the old runs and of new ones", () => {
    const exact = evenly(fit);
    const next = nextRuns(exact, { budgetFlops: 3 * largest });
    const shares = Array.from({ length: 12 }, (_, seed) => {
      const more = next.chosen.trainings.flatMap(({ n, d, runs }, k) =>
        Array.from({ length: runs }, (_, again) => ({
          n,
          d,
          loss: lossOf(hoffmann, n, d) * Math.exp(0.01 * normal(seed, k, again)),
        })),
      );
      const old = sweep.map(({ n, d }, k) => ({
        n,
        d,
        loss: lossOf(hoffmann, n, d) * Math.exp(0.01 * normal(seed, "old", k)),
      }));
      const width = (points: readonly Point[]) =>
        nextRuns(evenly(fitLawNow(points, { method: "projection", diagnostics: false })), {
          budgetFlops: largest,
          target: next.target,
        }).halfWidth;
      return width([...old, ...more]) / width(old);
    });
    const mean = shares.reduce((sum, share) => sum + share, 0) / shares.length;
    expect(mean / (next.chosen.halfWidth / next.halfWidth)).toBeGreaterThan(0.9);
    expect(mean / (next.chosen.halfWidth / next.halfWidth)).toBeLessThan(1.1);
  });
});

describe("the chosen runs", () => {
  const budgetFlops = 3 * largest;
  const next = nextRuns(fit, { budgetFlops });
  const flopsOf = ({ trainings }: RunSet) => trainings.reduce((sum, { n, d, runs }) => sum + 6 * n * d * runs, 0);

  test("are predicted at the optimum of 10 times the largest compute", () => {
    expect(next.target.c).toBeCloseTo(10 * largest, -12);
    expect(next.target.n / optimumOf(fit.params as never, 10 * largest)).toBeCloseTo(1, 6);
  });

  test("cost no more than the budget, as the even grid does, and narrow the interval more", () => {
    for (const set of [next.chosen, next.even]) {
      expect(flopsOf(set)).toBeLessThanOrEqual(budgetFlops * 1.000001);
      expect(flopsOf(set) / set.flops).toBeCloseTo(1, 6);
      expect(set.trainings.reduce((sum, { runs }) => sum + runs, 0)).toBe(set.runs);
      expect(set.runs).toBeLessThanOrEqual(15);
    }
    expect(next.even.flops / budgetFlops).toBeCloseTo(1, 6);
    const narrower = ({ halfWidth }: RunSet) => 1 - halfWidth / next.halfWidth;
    expect(narrower(next.chosen)).toBeGreaterThan(1.25 * narrower(next.even));
    expect(narrower(next.even)).toBeGreaterThan(0);
  });

  test("cannot be exchanged, one for one, for a better set of the same cost", () => {
    const { chosen, target } = next;
    const grid = [...chosen.trainings, ...next.even.trainings];
    const places = [...grid, ...chosen.trainings.map((run) => ({ ...run, n: run.n * 1.1, d: run.d / 1.1 }))];
    const variance = predictionVariance(fit, fit.trainings!, { target, places });
    const all = chosen.trainings.flatMap(({ runs }, k) => Array.from({ length: runs }, () => k));
    const { left } = variance.after(all);
    expect(left).toBeCloseTo(chosen.halfWidth / next.halfWidth, 8);
    for (const k of all.keys()) {
      const others = all.filter((_, index) => index !== k);
      for (const at of places.keys()) {
        // The places between those that were chosen among may be a little better.
        if (places[at]!.c <= places[all[k]!]!.c) expect(variance.after(others).and(at)).toBeGreaterThan(left * 0.995);
      }
    }
  });

  test("keep to what a run may be", () => {
    const { chosen, width } = nextRuns(fit, {
      budgetFlops,
      least: 1e20,
      most: 5e20,
      width: 2,
      runs: 6,
      mostTokens: 1.5e10,
    });
    expect(width).toBe(2);
    expect(chosen.runs).toBeLessThanOrEqual(6);
    for (const { n, d, c } of chosen.trainings) {
      expect(c).toBeGreaterThan(0.999e20);
      expect(c).toBeLessThan(5.001e20);
      expect(d).toBeLessThanOrEqual(1.5e10);
      expect(Math.abs(Math.log(n / optimumOf(fit.params as never, c)))).toBeLessThan(Math.log(2) + 1e-6);
    }
  });

  test("are as far from the optimum as the fitted ones", () => {
    // The sweep has sizes up to 6 times the optimum; a tenth of them lie beyond the quantile.
    expect(next.width).toBeGreaterThan(4.5);
    expect(next.width).toBeLessThan(7);
  });

  test("are found for Kaplan's law, tied constants, and Gadre's law, and for another target", () => {
    const target = { n: 1e10, d: 3e11 };
    for (const options of [
      { method: "kaplan" },
      { method: "gadre" },
      { method: "parametric", objective: "squared", tie: [["alpha", "beta"]] },
    ] as const) {
      const found = nextRuns(fitLawNow(sweep, { ...options, diagnostics: false }), { budgetFlops: largest, target });
      expect(found.target).toMatchObject({ ...target, c: 1.8e22 });
      expect(found.chosen.halfWidth).toBeLessThan(found.even.halfWidth);
    }
  });

  test.each([
    [
      "a budget below the smallest run",
      { budgetFlops: 1e17 },
      "Cannot plan runs of 1.00e+18 to 1.00e+18 FLOPs with 1.00e+17 FLOPs",
    ],
    ["no runs with so few tokens", { budgetFlops, mostTokens: 1e6 }, "has at most 1.00e+6 tokens"],
  ])("%s is refused", (_, options, message) => {
    expect(() => nextRuns(fit, options)).toThrow(message);
  });

  test("say whether the number of runs or the budget limits them", () => {
    const few = nextRuns(fit, { budgetFlops: 3 * largest, runs: 3, most: largest / 10 });
    expect(few).toMatchObject({ limitedBy: "runs", chosen: { runs: 3 } });
    expect(3 * largest - few.chosen.flops).toBeGreaterThan(fit.range.c[0]);
    const many = nextRuns(fit, { budgetFlops: 3 * fit.range.c[0], runs: 100 });
    expect(many.limitedBy).toBe("budget");
  });

  test("a width below 1 is refused, and a target far below all runs is told", () => {
    expect(() => nextRuns(fit, { budgetFlops: largest, width: 0.5 })).toThrow("the width is 0.5; it is a factor of N");
    const low = nextRuns(fit, { budgetFlops: largest, targetFlops: fit.range.c[0] / 1000 });
    expect(low.warnings).toContainEqual(
      expect.objectContaining({ kind: "extrapolation", message: expect.stringContaining("far below all fitted runs") }),
    );
    const near = nextRuns(fit, { budgetFlops: largest, targetFlops: fit.range.c[0] });
    expect(near.warnings.map(({ kind }) => kind)).not.toContain("extrapolation");
  });

  test("fits without optima, without trainings or without errors are refused", () => {
    const options = { budgetFlops };
    expect(() => nextRuns(fitLawNow(sweep, { method: "power" }), options)).toThrow("Cannot use the fit");
    const { trainings: _, ...old } = fit;
    expect(() => nextRuns(old, options)).toThrow("it lacks the trainings that it was fitted to");
    const { covariance: __, ...bare } = fit;
    expect(() => nextRuns(bare, options)).toThrow("or the intervals of its predictions");
    const { scatter: ___, residuals: ____, ...unknown } = fit;
    expect(() => nextRuns(unknown, options)).toThrow("or it fits them exactly");
  });
});

describe("folio scaling next", () => {
  const table = path.join(folder, "runs.csv");
  writeFileSync(
    table,
    `n,d,c,loss,seconds\n${sweep.map(({ n, d, c, loss }) => [n, d, c, loss, c! / 2e14].join(",")).join("\n")}\n`,
  );

  test("prints the runs, what they cost, and what they and an even grid leave of the interval", async () => {
    const { code, out, err } = await folio("scaling", "next", table, "--budget=3e21", "--bootstrap=50");
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toMatch(/^runs +N +D +D \/ N +C of one +loss +C of all +time$/m);
    expect(out).toMatch(/^with these runs +± \d\.\d\d % +\d+ % +\d+ +\d\.\d\de\+21 +\d/m);
    expect(out).toMatch(/^with an even grid +± \d\.\d\d % +\d+ % +15 +3\.00e\+21 +4,167 h$/m);
    expect(out.replaceAll(/\s+/g, " ")).toContain("from 50 bootstrap refits");
    expect(out).toContain("2.00e+14 FLOPs per second");
  });

  test("takes a fit, and prints JSON", async () => {
    const file = path.join(folder, "fit.json");
    const made = await folio("scaling", "fit", table, "--method=projection", "--bootstrap=50", `--json=${file}`);
    expect(made.code).toBe(0);
    const { out, err } = await folio("scaling", "next", file, "--budget=3e21", "--json", "--runs=5", "--speed=1e15");
    expect(err).toBe("");
    const found = JSON.parse(out) as NextRuns & { speed: number };
    expect(found.speed).toBe(1e15);
    expect(found.chosen.runs).toBeLessThanOrEqual(5);
    expect(found.chosen.halfWidth).toBeLessThan(found.halfWidth);
    const columns = await folio("scaling", "next", file, "--budget=3e21", "--loss=loss");
    expect(columns.code).not.toBe(0);
    expect(columns.err).toContain("Cannot use --loss with");
  });

  test.each([
    [[], "name a fit or a table"],
    [[table], "give their FLOPs with --budget"],
    [[table, "--budget=3e21", "--tokens=1e9"], "a training of --parameters and --tokens"],
    [[table, table, "--budget=3e21"], "give one file"],
    [[table, "--budget=3e21", "--method=isoflop"], '"isoflop" is not one of'],
  ])("refuses %s", async (args, message) => {
    const { code, err } = await folio("scaling", "next", ...args, ...(args.length > 0 ? ["--bootstrap=0"] : []));
    expect(code).not.toBe(0);
    expect(err.replaceAll(/\s+/g, " ")).toContain(message);
  });
});
