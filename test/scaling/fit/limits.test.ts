/** Either side of each limit at which a fit warns, and each default that a user can see; what is refused: refusals.test.ts. */
import { describe, expect, test } from "vitest";
import { toData } from "../../../scaling/fit/columns.js";
import { warnOfCorrelation, warnOfRefits, warnOfWidth } from "../../../scaling/fit/uncertainty/interval-warnings.js";
import {
  extrapolationWarning,
  roundingWarning,
  warnOfBias,
  warnOfBounds,
  warnOfBudgets,
  warnOfOutliers,
  warnOfPoints,
} from "../../../scaling/fit/warnings.js";
import { fitLaw, fitLawNow } from "../../../scaling/fit.js";
import type { Point } from "../../../scaling/points.js";
import { isoflopSweep, lossOf, strewnSweep } from "../simulate.js";

const point: Point = { n: 1e7, d: 1e9, loss: 3 };
const points = (change: (k: number) => Partial<Point>): Point[] =>
  Array.from({ length: 10 }, (_, k) => ({ ...point, loss: 3 + k / 100, ...change(k) }));
const kinds = (found: readonly { kind: string }[]) => found.map(({ kind }) => kind);

describe("points", () => {
  test("a warm-up of .15 of the steps is long enough; more is told with how many and how much", () => {
    expect(warnOfPoints(points(() => ({ warmupShare: 0.15 })))).toEqual([]);
    const [found] = warnOfPoints(points((k) => ({ warmupShare: k < 3 ? 0.151 + k / 100 : 0.1 })));
    expect(found).toMatchObject({
      kind: "long-warmup",
      message: expect.stringMatching(/^3 of 10 runs warmed up for more than 15 % of their steps \(up to 17 %\)/),
    });
  });

  test("a last rate of .15 of the highest is low enough", () => {
    expect(warnOfPoints(points(() => ({ finalLrRatio: 0.15 })))).toEqual([]);
    const [found] = warnOfPoints(points((k) => ({ finalLrRatio: k < 4 ? 0.151 + k / 100 : 0 })));
    expect(found).toMatchObject({
      kind: "undecayed-learning-rate",
      message: expect.stringMatching(
        /^4 of 10 points end with a learning rate above 15 % of the highest \(up to 18 %\)/,
      ),
    });
  });

  test("as many tokens as parameters are no sign of an exchange, fewer in the median are", () => {
    expect(warnOfPoints(points(() => ({ n: 1e9, d: 1e9 })))).toEqual([]);
    const [found] = warnOfPoints(points((k) => ({ n: 1e9, d: k < 4 ? 2e9 : 0.97e9 })));
    expect(found).toMatchObject({ kind: "exchanged-columns", message: expect.stringContaining("D / N: 0.97)") });
  });

  test("copies are counted, and runs that agree in all but one number are none", () => {
    expect(warnOfPoints(points((k) => ({ loss: 3, d: 1e9 + k })))).toEqual([]);
    const [found] = warnOfPoints(points((k) => ({ loss: 3 + Math.max(k, 2) / 100 })));
    expect(found).toMatchObject({
      kind: "copied-points",
      message: expect.stringContaining("2 of 10 points are copies"),
    });
  });
});

describe("outliers", () => {
  // Eleven residuals whose median size is 1 / 1.4826 thousandth: the scale of the others is a thousandth.
  const of = (residual: number, shift: number) =>
    warnOfOutliers(
      Array.from({ length: 11 }, (_, k) =>
        k === 7 ? { residual, shift } : { residual: (k % 2 ? 1e-3 : -1e-3) / 1.4826, shift: 0 },
      ),
      0.02,
      Array.from({ length: 11 }, (_, k) => 3 * k),
    );

  test("are more than 5 times the usual residual off, and move the exponent by more than half an error", () => {
    expect(of(-0.00499, -0.02)).toEqual([]);
    expect(of(-0.02, 0.00999)).toEqual([]);
    expect(of(-0.00501, -0.02)).toMatchObject([
      {
        kind: "outlier",
        message: expect.stringContaining("point 21 (5 times the usual residual, 1.0 standard errors)"),
      },
    ]);
    expect(of(0.02, 0.01001)).toMatchObject([
      { message: expect.stringContaining("point 21 (20 times the usual residual, 0.5 standard errors)") },
    ]);
  });
});

