/**
 * Laws under any objective, with constants fixed or tied, and IsoFLOP profiles, against SciPy's values of the same points
 * (test/scaling/golden/make-forms.py).
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { toData } from "../../../scaling/fit/columns.js";
import { freeMap } from "../../../scaling/fit/forms/constraints.js";
import type { Form } from "../../../scaling/fit/forms/form.js";
import { inward } from "../../../scaling/fit/forms/form.js";
import { muennighoffForm } from "../../../scaling/fit/forms/muennighoff.js";
import { overTrainingForm } from "../../../scaling/fit/forms/over-training.js";
import { powerForm } from "../../../scaling/fit/forms/power.js";
import { surfaceForm } from "../../../scaling/fit/forms/surface.js";
import { akimaMinimum } from "../../../scaling/fit/search/akima.js";
import { scatterAt, scatterOf } from "../../../scaling/fit/uncertainty/scatter.js";
import { vertexInterval } from "../../../scaling/fit/uncertainty/vertices.js";
import { type FitOptions, fitLaw, fitLawNow } from "../../../scaling/fit.js";
import { overTrainingLoss, repeatedLoss } from "../../../scaling/laws.js";
import type { Fit, Point } from "../../../scaling/points.js";
import { fittedLaw } from "../../../scaling/questions/known-law.js";
import { predict } from "../../../scaling/questions/predict.js";
import { hoffmann, normal, strewnSweep } from "../simulate.js";

type Numbers = Record<string, number>;
interface Golden {
  readonly params: Numbers;
  readonly objective: number;
  readonly se: Numbers;
}
interface Levels {
  readonly law: [number, number][];
  readonly run: [number, number][];
}
type Vertices = readonly (readonly [n: number, loss: number])[];

const golden = JSON.parse(readFileSync(new URL("../golden/forms.json", import.meta.url), "utf8")) as {
  readonly surface: { readonly points: Point[]; readonly fits: Record<string, Golden> };
  readonly gadre: { readonly points: Point[]; readonly fit: Golden };
  readonly muennighoff: { readonly points: Point[]; readonly free: Golden; readonly fixed: Golden };
  readonly power: { readonly points: Point[]; readonly fit: Golden };
  readonly prediction: { n: number[]; d: number[]; loss: number[]; ci80: Levels; ci95: Levels };
  readonly isoflop: {
    readonly points: Point[];
    readonly akima: Vertices;
    readonly weighted: Vertices;
    readonly windowed: Vertices;
    readonly lines: Record<"akima" | "weighted" | "windowed", { a: number; nScale: number }>;
    readonly optimalLoss: Numbers;
    readonly nError: number[];
  };
};

/** Points without their errors, which would weigh them. */
const plain = (points: readonly Point[]): Point[] => points.map(({ error: _, ...point }) => point);

function expectShare(found: number | undefined, wanted: number, share: number, what: string): void {
  expect(found, what).toBeTypeOf("number");
  expect(Math.abs(found! / wanted - 1), `${what}: ${found} for ${wanted}`).toBeLessThan(share);
}

/** Estimates to a thousandth of their errors, errors to a thousandth. */
function expectGolden(fit: Fit, wanted: Golden): void {
  expect(fit.converged).toBe(true);
  expectShare(fit.huberSum, wanted.objective, 1e-6, "objective");
  for (const [name, value] of Object.entries(wanted.params)) {
    const error = wanted.se[name]!;
    if (error === 0) expect(fit.params[name], name).toBe(value);
    else expect(Math.abs(fit.params[name]! - value) / error, `${name}: ${fit.params[name]}`).toBeLessThan(1e-3);
    if (error === 0) expect(fit.se[name], `error of ${name}`).toBe(0);
    else expectShare(fit.se[name], error, 1e-3, `error of ${name}`);
  }
}

