/** Which form of law: rollout, information criteria, and the answer that the data cannot tell. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { main } from "../../lib/cli/main.js";
import { fitLawNow } from "../../scaling/fit.js";
import { kaplanLoss } from "../../scaling/laws.js";
import type { Point } from "../../scaling/points.js";
import { compareForms } from "../../scaling/questions/compare.js";
import { hoffmann, isoflopSweep, lossOf, normal, strewnSweep } from "./simulate.js";

const golden = JSON.parse(readFileSync(new URL("golden/forms.json", import.meta.url), "utf8")) as {
  surface: { points: Point[]; fits: Record<string, { objective: number; params: Record<string, number> }> };
};

const form = (comparison: ReturnType<typeof compareForms>, name: string) => {
  const found = comparison.forms.find((each) => each.name === name);
  if (!found) throw new Error(`no form ${name}`);
  return found;
};

describe("the form that made the points", () => {
  const budgets = [1e17, 4e17, 1.6e18, 6.4e18, 2.6e19, 1e20, 4e20];

  test("is told from others, if the noise is small", () => {
    const comparison = compareForms(isoflopSweep({ budgets, sizes: 7, width: 5, noise: 0.001 }));
    expect(comparison.best).toBe("chinchilla");
    expect(comparison.undecided).toEqual([]);
    expect(comparison.verdict).toMatch(/^Over 5 steps, chinchilla predicts larger runs best \(error 0\.\d\d %\)/);
    expect(form(comparison, "kaplan").aicc).toBeGreaterThan(10);
  });

  test("is Kaplan's where it is Kaplan's", () => {
    const law = { Nc: 6.4e13, Dc: 1.8e13, alphaN: 0.076, alphaD: 0.103 };
    const points = isoflopSweep({ budgets, sizes: 7, width: 5 }).map(({ n, d, c }, k) => {
      return { n, d, c: c!, loss: kaplanLoss(law, n, d) * Math.exp(0.001 * normal(3, k)) };
    });
    expect(compareForms(points, ["chinchilla", "kaplan"]).best).toBe("kaplan");
  });

  test("cannot be told from one that is nearly the same", () => {
    const tied = { ...hoffmann, beta: hoffmann.alpha, B: 1200 };
    const points = isoflopSweep({ law: tied, budgets, sizes: 7, width: 5, noise: 0.004 });
    const { best, undecided, verdict } = compareForms(points, ["chinchilla", "tied"]);
    expect([best, ...undecided].sort()).toEqual(["chinchilla", "tied"]);
    expect(verdict).toMatch(/^These data cannot tell \w+ \(prediction error .* from \w+ \(/);
  });

  test("is found with its repetition, where tokens are repeated", () => {
    const points = strewnSweep({ points: 80 }).map(({ n, d }, k) => {
      const unique = d / [1, 2, 5, 15][k % 4]!;
      const fresh = unique + unique * 6 * (1 - Math.exp(-(d / unique - 1) / 6));
      return { n, d, unique, loss: lossOf(hoffmann, n, fresh) * Math.exp(0.002 * normal(4, k)) };
    });
    const comparison = compareForms(points);
    expect(comparison.forms.map(({ name }) => name)).toEqual(["chinchilla", "tied", "kaplan", "muennighoff"]);
    expect(comparison.best).toBe("muennighoff");
  });
});

describe("the numbers", () => {
  const points = golden.surface.points.map(({ error: _, ...point }) => point);
  const comparison = compareForms(points, ["chinchilla", "tied"]);

  test("AICc and BIC are those of SciPy's sums of squares", () => {
    const n = points.length;
    const criteria = (name: string, k: number) => {
      const likelihood = n * Math.log(golden.surface.fits[name]!.objective / n);
      return [likelihood + 2 * k + (2 * k * (k + 1)) / (n - k - 1), likelihood + k * Math.log(n)];
    };
    const [five, four] = [criteria("squared, log", 6), criteria("tied", 5)];
    const lowest = [0, 1].map((which) => Math.min(five[which]!, four[which]!));
    const { aicc, bic, parameters } = form(comparison, "tied");
    expect(parameters).toBe(4);
    expect(aicc).toBeCloseTo(four[0]! - lowest[0]!, 5);
    expect(bic).toBeCloseTo(four[1]! - lowest[1]!, 5);
    expect(form(comparison, "chinchilla").aicc).toBeCloseTo(five[0]! - lowest[0]!, 5);
  });

  test("a step is the error of a fit of the smaller runs on the next larger ones", () => {
    const { steps, rollout } = form(comparison, "tied");
    const order = [...points].sort((one, other) => one.n * one.d - other.n * other.d);
    expect(steps.map(({ fitted }) => fitted)).toEqual([9, 14, 18, 23, 27, 32]);
    const [small, large] = [order.slice(0, 18), order.slice(18, 23)];
    const { params } = fitLawNow(small, { objective: "squared", tie: [["alpha", "beta"]] });
    const errors = large.map(({ n, d, loss }) => lossOf(params as never, n, d) / loss - 1);
    const rms = Math.sqrt(errors.reduce((sum, error) => sum + error * error, 0) / errors.length);
    expect(steps[2]!.rms).toBeCloseTo(rms, 8);
    const all = Math.sqrt(steps.reduce((sum, step) => sum + step.rms! ** 2, 0) / steps.length);
    expect(rollout!.rms).toBeCloseTo(all, 8);
  });

  test("points of a run that is to be predicted are not fitted", () => {
    const runs = points.map((point, k) => ({ ...point, group: `run ${k % 12}` }));
    const { steps } = form(compareForms(runs, ["tied", "kaplan"]), "tied");
    const order = [...runs].sort((one, other) => one.n * one.d - other.n * other.d);
    const last = steps.at(-1)!;
    const large = order.slice(36 - last.predicted);
    const gone = new Set(large.map(({ group }) => group));
    expect(last.fitted).toBe(order.slice(0, 36 - last.predicted).filter(({ group }) => !gone.has(group)).length);
    expect(last.fitted).toBeLessThan(36 - last.predicted);
  });

  test("a form that cannot be fitted is left out, and the others are compared", () => {
    const { forms, best, undecided } = compareForms(points, ["chinchilla", "muennighoff", "kaplan"]);
    expect(forms[1]).toMatchObject({ name: "muennighoff", refused: expect.stringMatching(/unique/) });
    expect(forms[1]!.rollout).toBeUndefined();
    expect([best, ...undecided]).not.toContain("muennighoff");
    expect(forms[0]!.rollout!.rms).toBeGreaterThan(0);
    expect(compareForms(points, ["muennighoff", "kaplan"]).verdict).toBe(
      "There is nothing to compare: only kaplan could be fitted to these points.",
    );
  });

  test("weights count in the criteria as in the fit: a point of weight 2 is one that was measured twice", () => {
    const weighted = points.map((point, k) => ({ ...point, weight: k % 3 === 0 ? 2 : 1 }));
    const [chinchilla, tied] = compareForms(weighted, ["chinchilla", "tied"]).forms;
    const n = points.length;
    const sum = ({ residuals }: { residuals?: readonly number[] }) =>
      residuals!.reduce((total, r, k) => total + weighted[k]!.weight * r * r, 0);
    const likelihoods = n * Math.log(sum(tied!.fit!) / sum(chinchilla!.fit!));
    expect(tied!.bic! - chinchilla!.bic!).toBeCloseTo(likelihoods - Math.log(n), 8);
    expect(chinchilla!.bic).not.toBeCloseTo(form(comparison, "chinchilla").bic!, 3);
  });

  test("too few groups of compute are refused", () => {
    expect(() => compareForms(points.slice(0, 10))).toThrow("Cannot compare forms: 10 points in 3 groups");
  });
});

test("the command prints forms, steps and the verdict, and JSON", async () => {
  const file = path.join(import.meta.dirname, "../../scaling/results/novels.csv");
  const call = async (...flags: string[]) => {
    let [out, err] = ["", ""];
    const io = {
      stdout: { write: (text: string) => (out += text) },
      stderr: { write: (text: string) => (err += text) },
    };
    return { code: await main(["scaling", "compare", file, ...flags], io), out, err };
  };
  const printed = await call("--forms=tied,kaplan");
  expect(printed).toMatchObject({ code: 0, err: "" });
  expect(printed.out).toMatch(/^form +constants +scatter +ΔAICc +ΔBIC +rollout error \(rms\) +on average$/m);
  expect(printed.out).toMatch(/^predicted from C = +fitted runs +predicted +tied +kaplan$/m);
  expect(printed.out).toContain("These data cannot tell");
  for (const [flag, message] of [
    ["--forms=chinchilla", "Cannot compare chinchilla with nothing: name two forms or more with --forms, of"],
    ["--forms=chinchilla,muennighoff", "the points lack the number of unique tokens; name that column with --unique"],
  ] as const) {
    const refused = await call(flag);
    expect(refused).toMatchObject({ code: 1, out: "" });
    expect(refused.err).toContain(message);
  }
  const { verdict, forms } = JSON.parse((await call("--forms=tied,kaplan", "--json")).out) as ReturnType<
    typeof compareForms
  >;
  expect(forms.map(({ name }) => name)).toEqual(["tied", "kaplan"]);
  expect(printed.out.replaceAll(/\s+/g, " ")).toContain(verdict);
  expect((await call("--forms=tide")).err).toContain('"tide" is not one of chinchilla, tied');
});
