import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { main } from "../../../lib/cli/main.js";
import { checkPlanOptions } from "../../../scaling/planning/plan-options.js";
import { temporaryFolder } from "../../tiny-run.js";

const folder = temporaryFolder();

async function tune(...argv: string[]) {
  let [out, err] = ["", ""];
  const stdout = { write: (more: string) => (out += more) };
  const code = await main(["scaling", "tune", ...argv], { stdout, stderr: { write: (more: string) => (err += more) } });
  return { code, out, err };
}

/** A table whose best rates are 2 N^-0.5 D^0.1, with two seeds per run, and one run of the sweep. */
function writeTable(name: string, change: (line: string, index: number) => string = (line) => line): string {
  const cells = [
    [1e4, 1e6],
    [1e4, 4e6],
    [1e5, 1e6],
    [1e5, 4e6],
  ] as const;
  const lines = cells.flatMap(([n, d]) => {
    const best = 2 * n ** -0.5 * d ** 0.1;
    return [0.25, 0.5, 1, 2].flatMap((times) =>
      [-0.01, 0.01].map((seed) => {
        const rate = best * times * 1.3;
        return `tuning,${n},${d},${rate},${2 + 0.1 * Math.log(rate / best) ** 2 + seed}`;
      }),
    );
  });
  const file = path.join(folder, name);
  const all = ["role,n,d,learning_rate,loss", ...lines, "grid,10000,1000000,0.5,1.5"];
  fs.writeFileSync(file, `${all.map(change).join("\n")}\n`);
  return file;
}

describe("folio scaling tune", () => {
  test("prints the best rates, and the rule in the form for a plan", async () => {
    const { code, out, err } = await tune(writeTable("table.csv"));
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toContain("10,000  1,000,000     0.0796      0.0796      2.0000");
    expect(out).toContain("within 1 % of the best rates");
    expect(out).toMatch(/^ {2}learningRate: \{ factor: 2, parameters: -0\.5, tokens: 0\.1 \},$/m);
  });

  test("--json gives the full result; columns may have any names", async () => {
    const file = writeTable("other.csv", (line, index) => (index === 0 ? "role,size,tokens,lr,nats" : line));
    const { code, out } = await tune(file, "--n=size", "--d=tokens", "--rate=lr", "--loss=nats", "--json");
    const { best, rule, runs, largestDifference } = JSON.parse(out);
    expect(code).toBe(0);
    expect(best).toHaveLength(4);
    expect(runs).toBe(32);
    expect(rule.parameters).toBeCloseTo(-0.5, 6);
    expect(largestDifference).toBeLessThan(1e-6);
  });

  test("what --json prints is checked where a plan takes it: the rule is one, the whole is none", async () => {
    const { out } = await tune(writeTable("rule.csv"), "--json");
    const tuned = JSON.parse(out) as { rule: Record<string, number> };
    const plan = (learningRate: unknown) => ({ name: "a", dataset: "fox", batchTokens: 64, learningRate });
    expect(() => checkPlanOptions(plan(tuned.rule))).not.toThrow();
    expect(() => checkPlanOptions(plan(tuned))).toThrow('there is no key "file" of learningRate; did you mean');
    for (const wrong of [{ factor: null }, { factor: -1 }, { tokens: "0.1" }]) {
      expect(() => checkPlanOptions(plan({ ...tuned.rule, ...wrong }))).toThrow("Cannot plan the sweep: learningRate");
    }
  });

  test.each([
    ["no file", [], "Cannot tune: name the table of a tuning sweep's trainings."],
    ["two files", ["a.csv", "b.csv"], "Cannot tune by a.csv and b.csv: give one file."],
    ["an unknown column", [writeTable("column.csv"), "--rate=lr"], 'it has no column "lr" (for rate)'],
    [
      "a gap",
      [writeTable("gap.csv", (line, index) => (index === 3 ? line.replace(/[^,]*$/, "") : line))],
      'row 3 has nothing in column "loss"',
    ],
    [
      "a size of 0",
      [writeTable("zero.csv", (line, index) => (index === 3 ? line.replace("10000", "0") : line))],
      'row 3 has "0" in column "n", where a number above 0 is wanted',
    ],
    [
      "no number anywhere",
      [writeTable("none.csv", (line, index) => (index > 0 ? line.replace(/[^,]*$/, "") : line)), "--drop-missing"],
      "every row lacks a number",
    ],
    [
      "no tuning runs",
      [writeTable("grid.csv", (line) => line.replace("tuning", "grid"))],
      "it has no runs of role tuning; a plan's `tuning` makes them.",
    ],
    [
      "a best rate at the edge",
      [writeTable("edge.csv", (line, index) => (index === 1 || index === 2 ? line.replace(/[^,]*$/, "1") : line))],
      "the lowest rate",
    ],
    [
      "losses of one rate that seeds do not explain",
      [writeTable("apart.csv", (line, index) => (index === 1 ? line.replace(/[^,]*$/, "1") : line))],
      "have losses from 1 to 2.1363",
    ],
    [
      "runs that differ in another setting",
      [writeTable("decay.csv", (line, index) => `${line},${["weight_decay", 0.1, 0][Math.min(index, 2)]}`)],
      "runs with the same N and D differ in weight_decay (0.1 and 0)",
    ],
  ])("says what is wrong: %s", async (_, argv, message) => {
    const { code, out, err } = await tune(...(argv as string[]));
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toMatch(/^folio: .*\n$/);
    expect(err).toContain(message);
  });

  test("--drop-missing leaves out a row with a missing number", async () => {
    const file = writeTable("dropped.csv", (line, index) => (index === 3 ? line.replace(/[^,]*$/, "") : line));
    expect(JSON.parse((await tune(file, "--drop-missing", "--json")).out).runs).toBe(31);
  });
});

