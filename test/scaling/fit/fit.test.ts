import { describe, expect, test } from "vitest";
import { lawOf } from "../../../scaling/figures.js";
import { chinchillaStarts, fitLaw, fitLawNow, parabolaBias } from "../../../scaling/fit.js";
import { kaplan } from "../../../scaling/laws.js";
import type { Point } from "../../../scaling/points.js";
import { hoffmann, isoflopSweep, lossOf, normal, optimumOf, runsSweep, strewnSweep } from "../simulate.js";

/** Hoffmann's constants: (a, b, e, alpha, beta). */
const ownPoint = [Math.log(hoffmann.A), Math.log(hoffmann.B), Math.log(hoffmann.E), 0.33917, 0.28491] as const;
const oneStart = { starts: [[6, 6, 0.5, 0.34, 0.28]] } as const;

function largestError(params: Readonly<Record<string, number>>, truth: Readonly<Record<string, number>>): number {
  return Math.max(...Object.entries(truth).map(([name, value]) => Math.abs(params[name]! / value - 1)));
}

describe("approach 3", () => {
  test("the grid has Chinchilla's 4,500 starts", () => {
    const starts = chinchillaStarts();
    expect(starts).toHaveLength(4500);
    expect(starts[0]).toEqual([0, 0, -1, 0, 0]);
    expect(starts.at(-1)).toEqual([25, 25, 1, 2, 2]);
  });

  test("projection recovers noise-free constants to 1e-8, for any surface", () => {
    for (const law of [hoffmann, { E: 1.8172, A: 482.01, B: 2085.43, alpha: 0.3478, beta: 0.3658 }]) {
      for (const points of [isoflopSweep({ law }), strewnSweep({ law, points: 12 })]) {
        const fit = fitLawNow(points, { method: "projection" });
        expect(largestError(fit.params, law)).toBeLessThan(1e-8);
        expect(fit.converged).toBe(true);
      }
    }
  });

  test("the grid of starts recovers noise-free constants to 1e-5", () => {
    const fit = fitLawNow(strewnSweep({ points: 60 }));
    expect(largestError(fit.params, hoffmann)).toBeLessThan(1e-5);
    expect(fit).toMatchObject({ method: "parametric", converged: true, points: 60, dropped: [], warnings: [] });
    expect(fit.exponents!.a + fit.exponents!.b).toBeCloseTo(1, 12);
  });

  test("all starts together reach the same minimum as one good start and the projection", () => {
    const points = strewnSweep({ points: 60, noise: 0.01, seed: 3 });
    const [all, one] = [fitLawNow(points), fitLawNow(points, oneStart)];
    expect(all.huberSum).toBeCloseTo(one.huberSum, 12);
    expect(largestError(all.params, one.params)).toBeLessThan(1e-5);
    expect(all.gradient).toBeLessThan(1e-9);
  });

  test("from Hoffmann's constants alone, the search reaches the global minimum or reports that it did not converge", () => {
    for (let seed = 0; seed < 5; seed++) {
      const points = strewnSweep({ points: 60, noise: 0.02, seed });
      const global = fitLawNow(points, oneStart).huberSum;
      for (const maxIterations of [3, 300]) {
        const fit = fitLawNow(points, { starts: [ownPoint], maxIterations });
        if (fit.converged) expect(fit.huberSum).toBeLessThanOrEqual(global * (1 + 1e-6));
        else expect(fit.warnings.map(({ kind }) => kind)).toContain("stopped-early");
      }
    }
  });

  test("a start that leads to another minimum is detected", () => {
    const points = strewnSweep({ points: 60, noise: 0.01 });
    // A term of e^-40 times the others has no gradient that could bring it back.
    const fit = fitLawNow(points, { starts: [[0, 0, 1, 2, 0.3]] });
    expect(fit.converged).toBe(false);
    expect(fit.warnings.map(({ kind }) => kind)).toContain("missed-minimum");
  });

  test("an outlier moves least squares, but hardly Huber's objective", () => {
    const points = strewnSweep({ points: 60, noise: 0.002 }).map((p, k) =>
      k === 7 ? { ...p, loss: p.loss * 1.5 } : p,
    );
    const error = (method: "projection" | "parametric") =>
      Math.abs(
        fitLawNow(points, { method, ...oneStart }).exponents!.a - hoffmann.beta / (hoffmann.alpha + hoffmann.beta),
      );
    expect(error("parametric")).toBeLessThan(0.02);
    expect(error("projection")).toBeGreaterThan(2 * error("parametric"));
  });

  test("--drop-highest leaves out the points of highest loss, by their index", () => {
    const points = strewnSweep({ points: 40, noise: 0.005 });
    const order = [...points.keys()].sort((i, j) => points[j]!.loss - points[i]!.loss);
    const fit = fitLawNow(points, { method: "projection", dropHighest: 3 });
    expect(fit.dropped).toEqual(order.slice(0, 3).sort((i, j) => i - j));
    expect(fit).toMatchObject({ points: 37 });
    expect(fit.influence).toHaveLength(37);
  });

  test("held-out points are predicted from the rest", () => {
    const { holdout } = fitLawNow(isoflopSweep({ noise: 0.003 }), { method: "projection" });
    expect(holdout).toMatchObject({ points: 10 });
    expect(holdout!.factor).toBeCloseTo(1e21 / 2.6e20, 6);
    expect(holdout!.rms).toBeLessThan(0.015);
    expect(fitLawNow(isoflopSweep(), { method: "projection" }).holdout!.rms).toBeLessThan(1e-9);
  });

  test("influence is the change without a point, in standard errors", () => {
    const points = isoflopSweep({ noise: 0.01 });
    const fit = fitLawNow(points, { method: "projection" });
    const without = fitLawNow(points.slice(1), { method: "projection" });
    expect(fit.influence[0]).toBeCloseTo((fit.exponents!.a - without.exponents!.a) / fit.se.a!, 6);
  });
});

