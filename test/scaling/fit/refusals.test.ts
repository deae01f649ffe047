/** Either side of each limit at which a fit refuses its points, and of those beyond which it leaves no point out. */
import { describe, expect, test } from "vitest";
import { checkIdentifiable, checkPoints, checkResampling } from "../../../scaling/fit/checks.js";
import { toData } from "../../../scaling/fit/columns.js";
import type { Estimate, Fitter, MethodOptions } from "../../../scaling/fit/methods/method.js";
import { deletions, jackknife } from "../../../scaling/fit/uncertainty/leave-out.js";
import { fitLawNow } from "../../../scaling/fit.js";
import type { FitMethod, Point } from "../../../scaling/points.js";
import { isoflopSweep, strewnSweep } from "../simulate.js";

const point: Point = { n: 1e7, d: 1e9, loss: 3 };

const optionsOf = (method: FitMethod, more: Partial<MethodOptions> = {}): MethodOptions => ({
  ...{ method, delta: 1e-3, maxIterations: 300, over: "c", offset: true, breaks: 1, budgetTolerance: 0.1 },
  ...more,
});

describe("refused", () => {
  const sweep = isoflopSweep();

  test.each([
    ["parametric", {}, 5],
    ["projection", {}, 5],
    ["kaplan", {}, 4],
    ["repeated", {}, 6],
    ["power", {}, 3],
    ["power", { offset: false }, 2],
    ["broken", {}, 6],
    ["broken", { breaks: 2 }, 9],
    ["isoflop", {}, 3],
    ["envelope", {}, 3],
  ] as const)("no more points than %s %j has parameters, %d", (method, more, parameters) => {
    const given = sweep.slice(0, parameters + 1).map((one) => ({ ...one, unique: one.d / 2 }));
    const check = (count: number) => () => checkPoints(given.slice(0, count), optionsOf(method, more));
    expect(check(parameters)).toThrow(`there are ${parameters} points for ${parameters} parameters;`);
    expect(check(parameters + 1)).not.toThrow();
  });

  const changed = (change: Partial<Point>) => () =>
    checkPoints(
      sweep.map((one, k) => (k === 4 ? { ...one, c: undefined as never, ...change } : one)),
      optionsOf("projection"),
    );

  test("fewer than 100 parameters or tokens", () => {
    expect(changed({ n: 100, d: 100 })).not.toThrow();
    expect(changed({ n: 99.9 })).toThrow("N of point 4 is 99.9, which is too small for a training");
    expect(changed({ d: 99.9 })).toThrow("D of point 4 is 99.9, which is too small for a training");
  });

  test("FLOPs per parameter and token below .02 or above 1,000", () => {
    const { n, d } = sweep[4]!;
    expect(changed({ c: 0.0201 * n * d })).not.toThrow();
    expect(changed({ c: 999 * n * d })).not.toThrow();
    expect(changed({ c: 0.0199 * n * d })).toThrow("point 4 has 0.020 FLOPs per parameter and token");
    expect(changed({ c: 1001 * n * d })).toThrow("point 4 has 1.0e+3 FLOPs per parameter and token");
  });

  test("a loss above 12 nats in the median", () => {
    const shifted = (by: number) => () =>
      checkPoints(
        [11, 11.5, by, 12.5, 13, 12, 11].map((loss, k) => ({
          n: 1e6 + k,
          d: 1e8,
          loss: k < 5 ? loss : loss + (k === 5 ? 2 : 0),
        })),
        optionsOf("isoflop"),
      );
    expect(shifted(12)).not.toThrow();
    expect(shifted(12.1)).toThrow("the median loss is 12.1, too high for nats per token");
  });

  test("losses that do not differ, and tokens that nobody has seen twice", () => {
    expect(() =>
      checkPoints(
        sweep.map((one) => ({ ...one, loss: 3 })),
        optionsOf("projection"),
      ),
    ).toThrow("the loss of every point is 3;");
    const seen = (times: number) => () =>
      checkPoints(
        sweep.map((one, k) => ({ ...one, unique: k === 9 ? one.d / times : one.d })),
        optionsOf("repeated"),
      );
    expect(seen(1.011)).not.toThrow();
    expect(seen(1.009)).toThrow("no run has repeated its tokens");
    const lacking = sweep.map(({ unique: _, ...one }, k) => (k === 3 ? one : { ...one, unique: one.d / 2 }));
    expect(() => checkPoints(lacking, optionsOf("repeated"))).toThrow("the points lack the number of unique tokens");
  });

  test("tokens that a tenth of a unit of ln D does not scatter, given N", () => {
    // At each N two D's, equally far from a line of slope ½: given N, ln D has exactly that deviation.
    const of = (deviation: number) => () =>
      checkIdentifiable(
        toData(
          Array.from({ length: 16 }, (_, k) => {
            const lnN = 14 + Math.floor(k / 2);
            return { n: Math.exp(lnN), d: Math.exp(12 + lnN / 2 + (k % 2 ? deviation : -deviation)), loss: 3 };
          }),
        ),
        optionsOf("projection"),
      );
    expect(of(0.1005)).not.toThrow();
    expect(of(0.0995)).toThrow("there is only one D per N (given N, D varies by 9.9 %)");
  });

  test("refits, threads and breaks beyond what a machine or a search takes", () => {
    expect(() => checkResampling({ bootstrap: 100_000, threads: 1024 })).not.toThrow();
    expect(() => checkResampling({ bootstrap: 100_001, threads: 1 })).toThrow(
      "bootstrap is 100001; it must be a whole",
    );
    expect(() => checkResampling({ bootstrap: 0, threads: 1025 })).toThrow(
      "threads is 1025; it must be a whole number",
    );
    expect(() => checkResampling({ bootstrap: 0, threads: 0 })).toThrow("threads is 0;");
    const broken = (breaks: number) => () => checkPoints(sweep, optionsOf("broken", { breaks }));
    expect(broken(4)).not.toThrow();
    expect(broken(5)).toThrow("breaks is 5; it must be a whole number from 1 to 4");
    expect(broken(0)).toThrow("breaks is 0;");
  });
});

