import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parquetWriteFile } from "hyparquet-writer";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { main } from "../../../lib/cli/main.js";
import { kaplan } from "../../../scaling/laws.js";
import type { Fit, Point } from "../../../scaling/points.js";
import { hoffmann, isoflopSweep, lossOf } from "../../scaling/simulate.js";

let folder: string;
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-fit-"));
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

async function folio(...argv: string[]) {
  let [out, err] = ["", ""];
  const stdout = { write: (more: string) => (out += more) };
  const code = await main(["scaling", "fit", ...argv], { stdout, stderr: { write: (more: string) => (err += more) } });
  return { code, out, err };
}

/** Rows of text → a CSV file. */
function csv(name: string, head: string, rows: readonly (readonly unknown[])[]): string {
  const file = path.join(folder, name);
  fs.writeFileSync(file, `${[head, ...rows.map((row) => row.join(","))].join("\n")}\n`);
  return file;
}

const sweep = isoflopSweep({ noise: 0.002, width: 3 });
const rowsOf = (points: readonly Point[]) => points.map(({ n, d, c, loss }) => [n, d, c, loss]);

async function json(...argv: string[]): Promise<Fit> {
  const { code, out, err } = await folio(...argv, "--json", "-");
  expect({ code, err }).toEqual({ code: 0, err: "" });
  return JSON.parse(out) as Fit;
}

