import { describe, expect, test } from "vitest";
import { toData } from "../../../scaling/fit/columns.js";
import { huberObjective } from "../../../scaling/fit/search/huber-objective.js";
import { createLeastSquares, lowestFrom } from "../../../scaling/fit/search/least-squares.js";
import { createMinimizer } from "../../../scaling/fit/search/quasi-newton.js";
import { createProjection } from "../../../scaling/fit/search/variable-projection.js";

/** Rosenbrock's valley (1960), with its second derivatives; its minimum is 0 at (1, 1). */
const valley = {
  size: 2,
  evaluate([x, y]: Float64Array, gradient: Float64Array): number {
    gradient[0] = -2 * (1 - x!) - 400 * x! * (y! - x! * x!);
    gradient[1] = 200 * (y! - x! * x!);
    return (1 - x!) ** 2 + 100 * (y! - x! * x!) ** 2;
  },
  evaluateSecond(at: Float64Array, gradient: Float64Array, hessian: Float64Array): number {
    const [x, y] = at;
    hessian.set([2 - 400 * y! + 1200 * x! * x!, -400 * x!, -400 * x!, 200]);
    return valley.evaluate(at, gradient);
  },
};

describe("createMinimizer()", () => {
  test("minimizes Rosenbrock's function from the usual start, to the last digit", () => {
    const minimizer = createMinimizer(2);
    const x = Float64Array.of(-1.2, 1);
    const rough = minimizer.descend(valley, x, { tolerance: 1e-3, maxIterations: 100 });
    expect(rough.iterations).toBeLessThan(60);
    expect(minimizer.polish(valley, x, { tolerance: 1e-12, maxIterations: 50 }).gradient).toBeLessThan(1e-12);
    expect([...x]).toEqual([expect.closeTo(1, 12), expect.closeTo(1, 12)]);
  });

  test("stops at maxIterations before the minimum", () => {
    const x = Float64Array.of(-1.2, 1);
    const end = createMinimizer(2).descend(valley, x, { tolerance: 1e-9, maxIterations: 3 });
    expect(end.iterations).toBe(3);
    expect(end.gradient).toBeGreaterThan(1e-2);
  });
});

describe("createLeastSquares()", () => {
  // Residuals of a + b·x at four points, of which one has no weight; the third parameter has no effect.
  const [xs, ys] = [
    [0, 1, 2, 5],
    [1, 3, 4, 100],
  ];
  const line = createLeastSquares({
    ...{ size: 4, parameters: 3 },
    at(i, [a, b], gradient) {
      gradient.set([1, xs[i]!, 0]);
      return a! + b! * xs[i]! - ys[i]!;
    },
  });

  test("finds a weighted line, and leaves a parameter without effect as it was", () => {
    const x = Float64Array.of(0, 0, 7);
    const end = line(x, 50, Float64Array.of(1, 1, 1, 0));
    // By hand: b = Sxy / Sxx = 3 / 2, a = 8/3 − b, Σ r² = 1/6.
    expect([...x]).toEqual([expect.closeTo(7 / 6, 9), expect.closeTo(1.5, 9), 7]);
    expect(end).toEqual({ value: expect.closeTo(1 / 6, 12), gradient: expect.any(Number), converged: true });
    expect(end.gradient).toBeLessThan(1e-7);
  });

  test("is not converged after too few iterations; of several starts the lowest end counts", () => {
    expect(line(Float64Array.of(0, 0, 0), 1)).toMatchObject({ converged: false });
    const starts = [Float64Array.of(1e9, 1e9, 1), Float64Array.of(0, 0, 2)];
    const { x, end } = lowestFrom(line, starts, { maxIterations: 1 });
    expect(x[2]).toBe(2);
    expect(end.value).toBeLessThan(line(starts[0]!.slice(), 1).value);
    expect([...starts[1]!]).toEqual([0, 0, 2]);
  });
});

const points = [
  { n: 2e6, d: 3e8, loss: 5.1 },
  { n: 9e6, d: 1e8, loss: 4.9 },
  { n: 5e7, d: 4e9, loss: 3.3 },
  { n: 7e7, d: 9e8, loss: 3.6 },
  { n: 4e8, d: 2e10, loss: 2.7 },
];

