import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { main } from "../../../lib/cli/main.js";
import { fitLawNow } from "../../../scaling/fit.js";
import { kaplan, laws, surfaceLoss } from "../../../scaling/laws.js";
import { optimumOfBudget } from "../../../scaling/optimum.js";
import type { Fit } from "../../../scaling/points.js";

const folder = mkdtempSync(join(tmpdir(), "folio-optimum-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function folio(...argv: string[]) {
  let [out, err] = ["", ""];
  const stdout = { write: (more: string) => (out += more) };
  const code = await main(["scaling", ...argv], { stdout, stderr: { write: (more: string) => (err += more) } });
  return { code, out, err };
}

type Json = Record<string, unknown> & { n: number; d: number; c: number; loss: number | null };

async function json(...argv: string[]): Promise<Json> {
  const { code, out, err } = await folio("optimum", ...argv, "--json");
  expect({ code, err }).toEqual({ code: 0, err: "" });
  return JSON.parse(out) as Json;
}

/** Writes a modified fit of noise-free points on Epoch's surface. */
function fitFile(name: string, change: Partial<Fit> = {}, { c = 6 } = {}): string {
  const { surface } = laws.epoch;
  const points = [1e18, 1e19, 1e20, 1e21].flatMap((budget) =>
    [0.25, 0.4, 0.6, 1, 1.6, 2.5, 4].map((times) => {
      const n = times * optimumOfBudget(surface, budget).n;
      const d = budget / (6 * n);
      const counted = c === 6 ? {} : { c: c * n * d, nConvention: "blocks-head", flopsConvention: "palm" };
      return { n, d, loss: surfaceLoss(surface, n, d), ...counted };
    }),
  );
  const file = join(folder, name);
  writeFileSync(file, JSON.stringify({ ...fitLawNow(points, { method: "projection" }), ...change }));
  return file;
}

describe("folio scaling", () => {
  test("lists its subcommands and shows the help of one", async () => {
    const { out } = await folio("--help");
    for (const part of ["fit", "optimum", "plan", "run", "status", "tune", "report"])
      expect(out).toMatch(new RegExp(`^ {2}${part} `, "m"));
    const direct = await folio("optimum", "--help");
    expect(direct.out).toContain("Usage: folio scaling optimum");
    const named = [...out.matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, part]) => part!);
    expect(named.length).toBe(13);
    const helps = await Promise.all(named.map((part) => folio(part, "--help")));
    expect(helps.flatMap((help) => help.out.split("\n").filter((line) => line.length > 120))).toEqual([]);
    expect(await folio()).toMatchObject({ code: 0, out });
  });

  test("names the nearest subcommand", async () => {
    expect(await folio("optimun")).toEqual({
      code: 1,
      out: "",
      err: "folio: Cannot do `folio scaling optimun`: there is no such part; did you mean `folio scaling optimum`?\n",
    });
  });
});