describe("a law under another objective has SciPy's minimum and the sandwich's errors", () => {
  const { points, fits } = golden.surface;
  const cases: [string, FitOptions, readonly Point[]][] = [
    ["squared, log", { objective: "squared" }, plain(points)],
    ["squared, linear", { objective: "squared", scale: "linear" }, plain(points)],
    ["huber, linear", { scale: "linear", delta: 0.02 }, plain(points)],
    ["asymmetric", { objective: "squared", asymmetry: 0.2 }, plain(points)],
    ["fixed", { fix: { E: 1.75 }, delta: 0.01 }, plain(points)],
    ["tied", { tie: [["alpha", "beta"]], objective: "squared" }, plain(points)],
    ["weighted, log", { objective: "squared" }, points],
    ["weighted, linear", { objective: "squared", scale: "linear" }, points],
  ];
  test.each(cases)("Chinchilla's, %s", (name, options, given) => {
    expectGolden(fitLawNow(given, options), fits[name]!);
  });

  test("Gadre's law of over-training", () => {
    expectGolden(fitLawNow(plain(golden.gadre.points), { method: "gadre" }), golden.gadre.fit);
  });

  test("Muennighoff's law, all seven constants, and with the surface fixed", () => {
    const { points: given, free, fixed } = golden.muennighoff;
    expectGolden(fitLawNow(plain(given), { method: "muennighoff", delta: 0.01 }), free);
    const { rStar: _, rStarN: __, ...fix } = fixed.params;
    expectGolden(fitLawNow(plain(given), { method: "muennighoff", delta: 0.01, fix }), fixed);
  });

  test("a power law with its limit given", () => {
    const given = plain(golden.power.points);
    expectGolden(fitLawNow(given, { method: "power", over: "d", fix: { E: 1.9 } }), golden.power.fit);
  });
});

describe("weights of points", () => {
  test("in the methods' own searches: a point of weight 2 counts as two", () => {
    const sweep = strewnSweep({ points: 30, noise: 0.01 }).map((point, k) => ({
      ...point,
      unique: point.d / (1 + 4 * (k % 4)),
    }));
    const twice = sweep.flatMap((point, k) => (k % 3 === 0 ? [point, point] : [point]));
    const weighed = sweep.map((point, k) => ({ ...point, weight: k % 3 === 0 ? 2 : 1 }));
    for (const method of ["parametric", "projection", "kaplan", "repeated"] as const) {
      const [one, other] = [fitLawNow(twice, { method }), fitLawNow(weighed, { method })];
      for (const [name, value] of Object.entries(one.params)) {
        expectShare(other.params[name], value, 1e-4, `${method}, ${name}`);
      }
    }
    for (const offset of [true, false]) {
      const options = { method: "power", over: "n", offset } as const;
      expectShare(fitLawNow(weighed, options).params.alpha, fitLawNow(twice, options).params.alpha!, 1e-6, "alpha");
    }
  });

  test("are refused for the envelope, if missing at a point, and if not above 0", () => {
    const sweep = strewnSweep({ points: 30 });
    const of = (weight: (k: number) => number | undefined) =>
      sweep.map((point, k) => ({ ...point, ...(weight(k) !== undefined && { weight: weight(k)! }) }));
    expect(() =>
      fitLawNow(
        of(() => 1),
        { method: "envelope" },
      ),
    ).toThrow("it uses only the lowest losses");
    expect(() => fitLawNow(of((k) => (k === 4 ? undefined : 2)))).toThrow("the weight of point 4 is missing");
    expect(() => fitLawNow(of((k) => (k === 7 ? 0 : 2)))).toThrow("the weight of point 7 is 0");
    const errors = sweep.map((point, k) => ({ ...point, error: k === 2 ? -0.1 : 0.1 }));
    expect(() => fitLawNow(errors)).toThrow("the standard error of point 2 is -0.1");
  });
});

