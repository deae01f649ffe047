/** Refits of resampled points, by hand: which points are drawn, what becomes of them, and the intervals that they make. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { uniform } from "../../../lib/host/random.js";
import { errorsOfIntervals } from "../../../scaling/fit/uncertainty/intervals.js";
import { normalQuantile } from "../../../scaling/fit/uncertainty/student-quantile.js";
import { type FitOptions, fitLaw, fitLawNow } from "../../../scaling/fit.js";
import type { Point } from "../../../scaling/points.js";

const golden = JSON.parse(readFileSync(new URL("../golden/fits.json", import.meta.url), "utf8")) as {
  strewn: Point[];
  power: { points: (Point & { group: string })[] };
  isoflop: { points: Point[]; line: Record<"a" | "b" | "nScale" | "dScale", number> };
  envelope: { points: Point[] };
};
const strewn = golden.strewn.map(({ group: _, ...point }) => point);
const oneStart = { starts: [[6, 7, 0.6, 0.3, 0.37]] } as const;

describe("another seed gives other refits, all else equal, and the same seed the same ones", () => {
  const methods: [string, readonly Point[], FitOptions][] = [
    ["pairs", golden.power.points, { method: "power", over: "d", offset: false }],
    ["random weights", strewn, { method: "parametric", ...oneStart }],
    ["redrawn losses", golden.isoflop.points, { method: "isoflop" }],
  ];
  test.each(methods)("%s", async (_, points, options) => {
    const of = async (seed?: number) =>
      (await fitLaw(points, { ...options, bootstrap: 25, threads: 1, ...(seed !== undefined && { seed }) })).bootstrap!;
    const [one, other] = [await of(1), await of(2)];
    expect(await of(1)).toEqual(one);
    expect(await of()).toEqual(await of(1337));
    // Each refit is another one, within a seed and between the two.
    const numbers = [...one, ...other].map((refit) => refit.a ?? refit.alpha);
    expect(new Set(numbers).size).toBe(50);
  });
});

interface Straight {
  readonly A: number;
  readonly alpha: number;
  /** Standard errors, of A and of alpha. */
  readonly errors: readonly [number, number];
}

/** ln L = ln A − alpha·ln D by weighted least squares, with the errors that its clusters give: all sums written out. */
function straight(points: readonly (Point & { group: string })[], times: (group: string) => number): Straight {
  const rows = points.map(({ d, loss, group }) => ({ x: Math.log(d), y: Math.log(loss), w: times(group), group }));
  const sum = (of: (row: (typeof rows)[number]) => number) => rows.reduce((total, row) => total + of(row), 0);
  const [w, wx, wy] = [sum((row) => row.w), sum((row) => row.w * row.x), sum((row) => row.w * row.y)];
  const [wxx, wxy] = [sum((row) => row.w * row.x * row.x), sum((row) => row.w * row.x * row.y)];
  const slope = (w * wxy - wx * wy) / (w * wxx - wx * wx);
  const lnA = (wy - slope * wx) / w;
  const groups = [...new Set(rows.map(({ group }) => group))];
  // Scores of (ln A, slope) by cluster; a cluster that was drawn twice is two.
  const meat = [0, 0, 0];
  for (const name of groups) {
    const own = rows.filter(({ group }) => group === name);
    const one = own.reduce((total, { x, y }) => total + (lnA + slope * x - y), 0);
    const two = own.reduce((total, { x, y }) => total + x * (lnA + slope * x - y), 0);
    [one * one, one * two, two * two].forEach((part, k) => {
      meat[k]! += times(name) * part;
    });
  }
  const determinant = w * wxx - wx * wx;
  const variance = (u: number, v: number) => u * u * meat[0]! + 2 * u * v * meat[1]! + v * v * meat[2]!;
  const [G, n] = [groups.length, rows.length];
  const few = (G / (G - 1)) * ((n - 1) / (n - 2));
  const errorOfLnA = Math.sqrt(few * variance(wxx / determinant, -wx / determinant));
  const errorOfSlope = Math.sqrt(few * variance(-wx / determinant, w / determinant));
  const A = Math.exp(lnA);
  return { A, alpha: -slope, errors: [A * errorOfLnA, errorOfSlope] };
}

