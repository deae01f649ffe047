import { describe, expect, test } from "vitest";
import { toSvg } from "../../../lib/charts/figure-svg.js";
import { letterTick, logTicks, powerTick } from "../../../lib/charts/log-ticks.js";
import {
  bootstrapCloud,
  exponentIntervals,
  flopsPerProduct,
  isoflopCurves,
  lawOf,
  lossByCompute,
  lossContour,
  lossPrediction,
  optimumPrediction,
  predictedInterval,
  residualPlot,
} from "../../../scaling/figures.js";
import { vertexInterval } from "../../../scaling/fit/uncertainty/vertices.js";
import { fitLaw, fitLawNow } from "../../../scaling/fit.js";
import type { Point } from "../../../scaling/points.js";

// Besiroglu 2024, table 1.
const constants = { E: 1.8172, A: 482.01, B: 2085.43, alpha: 0.3478, beta: 0.3658 };
const truth = lawOf({ method: "projection" }, constants);
const wave = (i: number) => Math.sin(i * 12.9898) * 0.003; // a deterministic substitute for noise
const points: Point[] = [1e18, 3e18, 1e19, 3e19].flatMap((c, row) =>
  Array.from({ length: 7 }, (_, i) => {
    const n = truth.optimum(c).n * 2 ** ((i - 3) * 0.8);
    const d = c / 6 / n;
    return { n, d, c, loss: truth.loss!(n, d) * Math.exp(wave(7 * row + i)), nConvention: "blocks + head" };
  }),
);
const fit = await fitLaw(points, { method: "projection", bootstrap: 60, threads: 1 });
const isoflop = fitLawNow(points, { method: "isoflop" });

/** Names of the figure's traces. */
const names = ({ data }: { data: { name: string }[] }) => data.map(({ name }) => name);

describe("lawOf()", () => {
  test("of approach 3 is the surface and its optimum: with the rounded published law, 326.1 M / 11.29 B at 2.21e19", () => {
    const law = lawOf({ method: "parametric" }, { E: 1.69, A: 406.4, B: 410.7, alpha: 0.34, beta: 0.28 });
    const { n, d } = law.optimum(2.21e19);
    expect(n / 1e6).toBeCloseTo(326.1, 1);
    expect(d / 1e9).toBeCloseTo(11.29, 2);
  });

  test("of approaches 1 and 2 is a power law of compute; a fit without an optimum is refused", () => {
    const law = lawOf(isoflop, { ...isoflop.params, ...isoflop.exponents });
    expect(Math.log(law.optimum(1e20).n / law.optimum(1e19).n) / Math.LN10).toBeCloseTo(isoflop.exponents!.a, 10);
    expect(law.loss).toBeUndefined();
    expect(() => lawOf({ method: "power" }, { A: 1, alpha: 0.1 })).toThrow(/Cannot draw an optimum of a fit by power/);
  });

  test("counts compute as the points do", () => {
    const dearer = points.map((point) => ({ ...point, c: 8 * point.n * point.d }));
    expect(flopsPerProduct(dearer)).toBeCloseTo(8, 10);
    const { n, d } = lawOf(fit, fit.params, 8).optimum(1e19);
    expect(8 * n * d).toBeCloseTo(1e19, -6);
  });
});

