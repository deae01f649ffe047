/** Charts and the report of a study: named points, ends of intervals, colours, axes and units, by hand from points and fits. */
import { parseHTML } from "linkedom";
import { describe, expect, test } from "vitest";
import { type Figure, grey, palette, rampColor, type Trace } from "../../../lib/charts/figure.js";
import { letterTick } from "../../../lib/charts/log-ticks.js";
import { quantile } from "../../../lib/host/statistics.js";
import { logSpace } from "../../../scaling/figures/common.js";
import {
  bootstrapCloud,
  exponentIntervals,
  isoflopCurves,
  lossByCompute,
  lossContour,
  lossPrediction,
  optimumPrediction,
  predictedInterval,
  residualPlot,
} from "../../../scaling/figures.js";
import { vertexInterval } from "../../../scaling/fit/uncertainty/vertices.js";
import { fitLaw, fitLawNow, fitTable } from "../../../scaling/fit.js";
import type { Fit, Point } from "../../../scaling/points.js";
import { approachesTable, fitApproaches, scalingReport } from "../../../scaling/report.js";
import { isoflopSweep, lossOf, optimumOf } from "../simulate.js";

/** N is not D, alpha not beta, a not b. */
const law = { E: 1.75, A: 350, B: 1700, alpha: 0.32, beta: 0.41 };
const points = isoflopSweep({ law, noise: 0.003, sizes: 7, width: 4, budgets: [1e18, 4e18, 2e19, 9e19] }).map(
  (point): Point => ({ ...point, nConvention: "blocks-head", flopsConvention: "6ND" }),
);
const fit = await fitLaw(points, { method: "projection", bootstrap: 60, threads: 1 });
const isoflop = await fitLaw(points, { method: "isoflop", bootstrap: 40, threads: 1 });

const traceOf = ({ data }: Figure, name: string): Trace => data.find((one) => one.name === name)!;
const axes = ({ layout: { xaxis, yaxis } }: Figure) => [xaxis.title.text, yaxis.title.text, xaxis.type, yaxis.type];
const [C, N, D, L] = [
  "compute C (FLOPs, 6ND)",
  "parameters N (blocks-head)",
  "training tokens D",
  "loss (nats per token)",
];
const paramsOf = (refit: Readonly<Record<string, number>>) => refit as unknown as typeof law;

describe("axes name their quantity, its unit and how it was counted", () => {
  test.each([
    ["loss by compute", lossByCompute({ points }), [C, L, "log", "linear"]],
    ["IsoFLOP curves", isoflopCurves({ points, fit: isoflop }), [N, L, "log", "linear"]],
    ["residuals", residualPlot({ points, fit }), [C, "predicted / measured loss − 1 (%)", "log", "linear"]],
    ["loss predicted", lossPrediction({ fit, points }), [C, L, "log", "linear"]],
    ["the best N", optimumPrediction({ fits: [{ name: "x", fit }], points }), [C, N, "log", "log"]],
    ["the best D", optimumPrediction({ fits: [{ name: "x", fit }], points, of: "d" }), [C, D, "log", "log"]],
    [
      "refits",
      bootstrapCloud({ fits: [{ name: "x", fit }], x: "E", y: "beta" }),
      ["E, the irreducible loss (nats per token)", "β, exponent of D", "linear", "linear"],
    ],
  ] as const)("%s", (_, figure, wanted) => {
    expect(axes(figure)).toEqual(wanted);
  });

  test("of the surface, N goes to the right and D up", () => {
    const surface = { optimum: (c: number) => ({ c, n: optimumOf(law, c), d: c / 6 / optimumOf(law, c), loss: 0 }) };
    const figure = lossContour({ law: { ...surface, loss: (n, d) => lossOf(law, n, d) }, points, levels: [3] });
    expect(axes(figure)).toEqual([N, D, "log", "log"]);
    const runs = traceOf(figure, "runs");
    expect([runs.x[0], runs.y[0]]).toEqual([points[0]!.n, points[0]!.d]);
    expect(figure.layout.xaxis.range).toEqual(
      [Math.min(...points.map(({ n }) => n)) / 1.25, Math.max(...points.map(({ n }) => n)) * 1.25].map(Math.log10),
    );
  });
});

