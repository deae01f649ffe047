/** Every method against SciPy and statsmodels on the same points: test/scaling/golden/make.py made the values. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { normalQuantile, studentQuantile } from "../../../scaling/fit/uncertainty/student-quantile.js";
import { vertexInterval } from "../../../scaling/fit/uncertainty/vertices.js";
import { type FitOptions, fitLawNow, parabolaBias } from "../../../scaling/fit.js";
import type { BudgetOptimum, Fit, FitMethod, Interval, Point } from "../../../scaling/points.js";

type Numbers = Record<string, number>;

interface GoldenFit {
  params: Numbers;
  exponents: Numbers;
  objective: number;
  se: Numbers;
  covariance: number[][];
  ci80: Record<string, Interval>;
  ci95: Record<string, Interval>;
  residuals: number[];
  influence?: (number | null)[];
  holdout?: Numbers;
}
type Both = { apart: GoldenFit; grouped: GoldenFit };

const golden = JSON.parse(readFileSync(new URL("../golden/fits.json", import.meta.url), "utf8")) as {
  strewn: Point[];
  projection: Both;
  parametric: Both & { delta: number };
  kaplan: Both;
  repeated: { points: Point[]; fit: GoldenFit };
  power: { points: Point[]; straight: Both; curved: Both };
  broken: { points: Point[]; fit: GoldenFit };
  isoflop: Lines & {
    bias: Numbers;
    vertex: Record<string, Interval>;
    surface: Record<"E" | "A" | "B" | "alpha" | "beta", number>;
  };
  envelope: Lines & { influence: (number | null)[] };
  student: [number, number, number][];
  normal: [number, number][];
};
interface Lines {
  points: Point[];
  values: Numbers;
  objective: number;
  optima: BudgetOptimum[];
  se: Numbers;
  ci80: Record<string, Interval>;
  ci95: Record<string, Interval>;
}

const apart = (points: readonly Point[]): Point[] => points.map(({ group: _, ...point }) => point);
const namesOf = ({ params, exponents }: Pick<GoldenFit, "params" | "exponents">) =>
  Object.keys({ ...params, ...exponents });

/** |found / wanted − 1|, or of a difference that is measured in `unit`s. */
function expectNear(
  found: number | undefined,
  wanted: number,
  share: number,
  what: string,
  unit = Math.abs(wanted),
): void {
  expect(found, what).toBeTypeOf("number");
  expect(Math.abs(found! - wanted) / unit, `${what}: ${found} for ${wanted}`).toBeLessThan(share);
}

/** Errors and both intervals, whose ends are compared by their distance from the estimate. */
function expectUncertainty(fit: Fit, wanted: Pick<GoldenFit, "se" | "ci80" | "ci95">, share: number): void {
  const values: Numbers = { ...fit.params, ...fit.exponents };
  expect(Object.keys(fit.se).sort()).toEqual(Object.keys(wanted.se).sort());
  for (const [name, error] of Object.entries(wanted.se)) {
    expectNear(fit.se[name], error, share, `error of ${name}`);
    for (const level of ["ci80", "ci95"] as const) {
      fit[level][name]!.forEach((end, k) => {
        const at = wanted[level][name]![k]!;
        expectNear(end, at, share, `${level} of ${name}`, Math.abs(at - values[name]!));
      });
    }
  }
}

function expectFit(fit: Fit, wanted: GoldenFit, share = 1e-5): void {
  expect(fit.converged).toBe(true);
  expect(fit.intervals).toBe("covariance");
  expectNear(fit.huberSum, wanted.objective, share, "objective");
  const found: Numbers = { ...fit.params, ...fit.exponents };
  expect(Object.keys(found)).toEqual(namesOf(wanted));
  for (const [name, value] of Object.entries({ ...wanted.params, ...wanted.exponents })) {
    // In standard errors, of which estimates may miss a ten-thousandth.
    expectNear(found[name], value, 10 * share, name, wanted.se[name]!);
  }
  expectUncertainty(fit, wanted, 30 * share);
  fit.covariance!.matrix.forEach((row, j) => {
    row.forEach((value, k) => {
      const [one, other] = [wanted.se[fit.covariance!.names[j]!]!, wanted.se[fit.covariance!.names[k]!]!];
      expectNear(value, wanted.covariance[j]![k]!, 30 * share, `covariance ${j} ${k}`, one * other);
    });
  });
  const spread = Math.sqrt(wanted.residuals.reduce((sum, r) => sum + r * r, 0) / wanted.residuals.length);
  wanted.residuals.forEach((r, i) => {
    expectNear(fit.residuals![i], r, 10 * share, `residual ${i}`, spread);
  });
  wanted.influence?.forEach((moved, i) => {
    expectNear(fit.influence[i], moved!, 100 * share, `influence of point ${i}`, 1);
  });
}