describe("what is left out", () => {
  const estimate = { params: { alpha: 0.5 }, objective: 0, converged: true, warnings: [] } satisfies Estimate;
  /** Each refit's alpha is how many points it has. */
  const counting = (): Fitter & { weights: Float64Array[] } => {
    const weights: Float64Array[] = [];
    return {
      weights,
      estimate: () => estimate,
      refit(given) {
        weights.push(given.slice());
        return { ...estimate, params: { alpha: given.reduce((sum, weight) => sum + weight, 0) } };
      },
    };
  };
  const data = (size: number, group?: (k: number) => string) =>
    toData(Array.from({ length: size }, (_, k) => ({ ...point, n: 1e6 + k, ...(group && { group: group(k) }) })));

  test("is each of up to 5,000 points in turn, none of more", () => {
    const fitter: Fitter = { estimate: () => estimate, refit: () => ({ ...estimate, params: { alpha: 0.2 } }) };
    const found = deletions(fitter, data(5000), estimate);
    expect(found).toHaveLength(5000);
    expect(found[0]!.shift).toBeCloseTo(0.3, 12);
    expect(deletions(fitter, data(5001), estimate)).toEqual([]);
  });

  test("is, for the jackknife, each of up to 1,000 runs, and of more every so many-th together", () => {
    const few = counting();
    jackknife(
      few,
      data(2000, (k) => `run ${k % 1000}`),
      estimate,
      ["alpha"],
    );
    expect(few.weights).toHaveLength(1000);
    expect(few.weights.every((weights) => weights.filter((weight) => weight === 0).length === 2)).toBe(true);
    const many = counting();
    jackknife(many, data(1500), estimate, ["alpha"]);
    expect(many.weights).toHaveLength(1000);
    const out = Array.from(many.weights[0]!.entries()).flatMap(([i, weight]) => (weight === 0 ? [i] : []));
    expect(out).toEqual([0, 1000]);
  });

  test("is only where eight points stay to be fitted", () => {
    const of = (count: number) => fitLawNow(strewnSweep({ points: count, noise: 0.001 }), { method: "projection" });
    expect(of(9).holdout).toMatchObject({ points: 1 });
    expect(of(8).holdout).toBeUndefined();
  });
});