describe("colours follow an order, small to large", () => {
  const ramp = [0, 1 / 3, 2 / 3, 1].map(rampColor);

  test("of budgets, whose points stand in their own", () => {
    const figure = isoflopCurves({ points, fit: isoflop });
    const dots = figure.data.filter(({ mode }) => mode === "markers");
    expect(dots.map(({ marker }) => marker.color)).toEqual(ramp);
    expect(dots.map(({ name }) => name)).toEqual(["10¹⁸ FLOPs", "4·10¹⁸ FLOPs", "2·10¹⁹ FLOPs", "9·10¹⁹ FLOPs"]);
    dots.forEach(({ x, y }, budget) => {
      const own = points.slice(7 * budget, 7 * budget + 7);
      expect(x).toEqual(own.map(({ n }) => n));
      expect(y).toEqual(own.map(({ loss }) => loss));
    });
  });

  test("of sizes, a line each", () => {
    const curves = [3e8, 1e7, 6e7, 2e7].flatMap((n) => [1e9, 4e9].map((d) => ({ n, d, loss: lossOf(law, n, d) })));
    const { data } = lossByCompute({ points: curves });
    expect(data.map(({ name }) => name)).toEqual(["N = 10 M", "N = 20 M", "N = 60 M", "N = 300 M"]);
    expect(data.map(({ line }) => line.color)).toEqual(ramp);
    expect([data[0]!.x, data[0]!.y[1]]).toEqual([[6e16, 24e16], lossOf(law, 1e7, 4e9)]);
  });

  test("of losses, the highest first", () => {
    const of = { optimum: (c: number) => ({ c, n: optimumOf(law, c), d: c / 6 / optimumOf(law, c), loss: 0 }) };
    const figure = lossContour({
      law: { ...of, loss: (n, d) => lossOf(law, n, d) },
      points,
      levels: [2.6, 2.8, 3, 3.2],
    });
    const color = (name: string) => traceOf(figure, name).line.color;
    expect(["loss 3.2", "loss 3", "loss 2.8", "loss 2.6"].map(color)).toEqual(ramp);
    expect(color("efficient frontier")).toBe(palette[1]);
  });
});

describe("intervals end where the numbers say", () => {
  test("of a prediction: the middle 80 % of its refits unless told otherwise", () => {
    const [n, d] = [2e8, 7e9];
    const own = fit.bootstrap!.map((refit) => lossOf(paramsOf(refit), n, d));
    expect(predictedInterval(fit, points, (one) => one.loss!(n, d))).toEqual([quantile(own, 0.1), quantile(own, 0.9)]);
    expect(predictedInterval(fit, points, (one) => one.loss!(n, d), 0.95)![1]).toBeCloseTo(quantile(own, 0.975), 12);
    const few = (count: number) => ({ ...fit, bootstrap: fit.bootstrap!.slice(0, count) });
    expect(predictedInterval(few(19), points, (one) => one.loss!(n, d))).toBeUndefined();
    expect(predictedInterval(few(20), points, (one) => one.loss!(n, d))).toBeDefined();
  });

  test("of each method's exponent: 80 % thick, 95 % as whiskers, its row and its words", () => {
    const figure = exponentIntervals({
      fits: [
        { name: "one", fit },
        { name: "two", fit: isoflop },
      ],
      of: "b",
    });
    expect(figure.layout.xaxis.title.text).toBe("b, in D* ∝ C^b");
    for (const [name, own, row] of [
      ["one", fit, 2],
      ["two", isoflop, 1],
    ] as const) {
      const thick = traceOf(figure, `${name}, 80 %`);
      expect([thick.x, thick.y, thick.line.width]).toEqual([own.ci80.b, [row, row], 6]);
      const [low, high] = own.ci80.b!;
      const value = own.exponents!.b;
      const dot = traceOf(figure, `${name}: ${value.toFixed(3)} (80 %: ${low.toFixed(3)} to ${high.toFixed(3)})`);
      expect([dot.x, dot.y]).toEqual([[value], [row]]);
      expect(dot.error_x!.array[0]).toBeCloseTo(own.ci95.b![1] - value, 12);
      expect(dot.error_x!.arrayminus[0]).toBeCloseTo(value - own.ci95.b![0], 12);
    }
  });

  test("of refits: an ellipse at the distance that holds 95 % of a normal cloud", () => {
    const figure = bootstrapCloud({ fits: [{ name: "x", fit }], x: "alpha", y: "beta" });
    const dots = traceOf(figure, "x: refits");
    expect(dots.x).toEqual(fit.bootstrap!.map(({ alpha }) => alpha));
    expect(dots.y).toEqual(fit.bootstrap!.map(({ beta }) => beta));
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
    const [x, y] = [dots.x, dots.y as number[]];
    const [mx, my] = [mean(x), mean(y)];
    const [xx, yy] = [mean(x.map((v) => (v - mx) ** 2)), mean(y.map((v) => (v - my) ** 2))];
    const xy = mean(x.map((v, i) => (v - mx) * (y[i]! - my)));
    const ellipse = traceOf(figure, "x: 95 %");
    ellipse.x.forEach((at, i) => {
      const [u, v] = [at - mx, ellipse.y[i]! - my];
      const distance = (u * u * yy - 2 * u * v * xy + v * v * xx) / (xx * yy - xy * xy);
      expect(distance).toBeCloseTo(5.991464547107979, 6); // χ² of two degrees of freedom, SciPy's chi2.ppf(.95, 2)
    });
    expect(traceOf(figure, "x")).toMatchObject({ x: [fit.params.alpha], y: [fit.params.beta] });
  });

  test("of each budget's vertex: the fit's 80 %, about its N; without one, from the scatter of its points", () => {
    const { data } = isoflopCurves({ points, fit: isoflop });
    const vertices = data.at(-1)!;
    expect(vertices).toMatchObject({ name: "optimum, 80 % interval", line: { color: palette[1] } });
    expect(vertices.y).toEqual(isoflop.optima!.map(({ loss }) => loss));
    vertices.error_x!.array.forEach((high, k) => {
      const n = vertices.x[k]!;
      const [low, top] = isoflop.optima![k]!.ci80!.n;
      expect((n + high!) / top).toBeCloseTo(1, 9);
      expect((n - vertices.error_x!.arrayminus[k]!) / low).toBeCloseTo(1, 9);
    });
    for (const options of [{ window: 3 }, { curve: "akima", seedNoise: 0.003 }] as const) {
      const other = fitLawNow(points, { method: "isoflop", ...options });
      const { data: drawn } = isoflopCurves({ points, fit: other });
      const curve = drawn[0]!;
      const deepest = Math.min(...(curve.y as number[]));
      // The median of noisy lowest points lies near the lowest point of the curve itself.
      expect(curve.x[(curve.y as number[]).indexOf(deepest)]! / other.optima![0]!.n).toBeCloseTo(1, 0);
      expect(deepest / other.optima![0]!.loss).toBeCloseTo(1, 2);
      if ("window" in options) expect(Math.max(...curve.x) / Math.min(...curve.x)).toBeLessThan(9.1);
      else expect(curve.y.at(-1)).toBeCloseTo(points[6]!.loss, 9);
    }
    const old = { ...isoflop, optima: isoflop.optima!.map(({ ci80: _, ci95: __, ...optimum }) => optimum) };
    const bare = isoflopCurves({ points, fit: old }).data.at(-1)!;
    bare.error_x!.array.forEach((high, k) => {
      const [, top] = vertexInterval(points.slice(7 * k, 7 * k + 7), 0.8)!; // NumPy's: fit/golden.test.ts
      expect((bare.x[k]! + high!) / top).toBeCloseTo(1, 9);
    });
  });
});