describe("figures of the runs", () => {
  test("lossByCompute() draws sizes, frontier and envelope, and names the conventions", () => {
    const figure = lossByCompute({ points, envelope: isoflop, law: fit });
    expect(names(figure).slice(-2)).toEqual(["law at its optimum", "envelope"]);
    expect(figure.data.at(-1)!.x).toEqual(isoflop.optima!.map(({ c }) => c));
    expect(figure.layout.xaxis.title.text).toBe("compute C (FLOPs, 6ND)");
    const curves = points.map((point, i) => ({ ...point, n: 1e8 * (1 + (i % 3)), group: `run ${i % 3}` }));
    expect(names(lossByCompute({ points: curves }))).toEqual(["N = 100 M", "N = 200 M", "N = 300 M"]);
  });

  test("isoflopCurves() draws each budget's points and parabola, and the vertices with whiskers", () => {
    const figure = isoflopCurves({ points, fit: isoflop });
    expect(names(figure).filter((name) => name === "10¹⁸ FLOPs")).toHaveLength(2);
    const vertices = figure.data.at(-1)!;
    expect(vertices.x).toEqual(isoflop.optima!.map(({ n }) => n));
    expect(vertices.error_x!.array.every((reach) => reach! > 0)).toBe(true);
    expect(figure.layout.xaxis.title.text).toBe("parameters N (blocks + head)");
  });

  test("isoflopCurves() draws a budget without an optimum dashed", () => {
    const figure = isoflopCurves({ points, fit: { ...isoflop, optima: isoflop.optima!.slice(1) } });
    expect(figure.data[0]).toMatchObject({ name: "10¹⁸ FLOPs: no optimum", line: { dash: "dash" } });
  });

  test("residualPlot() shows predicted / measured − 1 in percent at the fitted points", () => {
    const figure = residualPlot({ points, fit });
    const drawn = figure.data.flatMap(({ x, y }) => x.map((c, i) => [c, y[i]] as const));
    expect(drawn).toHaveLength(points.length);
    const first = 100 * (lawOf(fit, fit.params).loss!(points[0]!.n, points[0]!.d) / points[0]!.loss - 1);
    expect(drawn.some(([c, y]) => c === 1e18 && Math.abs(y! - first) < 1e-9)).toBe(true);
    expect(() => residualPlot({ points, fit: isoflop })).toThrow(/isoflop: it predicts no losses/);
  });
});

test("vertexInterval() has about the stated coverage for noisy parabolas", () => {
  let [covered, trials] = [0, 0];
  for (let trial = 0; trial < 400; trial++) {
    const profile = Array.from({ length: 7 }, (_, i) => {
      const noise = Array.from(
        { length: 6 },
        (_, k) => Math.sin((trial * 97 + i * 13 + k * 5 + 1) * 12.9898) * 43758.5453,
      );
      const sum = noise.reduce((total, value) => total + (value - Math.floor(value)) - 0.5, 0);
      return { n: Math.exp(i - 3), loss: 3 + 0.05 * (i - 3) ** 2 + 0.01 * sum };
    });
    const interval = vertexInterval(profile, 0.8);
    if (!interval) continue;
    trials++;
    if (interval[0] < 1 && interval[1] > 1) covered++;
  }
  expect(covered / trials).toBeGreaterThan(0.74);
  expect(covered / trials).toBeLessThan(0.86);
  expect(
    vertexInterval(
      [1, 2, 3].map((n) => ({ n, loss: (n - 2) ** 2 })),
      0.8,
    ),
  ).toBeUndefined();
});

describe("lossContour()", () => {
  const figure = lossContour({ law: truth, points, levels: [2.8, 3, 3.2], budgets: [1e19] });
  const trace = (name: string) => figure.data.find((one) => one.name === name)!;

  test("has the given loss along each line", () => {
    const { x, y } = trace("loss 3");
    x.forEach((n, i) => {
      expect(truth.loss!(n, y[i]!)).toBeCloseTo(3, 9);
    });
    expect(x.length).toBeGreaterThan(40);
  });

  test("has the frontier at the lowest loss of each line of equal compute", () => {
    const { n, d } = truth.optimum(1e19);
    const along = [0.9, 1, 1.1].map((factor) => truth.loss!(n * factor, d / factor));
    expect(along[1]).toBeLessThan(Math.min(along[0]!, along[2]!));
    const { x, y } = trace("efficient frontier");
    const at = x.findIndex((size) => size > n);
    expect(6 * x[at]! * y[at]!).toBeGreaterThan(1e19);
    expect(6 * x[at - 1]! * y[at - 1]!).toBeLessThan(1e19);
    const equal = trace("10¹⁹ FLOPs");
    equal.x.forEach((size, i) => {
      expect(6 * size * equal.y[i]!).toBeCloseTo(1e19, -6);
    });
  });

  test("refuses a law without losses, and a missing range", () => {
    const power = lawOf(isoflop, { ...isoflop.params, ...isoflop.exponents });
    expect(() => lossContour({ law: power, points })).toThrow(/this law predicts no losses/);
    expect(() => lossContour({ law: truth })).toThrow(/the range is missing/);
  });
});

