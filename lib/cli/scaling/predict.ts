/**
 * `folio scaling predict`: the losses of new trainings by a fitted law, with intervals, beside the measured ones if the
 * table has any. scaling/questions/predict.ts computes them.
 */
import { from } from "arquero";
import type { LossUnit } from "../../../scaling/points.js";
import { type Prediction, type Predictions, predict } from "../../../scaling/questions/predict.js";
import { readFit } from "../../../scaling/questions/read-fit.js";
import { readTable, toPlaces } from "../../../scaling/read-points.js";
import { checkOutput, writeOutput } from "../shared/output-file.js";
import { grouped, type Io, table } from "../shared/terminal.js";
import { type Flags, readFlags } from "./shared/flags.js";
import { columnsOf, fileHelp, lossUnitOf, readingOf } from "./shared/study.js";
import { inTheirRows, writeWarnings } from "./shared/warnings.js";

export function help(): string {
  return `folio scaling predict: the losses of new trainings by a fitted law.

Usage: folio scaling predict FIT FILE [--n COL] [--d COL] [--c COL] [--flag value …]

FIT is a file written by \`folio scaling fit … --json FIT\`, by any method that fits a law of the loss.
${fileHelp}

The interval of the law says how well the fitted points determine it; that of a run also has the scatter of single runs
about the law, as large as that of the fitted points. Neither covers a law of the wrong form. If FILE has a column of
losses, predictions are compared with them; an error is predicted / measured - 1.

  --n COL --d COL --c COL --unique COL   as for \`folio scaling fit\`
  --loss COL          measured losses (default loss, if there is such a column)
  --loss_unit UNIT    of the measured losses: nats, bits or ppl (default: as in the fit's table); predictions are in
                      nats
  --where CONDITION   only these rows
  --out FILE.csv      also write the predictions as CSV
  --json              print JSON instead of the table

  folio scaling fit runs.csv --where 'd.c < 1e20' --json fit.json
  folio scaling predict fit.json runs.csv --where 'd.c >= 1e20'`;
}

const kinds = {
  n: "string",
  d: "string",
  c: "string",
  loss: "string",
  unique: "string",
  "loss-unit": "string",
  where: "string",
  out: "string",
  json: "boolean",
} as const;

export async function run(args: readonly string[], io: Io): Promise<number> {
  const flags = readFlags(args, kinds, "folio scaling predict");
  const [fitFile, file, ...more] = flags.words;
  if (fitFile === undefined || file === undefined) {
    throw new RangeError("Cannot predict: name a fit (of `folio scaling fit --json`) and a table of trainings.");
  }
  if (more.length > 0) throw new RangeError(`Cannot predict ${file} and ${more.join(", ")}: give one table.`);
  const { out } = flags.text;
  if (out !== undefined) checkOutput(out, "--out", [fitFile, file]);
  const fit = readFit(fitFile);
  const read = await readTable(file);
  const { loss, ...places } = columnsOf(read, flags);
  const measured = flags.text.loss !== undefined || read.columnNames().includes(loss);
  const unit = lossUnitOf(flags, fit.lossUnit);
  const study = toPlaces(read, measured ? { ...places, loss } : places, readingOf(flags, file, unit));
  const predictions = await inTheirRows(study, () => predict(fit, study.points));
  if (out !== undefined) writeOutput(out, from(predictions.rows.map(flat)).toCSV());
  if (flags.yes.json) {
    const rows = predictions.rows.map((row, i) => ({ row: study.rows[i]! + 1, ...row }));
    const units = { lossUnit: "nats", ...(measured && { measuredIn: unit }) };
    io.stdout.write(`${JSON.stringify({ ...predictions, ...units, rows }, null, 2)}\n`);
    return 0;
  }
  io.stdout.write(
    `${describe(predictions, { fit: `${fitFile} (${fit.method})`, file, unit: unitLine(measured, unit, flags) }).join("\n")}\n`,
  );
  writeWarnings(io, predictions.warnings);
  return 0;
}

/** The unit of the losses that are printed, and that of the table. */
function unitLine(measured: boolean, unit: LossUnit, { text }: Flags): string {
  if (!measured) return "Losses are in nats per token.";
  const from = text["loss-unit"] === undefined ? "as those of the fit" : "as --loss_unit says";
  return `Losses are in nats per token; the measured ones were read as ${unit === "ppl" ? "perplexities" : unit}, ${from}.`;
}

/** A prediction as one row of a table. */
function flat({ law, run: ofRun, measured, error, ...row }: Prediction) {
  const ends = (name: string, intervals: Prediction["law"]) => ({
    ...{ [`${name}_low80`]: intervals?.ci80[0] ?? null, [`${name}_high80`]: intervals?.ci80[1] ?? null },
    ...{ [`${name}_low95`]: intervals?.ci95[0] ?? null, [`${name}_high95`]: intervals?.ci95[1] ?? null },
  });
  return { ...row, ...ends("law", law), ...ends("run", ofRun), measured: measured ?? null, error: error ?? null };
}

/** The most rows that are printed; --out and --json have all. */
const mostRows = 60;

function describe(
  { rows, from: source }: Predictions,
  { fit, file, unit }: { fit: string; file: string; unit: string },
): string[] {
  const compared = rows.filter(({ error }) => error !== undefined);
  const range = (intervals: Prediction["law"]) =>
    intervals ? intervals.ci80.map((end) => end.toFixed(4)).join(" … ") : "-";
  const head = ["N", "D", "C (FLOPs)", "loss", "law, 80 %", "run, 80 %"];
  const cells = rows
    .slice(0, mostRows)
    .map((row) => [
      ...[size(row.n), size(row.d), row.c.toExponential(2), row.loss.toFixed(4), range(row.law), range(row.run)],
      ...(compared.length > 0
        ? [row.measured?.toFixed(4) ?? "-", row.error === undefined ? "-" : percent(row.error)]
        : []),
    ]);
  return [
    `${file}: ${grouped(rows.length)} trainings by ${fit}; the law's intervals from ${source}`,
    unit,
    "",
    ...table([...head, ...(compared.length > 0 ? ["measured", "error"] : [])], cells),
    ...(rows.length > mostRows ? [`… and ${rows.length - mostRows} more; --out FILE.csv writes all`] : []),
    ...summary(compared),
  ];
}

/** The prediction error of rows whose loss was measured, and how many of them lie inside the intervals of a run. */
export function summary(compared: readonly Prediction[], what = "measured"): string[] {
  if (compared.length === 0) return [];
  const errors = compared.map(({ error }) => error!);
  const rms = Math.sqrt(errors.reduce((sum, error) => sum + error * error, 0) / errors.length);
  const mean = errors.reduce((sum, error) => sum + error, 0) / errors.length;
  const inside = (level: "ci80" | "ci95") =>
    compared.filter(({ run: ofRun, measured }) => {
      const ends = ofRun?.[level];
      return ends !== undefined && measured! >= ends[0] && measured! <= ends[1];
    }).length;
  const covered = compared.every(({ run: ofRun }) => ofRun !== null)
    ? `; ${inside("ci80")} within the 80 % interval of a run, ${inside("ci95")} within the 95 %`
    : "";
  return [
    "",
    `${compared.length} ${what}: prediction error ${percent(rms, false)} (rms), ${percent(mean)} on average${covered}`,
  ];
}

const percent = (share: number, signed = true) => `${signed && share > 0 ? "+" : ""}${(100 * share).toFixed(2)} %`;
const size = (value: number) => (Number.isFinite(value) ? grouped(value) : "-");