describe("what is predicted", () => {
  const heldOut = [3e20, 8e20].map((c, k) => {
    const n = optimumOf(law, c) * 1.3;
    return { n, d: c / (6 * n), c, loss: lossOf(law, n, c / (6 * n)) * (1.01 + 0.02 * k) };
  });

  test("of held-out runs stands beside what they reached", () => {
    const figure = lossPrediction({ fit, points, heldOut, upTo: 1e21 });
    const [predicted, measured] = ["predicted", "measured"].map((what) => traceOf(figure, `held-out run, ${what}`));
    expect(measured).toMatchObject({
      x: [3e20, 8e20],
      y: heldOut.map(({ loss }) => loss),
      marker: { color: palette[1], symbol: "x" },
    });
    expect(predicted!.y).toEqual(heldOut.map(({ n, d }) => lossOf(paramsOf(fit.params), n, d)));
    const own = fit.bootstrap!.map((refit) => lossOf(paramsOf(refit), heldOut[0]!.n, heldOut[0]!.d));
    expect(predicted!.error_y!.array[0]).toBeCloseTo(quantile(own, 0.9) - predicted!.y[0]!, 12);
    expect(predicted!.error_y!.arrayminus[0]).toBeCloseTo(predicted!.y[0]! - quantile(own, 0.1), 12);
    const path = traceOf(figure, "optimum, 80 % band");
    expect([path.x[0], path.x.at(-1)]).toEqual([1e18, 1e21]);
    const { alpha, beta } = fit.params as { alpha: number; beta: number };
    const n = optimumOf(paramsOf(fit.params), 1e21);
    expect(path.y.at(-1)).toBeCloseTo(lossOf(paramsOf(fit.params), n, 1e21 / (6 * n)), 9);
    expect(alpha).not.toBeCloseTo(beta, 2);
    // Unless told how far, ten times the runs.
    expect(traceOf(lossPrediction({ fit, points }), "optimum, 80 % band").x.at(-1)! / 9e20).toBeCloseTo(1, 9);
  });

  test("of the optimum is N or D, with the optima of its budgets", () => {
    for (const of of ["n", "d"] as const) {
      const figure = optimumPrediction({ fits: [{ name: "two", fit: isoflop }], points, of, upTo: 1e21 });
      expect(traceOf(figure, "two: optima")).toMatchObject({
        x: isoflop.optima!.map(({ c }) => c),
        y: isoflop.optima!.map((optimum) => optimum[of]),
      });
      const { nScale, dScale, a, b } = { ...isoflop.params, ...isoflop.exponents } as Record<string, number>;
      const wanted = of === "n" ? nScale! * 1e21 ** a! : dScale! * 1e21 ** b!;
      expect(traceOf(figure, "two").y.at(-1)! / wanted).toBeCloseTo(1, 9);
      expect(figure.layout.title.text).toContain(of === "n" ? "number of parameters" : "number of tokens");
      expect(figure.layout.shapes[0]).toMatchObject({ x0: 9e19, label: { text: "largest fitted run" } });
    }
  });

  test("of the runs themselves: predicted over measured, in percent", () => {
    const dots = residualPlot({ points, fit }).data.flatMap(({ x, y }) => x.map((c, i) => [c, y[i]!] as const));
    for (const { c, n, d, loss } of points) {
      const off = 100 * (lossOf(paramsOf(fit.params), n, d) / loss - 1);
      expect(dots.some(([at, y]) => at === c && Math.abs(y - off) < 1e-9)).toBe(true);
    }
  });

  test("of the frontier is the law at its optimum, in grey", () => {
    const dashed = traceOf(lossByCompute({ points, law: fit }), "law at its optimum");
    expect(dashed.line).toMatchObject({ color: grey, dash: "dash" });
    const n = optimumOf(paramsOf(fit.params), 1e18);
    expect(dashed.x[0]).toBe(1e18);
    expect(dashed.y[0]).toBeCloseTo(lossOf(paramsOf(fit.params), n, 1e18 / (6 * n)), 9);
  });

  test("is drawn at computes that are even in their logarithm", () => {
    expect(logSpace([1, 1000], 4).map((x) => Number(x.toPrecision(9)))).toEqual([1, 10, 100, 1000]);
  });
});

