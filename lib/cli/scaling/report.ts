/**
 * `folio scaling report`: a table of trainings → one offline HTML page with every chart, the three approaches' fits, their
 * warnings and the runs. The page is scaling/report.ts; this file reads the table and writes the page.
 */
import path from "node:path";
import type { Point } from "../../../scaling/points.js";
import { ownColumns, type PointColumns, readRows, type TableRow, toPoints } from "../../../scaling/read-points.js";
import { type Approach, fitApproaches, scalingReport } from "../../../scaling/report.js";
import { replaceFile } from "../../host/replace-file.js";
import type { Io } from "../shared/terminal.js";
import { type Flags, positive, readFlags } from "./flags.js";

export function help(): string {
  return `folio scaling report: one offline HTML page about a table of trainings.

Usage: folio scaling report FILE [--out FILE.html] [--flag value …]

FILE is CSV or Parquet, a row a training. A table of \`folio scaling run\` needs no columns named; its held-out runs are
predicted, not fitted, and its tuning runs are left out.

  --out FILE.html     where the page goes (default: beside FILE, named after it)
  --title TEXT        its title (default: FILE's name)
  --n COL --d COL --c COL --loss COL --group COL   columns, as of \`folio scaling fit\`
  --drop-missing      leave out rows that lack a number, instead of refusing the table
  --bootstrap R       refits of resampled rows (default 1000); 0: intervals from the covariance
  --seed S            of the resampling (default 1337)
  --threads T         that refit (default: one a core)
  --json              print fits and predictions as JSON; the page is then written only where --out names it

  folio scaling report out-novels/results.csv --out novels.html`;
}

const kinds = {
  out: "string",
  title: "string",
  n: "string",
  d: "string",
  c: "string",
  loss: "string",
  group: "string",
  "drop-missing": "boolean",
  bootstrap: "string",
  seed: "string",
  threads: "string",
  json: "boolean",
} as const;

export async function run(args: readonly string[], io: Io): Promise<number> {
  const flags = readFlags(args, kinds, "folio scaling report");
  const [file, ...more] = flags.words;
  if (file === undefined) throw new RangeError("Cannot report: name a CSV or Parquet file of trainings.");
  if (more.length > 0) throw new RangeError(`Cannot report on ${file} and ${more.join(", ")}: it takes one file.`);
  const { points, heldOut } = await readStudy(file, flags);
  const fits = await fitApproaches(points, options(flags));
  if (flags.yes.json) io.stdout.write(`${JSON.stringify({ file, points, heldOut, fits }, null, 2)}\n`);
  if (flags.yes.json && flags.text.out === undefined) return 0;
  const out = flags.text.out ?? `${file.replace(/\.[^./\\]+$/, "")}.html`;
  const title = flags.text.title ?? path.basename(file).replace(/\.[^.]+$/, "");
  writeWhole(out, scalingReport({ title, points, heldOut, fits }));
  if (!flags.yes.json) io.stdout.write(`${summary(fits, out).join("\n")}\n`);
  return 0;
}

async function readStudy(file: string, flags: Flags): Promise<{ points: readonly Point[]; heldOut: readonly Point[] }> {
  const rows = await readRows(file);
  const columns = columnsOf(flags, rows);
  const missing = flags.yes["drop-missing"] ? "drop" : "refuse";
  const read = (some: readonly TableRow[]) =>
    some.length > 0 ? toPoints(some, columns, { name: file, missing }).points : [];
  const points = read(rows.filter(({ role }) => role !== "held-out" && role !== "tuning"));
  if (points.length === 0)
    throw new RangeError(
      `Cannot report on ${file}: it has no runs besides tuning and held-out; \`folio scaling tune\` reads a tuning's.`,
    );
  return { points, heldOut: read(rows.filter(({ role }) => role === "held-out")) };
}

function columnsOf({ text }: Flags, rows: readonly TableRow[]): PointColumns {
  const { n, d, c, loss, group } = text;
  const given = Object.fromEntries(
    Object.entries({ n, d, c, loss, group }).filter(([, column]) => column !== undefined),
  );
  const named = n !== undefined || d !== undefined || c !== undefined;
  return { ...(named ? { loss: "loss" } : ownColumns(rows)), ...given };
}

function options(flags: Flags): { bootstrap: number; seed?: number; threads?: number } {
  const bootstrap = flags.text.bootstrap === "0" ? 0 : (positive(flags, "bootstrap", { whole: true }) ?? 1000);
  const [seed, threads] = [positive(flags, "seed", { whole: true }), positive(flags, "threads", { whole: true })];
  return { bootstrap, ...(seed !== undefined && { seed }), ...(threads !== undefined && { threads }) };
}

/** A page is written whole or not at all. */
function writeWhole(file: string, text: string): void {
  try {
    replaceFile(file, text);
  } catch (error) {
    throw new Error(`Cannot write the report ${file}: ${(error as Error).message}.`, { cause: error });
  }
}

function summary(fits: readonly Approach[], out: string): string[] {
  const lines = fits.map(({ name, fit, refused }) => {
    if (!fit?.exponents) return `${name}: ${refused ?? "no exponents"}`;
    const { a, b } = fit.exponents;
    const warned = fit.warnings.length > 0 ? `; warns of ${fit.warnings.map(({ kind }) => kind).join(", ")}` : "";
    return `${name}: N* ∝ C^${a.toFixed(3)}, D* ∝ C^${b.toFixed(3)}${fit.converged ? "" : ", not converged"}${warned}`;
  });
  return [...lines, `wrote ${out}`];
}