describe("noise-free points", () => {
  const sweep = strewnSweep({ points: 60 });
  const repetition = { tokens: 15, parameters: 5 };
  const repeated = sweep.map((point, k) => {
    const [n, unique] = [point.n * (k % 3 === 0 ? 30 : 1), point.d / (1 + (k % 5) * 3)];
    return { n, d: point.d, unique, loss: repeatedLoss(hoffmann, { N: n, D: point.d, U: unique }, repetition) };
  });
  const gadre = { E: 1.7, a: 500, b: -0.35, c: 1000 };
  const over = sweep.map(({ n, d }) => ({ n, d, loss: overTrainingLoss(gadre, n, d / n) }));
  const overConstants = { E: 1.7, A: 500 * 6 ** 0.175, B: 1000, eta: 0.175 };
  const tied = { ...hoffmann, beta: hoffmann.alpha };
  const equal = sweep.map(({ n, d }) => ({
    n,
    d,
    loss: tied.E + tied.A * n ** -tied.alpha + tied.B * d ** -tied.beta,
  }));
  const cases: [string, readonly Point[], FitOptions, Numbers][] = [
    ["squares of ln L", sweep, { objective: "squared" }, hoffmann],
    ["squares of L", sweep, { objective: "squared", scale: "linear" }, hoffmann],
    ["Huber's loss of L", sweep, { scale: "linear" }, hoffmann],
    ["an expectile", sweep, { asymmetry: 0.2 }, hoffmann],
    ["E fixed", sweep, { fix: { E: hoffmann.E } }, hoffmann],
    ["alpha and beta tied", equal, { tie: [["alpha", "beta"]] }, tied],
    ["Muennighoff's", repeated, { method: "muennighoff" }, { ...hoffmann, rStar: 15, rStarN: 5 }],
    ["Muennighoff's, surface fixed", repeated, { method: "muennighoff", fix: hoffmann }, { rStar: 15, rStarN: 5 }],
    ["Gadre's", over, { method: "gadre" }, overConstants],
  ];
  test.each(cases)("give the constants back to a millionth: %s", (_, points, options, constants) => {
    const fit = fitLawNow(points, options);
    expect(fit.converged).toBe(true);
    for (const [name, value] of Object.entries(constants)) expectShare(fit.params[name], value, 1e-6, name);
  });

  test("from starts of which some are far off, a search reaches the minimum or says that it did not", () => {
    const noisy = strewnSweep({ points: 40, noise: 0.01 });
    const best = fitLawNow(noisy, { objective: "squared" });
    const starts = [0.01, 0.3, 1, 3].flatMap((alpha) =>
      [0.1, 2, 8].map((E) => ({ E, A: 10 ** (8 * alpha), B: 1e-3 * 10 ** (9 * alpha), alpha, beta: alpha })),
    );
    const fits = starts.map((start) => fitLawNow(noisy, { objective: "squared", from: [start] }));
    for (const { converged, huberSum, warnings } of fits) {
      const reached = huberSum < best.huberSum * (1 + 1e-6);
      expect(converged).toBe(reached);
      const kinds = warnings.map(({ kind }) => kind);
      expect(kinds.includes("missed-minimum") || kinds.includes("stopped-early")).toBe(!reached);
    }
    expect(fits.some(({ converged }) => converged)).toBe(true);
  });

  test("too few iterations are told", () => {
    const fit = fitLawNow(strewnSweep({ points: 40, noise: 0.01 }), { objective: "squared", maxIterations: 1 });
    expect(fit.converged).toBe(false);
    expect(fit.warnings.map(({ kind }) => kind)).toContain("stopped-early");
  });
});

