import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { run } from "../../lib/cli/scaling/report.js";
import { laws, surfaceLoss } from "../../scaling/laws.js";
import { optimumOfBudget } from "../../scaling/optimum.js";
import { fitApproaches, scalingReport } from "../../scaling/report.js";
import { temporaryFolder } from "../tiny-run.js";

const { surface } = laws.epoch;
const rows = [1e18, 3e18, 1e19, 3e19].flatMap((c, row) =>
  Array.from({ length: 7 }, (_, i) => {
    const n = optimumOfBudget(surface, c).n * 2 ** ((i - 3) * 0.6);
    const d = c / 6 / n;
    return { n, d, c, loss: surfaceLoss(surface, n, d) * Math.exp(Math.sin((7 * row + i) * 12.9898) * 0.002) };
  }),
);
const large = optimumOfBudget(surface, 2e20);
const table = [
  "n,d,loss,c,role,n_convention",
  ...rows.map(({ n, d, loss, c }) => `${n},${d},${loss},${c},grid,blocks-head`),
  `${large.n},${large.d},${large.loss},2e20,held-out,blocks-head`,
  `${large.n},${large.d},9,2e20,tuning,blocks-head`,
].join("\n");

const folder = temporaryFolder();
const file = path.join(folder, "study.csv");
fs.writeFileSync(file, table);
const flags = ["--bootstrap=40", "--threads=1"];

async function report(...args: string[]): Promise<string> {
  let text = "";
  const stream = { write: (chunk: string) => (text += chunk), isTTY: false } as unknown as NodeJS.WriteStream;
  expect(await run([...args, ...flags], { stdout: stream, stderr: stream })).toBe(0);
  return text;
}

describe("folio scaling report", () => {
  test("writes one offline page: three fits, all charts, predictions of held-out runs, and the conventions", async () => {
    const said = await report(file);
    expect(said).toMatch(/approach 3: L\(N, D\): N\* ∝ C\^0\.5\d\d/);
    const html = fs.readFileSync(path.join(folder, "study.html"), "utf8");
    expect(html.match(/class="figure"/g)).toHaveLength(8);
    for (const text of [
      "IsoFLOP curves",
      "efficient frontier",
      "28 runs",
      "held-out run",
      "all that take part in products",
    ]) {
      expect(html).toContain(text);
    }
    expect(html).not.toMatch(/<(script|link|img|iframe)[^>]*(src|href)="(?!data:)/);
    expect(html).not.toMatch(/>(NaN|undefined)/);
    expect(fs.readdirSync(folder).sort()).toEqual(["study.csv", "study.html"]);
  });

  test("--json prints fits and points, and writes a page only with --out", async () => {
    const { fits, points, heldOut } = JSON.parse(await report(file, "--json"));
    expect(fits.map(({ method }: { method: string }) => method)).toEqual(["envelope", "isoflop", "parametric"]);
    expect([points.length, heldOut.length]).toEqual([28, 1]);
    const out = path.join(folder, "other.html");
    await report(file, "--json", "--out", out);
    expect(fs.existsSync(out)).toBe(true);
  });

  test("shows the warnings of a fit", async () => {
    const few = path.join(folder, "few.csv");
    fs.writeFileSync(few, table.split("\n").slice(0, 22).join("\n"));
    const told = await report(few);
    expect(told).toMatch(/approach 2: .*; warnings: .*few-budgets/);
    expect(told).toMatch(/approach 3: .*; warnings: .*uncertain-intervals/); // 21 points for 5 parameters
  });

  test("reports wrong arguments", async () => {
    const tuning = path.join(folder, "tuning.csv");
    fs.writeFileSync(tuning, table.replaceAll(",grid,", ",tuning,"));
    await expect(report(tuning)).rejects.toThrow("it has only tuning and held-out runs; `folio scaling tune` reads");
    await expect(report()).rejects.toThrow(/name a table of trainings/);
    await expect(report(file, "--n=size")).rejects.toThrow(/no column "size"/);
    await expect(report(file, "--out", path.join(folder, "none", "x.html"))).rejects.toThrow(
      /there is no folder .*none/,
    );
  });
});

test("the report shows the error of a method that fails, and escapes hostile text", async () => {
  const points = rows.slice(0, 14); // two budgets are too few for a line through their vertices
  const fits = await fitApproaches(points);
  expect(fits.find(({ method }) => method === "isoflop")!.refused).toMatch(/Cannot fit by IsoFLOP parabolas/);
  const html = scalingReport({ title: "<script>alert(1)</script>", points, fits });
  expect(html).toContain("Cannot fit by IsoFLOP parabolas");
  expect(html).not.toContain("<script>alert");
});