describe("the bootstrap of pairs", () => {
  test("draws whole runs by the seed, and makes the intervals of Hall's symmetric t", async () => {
    const { points } = golden.power;
    const [refits, seed] = [99, 5];
    const options = { method: "power", over: "d", offset: false, bootstrap: refits, seed, threads: 1 } as const;
    const fit = await fitLaw(points, options);
    const groups = [...new Set(points.map(({ group }) => group))];
    const made = Array.from({ length: refits }, (_, refit) => {
      const drawn = groups.map((_, k) => groups[Math.floor(uniform(seed, "bootstrap", refit, k) * groups.length)]!);
      return straight(points, (group) => drawn.filter((name) => name === group).length);
    });
    made.forEach(({ A, alpha }, k) => {
      expect(fit.bootstrap![k]!.A! / A).toBeCloseTo(1, 10);
      expect(fit.bootstrap![k]!.alpha).toBeCloseTo(alpha, 12);
    });
    const whole = straight(points, () => 1);
    const quantileOf = (sizes: number[], level: number) =>
      sizes.sort((x, y) => x - y)[Math.ceil((refits + 1) * level) - 1]!;
    for (const [level, found] of [
      [0.8, fit.ci80],
      [0.95, fit.ci95],
    ] as const) {
      const ofAlpha = quantileOf(
        made.map(({ alpha, errors }) => Math.abs(alpha - whole.alpha) / errors[1]),
        level,
      );
      expect(found.alpha![0]).toBeCloseTo(whole.alpha - ofAlpha * whole.errors[1], 7);
      expect(found.alpha![1]).toBeCloseTo(whole.alpha + ofAlpha * whole.errors[1], 7);
      const ofA = quantileOf(
        made.map(({ A, errors }) => (Math.abs(Math.log(A / whole.A)) * A) / errors[0]),
        level,
      );
      expect(found.A![0]! * Math.exp((ofA * whole.errors[0]) / whole.A)).toBeCloseTo(whole.A, 4);
      expect(found.A![1]! / Math.exp((ofA * whole.errors[0]) / whole.A)).toBeCloseTo(whole.A, 4);
    }
    // The error that goes with an 80 % interval; norm.ppf(.9) of SciPy is 1.2815515655446004.
    expect(fit.se.alpha).toBeCloseTo((fit.ci80.alpha![1] - fit.ci80.alpha![0]) / 2 / 1.2815515655446004, 9);
  });

  test("weighs single points under Huber's objective by exponential numbers of mean 1 and a variance that fits their number", async () => {
    const [seed, delta] = [3, 0.004];
    const fit = await fitLaw(strewn, { delta, ...oneStart, bootstrap: 6, seed, threads: 1 });
    for (const [refit, row] of fit.bootstrap!.entries()) {
      const drawn = strewn.map((_, k) => -Math.log(1 - uniform(seed, "bootstrap", refit, k)));
      const mean = drawn.reduce((sum, weight) => sum + weight, 0) / drawn.length;
      const spread = Math.sqrt((strewn.length - 5) / strewn.length);
      const raw = drawn.map((weight) => 1 + spread * (weight / mean - 1));
      const objective = ({ E, A, B, alpha, beta }: Record<string, number>) =>
        strewn.reduce((sum, { n, d, loss }, k) => {
          const r = Math.abs(Math.log((E! + A! * n ** -alpha! + B! * d ** -beta!) / loss));
          return sum + raw[k]! * (r <= delta ? r ** 2 / 2 : delta * (r - delta / 2));
        }, 0);
      const lowest = objective(row);
      for (const name of ["E", "A", "B", "alpha", "beta"] as const) {
        for (const step of [0.999, 1.001]) {
          expect(objective({ ...row, [name]: row[name]! * step }), `${refit} ${name}`).toBeGreaterThan(lowest);
        }
      }
    }
  });
});

/** y = p0 + p1·x + p2·x² by least squares: Cramer's rule on the normal equations, x about its mean. */
function parabola(x: readonly number[], y: readonly number[]) {
  const mean = x.reduce((sum, value) => sum + value, 0) / x.length;
  const t = x.map((value) => value - mean);
  const s = (power: number) => t.reduce((sum, value) => sum + value ** power, 0);
  const v = (power: number) => t.reduce((sum, value, k) => sum + y[k]! * value ** power, 0);
  const det = ([a, b, c]: number[], [d, e, f]: number[], [g, h, i]: number[]) =>
    a! * (e! * i! - f! * h!) - b! * (d! * i! - f! * g!) + c! * (d! * h! - e! * g!);
  const rows = [
    [s(0), s(1), s(2)],
    [s(1), s(2), s(3)],
    [s(2), s(3), s(4)],
  ] as const;
  const whole = det(...(rows as unknown as [number[], number[], number[]]));
  const p = [0, 1, 2].map((column) => {
    const changed = rows.map((row, k) => row.map((value, j) => (j === column ? v(k) : value)));
    return det(...(changed as [number[], number[], number[]])) / whole;
  });
  return (at: number) => p[0]! + p[1]! * (at - mean) + p[2]! * (at - mean) ** 2;
}