/** A grid of rates and batches at two sizes, best at 2 N^-0.5 and 3 D^0.5 tokens; one pair was not run. */
function writeGrid(name: string, batch = "batch_tokens"): string {
  const lines = [1e4, 1e5].flatMap((n) =>
    [0.25, 0.5, 1, 2, 4].flatMap((times) =>
      [0.3, 0.6, 1.2, 2.4].map((more) => {
        const [u, v] = [Math.log(times), Math.log(more)];
        return [
          n,
          20 * n,
          2 * n ** -0.5 * times,
          3 * (20 * n) ** 0.5 * more,
          2 + 0.1 * u * u - 0.05 * u * v + 0.1 * v * v,
        ];
      }),
    ),
  );
  const file = path.join(folder, name);
  fs.writeFileSync(file, `n,d,learning_rate,${batch},loss\n${lines.slice(1).map(String).join("\n")}\n`);
  return file;
}

describe("folio scaling tune of a grid", () => {
  test("prints the best rates and batches with intervals, both laws for a plan, and what is missing", async () => {
    const { code, out, err } = await tune(writeGrid("grid.csv"));
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toContain(
      "39 runs in 2 cells of N and D; the loss as a quadratic in log rate and log batch (batch_tokens)",
    );
    expect(out).toMatch(
      /^ 10,000 +200,000 +\d+\/19 +0\.0200 +0\.0200 … 0\.0200 +1,342 +1,342 … 1,342 +2\.0000 +2\.0033$/m,
    );
    expect(out).toMatch(/^ {2}learningRate: \{ factor: 2, parameters: -0\.5 \},$/m);
    expect(out).toMatch(/^ {2}batchTokens: \{ factor: 13\.42, parameters: 0\.5 \},$/m);
    expect(out).toContain("1 of the pairs of a tried rate and a tried");
  });

  test("--json gives the cells, the laws and the warnings; the batch may be an expression", async () => {
    const file = writeGrid("sequences.csv", "rows");
    const { out } = await tune(file, "--batch=d.rows * 8", "--batch_in=d", "--where=d.loss < 3", "--json");
    const { cells, laws, rules, warnings } = JSON.parse(out);
    expect(cells.map(({ runs }: { runs: number }) => runs)).toEqual([19, 20]);
    expect(laws.batch.rule.tokens).toBeCloseTo(0.5, 7);
    expect(rules.batch).toEqual({ factor: 24, tokens: 0.5 });
    expect(laws.batch.ci80.tokens).toHaveLength(2);
    expect(warnings.map(({ kind }: { kind: string }) => kind)).toEqual(["missing-runs"]);
  });

  test("--rates_only takes the best batch of each size, as for fewer than three batches", async () => {
    const { best } = JSON.parse((await tune(writeGrid("alone.csv"), "--rates_only", "--json")).out);
    expect(best[0]).toMatchObject({ batch: 3 * 200000 ** 0.5 * 1.2, otherBatches: expect.any(Array) });
  });

  test.each([
    ["a window of 1", ["--window=1"], "the window is 1; give a factor above 1"],
    ["an unknown quantity", ["--rate_in=n,x"], 'Cannot read --rate_in: "n,x" is not one of n, d, n,d and none.'],
    [
      "a window for rates alone",
      ["--rates_only", "--window=3"],
      "Cannot use --window: it is for rates and batches together",
    ],
    ["a condition that no row fulfils", ["--where=d.loss > 9"], "no row fulfils --where"],
    [
      "only an edge",
      ["--where=d.learning_rate > 0.015 && d.n < 5e4"],
      "no cell of N and D has a minimum inside its grid",
    ],
  ])("says what is wrong: %s", async (_, argv, message) => {
    const { code, out, err } = await tune(writeGrid("wrong.csv"), ...argv);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toContain(message);
  });
});
