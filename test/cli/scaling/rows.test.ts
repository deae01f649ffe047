/** Rows and columns of other people's tables: conditions, expressions, weights, units, and predictions for new rows. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { main } from "../../../lib/cli/main.js";
import { inFlags } from "../../../lib/cli/scaling/shared/warnings.js";
import { fitLawNow } from "../../../scaling/fit.js";
import type { Fit, Point } from "../../../scaling/points.js";
import { predict, relativeErrors } from "../../../scaling/questions/predict.js";
import { isoflopSweep } from "../../scaling/simulate.js";

let folder: string;
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-rows-"));
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

async function folio(part: string, ...argv: string[]) {
  let [out, err] = ["", ""];
  const stdout = { write: (more: string) => (out += more) };
  const code = await main(["scaling", part, ...argv], { stdout, stderr: { write: (more: string) => (err += more) } });
  return { code, out, err };
}

function csv(name: string, head: string, rows: readonly (readonly unknown[])[]): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, `${[head, ...rows.map((row) => row.join(","))].join("\n")}\n`);
  return file;
}

const sweep = isoflopSweep({ noise: 0.004, width: 3, sizes: 7 });
const two = [...sweep.map((point) => ({ ...point, set: "c4" })), ...sweep.map((p) => ({ ...p, loss: 9, set: "x" }))];
const columns = (
  points: readonly (Point & { set?: string })[],
  more: (point: Point, k: number) => unknown[] = () => [],
) => points.map(({ n, d, c, loss, set = "" }, k) => [n, d, c, loss, set, ...more({ n, d, loss }, k)]);
const head = "n,d,c,loss,set";

const plain = ["--method=projection", "--bootstrap=0"];
async function fitted(file: string, ...flags: string[]): Promise<Fit> {
  const { code, out, err } = await folio("fit", file, ...plain, ...flags, "--json", "-");
  expect({ code, err }).toEqual({ code: 0, err: "" });
  return JSON.parse(out) as Fit;
}
async function refused(file: string, ...flags: string[]): Promise<string> {
  const { code, out, err } = await folio("fit", file, ...plain, ...flags, "--json", "-");
  expect({ code, out }).toEqual({ code: 1, out: "" });
  expect(err.trim().split("\n")).toHaveLength(1);
  return err;
}

const wanted = fitLawNow(sweep, { method: "projection" });
const expectWanted = (fit: Fit) => {
  for (const [name, value] of Object.entries(wanted.params)) expect(fit.params[name]! / value).toBeCloseTo(1, 6);
};

describe("rows", () => {
  test("are those for which --where holds", async () => {
    const file = csv("two.csv", head, columns(two));
    expectWanted(await fitted(file, "--where", "d.set == 'c4'"));
    expectWanted(await fitted(file, "--where", "d => d.loss < 8 && startswith(d.set, 'c')"));
  });

  test("of --hold_out are predicted, not fitted", async () => {
    const largest = Math.max(...sweep.map(({ c }) => c!));
    const file = csv("held.csv", head, columns(sweep));
    const rest = sweep.filter(({ c }) => c! < largest);
    const fit = await fitted(file, "--hold_out", `d.c == ${largest}`);
    const alone = fitLawNow(rest, { method: "projection" });
    expect(fit.params.alpha! / alone.params.alpha!).toBeCloseTo(1, 6);
    expect(fit.dropped).toHaveLength(7);
    const { rows } = predict(
      alone,
      sweep.filter(({ c }) => c === largest),
    );
    const rms = Math.sqrt(rows.reduce((sum, { error }) => sum + error! ** 2, 0) / rows.length);
    const { out } = await folio("fit", file, ...plain, "--hold_out", `d.c == ${largest}`);
    expect(out).toContain(`7 rows held out by role or --hold_out: prediction error ${(100 * rms).toFixed(2)} % (rms)`);
  });

  test.each([
    ["d.los < 3", 'Cannot read --where "d.los < 3": Invalid column reference: "d.los"; write an expression'],
    ["process.exit(1)", "Invalid function call"],
    ["d.loss <", "Expression parse error"],
    ["d.constructor", "Invalid column reference"],
    ["d.loss + 1", "at row 1 it is"],
    ["d.loss < 0", 'no row fulfils --where "d.loss < 0"'],
  ])("cannot be chosen by %s", async (condition, message) => {
    expect(await refused(csv("plain.csv", head, columns(sweep)), "--where", condition)).toContain(message);
  });
});

describe("rows in messages", () => {
  const spoiled = () => {
    const rows = columns(sweep);
    rows[29]![3] = Number(rows[29]![3]) * 1.5;
    return csv("out.csv", head, rows);
  };

  test("are those of the file, counted below the header, whatever was left out before", async () => {
    const file = spoiled();
    const { n, d, loss } = sweep[29]!;
    const numbers = `N ${n.toExponential(2)}, D ${d.toExponential(2)}, loss ${(1.5 * loss).toFixed(4)} nats`;
    for (const flags of [[], [`--where=d.n != ${sweep[0]!.n}`], [`--hold_out=d.n == ${sweep[0]!.n}`]]) {
      const { warnings } = await fitted(file, ...flags);
      const outlier = warnings.find(({ kind }) => kind === "outlier");
      expect(outlier!.message.replaceAll("e+", "e")).toContain(`row 30 (${numbers.replaceAll("e+", "e")}; `);
    }
  });

  test("of errors are those of the file, too", async () => {
    const rows = columns(sweep);
    rows[4]![1] = 0.005;
    rows[2]![4] = "out";
    const file = csv("small.csv", head, rows);
    const where = "--where=d.set != 'out'";
    expect(await refused(file, where)).toContain("D of row 5 is 0.005, which is too small");
    expect((await folio("next", file, "--budget=1e21", where)).err).toContain("D of row 5 is 0.005");
    expect((await folio("compare", file, where)).out).toContain("D of row 5 is 0.005");
    expect((await folio("report", file, "--bootstrap=0", where, "--json")).out).toContain("D of row 5 is 0.005");
    const fitFile = path.join(folder, "points.json");
    fs.writeFileSync(fitFile, JSON.stringify({ ...wanted, params: { ...wanted.params, beta: 300 } }));
    const lacking = csv("rows.csv", "n,d,x", [
      [1e9, 1e10, 0],
      [1e9, 1e-2, 1],
    ]);
    expect((await folio("predict", fitFile, lacking, "--where=d.x > 0")).err).toContain("Cannot predict row 2: ");
  });

  test("that are all held out leave none to fit, which is said", async () => {
    const file = csv("held.csv", head, columns(sweep));
    expect(await refused(file, "--hold_out=d.loss > 0")).toContain(
      `held.csv: --hold_out "d.loss > 0" matches all ${sweep.length} rows, which leaves none to fit; narrow this condition.`,
    );
    expect(await refused(file, "--hold_out=d.loss > 0", "--where=d.n > 1e9")).toContain("matches all of the chosen");
    expect((await folio("accuracy", file, "--accuracy=d.loss / 9", "--hold_out=d.loss > 0")).err).toContain(
      `"d.loss > 0" matches all ${sweep.length} rows`,
    );
  });
});

describe("a column that is not there", () => {
  const names = ["params", "tokens", "val_loss", "Dataset", "seed"];
  const of = async (part: string, ...flags: string[]) => {
    const file = csv("theirs.csv", names.join(), [[1e6, 1e9, 3, "c4", 1]]);
    return (await folio(part, file, ...flags)).err;
  };
  const all = `he columns are ${names.join(", ")}.`;

  test("is looked for in names that contain it, or that it contains", async () => {
    expect(await of("fit", "--n=params", "--d=tokens")).toContain(
      `it has no column "loss" (for loss); did you mean "val_loss"? T${all}`,
    );
    expect(await of("fit", "--n=params_total", "--d=tokens", "--loss=seed")).toContain(
      `did you mean "params"? T${all}`,
    );
    expect(await of("accuracy", "--accuracy=seed")).toContain('did you mean "val_loss"?');
    expect(await of("decide", "--recipe=data", "--scale=params", "--score=seed")).toContain('did you mean "Dataset"?');
  });

  test("is not guessed from other names", async () => {
    expect(await of("decide")).toContain(`it has no column "recipe" (for recipe); t${all}`);
    expect(await of("fit", "--n=parms", "--d=tokens", "--loss=seed")).toContain('did you mean "params"?');
  });

  test("and that no flag names, is asked for with all columns", async () => {
    expect(await of("fit")).toContain(
      `name the column of parameters with --n, and that of tokens with --d, or of FLOPs with --c (C = 6ND); t${all}`,
    );
    expect(await of("fit", "--n=params")).toContain(
      `name the column of tokens with --d, or of FLOPs with --c (C = 6ND); t${all}`,
    );
    expect(await of("fit", "--method=power", "--over=d", "--n=params")).toContain(`name its column with --d; t${all}`);
  });
});

describe("flags in messages", () => {
  test.each([
    ["--bootstrap=-5", 'Cannot read --bootstrap: "-5" is not a whole number of at least 0.'],
    ["--drop_highest=-1", 'Cannot read --drop_highest: "-1" is not a whole number of at least 0.'],
    ["--threads=0", 'Cannot read --threads: "0" is not a whole number above 0.'],
    ["--delta=no", 'Cannot read --delta: "no" is not a number above 0.'],
    ["--objectiv=huber", "there is no flag --objectiv; did you mean --objective?"],
    ["--loss_units=bits", "there is no flag --loss_units; did you mean --loss_unit?"],
    ["--colour=red", "there is no flag --colour; see `folio scaling fit --help`"],
  ])("%s", async (flag, message) => {
    const said = await refused(csv("flags.csv", head, columns(sweep)), flag);
    expect(said).toContain(message);
    expect(said).not.toContain("hold-out");
  });

  test("that no flag of the part can follow, or that are of no use in it, are not given", async () => {
    const file = csv("flags.csv", head, columns(sweep));
    const next = await folio("next", file, "--budget=1e21", "--bootstrap=100");
    expect(next.code).toBe(0);
    expect(next.out).not.toContain("95 % interval");
    const c = Array.from({ length: 12 }, (_, k) => 1e18 * 3 ** k);
    const broken = csv(
      "broken.csv",
      "c,loss",
      c.map((flops) => [flops, 2 + 1e4 * flops ** -0.25]),
    );
    const { out } = await folio("fit", broken, "--method=broken", "--breaks=2", "--bootstrap=0");
    expect(out).not.toContain("maxIterations");
    expect(inFlags([{ kind: "stopped-early", message: "So. Raise maxIterations." }])[0]!.message).toBe(
      "So. Add points, fix or tie constants that the points do not determine (--fix, --tie), or fit by another method.",
    );
  });

  test("--json that prints takes no file, which is said", async () => {
    const file = csv("flags.csv", head, columns(sweep));
    for (const flags of [["--json", "new.json"], ["--json=new.json"]]) {
      expect((await folio("compare", file, ...flags)).err).toContain(
        "Cannot write new.json: --json of `folio scaling compare` takes no file, it prints; add > new.json instead.",
      );
    }
  });

  test("--min_rate of a curve may be 0, but not below", async () => {
    const { err } = await folio("curve", folder, "--schedule=linear", "--min_rate=-1");
    expect(err).toContain("there is no");
    expect((await folio("next", "x.csv", "--budget=0")).err).toContain(
      'Cannot read --budget: "0" is not a number above 0.',
    );
  });
});

describe("columns", () => {
  test("may be expressions: logarithms, other units, tokens per parameter", async () => {
    const rows = sweep.map(({ n, d, loss }) => [Math.log10(n), d / n, Math.log(loss)]);
    const file = csv("logs.csv", "log_n,ratio,ln_loss", rows);
    const flags = ["--n", "10 ** d.log_n", "--d", "d.ratio * 10 ** d.log_n", "--loss", "exp(d.ln_loss)"];
    expectWanted(await fitted(file, ...flags));
    expect(await refused(file, "--n", "10 ** d.lgn", "--d", "d.ratio", "--loss", "d.ln_loss")).toContain(
      'Cannot read the column for n "10 ** d.lgn"',
    );
  });

  test("of losses may be bits or perplexities, with their errors", async () => {
    const error = (k: number) => 0.004 * (1 + (k % 3));
    const errors = fitLawNow(
      sweep.map((point, k) => ({ ...point, error: error(k) })),
      { method: "projection" },
    );
    const units = {
      nats: ({ loss }: Point, k: number) => [loss, error(k)],
      bits: ({ loss }: Point, k: number) => [loss / Math.LN2, error(k) / Math.LN2],
      ppl: ({ loss }: Point, k: number) => [Math.exp(loss), error(k) * Math.exp(loss)],
    };
    for (const [unit, of] of Object.entries(units)) {
      const file = csv(`${unit}.csv`, "n,d,c,zero,set,measured,error", columns(sweep, of));
      const named = ["--n=n", "--d=d", "--loss=measured", `--loss_unit=${unit}`];
      expectWanted(await fitted(file, ...named));
      const fit = await fitted(file, ...named, "--errors=error");
      expect(fit.params.E! / errors.params.E!).toBeCloseTo(1, 6);
      expect(fit.params.E! / wanted.params.E!).not.toBeCloseTo(1, 4);
    }
    const file = csv("low.csv", head, columns(sweep.map((point, k) => (k === 3 ? { ...point, loss: 0.9 } : point))));
    expect(await refused(file, "--loss_unit=ppl")).toContain("row 4 has a perplexity of 0.9");
    expect(await refused(file, "--loss_unit=nat")).toContain('"nat" is not one of nats, bits, ppl');
  });

  test("of weights count a row so many times", async () => {
    const file = csv(
      "weights.csv",
      `${head},w`,
      columns(sweep, (_, k) => [k % 2 ? 3 : 1]),
    );
    const weighed = await fitted(file, "--weights=w");
    const thrice = fitLawNow(
      sweep.flatMap((point, k) => (k % 2 ? [point, point, point] : [point])),
      { method: "projection" },
    );
    expect(weighed.params.alpha! / thrice.params.alpha!).toBeCloseTo(1, 5);
    expect(await refused(file, "--weights=set")).toContain('nothing in column "set", where a number above 0');
  });
});

describe("constants and objectives by flags", () => {
  test("are those of the options", async () => {
    const file = csv("flags.csv", head, columns(sweep));
    const fit = await fitted(file, "--fix=E:1.7", "--tie=alpha,beta", "--scale=linear", "--asymmetry=.3");
    const options = { fix: { E: 1.7 }, tie: [["alpha", "beta"]], scale: "linear", asymmetry: 0.3 } as const;
    expect(fit.params).toEqual(fitLawNow(sweep, { method: "projection", ...options }).params);
    expect(fit).toMatchObject({ objective: { loss: "squared", scale: "linear", asymmetry: 0.3 } });
    const akima = ["--method=isoflop", "--curve=akima", "--seed_noise=0.003", "--window=2"];
    const found = await fitted(file, ...akima);
    const same = { method: "isoflop", curve: "akima", seedNoise: 0.003, window: 2 } as const;
    expect(found.optima).toEqual(fitLawNow(sweep, same).optima);
  });

  test.each([
    ["--fix=E", 'Cannot read --fix: "E" is not a name and a number, such as E:1.7.'],
    ["--fix=E:x", 'Cannot read --fix: "E:x"'],
    ["--tie=alpha", "Cannot tie alpha: name at least two"],
    ["--objective=mae", '"mae" is not one of huber, squared'],
    ["--curve=akima", "Cannot use --curve with the method projection: it is for --method isoflop."],
    ["--seed_noise=.01", "Cannot use --seed_noise with the method projection"],
  ])("%s is refused", async (flag, message) => {
    expect(await refused(csv("flags.csv", head, columns(sweep)), flag)).toContain(message);
  });
});

describe("folio scaling predict", () => {
  test("prints, writes and compares the losses of new rows", async () => {
    const largest = Math.max(...sweep.map(({ c }) => c!));
    const file = csv("new.csv", head, columns(sweep));
    const fitFile = path.join(folder, "fit.json");
    await folio(
      "fit",
      file,
      "--method=projection",
      "--bootstrap=200",
      "--where",
      `d.c < ${largest}`,
      "--json",
      fitFile,
    );
    const out = path.join(folder, "predicted.csv");
    const flags = [fitFile, file, "--where", `d.c == ${largest}`];
    const printed = await folio("predict", ...flags, "--out", out);
    expect(printed).toMatchObject({ code: 0, err: "" });
    expect(printed.out).toMatch(
      /7 trainings by .*fit\.json \(projection\); the law's intervals from 200 bootstrap refits/,
    );
    expect(printed.out).toMatch(/^7 measured: prediction error 0\.\d+ % \(rms\).* within the 80 % interval of a run/m);
    const json = JSON.parse((await folio("predict", ...flags, "--json")).out) as { rows: Record<string, unknown>[] };
    const fit = JSON.parse(fs.readFileSync(fitFile, "utf8")) as Fit;
    const same = predict(
      fit,
      sweep.filter(({ c }) => c === largest),
    );
    expect(json.rows.map(({ loss }) => loss)).toEqual(same.rows.map(({ loss }) => loss));
    expect(json.rows[0]).toMatchObject({ row: 36, law: same.rows[0]!.law, run: same.rows[0]!.run });
    const [names, first] = fs.readFileSync(out, "utf8").split("\n");
    expect(names!.split(",").slice(0, 8)).toEqual([
      "n",
      "d",
      "c",
      "loss",
      "law_low80",
      "law_high80",
      "law_low95",
      "law_high95",
    ]);
    expect(Number(first!.split(",")[3])).toBe(same.rows[0]!.loss);
  });

  test("reads measured losses in the unit of the fit's table, and says so; errors are relative in every place", async () => {
    const rows = columns(sweep, ({ loss }) => [loss / Math.LN2, 1.5 * Math.exp(loss) ** 1.2]);
    const file = csv("bits.csv", "n,d,c,zero,set,bits,ppl", rows);
    const fitFile = path.join(folder, "bits.json");
    await folio("fit", file, ...plain, "--loss=bits", "--loss_unit=bits", "--json", fitFile);
    expect(JSON.parse(fs.readFileSync(fitFile, "utf8"))).toMatchObject({ lossUnit: "bits" });
    const same = await folio("predict", fitFile, file, "--loss=bits");
    expect(same.out).toContain(
      "Losses are in nats per token; the measured ones were read as bits, as those of the fit.",
    );
    expect(same.out).toMatch(/^60 measured: prediction error 0\.\d\d % \(rms\)|^42 measured: prediction error 0\./m);
    const other = ["predict", fitFile, file, "--loss=ppl", "--loss_unit=ppl"];
    const out = path.join(folder, "errors.csv");
    const printed = await folio(other[0]!, ...other.slice(1), "--out", out);
    expect(printed.out).toContain("read as perplexities, as --loss_unit says.");
    const json = JSON.parse((await folio(other[0]!, ...other.slice(1), "--json")).out);
    expect(json).toMatchObject({ lossUnit: "nats", measuredIn: "ppl" });
    const errors = json.rows.map(({ loss, measured }: Record<string, number>) => loss! / measured! - 1) as number[];
    expect(json.rows.map(({ error }: { error: number }) => error)).toEqual(errors.map((e) => expect.closeTo(e, 12)));
    const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
    expect(mean).toBeLessThan(-0.2);
    expect(printed.out).toContain(`, ${(100 * mean).toFixed(2)} % on average`);
    const written = fs.readFileSync(out, "utf8").trim().split("\n").slice(1);
    expect(written.map((line) => Number(line.split(",").at(-1)))).toEqual(errors.map((e) => expect.closeTo(e, 12)));
    // The held-out check of a fit has only the moments of ln(predicted / measured).
    expect(relativeErrors({ rms: 0.37, bias: -0.37 })).toEqual({
      rms: expect.closeTo(1 - Math.exp(-0.37), 12),
      bias: expect.closeTo(Math.exp(-0.37) - 1, 12),
    });
    const apart = [0.02, -0.01, 0.03, 0];
    const moments = (of: readonly number[]) => ({
      rms: Math.sqrt(of.reduce((sum, x) => sum + x * x, 0) / of.length),
      bias: of.reduce((sum, x) => sum + x, 0) / of.length,
    });
    const exact = moments(apart.map(Math.expm1));
    expect(relativeErrors(moments(apart)).rms).toBeCloseTo(exact.rms, 5);
    expect(relativeErrors(moments(apart)).bias).toBeCloseTo(exact.bias, 6);
  });

  test("needs no losses, and says what is missing", async () => {
    const fitFile = path.join(folder, "bare.json");
    fs.writeFileSync(fitFile, JSON.stringify(wanted));
    const places = csv("places.csv", "n,d", [[1e9, 2e10]]);
    const { code, out } = await folio("predict", fitFile, places);
    expect(code).toBe(0);
    expect(out).toContain("the law's intervals from the covariance of the constants");
    expect(out).not.toContain("measured");
    expect((await folio("predict", fitFile)).err).toContain("name a fit");
    expect((await folio("predict", places, places)).err).toContain("it is not JSON");
    const lacking = csv("lacking.csv", "n,loss", [[1e9, 2]]);
    expect((await folio("predict", fitFile, lacking)).err).toContain("it has no D; name the column of tokens");
  });
});

describe("a file to write", () => {
  const here = (name: string) => path.join(folder, name);
  const outputs: [part: string, words: (table: string) => string[], flag: string][] = [
    ["fit", (table) => [table, ...plain], "--json"],
    ["report", (table) => [table, "--bootstrap=0"], "--out"],
    ["predict", (table) => [here("written.json"), table], "--out"],
    ["plan", (table) => [table], "--out"],
  ];

  test.each(outputs)("of %s is none that it reads, under any name", async (part, words, flag) => {
    fs.writeFileSync(here("written.json"), JSON.stringify(wanted));
    const file = csv("mine.csv", head, columns(sweep));
    const before = fs.readFileSync(file);
    for (const link of ["soft.csv", "hard.csv"]) fs.rmSync(here(link), { force: true });
    fs.symlinkSync(file, here("soft.csv"));
    fs.linkSync(file, here("hard.csv"));
    for (const name of ["mine.csv", "./mine.csv", "soft.csv", "hard.csv"]) {
      const { code, out, err } = await folio(part, ...words(file), flag, `${folder}/${name}`);
      expect({ code, out }).toEqual({ code: 1, out: "" });
      expect(err).toContain(`name another file with ${flag}.`);
      expect(fs.readFileSync(file)).toEqual(before);
    }
    // The other direction: the table is named by a link.
    const { err } = await folio(part, ...words(here("soft.csv")), flag, file);
    expect(err).toContain(`it is the same file as ${here("soft.csv")}, and its content would be lost`);
  });

  test("of predict is not the fit either, and a report's own name is not that of its table", async () => {
    fs.writeFileSync(here("written.json"), JSON.stringify(wanted));
    const page = csv("page.html", head, columns(sweep));
    expect((await folio("predict", here("written.json"), page, "--out", here("written.json"))).err).toContain(
      "this command reads it",
    );
    expect((await folio("report", page, "--bootstrap=0")).err).toContain("name another file with --out");
  });

  test.each(outputs.slice(0, 3))("of %s has a folder, before any work", async (part, words, flag) => {
    fs.writeFileSync(here("written.json"), JSON.stringify(wanted));
    // The table does not exist, which would be said next.
    const missing = await folio(part, ...words(here("absent.csv")), flag, here("nowhere/x"));
    expect(missing.err).toContain(`Cannot write ${here("nowhere/x")}: there is no folder ${here("nowhere")}; make it`);
    expect((await folio(part, ...words(here("absent.csv")), flag, folder)).err).toContain(
      "it is a folder; name a file",
    );
  });

  test("is never a table by the advice of a message", async () => {
    const file = csv("mine.csv", head, columns(sweep));
    for (const { err } of [
      await folio("predict", file, file),
      await folio("optimum", `--law=${file}`, "--budget=1e9"),
    ]) {
      expect(err).toContain(`fit it first: \`folio scaling fit ${file} … --json fit.json\``);
    }
    const rows = here("rows.json");
    fs.writeFileSync(rows, JSON.stringify(sweep));
    expect((await folio("predict", rows, rows)).err).toContain(`${rows}: it is a table; to use a table`);
  });
});