describe("folio scaling fit", () => {
  test("prints a table with intervals, and writes everything as JSON", async () => {
    const file = csv("sweep.csv", "n,d,c,loss", rowsOf(sweep));
    const out = path.join(folder, "fit.json");
    const result = await folio(file, "--method=projection", "--bootstrap=100", "--json", out);
    expect(result).toMatchObject({ code: 0, err: "" });
    expect(result.out).toMatch(/sweep\.csv: projection, 60 points; intervals from 100 refits$/m);
    expect(result.out).toMatch(/^ +estimate +error +80 % +95 %$/m);
    expect(result.out).toMatch(/^alpha +0\.3\d+ +0\.0\d+ +0\.3\d+ … 0\.3\d+ +0\.3\d+ … 0\.3\d+$/m);
    expect(result.out).toContain("warning (narrow-intervals): 100 refits are too few");
    expect(result.out.replaceAll(/\s+/g, " ")).toContain(
      "Losses are in nats per token. For C FLOPs, the best number of parameters N* grows as C^a, and that of tokens D* as C^b.",
    );
    const bits = await folio(file, "--method=projection", "--bootstrap=0", "--loss_unit=bits");
    expect(bits.out).toContain("Losses are in nats per token (the table's bits were converted).");
    const help = await folio("--help");
    expect(help.out).toMatch(/grows as C\^a, that of\ntokens as C\^b\. Losses are in nats/);
    const fit = JSON.parse(fs.readFileSync(out, "utf8")) as Fit;
    const keys = ["method", "params", "exponents", "huberSum", "converged", "se", "ci80", "ci95", "points", "dropped"];
    expect(Object.keys(fit)).toEqual(expect.arrayContaining([...keys, "influence", "warnings"]));
    expect(Object.keys(fit.params)).toEqual(["E", "A", "B", "alpha", "beta"]);
    expect(Object.keys(fit.exponents!)).toEqual(["a", "b"]);
    expect(fit.bootstrap).toHaveLength(100);
  });

  test("takes columns by any name, C for a missing D, and flags with - or _", async () => {
    const head = '"Model Size",Training FLOP,nats';
    const file = csv(
      "named.csv",
      head,
      sweep.map(({ n, c, loss }) => [n, c, loss]),
    );
    const flags = ["--n=Model Size", "--c=Training FLOP", "--loss=nats", "--method=projection", "--bootstrap=0"];
    const fit = await json(file, ...flags, "--drop_highest=2");
    expect(fit).toMatchObject({ method: "projection", converged: true, points: 58, intervals: "covariance" });
    expect(fit.dropped).toHaveLength(2);
    expect(await json(file, ...flags, "--drop-highest", "2")).toEqual(fit);
  });

  test("and predict and optimum do with a foreign table what the README says", async () => {
    const lines = fs.readFileSync("README.md", "utf8").split("**A table of your own**")[1]!.split("```")[1]!;
    const commands = [...lines.matchAll(/^npx folio scaling ([^#\n]*)/gm)].map(([, words]) =>
      words!.trim().split(/ +/),
    );
    expect(commands.map(([part]) => part)).toEqual(["fit", "predict", "optimum"]);
    csv(
      "runs.csv",
      "params,tokens,val_loss",
      sweep.map(({ n, d, loss }) => [n, d, loss / Math.LN2]),
    );
    csv("new.csv", "params,tokens", [[1e9, 2e10]]);
    const here = (word: string) => word.replace(/\b(runs\.csv|new\.csv|fit\.json)$/, (name) => path.join(folder, name));
    for (const words of commands) {
      let [out, err] = ["", ""];
      const io = {
        stdout: { write: (more: string) => (out += more) },
        stderr: { write: (more: string) => (err += more) },
      };
      const flags = words[0] === "fit" ? ["--bootstrap=100", "--method=projection"] : [];
      expect(await main(["scaling", ...words.map(here), ...flags], io)).toBe(0);
      expect(err).toBe("");
      expect(out).not.toBe("");
    }
    const fit = JSON.parse(fs.readFileSync(path.join(folder, "fit.json"), "utf8")) as Fit;
    expect(fit).toMatchObject({ lossUnit: "bits" });
    expect(fit.params.E! / hoffmann.E).toBeCloseTo(1, 1);
  });

  test("reads Parquet, integers of 64 bits included", async () => {
    const file = path.join(folder, "sweep.parquet");
    const columnData = [
      { name: "n", data: sweep.map(({ n }) => BigInt(Math.round(n))), type: "INT64" as const },
      { name: "d", data: sweep.map(({ d }) => d), type: "DOUBLE" as const },
      { name: "loss", data: sweep.map(({ loss }) => loss), type: "DOUBLE" as const },
    ];
    await parquetWriteFile({ filename: file, columnData });
    const fit = await json(file, "--method=projection", "--bootstrap=0");
    expect(fit.params.alpha).toBeCloseTo(hoffmann.alpha, 1);
    expect(fit.points).toBe(60);
  });

  test("shows a row per budget for isoflop, and uses the columns of a sweep's table", async () => {
    const rows = rowsOf(sweep).map((row, k) => [...row, k < 3 ? "total" : "blocks", 60, 100, 0.5]);
    const file = csv("own.csv", "n,d,c,loss,n_convention,warmup_steps,steps,final_lr_ratio", rows);
    const { out } = await folio(file, "--method", "isoflop", "--bootstrap", "0", "--budget", "1e24");
    expect(out).toMatch(/^budget \(FLOPs\) +N\* +N\*, 80 % +D\* +D\*\/N\* +loss$/m);
    expect(out.match(/^\d\.\d\de\+\d\d /gm)).toHaveLength(6);
    for (const kind of ["mixed-conventions", "long-warmup", "undecayed-learning-rate", "extrapolation"]) {
      expect(out).toContain(`warning (${kind}): `);
    }
  });

  test("fits laws of one column, and of repeated data", async () => {
    const points = Array.from({ length: 30 }, (_, k) => 1e6 * 1.4 ** k);
    const file = csv(
      "one.csv",
      "tokens,loss",
      points.map((d) => [d, 2 + 300 * d ** -0.3]),
    );
    const fit = await json(file, "--d=tokens", "--method=power", "--over=d", "--bootstrap=0");
    expect(fit.params).toMatchObject({ E: expect.closeTo(2, 8), alpha: expect.closeTo(0.3, 8) });
    const rows = sweep.map(({ n, d }, k) => [n, d, k % 3 ? d : d / 8, lossOf(hoffmann, n, d)]);
    const repeated = csv("repeated.csv", "n,d,seen,loss", rows);
    const flags = ["--n=n", "--d=d", "--unique=seen", "--method=repeated", "--bootstrap=0"];
    // Repeated tokens are as good as new: R* is infinite.
    expect((await json(repeated, ...flags)).params.rStar).toBeGreaterThan(100);
  });

  test("fits Kaplan's L(N, D)", async () => {
    const rows = sweep.map(({ n, d }) => [n, d, kaplan.ofBoth(n, d)]);
    const file = csv("kaplan.csv", "n,d,loss", rows);
    const { params } = await json(file, "--n=n", "--d=d", "--method=kaplan", "--bootstrap=0");
    expect(params).toMatchObject({ alphaN: expect.closeTo(0.076, 8), alphaD: expect.closeTo(0.103, 8) });
    expect((await folio(file, "--n=n", "--d=d", "--method=kaplan", "--bootstrap=50")).out).toContain("alphaD");
  });

  test("reads 320,000 rows without a stack overflow", async () => {
    const rows = Array.from({ length: 320_000 }, (_, k) => {
      const c = 1e15 * 1.00004 ** k;
      return `${c},${2 + 300 * c ** -0.15}`;
    });
    const file = path.join(folder, "long.csv");
    fs.writeFileSync(file, `c,loss\n${rows.join("\n")}\n`);
    const { params, points } = await json(file, "--method=power", "--bootstrap=0");
    expect(points).toBe(320_000);
    expect(params.alpha).toBeCloseTo(0.15, 6);
  }, 120_000);

  test("clusters rows by --group", async () => {
    const file = csv(
      "grouped.csv",
      "n,d,loss,run",
      sweep.map(({ n, d, loss }, k) => [n, d, loss, `run ${k % 12}`]),
    );
    const flags = ["--n=n", "--d=d", "--method=projection", "--bootstrap=0"];
    const [apart, together] = [await json(file, ...flags), await json(file, ...flags, "--group=run")];
    expect(together.params).toEqual(apart.params);
    expect(together.se.a).not.toBeCloseTo(apart.se.a!, 6);
  });

  test("leaves out rows without a number on request", async () => {
    const rows = rowsOf(sweep);
    rows[4]![3] = "" as unknown as number;
    const file = csv("gap.csv", "n,d,c,loss", rows);
    const flags = [file, "--method=projection", "--bootstrap=0"];
    expect((await folio(...flags)).err).toContain(
      'gap.csv: row 5 has nothing in column "loss", where a number above 0 is wanted; complete or remove this row, or leave out such rows (--drop_missing).',
    );
    const fit = await json(...flags, "--drop-missing", "--drop-highest=1");
    expect(fit.points).toBe(58);
    expect(fit.dropped).toContain(4);
  });

  test.each([
    [["nowhere.csv"], "Cannot read nowhere.csv: there is no such file."],
    [[], "Cannot fit: name a table of trainings."],
    [["sweep.csv", "--n=nn", "--d=d"], 'it has no column "nn" (for n); the columns are n, d, c, loss.'],
    [
      ["sweep.csv", "--n=n"],
      "Cannot fit: name the column of tokens with --d, or of FLOPs with --c (C = 6ND); the columns",
    ],
    [["sweep.csv", "--method=cubic"], 'Cannot read --method: "cubic" is not one of parametric, projection, isoflop,'],
    [["sweep.csv", "--bootstrap=many"], 'Cannot read --bootstrap: "many" is not a whole number of at least 0.'],
    [
      ["sweep.csv", "--bootstrap=1e12"],
      "Cannot fit: bootstrap is 1000000000000; it must be a whole number from 0 to 100000.",
    ],
    [["sweep.csv", "--threads=1e9"], "Cannot fit: threads is 1000000000; it must be a whole number from 1 to 1024."],
    [["sweep.csv", "--method=broken", "--breaks=99"], "breaks is 99; it must be a whole number from 1 to 4"],
    [["sweep.csv", "--method=repeated"], "the points lack the number of unique tokens"],
    [["sweep.csv", "--method=repeated", "--unique=d"], "no run has repeated its tokens"],
    [["sweep.csv", "--boot=3"], "Cannot read the flags: there is no flag --boot;"],
    [["words.csv"], 'words.csv: row 1 has "small" in column "n", where a number above 0 is wanted'],
    [["negative.csv"], 'row 2 has "-5" in column "n", where a number above 0 is wanted'],
    [["empty.csv"], "empty.csv: it has no rows."],
    [["few.csv"], "Cannot fit: there are 4 points for 5 parameters"],
    [["no.parquet"], "no.parquet: it is not a Parquet file"],
  ])("says what is wrong: %j", async (argv, message) => {
    csv("sweep.csv", "n,d,c,loss", rowsOf(sweep));
    csv("words.csv", "n,d,loss", [["small", 1e9, 3]]);
    csv("negative.csv", "n,d,loss", [
      [1e6, 1e9, 3],
      [-5, 1e9, 3],
    ]);
    csv("empty.csv", "n,d,loss", []);
    csv("few.csv", "n,d,c,loss", rowsOf(sweep).slice(0, 4));
    csv("no.parquet", "n,d,loss", [[1, 2, 3]]);
    const cwd = process.cwd();
    const there = argv.map((arg) =>
      /\.(csv|parquet)$/.test(arg) && arg !== "nowhere.csv" ? path.join(folder, arg) : arg,
    );
    const { code, err } = await folio(...there);
    expect(code).toBe(1);
    expect(err).toContain(message);
    expect(process.cwd()).toBe(cwd);
  });
});