describe("tables of fits", () => {
  test("have each number's estimate, error and both intervals under their names", () => {
    const rows = fitTable(fit).objects() as Record<string, unknown>[];
    expect(rows.map(({ name }) => name)).toEqual(["E", "A", "B", "alpha", "beta", "a", "b"]);
    const [low80, high80] = fit.ci80.alpha!;
    const [low95, high95] = fit.ci95.alpha!;
    expect(rows[3]).toEqual({
      name: "alpha",
      estimate: fit.params.alpha,
      error: fit.se.alpha,
      low80,
      high80,
      low95,
      high95,
    });
    const none: Fit = { ...fit, ci80: {}, ci95: {}, se: {} };
    expect(fitTable(none).objects()[0]).toMatchObject({ low80: null, high95: null, error: null });
  });

  test("compare approaches by exponent a", () => {
    const rows = approachesTable([
      { method: "isoflop", name: "two", fit: isoflop },
      { method: "envelope", name: "one", refused: "no sizes" },
    ]).objects();
    const twice = [0, 1].map((i) => ({ kind: "narrow-intervals" as const, message: `constant ${i}` }));
    const [warned] = approachesTable([
      {
        method: "isoflop",
        name: "two",
        fit: { ...isoflop, warnings: [...twice, { kind: "few-budgets", message: "" }] },
      },
    ]).objects() as { says: string }[];
    expect(warned!.says).toBe("narrow-intervals, few-budgets");
    const [low80, high80] = isoflop.ci80.a!;
    expect(rows[0]).toMatchObject({
      method: "isoflop",
      name: "two",
      a: isoflop.exponents!.a,
      low80,
      high80,
      converged: true,
    });
    expect(rows[1]).toMatchObject({ a: null, low80: null, converged: null, says: "no sizes" });
  });
});

