/** Laws of whole loss curves: constants from curves without noise, unseen schedules, and the command. */
import { mkdirSync, writeFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { defaultSettings } from "../../lib/settings/settings.js";
import { learningRate } from "../../lib/train/optimizers/schedule.js";
import {
  type Curve,
  type CurveFit,
  type CurveLaw,
  crossCheck,
  curveErrors,
  curveLaws,
  fitCurves,
  predictCurve,
  type Rates,
  readCurve,
  windowMeans,
} from "../../scaling/curves.js";
import { toCurveData } from "../../scaling/fit/curves/curve-data.js";
import { inward } from "../../scaling/fit/forms/form.js";
import { folio } from "../cli/in-process.js";
import { temporaryFolder } from "../tiny-run.js";
import { ownCurves } from "./own-curves.js";
import { normal } from "./simulate.js";

type Constants = Readonly<Record<string, number>>;

const truth: Readonly<Record<CurveLaw, Constants>> = {
  annealing: { L0: 1.5, A: 0.6, alpha: 0.5, C: 0.4, memory: 40 },
  "multi-power": { L0: 1.5, A: 0.6, alpha: 0.5, K: 12, C: 1.5, beta: 0.6, gamma: 0.5 },
};

const settingsOf = (schedule: typeof defaultSettings.schedule, maxIters = 300, minLr = 0.001) => ({
  ...{ ...defaultSettings, learningRate: 0.01, minLr, warmupIters: 20, schedule },
  ...{ maxIters, lrDecayIters: maxIters },
});

function ratesFor(...settings: Parameters<typeof settingsOf>): Rates {
  const all = settingsOf(...settings);
  return { rates: Float64Array.from({ length: all.maxIters }, (_, step) => learningRate(step, all)), warmup: 20 };
}

/** The formulas as printed, by plain sums over all updates (Tissue 2024, eq. 1; Luo 2025, eq. 1 and 2). */
const direct: Readonly<Record<CurveLaw, (rates: Rates, constants: Constants, step: number) => number>> = {
  annealing({ rates, warmup }, { L0, A, alpha, C, memory }, step) {
    const lambda = Math.exp(-1 / memory!);
    let [s1, s2] = [0, 0];
    for (let i = 0; i < step; i++) {
      s1 += rates[i]!;
      for (let k = warmup + 1; k <= i; k++) s2 += (rates[k - 1]! - rates[k]!) * lambda ** (i - k);
    }
    return L0! + A! * s1 ** -alpha! - C! * s2;
  },
  "multi-power"({ rates, warmup }, { L0, A, alpha, K, C, beta, gamma }, step) {
    let s1 = 0;
    for (let i = 0; i < step; i++) s1 += rates[i]!;
    let drop = 0;
    for (let k = warmup + 1; k < step; k++) {
      let since = 0;
      for (let i = k; i < step; i++) since += rates[i]!;
      drop += (rates[k - 1]! - rates[k]!) * (1 - (C! * rates[k]! ** -gamma! * since + 1) ** -beta!);
    }
    return L0! + A! * s1 ** -alpha! - (K! / beta!) * drop;
  },
};

const steps = Array.from({ length: 50 }, (_, k) => 40 + 5 * k);

function curveOf(law: CurveLaw, name: string, rates: Rates, noise = 0): Curve {
  const points = steps.map((step, k) => {
    const off = noise === 0 ? 0 : noise * normal(5, name, k);
    return { step, loss: direct[law](rates, truth[law], step) * Math.exp(off) };
  });
  return { ...rates, name, points };
}

const laws = Object.keys(curveLaws) as CurveLaw[];
const two = (law: CurveLaw, noise = 0) =>
  (["wsd", "cosine"] as const).map((schedule) =>
    curveOf(law, schedule, ratesFor(schedule, 300, schedule === "wsd" ? 0.002 : 0.0005), noise),
  );

describe.each(laws)("%s", (law) => {
  const fit = fitCurves(two(law), law);

  test("recovers its constants from two curves without noise", () => {
    expect(fit.converged).toBe(true);
    expect(fit.warnings).toEqual([]);
    for (const [name, value] of Object.entries(truth[law]))
      expect(Math.abs(fit.params[name]! / value - 1)).toBeLessThan(1e-6);
  });

  test("predicts a schedule that was not fitted", () => {
    const linear = ratesFor("linear", 310, 0);
    const wanted = [50, 200, 309].map((step) => direct[law](linear, truth[law], step));
    predictCurve(fit, linear, [50, 200, 309]).forEach((loss, k) => {
      expect(loss).toBeCloseTo(wanted[k]!, 6);
    });
    expect(curveErrors(fit, curveOf(law, "linear", ratesFor("linear"))).mean).toBeLessThan(1e-6);
  });

  test("predicts within the noise of noisy curves", () => {
    const noisy = fitCurves(two(law, 0.003), law);
    expect(noisy.errors.every(({ mean }) => mean < 0.004)).toBe(true);
    expect(curveErrors(noisy, curveOf(law, "linear", ratesFor("linear"))).mean).toBeLessThan(0.003);
  });

  test("has the gradient of its loss", () => {
    const form = curveLaws[law].form(toCurveData(two(law)));
    const theta = inward(form, truth[law]);
    const gradient = new Float64Array(theta.length);
    for (const i of [3, 49, 60, 99]) {
      form.lossAt(i, theta, gradient);
      for (let k = 0; k < theta.length; k++) {
        const moved = (by: number) =>
          form.lossAt(
            i,
            theta.map((value, j) => value + (j === k ? by : 0)),
          );
        expect(gradient[k]).toBeCloseTo((moved(1e-5) - moved(-1e-5)) / 2e-5, 7);
      }
    }
  });

  test("from a wrong start, reaches the minimum or says that it did not", () => {
    const from = Object.fromEntries(Object.keys(truth[law]).map((name) => [name, name === "L0" ? 0.1 : 2]));
    const [long, short] = [300, 3].map((maxIterations) => fitCurves(two(law), law, { from, maxIterations }));
    if (long!.converged) expect(long!.params.L0).toBeCloseTo(1.5, 5);
    expect(short!.converged).toBe(false);
    expect(short!.warnings.map(({ kind }) => kind)).not.toEqual([]);
  });

  test("of a long schedule is the sum over all updates", () => {
    const long = ratesFor("cosine", 3000);
    for (const step of [100, 1500, 2900]) {
      expect(
        predictCurve({ law, params: truth[law] }, long, [step])[0]! / direct[law](long, truth[law], step),
      ).toBeCloseTo(1, 4);
    }
  });

  test("is not fitted to rates that never fall, nor to too few points, nor to losses beyond the schedule", () => {
    const constant = curveOf(law, "constant", ratesFor("constant"));
    expect(() => fitCurves([constant], law)).toThrow("no rate of constant falls after the warm-up");
    const [wsd] = two(law) as [Curve];
    expect(() => fitCurves([{ ...wsd, points: wsd.points.slice(0, 6) }], law)).toThrow("6 points for");
    const late = [...wsd.points, { step: 301, loss: 1.6 }];
    expect(() => fitCurves([{ ...wsd, points: late }], law)).toThrow("beyond the 300 steps");
    expect(() => fitCurves([{ ...wsd, points: [...wsd.points, { step: 50, loss: 0 }] }], law)).toThrow("not above 0");
  });
});

test("each of three curves is predicted from the other two", () => {
  const curves = [...two("annealing"), curveOf("annealing", "constant", ratesFor("constant"))];
  const checked = crossCheck(curves, "annealing");
  expect(checked.map(({ name }) => name)).toEqual(["wsd", "cosine", "constant"]);
  for (const { mean, largest } of checked) expect(Math.max(mean, largest)).toBeLessThan(1e-5);
});

test("errors are shares of the measured losses", () => {
  const rates = ratesFor("cosine");
  const [at] = predictCurve({ law: "annealing", params: truth.annealing }, rates, [100]) as [number];
  const points = [
    { step: 100, loss: at / 1.02 },
    { step: 100, loss: at / 0.99 },
  ];
  const { mean, largest, end } = curveErrors(
    { law: "annealing", params: truth.annealing },
    { ...rates, name: "c", points },
  );
  expect(mean).toBeCloseTo(0.015, 10);
  expect(largest).toBeCloseTo(0.02, 10);
  expect(end).toBeCloseTo(-0.01, 10);
});

test("windows are equal, begin after the warm-up, and average losses and steps", () => {
  const rates = { rates: new Float64Array(100), warmup: 20 };
  const losses = Array.from({ length: 100 }, (_, step) => ({ step, loss: step }));
  const means = windowMeans(losses, rates, { windows: 4 });
  expect(means).toEqual([29.5, 49.5, 69.5, 89.5].map((mean) => ({ step: mean, loss: mean })));
  expect(windowMeans(losses, rates, { windows: 4, skip: 0.6 })[0]).toEqual({ step: 64.5, loss: 64.5 });
  expect(windowMeans(losses.slice(0, 50), rates, { windows: 4 })).toHaveLength(2);
});

describe("Folio's own runs under four schedules", () => {
  const curves = ownCurves();
  const of = (name: string) => {
    const found = curves.find((curve) => curve.name === name);
    if (!found) throw new Error(`no run ${name}`);
    return found;
  };

  test.each([
    ["annealing", 0.005],
    ["multi-power", 0.003],
  ] as const)(
    "%s, fitted to constant, cosine and wsd, predicts the linear one within %d of its losses",
    (law, most) => {
      const fit = fitCurves([of("constant"), of("cosine"), of("wsd")], law);
      expect(curveErrors(fit, of("linear")).mean).toBeLessThan(most);
    },
  );
});

describe("folio scaling curve", () => {
  const folder = temporaryFolder();
  const write = (name: string, ...of: Parameters<typeof settingsOf>) => {
    const [out, settings] = [path.join(folder, name), settingsOf(...of)];
    mkdirSync(out);
    writeFileSync(path.join(out, "config.json"), JSON.stringify(settings));
    const rates = ratesFor(...of);
    const record = (step: number) => ({
      ...{ kind: "iter", step, loss: direct.annealing(rates, truth.annealing, step), learningRate: rates.rates[step] },
      ...{ gradNorm: 1, elapsedMs: 1, tokens: 100 * step, tokensPerSecond: 100 },
    });
    const lines = Array.from({ length: 60 }, (_, k) => JSON.stringify(record(1 + 5 * k)));
    writeFileSync(path.join(out, "log.jsonl"), `${lines.join("\n")}\n`);
    return out;
  };
  const [cosine, constant, wsd] = [write("cosine", "cosine"), write("constant", "constant"), write("wsd", "wsd")];

  test("reads a run's schedule and losses", () => {
    const { rates, warmup, points } = readCurve(cosine, { windows: 10 });
    expect({ steps: rates.length, warmup, points: points.length }).toEqual({ steps: 300, warmup: 20, points: 10 });
    expect(rates[299]).toBeCloseTo(0.001, 5);
  });

  test("predicts a run and a schedule, and prints errors", async () => {
    const { code, out, err } = await folio(
      "scaling",
      "curve",
      cosine,
      constant,
      `--predict=${wsd}`,
      "--law=annealing",
      "--schedule=linear",
      "--min_rate=0",
      "--steps=400",
      "--windows=40",
    );
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toMatch(/^annealing: L0 \+ A S1\^-alpha/);
    expect(out).toMatch(/^predicted +\S+wsd +0\.0\d %/m);
    const wanted = direct.annealing(ratesFor("linear", 400, 0), truth.annealing, 400);
    const found = /linear, 400 steps, to 0: loss (\S+) at step 400/.exec(out);
    expect(Number(found?.[1])).toBeCloseTo(wanted, 2);
  });

  test("prints JSON of both laws, with each of three runs predicted from the others", async () => {
    const { out } = await folio("scaling", "curve", cosine, constant, wsd, "--json", "--windows=12", "--law=annealing");
    const { results } = JSON.parse(out) as { results: { fit: CurveFit; crossCheck: unknown[] }[] };
    expect(results.map(({ fit }) => fit.law)).toEqual(["annealing"]);
    expect(results[0]!.crossCheck).toHaveLength(3);
  });

  test("predicts no schedule from runs whose rates hardly fall, and says why, also as JSON", async () => {
    const flat = write("flat", "cosine", 300, 0.0095);
    for (const law of laws) {
      const flags = ["scaling", "curve", flat, constant, `--law=${law}`, "--schedule=linear", "--min_rate=0"];
      const { code, out } = await folio(...flags);
      expect(code).toBe(0);
      expect(out).toMatch(/^linear, 300 steps, to 0: no prediction; see the warning \(undetermined-fall\)$/m);
      expect(out.replaceAll(/\s+/g, " ")).toContain(
        "warning (undetermined-fall): These runs do not determine what a fall of the learning rate does: their rates fall by only 5.0 %.",
      );
      expect(out).not.toMatch(/: loss \S+ at step/);
      const [result] = JSON.parse((await folio(...flags, "--json")).out).results;
      expect(result.predictions).toMatchObject([{ predicted: null }]);
      expect(result.fit.warnings).toContainEqual(expect.objectContaining({ kind: "undetermined-fall" }));
    }
  });

  test("predicts no schedule by a law whose losses there are not above 0, and says so", async () => {
    // A fall that is never forgotten lowers the loss more and more.
    const flags = ["--law=annealing", "--fix=memory:1e6", "--schedule=linear", "--min_rate=0", "--steps=20000"];
    const { out, err } = await folio("scaling", "curve", cosine, constant, ...flags);
    expect(err).toBe("");
    expect(out).toMatch(/^linear, 20,000 steps, to 0: no prediction; see the warning \(undetermined-fall\)$/m);
    expect(out.replaceAll(/\s+/g, " ")).toContain("the losses of linear, 20,000 steps, to 0 are not numbers above 0");
  });

  test.each([
    [["nowhere"], "there is no nowhere/config.json"],
    [[], "name the folders of runs"],
    [[constant], "no rate of"],
    [[cosine, "--steps=400"], "belong to --schedule"],
    [[cosine, "--schedule=step"], '"step" is not one of cosine'],
    [[cosine, "--skip=1.5"], "is not a share"],
    [[cosine, "--skip=.99"], "a curve needs 5; train it further"],
    [[cosine, "--windows=4"], "ask for more windows"],
    [[cosine, "--fix=beta:0"], "--law"],
    [[cosine, "--law=cubic"], '"cubic" is not one of annealing'],
  ])("refuses %s", async (args, message) => {
    const { code, err } = await folio("scaling", "curve", ...args);
    expect(code).not.toBe(0);
    expect(err.replaceAll(/\s+/g, " ")).toContain(message);
  });
});