describe("the gradient of a form is that of its loss", () => {
  const data = toData(golden.muennighoff.points);
  const forms: [string, Form, Numbers][] = [
    ["surface", surfaceForm(data), hoffmann],
    ["power", powerForm(data, "d"), { E: 1.7, A: 300, alpha: 0.3 }],
    ["over-training", overTrainingForm(data), { E: 1.7, A: 300, B: 900, eta: 0.17 }],
    ["muennighoff", muennighoffForm(data), { ...hoffmann, rStar: 8, rStarN: 3 }],
  ];
  test.each(forms)("%s", (_, form, params) => {
    const theta = inward(form, params);
    const gradient = new Float64Array(theta.length);
    for (let i = 0; i < data.size; i++) {
      form.lossAt(i, theta, gradient);
      form.names.forEach((name, k) => {
        const moved = (by: number) =>
          form.lossAt(
            i,
            theta.map((value, j) => (j === k ? value + by : value)),
          );
        const slope = (moved(1e-6) - moved(-1e-6)) / 2e-6;
        expect(Math.abs(gradient[k]! - slope), `${name} at point ${i}`).toBeLessThan(1e-6 * (1 + Math.abs(slope)));
      });
    }
  });

  test("free coordinates expand to the constants they came from, with fixed and tied ones", () => {
    const [, form, params] = forms[0]!;
    const tied = { ...params, beta: params.alpha!, E: 1.8 };
    const map = freeMap(form, { fix: { E: 1.8 }, tie: [["alpha", "beta"]] });
    expect(map.size).toBe(3);
    const theta = new Float64Array(5);
    map.expand(map.inward(inward(form, tied)), theta);
    inward(form, tied).forEach((value, k) => {
      expect(theta[k]).toBeCloseTo(value, 10);
    });
  });
});

describe("constraints that cannot be are refused", () => {
  const sweep = strewnSweep({ points: 30, noise: 0.01 });
  test.each<[FitOptions, string]>([
    [{ fix: { gamma: 1 } }, "Cannot fix gamma: the law has no such constant; it has E, A, B, alpha, beta."],
    [{ fix: { E: -1 } }, "Cannot fix E at -1: it must be a number above 0."],
    [{ tie: [["alpha", "A"]] }, "Cannot tie alpha and A: a factor and an exponent have different units"],
    [{ tie: [["alpha"]] }, "Cannot tie alpha: name at least two constants."],
    [{ fix: { alpha: 0.3 }, tie: [["alpha", "beta"]] }, "alpha is already fixed or tied"],
    [{ fix: hoffmann }, "all constants are fixed"],
    [{ method: "kaplan", fix: { Nc: 1 } }, "for the method kaplan: it is not a fit of one law under any objective"],
    [{ method: "power", offset: false, fix: { A: 1 } }, "without an offset"],
    [{ asymmetry: 1 }, "the asymmetry is 1; it must be between 0 and 1"],
    [{ method: "isoflop", curve: "akima" }, "give the standard deviation of the loss between seeds"],
    [{ method: "isoflop", window: 1 }, "the window is 1; it is a factor of N above 1"],
  ])("%j", (options, message) => {
    expect(() => fitLawNow(sweep, options)).toThrow(message);
  });
});

describe("tied and fixed constants", () => {
  test("have the intervals of their common value, and none", async () => {
    const points = strewnSweep({ points: 40, noise: 0.01 });
    const fit = await fitLaw(points, { tie: [["alpha", "beta"]], fix: { E: 1.7 }, bootstrap: 200, threads: 1 });
    expect(fit.intervals).toBe("bootstrap");
    expect(fit.ci80.alpha).toEqual(fit.ci80.beta);
    expect(fit.ci80.alpha![1] - fit.ci80.alpha![0]).toBeGreaterThan(1e-4);
    expect([fit.params.E, fit.ci80.E]).toEqual([1.7, [1.7, 1.7]]);
    expect(fit.exponents).toEqual({ a: 0.5, b: 0.5 });
    expect(fit).toMatchObject({ constraints: { fix: { E: 1.7 }, tie: [["alpha", "beta"]] } });
  });
});

