import { describe, expect, test } from "vitest";
import { warnOfRefits, warnOfWidth } from "../../../scaling/fit/uncertainty/interval-warnings.js";
import { extrapolationWarning, type FitOptions, fitLaw, fitLawNow, roundingWarning } from "../../../scaling/fit.js";
import { kaplan } from "../../../scaling/laws.js";
import type { Point } from "../../../scaling/points.js";
import { hoffmann, isoflopSweep, lossOf, optimumOf, runsSweep, strewnSweep } from "../simulate.js";

const good = isoflopSweep({ noise: 0.002 });

function kindsOf(points: readonly Point[], options: FitOptions = { method: "projection" }): string[] {
  return fitLawNow(points, options).warnings.map(({ kind }) => kind);
}

describe("a good sweep gives no warning", () => {
  test.each(["parametric", "projection", "isoflop"] as const)("by %s", async (method) => {
    const narrow = isoflopSweep({ noise: 0.002, width: 3 });
    const starts = [[6, 6, 0.5, 0.34, 0.28]] as const;
    const { warnings } = await fitLaw(narrow, { method, starts, bootstrap: 200, threads: 1, budgetFlops: 5e21 });
    expect(warnings).toEqual([]);
  });
});

describe("warned of", () => {
  test("an optimizer that stopped early", () => {
    const fit = fitLawNow(good, { starts: [[6, 6, 0.5, 0.34, 0.28]], maxIterations: 4 });
    expect(fit.converged).toBe(false);
    expect(fit.warnings[0]).toMatchObject({
      kind: "stopped-early",
      message: expect.stringContaining("Raise maxIterations"),
    });
    expect(kindsOf(good, { method: "projection", maxIterations: 1 })).toContain("stopped-early");
  });

  test("so few points that intervals were not seen to hold what they say, and no more", () => {
    const kinds = (sizes: number) =>
      fitLawNow(isoflopSweep({ sizes, budgets: [1e18, 5e18, 2.5e19, 1e20, 5e20], noise: 0.005 }), {
        method: "projection",
      }).warnings.map(({ kind }) => kind);
    expect(kinds(5)).toContain("uncertain-intervals");
    expect(kinds(6)).not.toContain("uncertain-intervals");
  });

  test("two sizes, or two numbers of tokens, however many points", () => {
    const only = (few: (point: Point) => boolean) => kindsOf(strewnSweep({ noise: 0.002 }).filter(few));
    expect(only(() => true)).toEqual([]);
    const grid = (sizes: readonly number[], tokens: readonly number[]) =>
      sizes.flatMap((n) => tokens.map((d, k) => ({ n, d, loss: lossOf(hoffmann, n, d) * (1 + 1e-3 * (k % 3)) })));
    const many = Array.from({ length: 20 }, (_, k) => 1e9 * 1.3 ** k);
    const messageOf = (points: Point[]) =>
      fitLawNow(points, { method: "projection" }).warnings.find(({ kind }) => kind === "uncertain-intervals")?.message;
    expect(messageOf(grid([1e7, 2e7], many))).toMatch(/^There are only 2 different sizes N/);
    expect(
      messageOf(
        grid(
          many.map((n) => n / 100),
          [1e9, 1e10],
        ),
      ),
    ).toMatch(/^There are only 2 different numbers of tokens D/);
    expect(messageOf(grid([1e7, 4e7, 2e8], many))).toBeUndefined();
  });

  test("fewer than ten groups to draw from", () => {
    const grouped = (count: number) => good.map((point, k) => ({ ...point, group: `run ${k % count}` }));
    const messages = (count: number) => fitLawNow(grouped(count), { method: "projection" }).warnings;
    expect(messages(9)).toContainEqual({
      kind: "uncertain-intervals",
      message: expect.stringMatching(/^9 groups are too few/),
    });
    expect(messages(10)).toEqual([]);
  });

  describe("laws of compute", () => {
    const at = (loss: (c: number) => number) =>
      Array.from({ length: 91 }, (_, k) => {
        const c = 1e16 * 1.08 ** k;
        return { n: Math.sqrt(c / 120), d: 20 * Math.sqrt(c / 120), loss: loss(c) * (1 + 2e-3 * Math.sin(7 * k)) };
      });
    const law = (c: number) => 1.7 + 3 * (c / 1e16) ** -0.2;
    const messages = (loss: (c: number) => number, options: FitOptions) =>
      fitLawNow(at(loss), { over: "c", ...options }).warnings.map(({ message }) => message);

    test("a break that the points do not show", () => {
      expect(messages(law, { method: "broken" })).toContainEqual(
        expect.stringMatching(
          /^The points do not show a break: .* \(F = [\d.]+ with 3 and 85 degrees of freedom; .*--method=power\.$/,
        ),
      );
      const broken = (c: number) => 1.7 + (law(c) - 1.7) * (1 + (c / 3e17) ** (1 / 0.3)) ** (-0.15 * 0.3);
      expect(messages(broken, { method: "broken" })).toEqual([]);
      expect(messages(broken, { method: "broken", breaks: 2 })).toContainEqual(
        expect.stringMatching(/^The points do not show a break number 2: .*--breaks=1\.$/),
      );
    });

    test("few points: 60 for the six constants of a broken law, 15 for the three of a power law", () => {
      const few = (count: number, method: "broken" | "power") =>
        fitLawNow(at(law).slice(0, count), { over: "c", method }).warnings.some(({ message }) =>
          /points are few/.test(message),
        );
      expect([few(60, "broken"), few(61, "broken")]).toEqual([true, false]);
      expect([few(15, "power"), few(16, "power")]).toEqual([true, false]);
    });

    test("an exponent that the points hardly determine", () => {
      expect(messages(law, { method: "power" })).toEqual([]);
      expect(messages((c) => 1.7 + 0.01 * (c / 1e16) ** -0.2, { method: "power" })).toContainEqual(
        expect.stringMatching(/^The points hardly determine alpha: /),
      );
    });
  });

  test("few budgets", () => {
    const of = (budgets: number[]) => kindsOf(isoflopSweep({ budgets, width: 3 }), { method: "isoflop" });
    expect(of([1e18, 1e19, 1e20])).toEqual(["few-budgets"]);
    expect(of([1e18, 1e19, 1e20, 1e21])).toEqual([]);
  });

  test("grids so wide that the parabola is biased, with the bias", () => {
    const fitOf = (width: number) => fitLawNow(isoflopSweep({ width, sizes: 15 }), { method: "isoflop" });
    expect(fitOf(2).warnings).toEqual([]);
    expect(fitOf(16).warnings).toHaveLength(1);
    expect(fitOf(16).warnings[0]).toMatchObject({
      kind: "biased-parabola",
      message: expect.stringMatching(/N\* is off by \+4\.\d %/),
    });
  });

  test("outliers that move an exponent, by their index", () => {
    const points = good.map((point, k) => (k === 9 ? { ...point, loss: point.loss * 1.3 } : point));
    const { warnings } = fitLawNow(points, { method: "projection" });
    expect(warnings).toMatchObject([{ kind: "outlier", message: expect.stringContaining("point 9 (") }]);
  });

  test("mixed counting conventions", () => {
    const blocks = good.map((point) => ({ ...point, nConvention: "blocks", flopsConvention: "6nd" }));
    expect(kindsOf(blocks)).toEqual([]);
    const mixed = blocks.map((point, k) => (k < 10 ? { ...point, nConvention: "total" } : point));
    expect(fitLawNow(mixed, { method: "projection" }).warnings).toMatchObject([
      {
        kind: "mixed-conventions",
        message: expect.stringContaining("parameters by different conventions (total, blocks)"),
      },
    ]);
    expect(kindsOf(good.map((point, k) => (k < 10 ? { ...point, flopsConvention: "palm" } : point)))).toEqual([
      "mixed-conventions",
    ]);
  });

  test("warm-up that is too long for a short run", () => {
    expect(kindsOf(good.map((point) => ({ ...point, warmupShare: 0.1 })))).toEqual([]);
    expect(kindsOf(good.map((point, k) => ({ ...point, warmupShare: k < 5 ? 0.6 : 0.02 })))).toEqual(["long-warmup"]);
  });

  test("learning rates that did not decay", () => {
    expect(kindsOf(good.map((point) => ({ ...point, finalLrRatio: 0.1 })))).toEqual([]);
    expect(kindsOf(good.map((point, k) => ({ ...point, finalLrRatio: k % 2 })))).toEqual(["undecayed-learning-rate"]);
  });

  test("rounded constants", () => {
    expect(roundingWarning({ A: 406.4, B: 410.7, alpha: 0.34, beta: 0.28 }, 5.76e23)).toMatchObject({
      kind: "rounded-constants",
      message: expect.stringContaining("change the optimal N at 5.76e+23 FLOPs by a factor of up to 1.45"),
    });
    expect(roundingWarning(hoffmann, 5.76e23)).toBeUndefined();
  });

  test("extrapolation beyond a factor", () => {
    const fit = fitLawNow(good, { method: "projection", budgetFlops: 5.76e23 });
    expect(fit.warnings).toMatchObject([
      { kind: "extrapolation", message: expect.stringContaining("576 times the largest fitted run") },
    ]);
    expect(extrapolationWarning(fit, 9e21)).toBeUndefined();
    expect(extrapolationWarning(fit, 9e21, 3)).toMatchObject({ kind: "extrapolation" });
  });

  test("intervals that are too narrow: points of a run taken as independent", () => {
    const runs = runsSweep({ runs: 20 });
    expect(kindsOf(runs)).toEqual([]);
    const { warnings } = fitLawNow(
      runs.map(({ group: _, ...point }) => point),
      { method: "projection" },
    );
    expect(warnings).toMatchObject([{ kind: "narrow-intervals", message: expect.stringContaining("--group") }]);
  });

  test("intervals that are too narrow: too few refits", async () => {
    const kinds = async (bootstrap: number) =>
      (await fitLaw(good, { method: "projection", bootstrap, threads: 1 })).warnings.map(({ kind }) => kind);
    expect(await kinds(50)).toEqual(["narrow-intervals"]);
    expect(await kinds(200)).toEqual([]);
  });

  test("intervals that are too narrow: refits that do not vary, or fail", () => {
    const allowed = { a: [0.4, 0.6] } as const;
    expect(warnOfWidth({ a: [0.49, 0.52] }, allowed)).toMatchObject([
      { kind: "narrow-intervals", message: expect.stringContaining("The interval of a has only 0.15 of the width") },
    ]);
    expect(warnOfWidth({ a: [0.42, 0.55] }, allowed)).toEqual([]);
    expect(warnOfRefits(1000, 900)).toMatchObject([
      { kind: "narrow-intervals", message: expect.stringContaining("100 of 1000 refits failed") },
    ]);
    expect(warnOfRefits(1000, 960)).toEqual([]);
  });

  test("a term that the points do not show", () => {
    const flat = strewnSweep({ points: 40 }).map((point) => ({
      ...point,
      loss: 100 * point.n ** -0.2 + 50 * point.d ** -0.15,
    }));
    expect(kindsOf(flat)).toContain("at-bound");
    const rising = strewnSweep({ points: 40 }).map(({ n, d }) => ({ n, d, loss: n ** 0.02 * (1 + 50 * d ** -0.3) }));
    expect(kindsOf(rising, { method: "kaplan" })).toContain("at-bound");
    const kaplans = rising.map(({ n, d }) => ({ n, d, loss: kaplan.ofBoth(n, d) }));
    expect(kindsOf(kaplans, { method: "kaplan" })).toEqual([]);
  });
});

describe("refused", () => {
  const profile = (c: number, sizes: readonly number[]): Point[] =>
    sizes.map((share) => {
      const n = share * optimumOf(hoffmann, c);
      return { n, d: c / (6 * n), c, loss: lossOf(hoffmann, n, c / (6 * n)) };
    });
  const budgets = [1e18, 1e19, 1e20, 1e21];
  const fine = (c: number) => profile(c, [0.4, 0.7, 1, 1.5, 2.5]);

  test.each([
    ["outside", [1.5, 2, 3, 4, 6]],
    ["at the edge of", [1, 1.5, 2, 3, 4]],
  ])("a number for a budget whose minimum is %s the sizes tried", (_, sizes) => {
    const points = [...budgets.slice(1).flatMap(fine), ...profile(1e18, sizes)];
    const fit = fitLawNow(points, { method: "isoflop" });
    expect(fit.optima!.map(({ c }) => Math.round(Math.log10(c)))).toEqual([19, 20, 21]);
    expect(fit.warnings).toContainEqual({
      kind: "edge-minimum",
      message: expect.stringMatching(/^The budget 1\.00e\+18 gives no optimum: .*: add smaller ones\.$/),
    });
  });

  test("an optimum for a budget whose losses curve downwards", () => {
    const concave = fine(1e18).map((point) => ({ ...point, loss: 6 - point.loss }));
    const fit = fitLawNow([...budgets.slice(1).flatMap(fine), ...concave], { method: "isoflop" });
    expect(fit.optima).toHaveLength(3);
    expect(fit.warnings.map(({ kind }) => kind)).toContain("concave-profile");
  });

  test("many budgets without an optimum in one short message, with the count of each reason", () => {
    const many = Array.from({ length: 12 }, (_, k) => 1e18 * 2 ** k);
    const points = many.flatMap((c, k) => profile(c, k < 9 ? [1.5, 2, 3, 4] : [1, 2]));
    let said = "";
    try {
      fitLawNow(points, { method: "isoflop" });
    } catch (error) {
      said = (error as Error).message;
    }
    expect(said).toMatch(
      /0 of 12 budgets .* add smaller ones\. 8 more are like this one\. .* 2 more are like this one\./,
    );
    expect(said.length).toBeLessThan(500);
  });

  test("a power law through fewer than three optima", () => {
    const points = [...budgets.slice(2).flatMap(fine), ...profile(1e18, [1.5, 2, 3, 4]), ...profile(1e19, [1, 2])];
    expect(() => fitLawNow(points, { method: "isoflop" })).toThrow(
      /^Cannot fit by IsoFLOP parabolas: 2 of 4 budgets give an optimum.*it has 2 model sizes, and a parabola needs 3\. A law of N and D needs no budgets; fit by parametric or projection\.$/,
    );
  });

  test.each([
    ["twenty tokens per parameter", (n: number) => 20 * n],
    ["one budget", (n: number) => 1e19 / n],
    ["one D for all", () => 1e10],
  ])("L(N, D) from one D per N: %s", (_, tokens) => {
    const points = Array.from({ length: 20 }, (_, k) => {
      const n = 1e7 * 1.3 ** k;
      return { n, d: tokens(n), loss: lossOf(hoffmann, n, tokens(n)) };
    });
    for (const method of ["parametric", "projection"] as const) {
      expect(() => fitLawNow(points, { method })).toThrow(
        /^Cannot fit L\(N, D\): (there is only one D per N|all points have the same D,)/,
      );
    }
    const spread = points.map((point, k) => {
      const d = point.d * (k % 2 ? 3 : 1);
      return { n: point.n, d, loss: lossOf(hoffmann, point.n, d) };
    });
    expect(fitLawNow(spread, { method: "projection" }).params.alpha).toBeCloseTo(hoffmann.alpha, 6);
  });

  test("points that cannot be trainings, or too few points", () => {
    const broken = (change: Partial<Point>) => good.map((point, k) => (k === 3 ? { ...point, ...change } : point));
    expect(() => fitLawNow(broken({ loss: Number.NaN }))).toThrow(
      "Cannot fit: the loss of point 3 is NaN; it must be a number above 0.",
    );
    expect(() => fitLawNow(broken({ n: 0 }))).toThrow("Cannot fit: N of point 3 is 0;");
    expect(() => fitLawNow(broken({ d: -1 }))).toThrow("Cannot fit: D of point 3 is -1;");
    expect(() => fitLawNow(good.slice(0, 5))).toThrow("Cannot fit: there are 5 points for 5 parameters;");
    expect(() => fitLawNow(good.slice(0, 8), { dropHighest: 3 })).toThrow("5 points for 5 parameters");
    const same = good.map((point) => ({ ...point, c: 1e18 }));
    expect(() => fitLawNow(same, { method: "power" })).toThrow(
      "Cannot fit: there is 1 value of C for a law with 3 parameters",
    );
  });
});