describe("the report's tables", async () => {
  const heldOut = [{ ...points[3]!, n: 4e8, d: 3e10, c: 72e18, loss: 2.5 }];
  const fits = await fitApproaches(points, { bootstrap: 30, threads: 1 });
  const html = scalingReport({ title: "study", points, fits, heldOut }).replace(/<script[\s\S]*?<\/script>/g, "");
  interface Part {
    readonly textContent: string | null;
    querySelectorAll(what: string): Iterable<Part>;
  }
  const document = parseHTML(html).document as unknown as Part;
  const all = (parent: Part, what: string) => Array.from(parent.querySelectorAll(what));
  const texts = (parent: Part, what: string) => all(parent, what).map(({ textContent }) => textContent ?? "");
  const tables = all(document, "table").map((one) => ({
    head: texts(one, "th"),
    rows: all(one, "tbody tr").map((row) => texts(row, "td")),
  }));
  const short = (value: number, digits = 5) => String(Number(value.toPrecision(digits)));
  const parametric = fits.find(({ method }) => method === "parametric")!.fit!;

  test("have a fit's numbers with both intervals under their levels", () => {
    const numbers = tables.filter(({ head }) => head.includes("standard error"));
    const fitted = fits.flatMap((approach) => approach.fit ?? []);
    expect(numbers).toHaveLength(fitted.length);
    numbers.forEach(({ head, rows }, k) => {
      const own = fitted[k]!;
      expect(head).toEqual(["", "estimate", "standard error", "80 %", "95 %"]);
      const span = (ends: readonly number[]) => ends.map((end) => short(end)).join(" to ");
      expect(rows).toEqual(
        Object.entries({ ...own.params, ...own.exponents }).map(([name, value]) => [
          ...[name, short(value), short(own.se[name]!, 2), span(own.ci80[name]!), span(own.ci95[name]!)],
        ]),
      );
    });
    const optima = tables.find(({ head }) => head[0] === "budget (FLOPs)" && head[3] === "D*/N*")!;
    const first = fits.find(({ fit }) => fit?.optima)!.fit!.optima![0]!;
    expect(optima.rows[0]).toEqual([
      ...[first.c.toExponential(2), letterTick(first.n), letterTick(first.d)],
      ...[(first.d / first.n).toFixed(1), first.loss.toFixed(4)],
    ]);
  });

  test("have each run, and each held-out run, beside what the law says of it", () => {
    const signed = (share: number) => `${share > 0 ? "+" : ""}${(100 * share).toFixed(2)} %`;
    const row = ({ n, d, c, loss }: Point) => {
      const predicted = lossOf(paramsOf(parametric.params), n, d);
      return [
        ...[letterTick(n), letterTick(d), (d / n).toFixed(1), c!.toExponential(2), loss.toFixed(4)],
        ...[predicted.toFixed(4), signed(predicted / loss - 1)],
      ];
    };
    const runs = tables.filter(({ head }) => head.includes("error"));
    expect(runs.map(({ head }) => head)).toEqual(
      Array(2).fill(["N", "D", "D/N", "C (FLOPs)", "loss", "predicted", "error"]),
    );
    expect(runs[0]!.rows).toEqual(heldOut.map(row));
    expect(runs[1]!.rows).toEqual(points.map(row));
  });

  test("have conventions in words, and headlines with their intervals", () => {
    const words = Object.fromEntries(
      tables.find(({ rows }) => rows[0]?.[0] === "Parameters, N")!.rows as [string, string][],
    );
    expect(words["Parameters, N"]).toMatch(/^blocks-head: the blocks, the final norm and the head/);
    expect(words["FLOPs, C"]).toMatch(/^6ND: /);
    expect(words.Loss).toBe("nats per token");
    const cards = all(document, ".cards > div").map((card) => texts(card, "dt, dd"));
    const [low, high] = parametric.ci80.a!.map((end) => end.toFixed(3));
    expect(cards).toContainEqual([
      "a, approach 3",
      parametric.exponents!.a.toFixed(3),
      `N* ∝ C^a; 80 %: ${low} to ${high}`,
    ]);
    const n = optimumOf(paramsOf(parametric.params), 9e20);
    expect(cards).toContainEqual([
      ...["tokens per parameter", (9e20 / (6 * n) / n).toFixed(1)],
      "optimum at 9.0e+20 FLOPs, 10 × the largest run",
    ]);
    const off = lossOf(paramsOf(parametric.params), 4e8, 3e10) / 2.5 - 1;
    const refits = parametric.bootstrap!.map((refit) => lossOf(paramsOf(refit), 4e8, 3e10));
    const ends = [0.025, 0.975].map((share) => quantile(refits, share).toFixed(3)).join(" to ");
    expect(cards.at(-1)).toEqual([
      ...[
        "held-out run",
        `${off > 0 ? "+" : ""}${(100 * off).toFixed(2)} %`,
        `predicted / measured loss − 1, at 7.2e+19 FLOPs; measured 2.500, 95 % interval of the prediction ${ends}`,
      ],
    ]);
  });
});
