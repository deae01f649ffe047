/**
 * `folio scaling fit`: fits a law to a table of trainings, and prints it as a table or as JSON. scaling/fit.ts does the
 * estimation.
 */
import { type FitOptions, fitLaw } from "../../../scaling/fit.js";
import { type BudgetOptimum, type Fit, fitMethods, type Interval, type Point } from "../../../scaling/points.js";
import { predict, relativeErrors } from "../../../scaling/questions/predict.js";
import type { PointColumns } from "../../../scaling/read-points.js";
import { checkOutput, writeOutput } from "../shared/output-file.js";
import { grouped, type Io, table, wrapped } from "../shared/terminal.js";
import { summary } from "./predict.js";
import { adaptationOf, adaptHelp, adaptKinds, one } from "./shared/adapt.js";
import { withProgress } from "./shared/fitting.js";
import { type Flags, positive, readFlags, whole } from "./shared/flags.js";
import { fileHelp, leftOut, lossUnitOf, readStudy, resampling, rowsHelp, studyKinds } from "./shared/study.js";
import { fitRows, writeWarnings } from "./shared/warnings.js";

export function help(): string {
  return `folio scaling fit: fits a scaling law to a table of trainings, with intervals and warnings.

Usage: folio scaling fit FILE [--n COL] [--d COL] [--c COL] [--loss COL] [--flag value …]

${fileHelp}
Runs of role held-out and tuning are left out.

  --n COL             parameters
  --d COL             training tokens
  --c COL             training FLOPs; replaces a missing --d (C = 6ND)
  --loss COL          loss, nats per token (default loss)
  --group COL         the run to which a row belongs; rows of one run are resampled together
  --unique COL        unique tokens, for --method repeated and muennighoff
  --method NAME       parametric: Chinchilla's approach 3, Huber loss on log loss, 4,500 starts (default)
                      projection: the same law by variable projection, least squares
                      isoflop: approach 2, parabolas        envelope: approach 1, the lower hull
                      power: E + A x^-alpha                 broken: a smoothly broken power law
                      kaplan: Kaplan's L(N, D)              repeated: with repeated tokens
                      muennighoff: with repeated tokens and excess parameters
                      gadre: over-training, one exponent for N and D, squares of the loss
  --over n|d|c        the variable of power and broken (default c)
  --offset true|false power: with E (default true)
  --breaks K          broken: the number of breaks (default 1)
  --delta X           parametric: residual from which Huber's loss is linear (default 1e-3)
  --drop_highest K    leave out the K rows with the highest loss
${rowsHelp}
${adaptHelp}
  --bootstrap R       bootstrap refits (default 1000, at most 100000); 0: intervals from the covariance
  --seed S            seed of the resampling (default 1337)
  --threads T         threads for refits (default: one per core)
  --budget C          FLOPs at which the law will be used; warns if that is far beyond the rows
  --json OUT          write everything as JSON to OUT; - prints it instead of the table

The table shows the law's constants, and a and b: for C FLOPs, the best number of parameters grows as C^a, that of
tokens as C^b. Losses are in nats per token, also E and the constants of --fix, whatever the unit of FILE. The objective
is what the search minimised: the sum over the rows of Huber's loss, or of squares, of the residuals. An error in per
cent is predicted / measured - 1. The check is a second fit without the rows of largest compute, which it predicts.

  folio scaling fit out-novels/results.csv --bootstrap 4000 --json fit.json
  folio scaling fit svg_extracted_data.csv --n "Model Size" --c "Training FLOP" --drop_highest 5
  folio scaling fit runs.csv --method isoflop --curve akima --seed_noise 0.002 --where "d.schedule == 'cosine'"
  folio scaling fit repeated.csv --method muennighoff --unique U --fix=E:1.87,A:521,B:1488,alpha:.353,beta:.353`;
}

const kinds = {
  ...studyKinds,
  ...adaptKinds,
  method: "string",
  over: "string",
  offset: "string",
  breaks: "string",
  delta: "string",
  "drop-highest": "string",
  budget: "string",
  json: "string",
} as const;

export async function run(args: readonly string[], io: Io): Promise<number> {
  const flags = readFlags(args, kinds, "folio scaling fit");
  const [file, ...more] = flags.words;
  if (file === undefined) throw new RangeError("Cannot fit: name a table of trainings.");
  if (more.length > 0) throw new RangeError(`Cannot fit ${file} and ${more.join(", ")}: give one file.`);
  const options = optionsOf(flags);
  const { json } = flags.text;
  if (json !== undefined && json !== "-") checkOutput(json, "--json", [file]);
  const study = await readStudy(file, flags, (columns, there) => checkColumns(columns, { ...options, there }));
  const fitted = await fitRows(study, () =>
    withProgress(io, "refits", (onProgress) => fitLaw(study.points, { ...options, onProgress })),
  );
  const highest = fitted.dropped.map((index) => study.rows[index]!);
  // All rows of the file, including those that are not points of the grid.
  const { heldOut, tuning } = study;
  const left = [...study.dropped, ...heldOut.rows, ...heldOut.dropped, ...tuning, ...highest];
  const fit: Fit = { ...fitted, lossUnit: lossUnitOf(flags), dropped: left.sort((a, b) => a - b) };
  const text = `${JSON.stringify(fit, null, 2)}\n`;
  if (json === "-") {
    io.stdout.write(text);
    return 0;
  }
  if (json !== undefined) writeOutput(json, text);
  const lines = [...describe(fit, file, leftOut(study, highest.length)), ...heldOutLines(fit, heldOut.points)];
  io.stdout.write(`${lines.join("\n")}\n`);
  writeWarnings(io, fit.warnings);
  return 0;
}