describe("IsoFLOP profiles", () => {
  const { points, akima, weighted, windowed, lines, optimalLoss, nError } = golden.isoflop;
  const expectVertices = (fit: Fit, wanted: Vertices, share: number) => {
    wanted.forEach(([n, loss], k) => {
      expectShare(fit.optima![k]!.n, n, share, `N* of budget ${k}`);
      expectShare(fit.optima![k]!.loss, loss, share, `loss of budget ${k}`);
    });
  };

  test("Akima's interpolation has SciPy's lowest points", () => {
    akima.forEach(([n, loss], k) => {
      const own = points.slice(8 * k, 8 * k + 8);
      const found = akimaMinimum(
        own.map((point) => Math.log(point.n)),
        own.map((point) => Math.log(point.loss)),
      )!;
      expectShare(Math.exp(found.x), n, 1e-6, "N");
      expectShare(Math.exp(found.y), loss, 1e-9, "loss");
    });
    expect(akimaMinimum([0, 1, 2], [3, 2, 1])).toBeUndefined();
    expect(akimaMinimum([0, 1, 2], [1, 1, 1])).toBeUndefined();
  });

  test("a parabola through the window, and the law of the lowest losses", () => {
    const fit = fitLawNow(plain(points), { method: "isoflop", window: 4.5 });
    expectVertices(fit, windowed, 1e-8);
    expectShare(fit.exponents!.a, lines.windowed.a, 1e-8, "a");
    expectShare(fit.params.nScale, lines.windowed.nScale, 1e-6, "nScale");
    const { params, converged, ci80 } = fit.optimalLoss!;
    expect(converged).toBe(true);
    // Residuals of the power law are relative, SciPy's of the logarithm: equal to first order.
    for (const name of ["E", "alpha"]) expectShare(params[name], optimalLoss[name]!, 3e-3, name);
    expect(ci80.E![0]).toBeLessThan(params.E!);
  });

  test("a parabola weighted by the errors of the losses has intervals from them", () => {
    const fit = fitLawNow(points, { method: "isoflop" });
    expectVertices(fit, weighted, 1e-8);
    for (const { n, loss, nError: error, ci80, ci95 } of fit.optima!) {
      expect(error).toBeGreaterThan(0);
      expect(ci80!.n[0]).toBeLessThan(n);
      expect(ci80!.n[1]).toBeGreaterThan(n);
      expect(ci95!.n[0]).toBeLessThanOrEqual(ci80!.n[0]);
      expect(ci80!.loss[0]).toBeLessThan(loss);
    }
  });

  test("the noise between seeds gives each vertex its error, to the accuracy of 1,000 draws", () => {
    const fit = fitLawNow(plain(points), { method: "isoflop", seedNoise: 0.003 });
    nError.forEach((error, k) => {
      // The standard error of a deviation of 1,000 draws is 2.2 %.
      expectShare(fit.optima![k]!.nError, error, 0.1, `error of vertex ${k}`);
    });
    const weights = fit.optima!.map(({ nError: error }) => 1 / error! ** 2);
    const [x, y] = (["c", "n"] as const).map((of) => fit.optima!.map((optimum) => Math.log(optimum[of])));
    const total = weights.reduce((sum, w) => sum + w, 0);
    const mean = (values: number[]) => values.reduce((sum, v, i) => sum + weights[i]! * v, 0) / total;
    const [mx, my] = [mean(x!), mean(y!)];
    const slope = mean(x!.map((v, i) => (v - mx) * (y![i]! - my))) / mean(x!.map((v) => (v - mx) ** 2));
    expectShare(fit.exponents!.a, slope, 1e-9, "a, weighted");
  });

  test("by Akima with noise, vertices are near the interpolation's, and refits scatter about the exponent", async () => {
    const options = { method: "isoflop", curve: "akima", seedNoise: 0.002, bootstrap: 200, threads: 1 } as const;
    const fit = await fitLaw(plain(points), options);
    akima.forEach(([n], k) => {
      const { nError: error, n: found } = fit.optima![k]!;
      expect(Math.abs(Math.log(found / n)) / error!).toBeLessThan(1);
    });
    const [low, high] = fit.ci95.a!;
    expect(low).toBeLessThan(fit.exponents!.a);
    expect(high).toBeGreaterThan(fit.exponents!.a);
    expect(fit.bootstrap).toHaveLength(200);
  });

  test("the interval of a vertex has the parabola's bias inside", () => {
    const width = Math.log(9);
    const smooth = [1e18, 4e18, 1.6e19, 6.4e19].flatMap((c) =>
      Array.from({ length: 9 }, (_, k) => {
        const n = 0.12 * c ** 0.47 * Math.exp(width * (k / 4 - 1));
        const d = c / (6 * n);
        return { n, d, c, loss: hoffmann.E + hoffmann.A * n ** -hoffmann.alpha + hoffmann.B * d ** -hoffmann.beta };
      }),
    );
    const { A, B, alpha, beta } = hoffmann;
    const G = ((alpha * A) / (beta * B)) ** (1 / (alpha + beta));
    fitLawNow(smooth, { method: "isoflop" }).optima!.forEach(({ c, n, ci80 }, k) => {
      const truth = G * (c / 6) ** (beta / (alpha + beta));
      const bias = Math.log(n / truth);
      expect(Math.abs(bias)).toBeGreaterThan(0.002);
      const [low, high] = vertexInterval(smooth.slice(9 * k, 9 * k + 9), 0.8)!;
      expect(ci80!.n[0] / (low * Math.exp(-Math.max(0, bias)))).toBeCloseTo(1, 6);
      expect(ci80!.n[1] / (high * Math.exp(-Math.min(0, bias)))).toBeCloseTo(1, 6);
    });
  });
});