describe("figures of uncertainty", () => {
  const fits = [
    { name: "approach 2", fit: isoflop },
    { name: "approach 3", fit },
  ];

  test("bootstrapCloud() draws refits, their ellipse and the estimate, and refuses a fit without refits", () => {
    const epoch = { name: "Epoch", values: constants };
    const figure = bootstrapCloud({ fits: [fits[1]!], x: "alpha", y: "beta", references: [epoch] });
    expect(names(figure)).toEqual(["approach 3: refits", "approach 3: 95 %", "approach 3", "Epoch"]);
    expect(figure.data[2]!.x).toEqual([fit.params.alpha]);
    expect(() => bootstrapCloud({ fits: [fits[0]!], x: "a", y: "b" })).toThrow(/only 0 have a and b/);
  });

  test("exponentIntervals() has one row per method and one line per reference", () => {
    const figure = exponentIntervals({ fits, references: [{ name: "truth", values: { a: 0.5126 } }] });
    expect(names(figure).some((name) => name.startsWith(`approach 3: ${fit.exponents!.a.toFixed(3)}`))).toBe(true);
    expect(figure.layout.shapes[0]).toMatchObject({ x0: 0.5126, yref: "paper", label: { text: "truth" } });
  });

  test("lossPrediction() extrapolates with a band, and shows held-out runs beside their predictions", () => {
    const { n, d } = truth.optimum(3e20);
    const heldOut = [{ n, d, c: 3e20, loss: truth.loss!(n, d) }];
    const figure = lossPrediction({ fit, points, heldOut, upTo: 1e21 });
    expect(names(figure)).toContain("optimum, 80 % band, interval");
    const predicted = figure.data.find(({ name }) => name === "held-out run, predicted")!;
    expect(predicted.y[0]! / heldOut[0]!.loss).toBeCloseTo(1, 1);
    const [low, high] = predictedInterval(fit, points, (law) => law.loss!(n, d))!;
    expect(low).toBeLessThan(high);
    expect(figure.layout.shapes[0]!.x0).toBe(3e19);
  });

  test("optimumPrediction() has one line per method, and needs no refits", () => {
    expect(names(optimumPrediction({ fits, points }))).toEqual([
      "approach 2",
      "approach 2: optima",
      "approach 3, interval",
      "approach 3",
    ]);
  });

  test("all figures are plain data, and drawn as SVG without undefined numbers", () => {
    const figures = [
      lossByCompute({ points, envelope: isoflop, law: fit }),
      isoflopCurves({ points, fit: isoflop }),
      lossContour({ law: truth, points }),
      residualPlot({ points, fit }),
      bootstrapCloud({ fits: [fits[1]!], x: "a", y: "b" }),
      exponentIntervals({ fits }),
      lossPrediction({ fit, points }),
      optimumPrediction({ fits, points, of: "d" }),
    ];
    for (const figure of figures) {
      expect(JSON.parse(JSON.stringify(figure))).toEqual(figure);
      expect(toSvg(figure)).not.toMatch(/NaN|undefined|Infinity/);
    }
  });
});

describe("numbers of logarithmic axes", () => {
  test("are powers of ten over many decades, 1-2-5 over few, and equal steps over less than one", () => {
    expect(logTicks(1e10, 1e22, 6)).toEqual([1e10, 1e12, 1e14, 1e16, 1e18, 1e20, 1e22]);
    expect(logTicks(9e7, 1.1e9, 7)).toEqual([1e8, 2e8, 5e8, 1e9]);
    expect(logTicks(2.1, 3.2, 6)).toEqual([2.2, 2.4, 2.6, 2.8, 3, 3.2]);
  });

  test("are written short", () => {
    expect([1e18, 2e17, 500, 0.01].map(powerTick)).toEqual(["10¹⁸", "2·10¹⁷", "500", "0.01"]);
    expect([950, 12_500, 2e8, 1.4e9, 3e12].map(letterTick)).toEqual(["950", "12.5 k", "200 M", "1.4 B", "3 T"]);
  });
});