function optionsOf(flags: Flags): FitOptions {
  const { method = "parametric", over = "c", offset = "true" } = flags.text;
  const [delta, breaks] = [positive(flags, "delta"), positive(flags, "breaks", { whole: true })];
  const budgetFlops = positive(flags, "budget");
  return {
    method: one("method", method, fitMethods),
    over: one("over", over, ["n", "d", "c"]),
    offset: one("offset", offset, ["true", "false"]) === "true",
    ...adaptationOf(flags, one("method", method, fitMethods)),
    dropHighest: whole(flags, "drop-highest") ?? 0,
    ...resampling(flags),
    ...(delta !== undefined && { delta }),
    ...(breaks !== undefined && { breaks }),
    ...(budgetFlops !== undefined && { budgetFlops }),
  };
}

function checkColumns(
  { n, d, c }: PointColumns,
  { method, over, there }: FitOptions & { readonly there: readonly string[] },
): void {
  const columns = `the columns are ${there.join(", ")}`;
  if (method === "power" || method === "broken") {
    const there = { n, d, c: c ?? (n !== undefined && d !== undefined ? "6ND" : undefined) };
    if (there[over!] === undefined)
      throw new RangeError(`Cannot fit a law of ${over!.toUpperCase()}: name its column with --${over}; ${columns}.`);
    return;
  }
  const tokens = d === undefined && c === undefined ? "tokens with --d, or of FLOPs with --c (C = 6ND)" : undefined;
  if (n === undefined) {
    const also = tokens === undefined ? "" : `, and that of ${tokens}`;
    throw new RangeError(`Cannot fit: name the column of parameters with --n${also}; ${columns}.`);
  }
  if (tokens !== undefined) throw new RangeError(`Cannot fit: name the column of ${tokens}; ${columns}.`);
}

function describe(fit: Fit, file: string, left: string): string[] {
  const refits = fit.bootstrap ? `${grouped(fit.bootstrap.length)} refits` : "the covariance";
  const values = { ...fit.params, ...fit.exponents };
  const rows = Object.entries(values).map(([name, value]) => [
    name,
    figures(value),
    fit.se[name] === undefined ? "-" : figures(fit.se[name], 2),
    range(fit.ci80[name]),
    range(fit.ci95[name]),
  ]);
  return [
    `${file}: ${fit.method}, ${grouped(fit.points)} points${left}; intervals from ${refits}`,
    `objective ${figures(fit.huberSum, 6)}, ${fit.converged ? "converged" : "NOT CONVERGED"}`,
    "",
    ...table(["", "estimate", "error", "80 %", "95 %"], rows),
    "",
    wrapped(meaning(fit)),
    ...holdoutLines(fit),
    ...(fit.optima ? ["", ...optimaTable(fit)] : []),
  ];
}

/** What the table's unit and exponents are. */
function meaning({ exponents, lossUnit = "nats" }: Fit): string {
  const read =
    lossUnit === "nats" ? "" : ` (the table's ${lossUnit === "ppl" ? "perplexities" : lossUnit} were converted)`;
  const optimum = exponents
    ? " For C FLOPs, the best number of parameters N* grows as C^a, and that of tokens D* as C^b."
    : "";
  return `Losses are in nats per token${read}.${optimum}`;
}

function holdoutLines({ holdout }: Fit): string[] {
  if (!holdout) return [];
  const { points, factor } = holdout;
  const { rms, bias } = relativeErrors(holdout);
  const percent = (share: number) => `${(100 * share).toFixed(2)} %`;
  return [
    "",
    wrapped(
      `check: fitted without the ${points} with the largest compute, ${factor.toPrecision(2)} times the rest's, the law predicts these with an error of ${percent(rms)} (rms), ${percent(bias)} on average`,
    ),
  ];
}

/** How well the law predicts rows that it was not fitted to. */
function heldOutLines(fit: Fit, points: readonly Point[]): string[] {
  if (points.length === 0 || !fit.residuals) return [];
  return summary(predict(fit, points).rows, `row${points.length === 1 ? "" : "s"} held out by role or --hold_out`);
}

function optimaTable({ optima, optimalLoss }: Fit): string[] {
  const off = (share: number) => `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(1)} %`;
  const ends = ({ n, ci80 }: BudgetOptimum) => (ci80 ? ci80.n.map((end) => off(end / n - 1)).join(" … ") : "-");
  const rows = optima!.map((optimum) => {
    const { c, n, d, loss } = optimum;
    const cells = [c.toExponential(2), grouped(n), ends(optimum), grouped(d), (d / n).toFixed(1), loss.toFixed(4)];
    return cells;
  });
  const through = optimalLoss
    ? [
        "",
        `lowest losses: L*(C) = ${figures(optimalLoss.params.E!)} + ${figures(optimalLoss.params.A!)} C^-${figures(optimalLoss.params.alpha!)}; 80 %: E ${range(optimalLoss.ci80.E)}, exponent ${range(optimalLoss.ci80.alpha)}`,
      ]
    : [];
  return [...table(["budget (FLOPs)", "N*", "N*, 80 %", "D*", "D*/N*", "loss"], rows), ...through];
}

function range(interval: Interval | undefined): string {
  return interval ? `${figures(interval[0])} … ${figures(interval[1])}` : "-";
}

function figures(value: number, digits = 5): string {
  return Number(value.toPrecision(digits)).toString();
}