describe("predictions", () => {
  const wanted = golden.prediction;
  const places = wanted.n.map((n, i) => ({ n, d: wanted.d[i]!, loss: i === 0 ? Number.NaN : 3 }));

  test("have the delta method's intervals of the law, and of a run with the scatter", () => {
    const fit = fitLawNow(plain(golden.surface.points), { objective: "squared" });
    const { rows, from } = predict(fit, places);
    expect(from).toBe("the covariance of the constants");
    rows.forEach((row, i) => {
      expectShare(row.loss, wanted.loss[i]!, 1e-6, "loss");
      for (const level of ["ci80", "ci95"] as const) {
        for (const which of ["law", "run"] as const) {
          row[which]![level].forEach((end, k) => {
            expectShare(end, wanted[level][which][i]![k]!, 2e-5, `${which} ${level}`);
          });
        }
      }
    });
    expect(rows[0]).not.toHaveProperty("measured");
    expect(rows[1]!.error).toBeCloseTo(wanted.loss[1]! / 3 - 1, 6);
  });

  test("come from the refits if there are enough, and warn of extrapolation", async () => {
    const fit = await fitLaw(plain(golden.surface.points), { method: "projection", bootstrap: 100, threads: 1 });
    const { rows, from, warnings } = predict(fit, places);
    expect(from).toBe("100 bootstrap refits");
    const kinds = (of: readonly { readonly kind: string }[]) => of.map(({ kind }) => kind);
    expect(kinds(warnings)).not.toContain("extrapolation");
    expect(kinds(predict(fit, [{ n: 1e11, d: 1e13, loss: 2 }]).warnings)).toContain("extrapolation");
    const values = fit.bootstrap!.map(({ E, A, B, alpha, beta }) => E! + A! * 3e9 ** -alpha! + B! * 9e10 ** -beta!);
    const inside = values.filter((value) => value >= rows[0]!.law!.ci80[0] && value <= rows[0]!.law!.ci80[1]);
    expect(inside.length).toBeGreaterThanOrEqual(79);
    expect(inside.length).toBeLessThanOrEqual(81);
  });

  test("are of every method that has a law of the loss, and refused for the others", () => {
    const points = golden.muennighoff.points.map(({ error: _, ...point }) => point);
    for (const method of ["parametric", "projection", "kaplan", "repeated", "muennighoff", "gadre"] as const) {
      const fit = fitLawNow(points, { method });
      const { rows } = predict(fit, points.slice(0, 5));
      rows.forEach(({ error }, i) => {
        expect(error).toBeCloseTo(Math.exp(fit.residuals![i]!) - 1, 9);
      });
    }
    const power = fitLawNow(points, { method: "power", over: "d" });
    expect(predict(power, points).rows[3]!.error).toBeCloseTo(Math.exp(power.residuals![3]!) - 1, 9);
    const { over: _, ...old } = power;
    expect(() => predict(old, points)).toThrow("written before fits named the variable");
    expect(() => predict(power, [{ n: 1e9, d: Number.NaN, loss: 1 }])).toThrow("Cannot predict point 0: it has no D");
    const isoflop = fitLawNow(golden.isoflop.points, { method: "isoflop" });
    expect(() => predict(isoflop, points)).toThrow("it has only optima");
  });
});