describe("toData()", () => {
  test("takes points of one curve as a cluster, and each of the others as its own", () => {
    const named = points.map((point, i) => (i === 1 || i === 3 ? { ...point, group: "a" } : point));
    const { size, cluster, clusters, grouped, lnC, lnUnique } = toData([
      ...named,
      { n: 1e6, d: 1e9, loss: 4, c: 7e15, unique: 2e8 },
    ]);
    expect({ size, cluster: [...cluster], clusters, grouped }).toEqual({
      ...{ size: 6, cluster: [0, 1, 2, 1, 3, 4], clusters: 5, grouped: true },
    });
    expect(toData(points)).toMatchObject({ clusters: 5, grouped: false });
    // C as given, else 6ND; no more unique tokens than tokens.
    expect(Math.exp(lnC[0]!) / (6 * 2e6 * 3e8)).toBeCloseTo(1, 12);
    expect(Math.exp(lnC[5]!) / 7e15).toBeCloseTo(1, 12);
    expect([...lnUnique].map(Math.exp).map((value) => Number(value.toPrecision(6)))).toEqual([
      ...[3e8, 1e8, 4e9, 9e8, 2e10, 2e8],
    ]);
  });
});

describe("huberObjective()", () => {
  const data = toData(points);
  const start = [6.1, 7.3, 0.55, 0.33, 0.37] as const;
  const weights = Float64Array.of(1, 2, 0, 0.5, 1);

  test("is Σ w·Huber of ln(predicted / measured), by hand", () => {
    const delta = 0.05;
    const objective = huberObjective(data, delta);
    objective.weigh(weights);
    const theta = objective.inward(start);
    const [a, b, e, alpha, beta] = start;
    const wanted = points.reduce((sum, { n, d, loss }, i) => {
      const r = Math.log(Math.exp(a) * n ** -alpha + Math.exp(b) * d ** -beta + Math.exp(e)) - Math.log(loss);
      return sum + weights[i]! * (Math.abs(r) <= delta ? r ** 2 / 2 : delta * (Math.abs(r) - delta / 2));
    }, 0);
    expect(objective.sum(objective.evaluate(theta, new Float64Array(5)))).toBeCloseTo(wanted, 12);
    objective.outward(theta).forEach((value, k) => {
      expect(value).toBeCloseTo(start[k]!, 12);
    });
  });

  test("has gradients and second derivatives equal to finite differences", () => {
    // Residuals all within δ, and some outside.
    for (const delta of [10, 0.02]) {
      const objective = huberObjective(data, delta);
      objective.weigh(weights);
      const theta = objective.inward(start);
      const [gradient, hessian, spare] = [new Float64Array(5), new Float64Array(25), new Float64Array(5)];
      objective.evaluateSecond(theta, gradient, hessian);
      for (let k = 0; k < 5; k++) {
        const at = (step: number) => theta.map((value, i) => (i === k ? value + step : value));
        const [high, low] = [objective.evaluate(at(1e-5), spare), objective.evaluate(at(-1e-5), new Float64Array(5))];
        expect(gradient[k]).toBeCloseTo((high - low) / 2e-5, 6);
        const [up, down] = [new Float64Array(5), new Float64Array(5)];
        objective.evaluate(at(1e-5), up);
        objective.evaluate(at(-1e-5), down);
        for (let j = 0; j < 5; j++) expect(hessian[5 * k + j]).toBeCloseTo((up[j]! - down[j]!) / 2e-5, 5);
      }
    }
  });
});

describe("createProjection()", () => {
  test("keeps a term at 0 that would be negative, and fits the others", () => {
    // The loss increases with D, so B is 0, and the law depends on N only.
    const sizes = [1e6, 4e6, 2e7, 9e7, 5e8, 3e9];
    const rising = sizes.flatMap((n) => [1e9, 7e9].map((d) => ({ n, d, loss: 1.5 + 90 * n ** -0.3 + 1e-12 * d })));
    const data = toData(rising);
    const fit = createProjection(data, data.lnN, data.lnD).fit();
    expect(fit.B).toBe(0);
    expect(fit.alpha).toBeCloseTo(0.3, 1);
  });

  test("leaves out points of weight 0", () => {
    const sizes = [1e6, 4e6, 2e7, 9e7, 5e8, 3e9];
    const loss = (n: number) => 1.7 + 120 * n ** -0.25;
    const data = toData([...sizes.map((n) => ({ n, d: 1e9, loss: loss(n) })), { n: 1e8, d: 1e9, loss: 9 }]);
    const weights = Float64Array.from(data.lnN, (_, i) => (i < sizes.length ? 1 : 0));
    const { E, A, alpha } = createProjection(data, data.lnN).fit({ weights });
    expect([E, A, alpha]).toEqual([expect.closeTo(1.7, 8), expect.closeTo(120, 5), expect.closeTo(0.25, 9)]);
  });
});