describe("intervals", () => {
  const points = runsSweep({ runs: 20 });

  test("of the bootstrap depend on the seed, not on the number of threads", async () => {
    const settings = { method: "projection", bootstrap: 1200, seed: 7 } as const;
    const [one, two] = [
      await fitLaw(points, { ...settings, threads: 1 }),
      await fitLaw(points, { ...settings, threads: 2 }),
    ];
    expect(two).toEqual(one);
    expect(one.intervals).toBe("bootstrap");
    expect(one.bootstrap).toHaveLength(1200);
    const other = await fitLaw(points, { ...settings, seed: 8, bootstrap: 100 });
    expect(other.ci80.a).not.toEqual(one.ci80.a);
    for (const [name, [low, high]] of Object.entries(one.ci80)) {
      const value = { ...one.params, ...one.exponents }[name]!;
      expect(low).toBeLessThan(value);
      expect(high).toBeGreaterThan(value);
      expect(one.ci95[name]![0]).toBeLessThan(low);
      expect(one.ci95[name]![1]).toBeGreaterThan(high);
    }
  });

  test("are wider if points share runs than if they are taken as independent", async () => {
    const apart = points.map(({ group: _, ...point }) => point);
    const width = async (given: readonly Point[], bootstrap: number) => {
      const { ci80 } = await fitLaw(given, { method: "projection", bootstrap, threads: 1 });
      return ci80.a![1] - ci80.a![0];
    };
    expect(await width(points, 0)).toBeGreaterThan(1.3 * (await width(apart, 0)));
    expect(await width(points, 200)).toBeGreaterThan(1.3 * (await width(apart, 200)));
  });

  test("from the covariance are close to those from the bootstrap", async () => {
    const sweep = strewnSweep({ points: 150, noise: 0.01 });
    for (const method of ["parametric", "projection"] as const) {
      const fit = await fitLaw(sweep, { method, ...oneStart, bootstrap: 300, threads: 1 });
      const sd = (name: "a" | "E") => {
        const values = fit.bootstrap!.map((refit) => refit[name]!);
        const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
        return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
      };
      const { se } = await fitLaw(sweep, { method, ...oneStart });
      for (const name of ["a", "E"] as const) expect(se[name]! / sd(name)).toBeGreaterThan(0.7);
      for (const name of ["a", "E"] as const) expect(se[name]! / sd(name)).toBeLessThan(1.4);
      // Error and interval are consistent: ±1.2816 standard errors are 80 % of a normal distribution.
      expect((fit.ci80.E![1] - fit.ci80.E![0]) / 2 / fit.se.E!).toBeCloseTo(1.28155, 4);
      expect(Math.log(fit.ci80.B![1] / fit.ci80.B![0]) / 2 / (fit.se.B! / fit.params.B!)).toBeCloseTo(1.28155, 4);
      expect(fit.covariance!.names).toEqual(["E", "A", "B", "alpha", "beta", "a", "b"]);
    }
  });
});