describe("designs", () => {
  test("a bias of 1 % of N or D is told, less is not", () => {
    const none = { n: 0, d: 0, a: 0, b: 0 };
    expect(warnOfBias({ ...none, n: 0.0099, d: -0.0099 })).toEqual([]);
    expect(warnOfBias({ ...none, n: 0.0101, d: -0.002, a: -0.0012 })).toMatchObject([
      {
        kind: "biased-parabola",
        message: expect.stringContaining(
          "N* is off by +1.0 % and D* by −0.20 % at the largest budget (exponent a by −0.0012)",
        ),
      },
    ]);
    expect(kinds(warnOfBias({ ...none, d: -0.0101 }))).toEqual(["biased-parabola"]);
    expect(warnOfBias(undefined)).toEqual([]);
  });

  test("four budgets are enough", () => {
    expect(warnOfBudgets(4, 1e3)).toEqual([]);
    expect(warnOfBudgets(3, 2e3)).toMatchObject([
      {
        kind: "few-budgets",
        message: expect.stringMatching(/^3 budgets over 3\.3 decades .*\(degrees of freedom: 1\)/),
      },
    ]);
  });

  test("ten times the largest compute is as far as a fit goes", () => {
    const range = { n: [1, 2], d: [1, 2], c: [1e18, 3e20] } as const;
    expect(extrapolationWarning({ range }, 3e21)).toBeUndefined();
    expect(extrapolationWarning({ range }, 3.01e21)!.message).toMatch(
      /^3\.01e\+21 FLOPs are 10 times the largest .*\(3\.00e\+20\): beyond 10 times,/,
    );
    expect(extrapolationWarning({ range }, 1.6e21, 5)!.message).toContain("5.33 times the largest");
    expect(extrapolationWarning({ range }, 1.4e21, 5)).toBeUndefined();
  });

  test("rounded constants are told where the optimum moves by a twentieth", () => {
    const constants = { A: 482, B: 2085.4, alpha: 0.3478, beta: 0.3658 };
    const half = { A: 0.5, B: 0.05, alpha: 0.00005, beta: 0.00005 };
    const lnN = ({ A, B, alpha, beta }: typeof constants, c: number) =>
      (Math.log((alpha * A) / (beta * B)) + beta * Math.log(c / 6)) / (alpha + beta);
    const moves = (c: number) =>
      (["A", "B", "alpha", "beta"] as const)
        .map((name) => lnN({ ...constants, [name]: constants[name] + half[name] }, c) - lnN(constants, c))
        .reduce((sum, move) => sum + Math.abs(move), 0);
    const budgetOf = (wanted: number) => {
      let [low, high] = [10, 1e6];
      for (let k = 0; k < 200; k++) {
        const middle = (low + high) / 2;
        [low, high] = moves(Math.exp(Math.min(middle, 700))) < wanted ? [middle, high] : [low, middle];
      }
      return Math.exp(Math.min(low, 700));
    };
    // These move little: of a beta with one digit less the limit lies at a budget.
    const digit = { ...constants, beta: 0.37 };
    half.beta = 0.005;
    constants.beta = 0.37;
    for (const [wanted, told] of [
      [0.0495, false],
      [0.0505, true],
    ] as const) {
      const c = budgetOf(wanted);
      expect(moves(c)).toBeCloseTo(wanted, 6);
      const found = roundingWarning(digit, c);
      expect(found !== undefined, `${wanted}`).toBe(told);
      if (told) {
        expect(found!.message).toContain(`by a factor of up to ${Math.exp(wanted).toPrecision(3)} (`);
        expect(found!.message).toContain(`tokens per parameter by ${Math.exp(2 * wanted).toPrecision(3)})`);
      }
    }
  });
});

describe("residuals of one N that are alike", () => {
  // Six sizes of three points each: between them 5 degrees of freedom, within them 12.
  const of = (normal: number) => {
    const ratio = Math.exp(normal * Math.sqrt(2 / 5 + 2 / 12));
    const within = [0.01, -0.03, 0.02];
    const effects = [1, -2, 3, -1, 2, -3];
    const msWithin = (6 * (0.01 ** 2 + 0.03 ** 2 + 0.02 ** 2)) / 12;
    const scale = Math.sqrt((ratio * msWithin * 5) / (3 * effects.reduce((sum, effect) => sum + effect ** 2, 0)));
    const residuals = effects.flatMap((effect) => within.map((rest) => effect * scale + rest));
    const data = toData(residuals.map((_, k) => ({ n: 1e6 * (1 + Math.floor(k / 3)), d: 1e9 * (k + 1), loss: 3 })));
    return { ratio, found: warnOfCorrelation(data, Float64Array.from(residuals)) };
  };

  test("are told beyond 3.3 deviations, with the correlation and how much too narrow intervals are", () => {
    expect(of(3.28).found).toEqual([]);
    const { ratio, found } = of(3.32);
    const correlation = (ratio - 1) / (ratio + 2);
    const factor = Math.sqrt(1 + 2 * correlation);
    expect(found).toMatchObject([
      {
        kind: "narrow-intervals",
        message: expect.stringContaining(
          `(${correlation.toFixed(2)}), like those of points of the same run. Taken as independent, they make intervals about ${factor.toFixed(1)} times too narrow`,
        ),
      },
    ]);
  });
});