describe("estimates, errors, intervals, residuals and leave-out are SciPy's", () => {
  const surfaces: [FitMethod, Both, FitOptions, number][] = [
    ["projection", golden.projection, {}, 1e-5],
    ["parametric", golden.parametric, { delta: golden.parametric.delta, starts: [[6, 7, 0.6, 0.3, 0.37]] }, 1e-4],
    ["kaplan", golden.kaplan, {}, 1e-5],
  ];
  test.each(surfaces)("%s, points by themselves and points of runs", (method, wanted, options, share) => {
    expectFit(fitLawNow(apart(golden.strewn), { ...options, method }), wanted.apart, share);
    expectFit(fitLawNow(golden.strewn, { ...options, method }), wanted.grouped, share);
    // Points that share a run are worth fewer than they are.
    expect(wanted.grouped.se.a).not.toBeCloseTo(wanted.apart.se.a!, 3);
  });

  test("repeated", () => {
    expectFit(fitLawNow(golden.repeated.points, { method: "repeated" }), golden.repeated.fit);
  });

  test("power, with the offset and without, points by themselves and points of runs", () => {
    const points = golden.power.points.map((point) => ({ ...point, n: Number.NaN }));
    for (const [wanted, offset] of [
      [golden.power.straight, false],
      [golden.power.curved, true],
    ] as const) {
      const options = { method: "power", over: "d", offset } as const;
      expectFit(fitLawNow(apart(points), options), wanted.apart);
      expectFit(fitLawNow(points, options), wanted.grouped);
    }
  });

  test("broken", () => {
    const points = golden.broken.points.map((point) => ({ ...point, n: Number.NaN, d: Number.NaN }));
    expectFit(fitLawNow(points, { method: "broken" }), golden.broken.fit);
  });

  test("the points of largest compute are predicted by the rest, without the runs that they are of", () => {
    for (const [points, { holdout }] of [
      [apart(golden.strewn), golden.projection.apart],
      [golden.strewn, golden.projection.grouped],
    ] as const) {
      const found = fitLawNow(points, { method: "projection" }).holdout!;
      expect(found.points).toBe(4); // of 31, a tenth rounded up
      for (const [name, value] of Object.entries(holdout!)) {
        expectNear(found[name as keyof typeof found], value, 1e-5, name, name === "factor" ? value : holdout!.rms!);
      }
    }
  });
});

function expectLines(fit: Fit, wanted: Lines, share: number): void {
  const found: Numbers = { ...fit.params, ...fit.exponents };
  for (const [name, value] of Object.entries(wanted.values)) expectNear(found[name], value, share, name);
  expect(fit.optima).toHaveLength(wanted.optima.length);
  wanted.optima.forEach((optimum, k) => {
    for (const of of ["c", "n", "d", "loss"] as const) {
      expectNear(fit.optima![k]![of], optimum[of], share, `${of} of optimum ${k}`);
    }
  });
  expectUncertainty(fit, wanted, 10 * share);
}

describe("approach 2", () => {
  const wanted = golden.isoflop;
  const fit = fitLawNow(wanted.points, { method: "isoflop" });

  test("vertices, lines, errors and intervals without the parabola's bias are NumPy's and SciPy's", () => {
    expectLines(fit, wanted, 1e-6);
    expectNear(fit.huberSum, wanted.objective, 1e-6, "objective");
  });

  test("the bias is that of parabolas on the surface that least squares finds", () => {
    for (const [name, value] of Object.entries(wanted.bias)) {
      expectNear(fit.bias![name as "n"], value, 1e-4, `bias of ${name}`);
      expectNear(parabolaBias(wanted.surface, wanted.points)![name as "n"], value, 1e-4, `bias of ${name}`);
    }
    expect(Math.abs(wanted.bias.a!)).toBeGreaterThan(1e-3); // it shows
  });

  test("the interval of a vertex is that of the quadratic regression", () => {
    const own = wanted.points.slice(14, 21);
    for (const level of ["0.8", "0.95"]) {
      const found = vertexInterval(own, Number(level))!;
      found.forEach((end, k) => {
        expectNear(end, wanted.vertex[level]![k]!, 1e-6, level);
      });
    }
  });
});

describe("approach 1", () => {
  test("stretches, lines by their weights, the jackknife over runs and influences are NumPy's", () => {
    const wanted = golden.envelope;
    const fit = fitLawNow(wanted.points, { method: "envelope" });
    expectLines(fit, wanted, 1e-6);
    wanted.influence.forEach((moved, i) => {
      if (moved === null) expect(fit.influence[i]).toBeNaN();
      else expectNear(fit.influence[i], moved, 1e-5, `influence of point ${i}`, 1);
    });
  });
});

describe("quantiles", () => {
  test("of Student's t are SciPy's to a hundred-thousandth, from one degree of freedom on", () => {
    for (const [p, freedom, wanted] of golden.student) {
      expectNear(studentQuantile(p, freedom), wanted, 5e-6, `t of ${p}, ${freedom}`);
    }
  });

  test("of Student's t for three degrees of freedom, where Hill's approximation is at its worst (wanted: mpmath)", () => {
    expectNear(studentQuantile(0.95, 3), 2.353363434802, 1e-5, "t of 0.95, 3");
  });

  test("of the normal distribution are SciPy's", () => {
    for (const [p, wanted] of golden.normal) expect(normalQuantile(p)).toBeCloseTo(wanted, 7);
  });
});