describe("approach 2", () => {
  test("on a surface symmetric in ln N, has the exponents and scales of the surface", () => {
    const law = { E: 1.7, A: 400, B: 400, alpha: 0.3, beta: 0.3 };
    const { exponents, params, optima } = fitLawNow(isoflopSweep({ law }), { method: "isoflop" });
    expect(exponents!.a).toBeCloseTo(0.5, 10);
    expect(exponents!.b).toBeCloseTo(0.5, 10);
    expect(params.nScale! * params.dScale!).toBeCloseTo(1 / 6, 8);
    expect(optima).toHaveLength(6);
    for (const { c, n, d } of optima!) {
      expect(n / optimumOf(law, c)).toBeCloseTo(1, 6);
      expect(n * d * 6).toBeCloseTo(c, -Math.log10(c) + 10);
    }
  });

  test.each([
    // reference: "Problems with Chinchilla Approach 2", D* at 1e24 from 1e17 to 1e21, 15 sizes per budget.
    [2, -0.327],
    [4, -1.301],
    [8, -2.903],
    [16, -5.1],
  ])("a grid from 1/%d to %d of the optimum biases D* by its share", (width, percent) => {
    const law = { E: 1.69, A: 406.4, B: 410.7, alpha: 0.34, beta: 0.28 };
    const points = isoflopSweep({ law, budgets: [1e17, 1e18, 1e19, 1e20, 1e21], sizes: 15, width });
    const fit = fitLawNow(points, { method: "isoflop" });
    const d = fit.params.dScale! * 1e24 ** fit.exponents!.b;
    expect(100 * (d / (1e24 / 6 / optimumOf(law, 1e24)) - 1)).toBeCloseTo(percent, 2);
    expect(100 * parabolaBias(law, points)!.d).toBeCloseTo(percent, 2);
    expect(100 * fit.bias!.d).toBeCloseTo(percent, 2);
  });

  test("has intervals that contain the surface's exponent, corrected for the bias of parabolas", async () => {
    const truth = hoffmann.beta / (hoffmann.alpha + hoffmann.beta);
    const fit = await fitLaw(isoflopSweep({ noise: 0.003 }), { method: "isoflop", bootstrap: 300, threads: 1 });
    expect(fit.intervals).toBe("bootstrap");
    expect(fit.ci95.a![0]).toBeLessThan(truth);
    expect(fit.ci95.a![1]).toBeGreaterThan(truth);
    expect(fit.ci80.a![1] - fit.ci80.a![0]).toBeGreaterThan(fit.se.a!);
  });

  test("corrects intervals and refits for the bias of a wide, asymmetric grid", async () => {
    const law = { E: 1.69, A: 406.4, B: 410.7, alpha: 0.34, beta: 0.28 };
    const wide = isoflopSweep({ law, sizes: 9, width: 8 }).map((point, k) =>
      k % 9 === 0 ? { ...point, n: point.n / 3, d: point.d * 3, loss: lossOf(law, point.n / 3, point.d * 3) } : point,
    );
    const { params, ci80, bias, bootstrap } = await fitLaw(wide, { method: "isoflop", bootstrap: 200, threads: 1 });
    const a = law.beta / (law.alpha + law.beta);
    const truth = Math.log(optimumOf(law, 1e20)) - a * Math.log(1e20);
    // The grid is the same at each budget, so only the scale is biased: by six percent, equal to the reported bias.
    expect(Math.log(params.nScale!) - truth).toBeCloseTo(0.05775, 4);
    expect(Math.log(params.nScale!) - truth).toBeCloseTo(Math.log1p(bias!.n), 8);
    const [low, high] = ci80.nScale!.map(Math.log);
    expect(Math.abs((low! + high!) / 2 - truth)).toBeLessThan(0.03);
    const refit = bootstrap!.reduce((sum, { nScale }) => sum + Math.log(nScale!), 0) / bootstrap!.length;
    expect(Math.abs(refit - truth)).toBeLessThan(0.03);
  });
});

describe("approach 1", () => {
  const curve = (n: number, from: number, to: number): Point[] =>
    Array.from({ length: 30 }, (_, k) => {
      const d = (from * (to / from) ** (k / 29)) / (6 * n);
      return { n, d, loss: lossOf(hoffmann, n, d), group: `size ${n}` };
    });

  test("finds the surface's exponents from the envelope of curves of many sizes", () => {
    const points = Array.from({ length: 17 }, (_, k) => 1e7 * 1e4 ** (k / 16)).flatMap((n) => curve(n, 1e16, 1e23));
    const { exponents, optima, params } = fitLawNow(points, { method: "envelope" });
    expect(exponents!.a).toBeCloseTo(hoffmann.beta / (hoffmann.alpha + hoffmann.beta), 2);
    expect(optima!.length).toBeGreaterThan(10);
    expect((params.nScale! * 1e20 ** exponents!.a) / optimumOf(hoffmann, 1e20)).toBeCloseTo(1, 1);
  });

  test("uses the lower hull of points without curves", () => {
    const { exponents, optima } = fitLawNow(isoflopSweep({ sizes: 21 }), { method: "envelope" });
    expect(exponents!.a).toBeCloseTo(hoffmann.beta / (hoffmann.alpha + hoffmann.beta), 1);
    expect(optima!.length).toBeLessThanOrEqual(6);
  });

  test("fails if no size between the others is ever best", () => {
    const points = [1e7, 1e9].flatMap((n) => curve(n, 1e17, 1e20));
    expect(() => fitLawNow(points, { method: "envelope" })).toThrow("Cannot fit the envelope: fewer than 3 sizes");
  });
});