describe("folio scaling optimum", () => {
  // Closed form at nanoGPT's budget; test/scaling/laws.test.ts.
  test("gives N, D and loss of a published law as a table, with its conventions and why there are no intervals", async () => {
    const { code, out } = await folio("optimum", "--budget", "2.21e19", "--law", "hoffmann");
    expect(code).toBe(0);
    expect(out).toMatch(/^hoffmann: Hoffmann 2022, eq\. 10, as printed$/m);
    expect(out).toMatch(
      /^L\(N, D\) = 1\.69 \+ 406\.4 N\^-0\.34 \+ 410\.7 D\^-0\.28; N\* ∝ C\^0\.452, D\* ∝ C\^0\.548$/m,
    );
    expect(out).toMatch(/^N: blocks-head, /m);
    expect(out).toMatch(/^C: 6ND, /m);
    expect(out).toMatch(/^parameters, N +326\.1M$/m);
    expect(out).toMatch(/^tokens, D +11\.29B$/m);
    expect(out).toMatch(/^no intervals: none are published for its optimum/m);
    expect(out).toMatch(/^warning \(rounded-constants\): /m);
  });

  test("gives the same as JSON", async () => {
    expect(await json("--budget=2.21e19", "--law=hoffmann-unrounded")).toMatchObject({
      law: "hoffmann-unrounded",
      question: { budgetFlops: 2.21e19 },
      ...optimumOfBudget(laws["hoffmann-unrounded"].surface, 2.21e19),
      c: 2.21e19,
      intervals: null,
      conventions: { parameters: "blocks-head", flops: "6ND", flopsPerProduct: 6 },
      warnings: [],
    });
  });

  test("answers the other questions (a loss, a size, tokens) consistently with their inverses", async () => {
    const best = await json("--law=epoch", "--budget=1e21");
    const { n, d, loss } = best;
    for (const flags of [[`--loss=${loss}`], [`--parameters=${n}`], [`--tokens=${d}`]]) {
      const same = await json("--law=epoch", ...flags);
      expect(same.n / n).toBeCloseTo(1, 9);
      expect(same.d / d).toBeCloseTo(1, 9);
    }
    const trained = await json("--law=epoch", `--parameters=${n / 2}`, "--budget=1e21");
    expect(trained.d / d).toBeCloseTo(2, 9);
    expect(trained.loss).toBeGreaterThan(loss!);
    expect(trained.best).toMatchObject({ c: 1e21, loss });
    const longer = await json("--law=epoch", `--parameters=${n / 2}`, `--loss=${loss}`);
    expect(longer.d).toBeGreaterThan(trained.d);
    const larger = await json("--law=epoch", `--tokens=${d / 2}`, `--loss=${loss}`);
    expect(larger.n).toBeGreaterThan(n);
  });

  test("shows a training beside the optimum for the same FLOPs", async () => {
    const { out } = await folio("optimum", "--law=epoch", "--parameters=7e9", "--tokens=2e12");
    expect(out).toMatch(/^7\.000e\+9 parameters and 2\.000e\+12 tokens +best for these FLOPs$/m);
    expect(out).toMatch(/^parameters, N +7\.000B +26\.93B$/m);
    expect(out).toMatch(/^loss, nats per token +2\.0647 +2\.0388$/m);
  });

  test("counts inference, and repeated tokens", async () => {
    const plain = await json("--law=epoch", "--budget=1e21");
    const served = await json("--law=epoch", "--budget=1e21", "--inference_tokens=1e11");
    expect(served.n).toBeLessThan(plain.n);
    expect(served.c + 2 * served.n * 1e11).toBeCloseTo(served.totalFlops as number, -12);
    expect((served.totalFlops as number) / 1e21).toBeCloseTo(1, 9);
    const repeated = await json("--law=muennighoff", "--budget=1e21", "--unique-tokens=5e9");
    expect(repeated.epochs).toBeCloseTo(repeated.d / 5e9, 9);
    expect(repeated.epochs).toBeGreaterThan(4);
  });

  test("takes intervals from the refits of a fit", async () => {
    // Refits whose optimum is that of the fit times 1, 1.01 … 2, by changes of A and B (N* goes with (A / B)^(1 / (α +
    // β))).
    const { E, A, B, alpha, beta } = laws.epoch.surface;
    const bootstrap = Array.from({ length: 101 }, (_, k) => {
      const A2 = A * (1 + k / 100) ** (alpha + beta);
      return { E, A: A2, B, alpha, beta, a: beta / (alpha + beta), b: alpha / (alpha + beta) };
    });
    const file = fitFile("refits.json", { bootstrap });
    const answer = await json("--law", file, "--budget=1e20");
    const { n, d } = optimumOfBudget(laws.epoch.surface, 1e20);
    expect(answer.n / n).toBeCloseTo(1, 6);
    const { ci80, ci95 } = answer.intervals as Record<"ci80" | "ci95", Record<string, [number, number]>>;
    expect(ci80.n!.map((end) => Number((end / n).toFixed(6)))).toEqual([1.1, 1.9]);
    expect(ci95.n!.map((end) => Number((end / n).toFixed(6)))).toEqual([1.025, 1.975]);
    expect(ci80.d!.map((end) => Number((end / d).toFixed(6)))).toEqual([0.526316, 0.909091]);
    expect(Object.keys(ci80)).toEqual(["n", "d", "loss"]);
    const trained = await json("--law", file, "--parameters=1e9", "--tokens=2e10");
    expect(Object.keys((trained.intervals as Record<"ci80", object>).ci80)).toEqual(["loss"]);
    const { out } = await folio("optimum", `--law=${file}`, "--budget=1e20");
    expect(out).toMatch(/^1\.000e\+20 FLOPs +80 % +95 %$/m);
    expect(out).toMatch(/^intervals: quantiles of 101 bootstrap refits$/m);
  });

  test("says that a fit without refits has no intervals", async () => {
    const answer = await json(`--law=${fitFile("plain.json")}`, "--budget=1e20");
    expect(answer.intervals).toBeNull();
    expect(answer.intervalsFrom).toContain("--bootstrap 1000");
  });

  test("gives the optima of an IsoFLOP fit, which have no loss", async () => {
    const change: Partial<Fit> = {
      method: "isoflop",
      params: { nScale: 0.1, dScale: 1.6 },
      exponents: { a: 0.5, b: 0.5 },
      bootstrap: Array.from({ length: 21 }, (_, k) => ({ nScale: 0.1 + k / 100, dScale: 1.6, a: 0.5, b: 0.5 })),
    };
    const file = fitFile("isoflop.json", change);
    const answer = await json("--law", file, "--budget=1e20");
    expect(answer).toMatchObject({ n: 1e9, d: 1.6e10, loss: null });
    expect(answer.intervals).toMatchObject({ ci80: { d: [1.6e10, 1.6e10] } });
    expect((await json("--law", file, "--tokens=1.6e10")).c / 1e20).toBeCloseTo(1, 9);
    const { err } = await folio("optimum", "--law", file, "--loss=3");
    expect(err).toContain("gives optima but no losses");
  });

  test("gives the optimum of a fit of Kaplan's law; no other split of the budget has a lower loss", async () => {
    const params = { Nc: 6.4e13, Dc: 1.8e13, alphaN: 0.076, alphaD: 0.103 };
    const file = fitFile("kaplan.json", { method: "kaplan", params, bootstrap: [] });
    const answer = await json("--law", file, "--budget=6e20");
    const [n, d, loss] = [answer.n, answer.d, answer.loss!];
    expect((n * d) / 1e20).toBeCloseTo(1, 9);
    expect(loss).toBeCloseTo(kaplan.ofBoth(n, d), 9);
    for (const times of [0.9, 1.1]) expect(kaplan.ofBoth(n * times, d / times)).toBeGreaterThan(loss);
    expect(answer.exponents).toMatchObject({ a: expect.closeTo(0.103 / 0.179, 9) });
    const back = await json("--law", file, `--loss=${loss}`);
    expect([back.n / n, back.d / d]).toEqual([expect.closeTo(1, 6), expect.closeTo(1, 6)]);
    const given = await json("--law", file, `--loss=${loss}`, `--tokens=${2 * d}`);
    expect(kaplan.ofBoth(given.n, 2 * d)).toBeCloseTo(loss, 9);
    expect((await folio("optimum", "--law", file, "--budget=6e20")).out).toContain("^0.7379 + 1.80e+13 / D]^0.103");
    const refused = async (...flags: string[]) => (await folio("optimum", "--law", file, ...flags)).err;
    expect(await refused("--loss=2", "--tokens=1e9")).toContain(
      "training on 1.00e+9 tokens cannot go below 2.743; ask for a higher loss",
    );
    expect(await refused("--loss=1e-40")).toContain("Cannot reach a loss of 1e-40");
    expect(await refused("--budget=6e20", "--unique_tokens=1e9")).toContain("fit by repeated");
  });

  test("says that C is 6ND if it was computed from N and D", async () => {
    const { out } = await folio("optimum", "--law", fitFile("counted.json"), "--budget=8e20");
    expect(out).toMatch(/^C: 6ND, /m);
  });

  test("counts a budget by the convention of the fit's points", async () => {
    const file = fitFile("palm.json", {}, { c: 8 });
    const counted = JSON.parse((await folio("optimum", "--law", file, "--budget=8e20", "--json")).out) as Json;
    expect(counted.conventions).toEqual({
      parameters: "blocks-head",
      flops: "palm",
      flopsPerProduct: expect.closeTo(8, 9),
    });
    expect(counted.n / optimumOfBudget(laws.epoch.surface, 6e20).n).toBeCloseTo(1, 6);
  });

  test("warns of extrapolation with its factor, and of a fit that did not converge; not within the fitted range", async () => {
    const file = fitFile("wide.json");
    expect((await json("--law", file, "--budget=5e21")).warnings).toEqual([]);
    const far = await json("--law", file, "--budget=1e23");
    expect(far.warnings).toMatchObject([
      { kind: "extrapolation", message: expect.stringContaining("100 times the largest") },
    ]);
    const small = await json("--law", file, "--parameters=1e5", "--tokens=1e10");
    expect(small.warnings).toMatchObject([
      { kind: "extrapolation", message: expect.stringContaining("1.00e+5 parameters: the smallest") },
      { kind: "extrapolation" },
    ]);
    const stopped = await json("--law", fitFile("stopped.json", { converged: false }), "--budget=1e20");
    expect(stopped.warnings).toMatchObject([{ kind: "not-converged" }]);
  });

  test.each([
    [[], "name a law with --law: hoffmann, hoffmann-unrounded, epoch, muennighoff, or a file"],
    [["--law=epoc", "--budget=1e20"], "epoc is neither a law nor a file; did you mean epoch?"],
    [["--law=nowhere.json", "--budget=1e20"], "Cannot read the fit nowhere.json: there is no such file"],
    [["--law=package.json", "--budget=1e20"], "Cannot read the fit package.json: method: "],
    [["--law=README.md", "--budget=1e20"], "Cannot read the fit README.md: it is not JSON"],
    [["--law=epoch"], "nothing is asked for; give a budget, a loss, parameters or tokens"],
    [["--law=epoch", "--budget=x"], 'Cannot read --budget: "x" is not a number above 0'],
    [["--law=epoch", "--budget=-1"], "Cannot read --budget"],
    [["--law=epoch", "--budget=1e20", "--loss=3"], "for a budget and a loss there are two model sizes or none"],
    [["--law=epoch", "--budget=1e20", "--tokens=1e9", "--parameters=1e9"], "3 of a budget"],
    [["--law=epoch", "--loss=1.8"], "Cannot reach a loss of 1.8: the law cannot go below 1.817"],
    [
      ["--law=epoch", "--loss=1.9", "--parameters=1e6"],
      "by epoch, no training has a loss of 1.9 and 1.000e+6 parameters",
    ],
    [["--law=epoch", "--tokens=1e9", "--inference_tokens=1e9"], "give a budget or a loss"],
    [["--law=epoch", "--bugdet=1e20"], "there is no flag --bugdet; did you mean --budget?"],
    [["epoch", "--budget=1e20"], "epoch belongs to no flag"],
  ])("%j fails with one line", async (flags, message) => {
    const { code, out, err } = await folio("optimum", ...flags);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toContain(message);
    expect(err.trim().split("\n")).toHaveLength(1);
  });

  test("a fit of a law without optima is refused", async () => {
    const range = { n: [Number.NaN, Number.NaN], d: [1, 2], c: [1, 2] } as const;
    const file = fitFile("power.json", { method: "power", params: { E: 1, A: 2, alpha: 0.1 }, range });
    const { err } = await folio("optimum", "--law", file, "--budget=1e20");
    expect(err).toContain("(a fit by power) for an optimum: this method gives none; fit by parametric, projection");
  });
});