describe("the scatter of runs", () => {
  const of = (slope: number, count = 400) => {
    const lnC = Array.from({ length: count }, (_, i) => 40 + (10 * i) / (count - 1));
    const residuals = lnC.map((value, i) => 0.01 * Math.exp(slope * (value - 45)) * normal(7, i));
    return { lnC, scatter: scatterOf(lnC, residuals, 5) };
  };

  test("that shrinks with compute does so in the interval of a run, not beyond the range", () => {
    const { scatter } = of(-0.2);
    expect(scatter.slope).toBeGreaterThan(-0.25);
    expect(scatter.slope).toBeLessThan(-0.15);
    // Quantiles of the normal distribution: 1.2816 and 1.96 standard deviations.
    for (const lnC of [41, 45, 49]) {
      const deviation = 0.01 * Math.exp(-0.2 * (lnC - 45));
      expectShare(scatterAt(scatter, "ci80", Math.exp(lnC)), 1.2816 * deviation, 0.25, `80 % at ${lnC}`);
      expectShare(scatterAt(scatter, "ci95", Math.exp(lnC)), 1.96 * deviation, 0.25, `95 % at ${lnC}`);
    }
    expect(scatterAt(scatter, "ci80", Math.exp(60))).toBe(scatterAt(scatter, "ci80", Math.exp(50)));
    expect(scatterAt(scatter, "ci80", Math.exp(10))).toBe(scatterAt(scatter, "ci80", Math.exp(40)));
  });

  test("that does not change significantly is the same everywhere, as is that of points without compute", () => {
    const { scatter } = of(0);
    expect(scatter).toEqual({ slope: 0, ci80: scatter.ci80, ci95: scatter.ci95 });
    expect(scatterAt(scatter, "ci95", 1e30)).toBe(scatter.ci95);
    expect(scatterOf([Number.NaN, Number.NaN], [0.1, -0.1], 0).slope).toBe(0);
    expect(scatterOf([1, 2, 3], [0, 0, 0], 1)).toEqual({ slope: 0, ci80: 0, ci95: 0 });
  });
});

test("Gadre's and Muennighoff's fits answer questions about the optimum as the surfaces they are", () => {
  const over = fittedLaw(fitLawNow(plain(golden.gadre.points), { method: "gadre" })).numbers;
  const { E, A, B, eta } = golden.gadre.fit.params as { E: number; A: number; B: number; eta: number };
  expect(over).toMatchObject({ surface: { alpha: expect.closeTo(2 * eta, 5), beta: expect.closeTo(2 * eta, 5) } });
  if (!("surface" in over)) throw new Error("it is no surface");
  const [n, d] = [1e8, 4e9];
  const loss = E + (A * (d / n) ** eta + B * (d / n) ** -eta) * (6 * n * d) ** -eta;
  const { surface } = over;
  expectShare(surface.E + surface.A * n ** -surface.alpha + surface.B * d ** -surface.beta, loss, 1e-6, "loss");
  const { free } = golden.muennighoff;
  const whole = fittedLaw(fitLawNow(plain(golden.muennighoff.points), { method: "muennighoff", delta: 0.01 })).numbers;
  expect(whole).toMatchObject({
    repetition: { tokens: expect.closeTo(free.params.rStar!, 2), parameters: expect.closeTo(free.params.rStarN!, 2) },
  });
});