describe("laws of one variable, of repeated data and with breaks", () => {
  const along = (law: (x: number) => number, noise = 0): Point[] =>
    Array.from({ length: 40 }, (_, k) => {
      const c = 10 ** (2 + k / 8);
      return { n: Number.NaN, d: Number.NaN, c, loss: law(c) * Math.exp(noise * normal(5, k)) };
    });

  test("power laws with and without offset are recovered", () => {
    const offset = fitLawNow(
      along((c) => 1.5 + 20 * c ** -0.3),
      { method: "power" },
    );
    expect(largestError(offset.params, { E: 1.5, A: 20, alpha: 0.3 })).toBeLessThan(1e-8);
    const none = fitLawNow(
      along((c) => 20 * c ** -0.3),
      { method: "power", offset: false },
    );
    expect(largestError(none.params, { A: 20, alpha: 0.3 })).toBeLessThan(1e-10);
    expect(none.params).not.toHaveProperty("E");
  });

  test("power laws of N or D ignore the other quantity", () => {
    const points = strewnSweep({ points: 30 }).map(({ n }) => ({ n, d: Number.NaN, loss: 1 + 100 * n ** -0.25 }));
    const fit = fitLawNow(points, { method: "power", over: "n" });
    expect(fit.params.alpha).toBeCloseTo(0.25, 9);
  });

  test("a broken law is recovered", () => {
    const law = { a: 1.2, b: 8, c0: 0.1, c1: 0.3, d1: 3e4, f1: 0.5 };
    const broken = (x: number) => 1.2 + 8 * x ** -0.1 * (1 + (x / 3e4) ** 2) ** -0.15;
    const fit = fitLawNow(along(broken), { method: "broken" });
    expect(largestError(fit.params, law)).toBeLessThan(1e-6);
    expect(fit.converged).toBe(true);
    expect(fitLawNow(along(broken, 0.003), { method: "broken" }).params.c1).toBeCloseTo(0.3, 1);
  });

  test("Kaplan's L(N, D) is recovered, with its own exponents of the optimum", () => {
    const law = { Nc: 6.4e13, Dc: 1.8e13, alphaN: 0.076, alphaD: 0.103 };
    const points = strewnSweep({ points: 40 }).map(({ n, d }) => ({ n, d, loss: kaplan.ofBoth(n, d) }));
    const fit = fitLawNow(points, { method: "kaplan" });
    expect(largestError(fit.params, law)).toBeLessThan(1e-6);
    expect(fit.converged).toBe(true);
    // At equal compute, no other N is better than the one that the exponents predict a decade further.
    const { optimum, loss } = lawOf(fit, fit.params);
    const [small, large] = [optimum(1e20), optimum(1e21)];
    expect(Math.log10(large.n / small.n)).toBeCloseTo(fit.exponents!.a, 9);
    for (const times of [0.9, 1.1]) expect(loss!(times * large.n, large.d / times)).toBeGreaterThan(large.loss);
    expect(loss!(large.n, large.d)).toBeCloseTo(large.loss, 12);
    const noisy = points.map((point, k) => ({ ...point, loss: point.loss * Math.exp(0.003 * normal(6, k)) }));
    const { params, se } = fitLawNow(noisy, { method: "kaplan" });
    expect(Math.abs(params.alphaD! - law.alphaD)).toBeLessThan(4 * se.alphaD!);
    const misses = law.alphaD / (law.alphaN + law.alphaD) - params.alphaD! / (params.alphaN! + params.alphaD!);
    expect(se.a).toBeGreaterThan(0);
    expect(Math.abs(misses)).toBeLessThan(4 * se.a!);
    expect(se.b).toBeCloseTo(se.a!, 12);
  });

  test("the law of repeated data is recovered", () => {
    // Muennighoff 2023: a, b, e 6.255414, 7.3049974, .6254804, α = β .3526596, R* 15.387756.
    const law = {
      E: Math.exp(0.6254804),
      A: Math.exp(6.255414),
      B: Math.exp(7.3049974),
      alpha: 0.3526596,
      beta: 0.3526596,
      rStar: 15.387756,
    };
    const points = Array.from({ length: 60 }, (_, k) => {
      const n = 10 ** (7 + 2.5 * ((k * 0.618034) % 1));
      const unique = 10 ** (8 + 2 * ((k * 0.7548777) % 1));
      const epochs = 2 ** (k % 7);
      const worth = unique * (1 + law.rStar * (1 - Math.exp(-(epochs - 1) / law.rStar)));
      return { n, d: unique * epochs, unique, loss: lossOf(law, n, worth) };
    });
    const fit = fitLawNow(points, { method: "repeated" });
    expect(largestError(fit.params, law)).toBeLessThan(1e-6);
  });
});