describe("approach 2's redrawn losses", () => {
  test("stand on each budget's parabola with noise of its variance times a factor that is drawn, and have the bias taken off", async () => {
    const { points, line } = golden.isoflop;
    const seed = 11;
    const fit = await fitLaw(points, { method: "isoflop", bootstrap: 20, seed, threads: 1 });
    fit.bootstrap!.forEach((row, refit) => {
      const z = (what: string, index: number) => normalQuantile(1 - uniform(seed, what, refit, index));
      // Seven points and three numbers of a parabola leave four degrees of freedom per budget: twenty in all.
      const chi = Array.from({ length: 20 }, (_, k) => z("variance", k) ** 2).reduce((total, square) => total + square);
      const redrawn = [0, 1, 2, 3, 4].flatMap((budget) => {
        const own = points.slice(7 * budget, 7 * budget + 7);
        const at = parabola(
          own.map(({ n }) => Math.log(n)),
          own.map(({ loss }) => loss),
        );
        const sum = own.reduce((total, { n, loss }) => total + (loss - at(Math.log(n))) ** 2, 0);
        return own.map((point, k) => ({
          ...point,
          loss: at(Math.log(point.n)) + Math.sqrt((20 / chi) * (sum / 4)) * z("noise", 7 * budget + k),
        }));
      });
      const { params, exponents } = fitLawNow(redrawn, { method: "isoflop" });
      expect(row.a).toBeCloseTo(exponents!.a - line.a, 9);
      expect(row.b).toBeCloseTo(exponents!.b - line.b, 9);
      expect(row.nScale! / (params.nScale! * Math.exp(-line.nScale))).toBeCloseTo(1, 7);
      expect(row.dScale! / (params.dScale! * Math.exp(-line.dScale))).toBeCloseTo(1, 7);
    });
    // Of refits without errors of their own the intervals are quantiles.
    const sorted = fit.bootstrap!.map(({ a }) => a!).sort((x, y) => x - y);
    expect(fit.ci80.a![0]).toBeCloseTo(sorted[1]! + 0.9 * (sorted[2]! - sorted[1]!), 12);
    expect(fit.ci80.a![1]).toBeCloseTo(sorted[17]! + 0.1 * (sorted[18]! - sorted[17]!), 12);
    expect(fit.ci95.a![0]).toBeCloseTo(sorted[0]! + 0.475 * (sorted[1]! - sorted[0]!), 12);
  });

  test("of a budget with too little scatter of its own have that of all", async () => {
    // Four sizes leave one degree of freedom, which is fewer than two: five budgets together have five.
    const points = golden.isoflop.points.filter((_, k) => [0, 2, 3, 5].includes(k % 7));
    const seed = 4;
    const fit = await fitLaw(points, { method: "isoflop", bootstrap: 3, seed, threads: 1 });
    const budgets = [0, 1, 2, 3, 4].map((budget) => points.slice(4 * budget, 4 * budget + 4));
    const curves = budgets.map((own) =>
      parabola(
        own.map(({ n }) => Math.log(n)),
        own.map(({ loss }) => loss),
      ),
    );
    const all = budgets
      .flatMap((own, budget) => own.map(({ n, loss }) => (loss - curves[budget]!(Math.log(n))) ** 2))
      .reduce((sum, square) => sum + square, 0);
    fit.bootstrap!.forEach((row, refit) => {
      const z = (what: string, index: number) => normalQuantile(1 - uniform(seed, what, refit, index));
      const chi = [0, 1, 2, 3, 4].reduce((total, k) => total + z("variance", k) ** 2, 0);
      const redrawn = budgets.flatMap((own, budget) =>
        own.map((point, k) => ({
          ...point,
          loss: curves[budget]!(Math.log(point.n)) + Math.sqrt(all / chi) * z("noise", 4 * budget + k),
        })),
      );
      const { exponents } = fitLawNow(redrawn, { method: "isoflop" });
      expect(row.a! + fit.bias!.a).toBeCloseTo(exponents!.a, 9);
    });
  });
});

describe("how many refits make intervals", () => {
  test("twenty do; of fewer the covariance's are kept", async () => {
    const options = { method: "power", over: "d", offset: false, threads: 1 } as const;
    const plain = fitLawNow(golden.power.points, options);
    const few = await fitLaw(golden.power.points, { ...options, bootstrap: 19 });
    expect(few).toMatchObject({ intervals: "covariance", ci80: plain.ci80, ci95: plain.ci95, se: plain.se });
    expect(few.bootstrap).toHaveLength(19);
    expect((await fitLaw(golden.power.points, { ...options, bootstrap: 20 })).intervals).toBe("bootstrap");
  });

  test("an interval that ends at a bound has its error from the free end", () => {
    const z = 1.2815515655446004; // SciPy's norm.ppf(.9)
    const { E, a, A } = errorsOfIntervals({ E: [0, 0.5], a: [0.4, 0.7], A: [50, 800] }, { E: 0.1, a: 0.5, A: 200 });
    expect(E).toBeCloseTo(0.4 / z, 7);
    expect(a).toBeCloseTo(0.15 / z, 7);
    expect(A).toBeCloseTo((200 * Math.log(16)) / 2 / z, 5);
  });
});

test("the jackknife of approach 1 leaves out runs, not points", () => {
  const { points } = golden.envelope;
  const one = points.map((point) => ({ ...point }));
  const fit = fitLawNow(one, { method: "envelope" });
  const without = [...new Set(points.map(({ group }) => group))].map((group) => {
    const left = points.filter((point) => point.group !== group);
    return fitLawNow(left, { method: "envelope" }).exponents!.a;
  });
  const mean = without.reduce((sum, a) => sum + a, 0) / 7;
  const squares = without.reduce((sum, a) => sum + (a - mean) ** 2, 0);
  expect(fit.se.a).toBeCloseTo(Math.sqrt((6 / 7) * squares), 10);
});