describe("intervals", () => {
  test("half of the width that the residuals allow is believable, less is not", () => {
    expect(warnOfWidth({ a: [0.45, 0.5501] }, { a: [0.4, 0.6] })).toEqual([]);
    expect(kinds(warnOfWidth({ alpha: [0.45, 0.5499] }, { alpha: [0.4, 0.6] }))).toEqual(["narrow-intervals"]);
  });

  test("200 refits are enough, of which a twentieth may come to nothing", () => {
    expect(warnOfRefits(200, 200)).toEqual([]);
    expect(warnOfRefits(199, 199)).toMatchObject([
      { message: expect.stringMatching(/^199 refits are too few .* use 200/) },
    ]);
    expect(warnOfRefits(1000, 950)).toEqual([]);
    expect(warnOfRefits(1000, 949)).toMatchObject([{ message: expect.stringMatching(/^51 of 1000 refits failed/) }]);
    expect(warnOfRefits(100, 90)).toHaveLength(2);
    expect(warnOfRefits(200, 199)).toEqual([]); // one of them may fail
  });

  test("a term below a millionth, or an exponent that is not above 0, is at its bound", () => {
    expect(warnOfBounds({ E: 1.1e-6, A: 1, B: 1, alpha: 1e-9, beta: 0.1 })).toEqual([]);
    expect(warnOfBounds({ E: 0.9e-6, A: 0, B: 1, alpha: 0, beta: -0.012 })).toMatchObject([
      {
        kind: "at-bound",
        message: expect.stringMatching(/^E is 0 and A is 0 and alpha is 0\.0 and beta is -0\.012: /),
      },
    ]);
  });
});

describe("defaults of a fit", () => {
  const sweep = isoflopSweep({ noise: 0.003, sizes: 7, width: 3 });

  test("are parametric, δ of 1e-3, all points, no refits", async () => {
    const fit = await fitLaw(sweep);
    expect(fit).toMatchObject({ method: "parametric", intervals: "covariance", dropped: [], points: 42 });
    const { E, A, B, alpha, beta } = fit.params as Record<"E" | "A" | "B" | "alpha" | "beta", number>;
    const objective = sweep.reduce((sum, { n, d, loss }) => {
      const r = Math.abs(Math.log(lossOf({ E, A, B, alpha, beta }, n, d) / loss));
      return sum + (r <= 1e-3 ? r ** 2 / 2 : 1e-3 * (r - 5e-4));
    }, 0);
    expect(fit.huberSum).toBeCloseTo(objective, 12);
  });

  test("are, of other methods, C, an offset and one break", () => {
    const points = sweep.filter((_, k) => k % 3 === 0).map((one) => ({ ...one, d: one.d * 2 }));
    for (const method of ["power", "broken"] as const) {
      const given = { over: "c", ...(method === "power" ? { offset: true } : { breaks: 1 }) } as const;
      expect(fitLawNow(points, { method }).params).toEqual(fitLawNow(points, { method, ...given }).params);
    }
    expect(Object.keys(fitLawNow(points, { method: "power" }).params)).toEqual(["E", "A", "alpha"]);
  });

  test("a budget is runs whose compute differs by up to a tenth", () => {
    const spread = (share: number) =>
      sweep.map((one, k) => {
        const c = one.c! * (k % 7 === 6 ? 1 + share : 1);
        return { ...one, c, d: c / (6 * one.n) };
      });
    const indices = (share: number) => fitLawNow(spread(share), { method: "isoflop" }).warnings;
    expect(kinds(indices(0.0995))).not.toContain("few-sizes");
    // The run that is alone is a budget of one size.
    expect(kinds(indices(0.1005)).filter((kind) => kind === "few-sizes")).toHaveLength(6);
    expect(fitLawNow(spread(0.15), { method: "isoflop", budgetTolerance: 0.2 }).optima).toHaveLength(6);
  });
});

describe("E", () => {
  test("is not below 0, where the points would have it there", () => {
    // What is the least with E below 0 is, with E at 0, another surface: its losses are higher at both ends.
    const points = strewnSweep({ points: 30 }).map(({ n, d }) => ({
      n,
      d,
      loss: 9 * n ** -0.06 + 30 * d ** -0.2 - 0.9,
    }));
    const fit = fitLawNow(points, { method: "projection" });
    expect(fit.params.E).toBe(0);
    expect(fit.params.A).toBeGreaterThan(0);
    expect(kinds(fit.warnings)).toContain("at-bound");
    expect(fit.ci80.E === undefined || fit.ci80.E[0] >= 0).toBe(true);
  });
});

describe("the envelope", () => {
  test("takes a curve's end to hold for a hundredth of ln C beyond it", () => {
    // Curves one after another; a worse run of the smallest size has a point just beyond the end of the second one.
    const run = (k: number, from: number, to: number, height: number): Point[] =>
      [from, to].map((lnC) => {
        const n = 1e6 * 3 ** k;
        return { n, d: Math.exp(lnC) / (6 * n), loss: Math.exp(height - 0.05 * lnC), group: `run ${k} ${height}` };
      });
    const of = (beyond: number) =>
      fitLawNow(
        [...[0, 1, 2, 3, 4].flatMap((k) => run(k, 38 + 2 * k, 39 + 2 * k, 3)), ...run(0, 41 + beyond, 41.9, 3.5)],
        { method: "envelope" },
      ).optima!;
    expect(Math.log(of(0.0095)[0]!.c)).toBeCloseTo((40 + 41.0095) / 2, 9);
    expect(Math.log(of(0.0105)[0]!.c)).toBeCloseTo(40.5, 9);
  });
});
