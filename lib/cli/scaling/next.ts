/**
 * `folio scaling next`: which runs within a budget narrow a law's prediction most, and what they cost, beside an even grid
 * of the same cost. scaling/questions/next.ts computes them.
 */
import type { ColumnTable } from "arquero";
import { fitLaw } from "../../../scaling/fit.js";
import { type Fit, fitMethods } from "../../../scaling/points.js";
import { type NextOptions, type NextRuns, nextRuns, type RunSet } from "../../../scaling/questions/next.js";
import { readFitIfAny } from "../../../scaling/questions/read-fit.js";
import { readTable } from "../../../scaling/read-points.js";
import { speedOf } from "../../../scaling/tables/speed.js";
import { duration, grouped, type Io, table, wrapped } from "../shared/terminal.js";
import { one } from "./shared/adapt.js";
import { withProgress } from "./shared/fitting.js";
import { type Flags, positive, readFlags } from "./shared/flags.js";
import { fileHelp, readStudy, resampling, rowsHelp, studyKinds } from "./shared/study.js";
import { fitRows, writeWarnings } from "./shared/warnings.js";

/** Those that fit a law of the loss over N and D. */
const methods = fitMethods.filter((name) => !["isoflop", "envelope", "power", "broken"].includes(name));

export function help(): string {
  return `folio scaling next: which runs within a budget narrow a law's prediction most.

Usage: folio scaling next FIT|FILE --budget C [--target C | --parameters N --tokens D] [--flag value …]

FIT is a file written by \`folio scaling fit … --json FIT\`; a table is fitted first.
${fileHelp}

The runs are chosen so that the law, fitted to the old runs and these, has the narrowest interval at the target
(c-optimal design), judged at the fitted constants and at those of some refits. They are shown beside an even grid of
the same cost. Both intervals assume that the form of the law is right; \`folio scaling compare\` examines that.

  --budget C          FLOPs of all new runs together, counted as in the table
  --target C          predict the optimum of these FLOPs (default: 10 times the largest compute)
  --parameters N --tokens D   predict this training instead
  --runs R            at most so many runs (default 15)
  --least C --most C  FLOPs of one run (default: the smallest compute of the table, a third of the budget)
  --width W           sizes within a factor of W of the optimum of their FLOPs (default: as nine tenths of the table)
  --most_tokens D     at most so many tokens per run
  --speed F           FLOPs per second, to estimate hours (default: from the columns seconds and c, if there are any)
  --json              print JSON: target, chosen runs, even grid, half-widths of the 80 % intervals of ln L

For a table:
  --method NAME       ${methods.join(", ")} (default projection)
  --n COL --d COL --c COL --loss COL --group COL --unique COL   columns, as for \`folio scaling fit\`
${rowsHelp}
  --bootstrap R       bootstrap refits (default 1000); 0: intervals from the covariance
  --seed S --threads T   as for \`folio scaling fit\`

  folio scaling next scaling/results/novels.csv --budget=3e12
  folio scaling next fit.json --budget=1e20 --target=1e22 --speed=2e14`;
}

const kinds = {
  ...studyKinds,
  method: "string",
  budget: "string",
  target: "string",
  parameters: "string",
  tokens: "string",
  runs: "string",
  least: "string",
  most: "string",
  width: "string",
  "most-tokens": "string",
  speed: "string",
  json: "boolean",
} as const;

export async function run(args: readonly string[], io: Io): Promise<number> {
  const flags = readFlags(args, kinds, "folio scaling next");
  const [file, ...more] = flags.words;
  if (file === undefined) throw new RangeError("Cannot plan the next runs: name a fit or a table of trainings.");
  if (more.length > 0) throw new RangeError(`Cannot plan by ${file} and ${more.join(", ")}: give one file.`);
  const options = optionsOf(flags);
  const { fit, rows } = await fitOf(file, flags, io);
  const next = nextRuns(fit, options);
  const speed = positive(flags, "speed") ?? (rows && speedOf(rows));
  if (flags.yes.json) {
    io.stdout.write(`${JSON.stringify({ file, method: fit.method, ...next, speed: speed ?? null }, null, 2)}\n`);
    return 0;
  }
  io.stdout.write(`${describe(next, { file, fit, speed, budget: options.budgetFlops }).join("\n")}\n`);
  writeWarnings(io, next.warnings);
  return 0;
}

function optionsOf(flags: Flags): NextOptions {
  const value = (name: string) => positive(flags, name);
  const budgetFlops = value("budget");
  if (budgetFlops === undefined) throw new RangeError("Cannot plan the next runs: give their FLOPs with --budget.");
  const [n, d, targetFlops] = [value("parameters"), value("tokens"), value("target")];
  if ((n === undefined) !== (d === undefined) || (n !== undefined && targetFlops !== undefined)) {
    throw new RangeError(
      "Cannot plan the next runs: the target is either the optimum of --target FLOPs, or a training of --parameters and --tokens.",
    );
  }
  const given = {
    targetFlops,
    target: n !== undefined && d !== undefined ? { n, d } : undefined,
    runs: positive(flags, "runs", { whole: true }),
    least: value("least"),
    most: value("most"),
    width: value("width"),
    mostTokens: value("most-tokens"),
  };
  return { budgetFlops, ...Object.fromEntries(Object.entries(given).filter(([, found]) => found !== undefined)) };
}

/** The fit in a file, or of the table in it. */
async function fitOf(file: string, flags: Flags, io: Io): Promise<{ fit: Fit; rows?: ColumnTable }> {
  const fit = readFitIfAny(file);
  if (fit) {
    const unused = Object.keys({ ...studyKinds, method: true }).find((name) => name in flags.text || flags.yes[name]);
    if (unused === undefined) return { fit };
    throw new RangeError(`Cannot use --${unused.replaceAll("-", "_")} with ${file}: it is a fit, not a table.`);
  }
  const { method = "projection" } = flags.text;
  const study = await readStudy(file, flags);
  const options = { method: one("method", method, methods), ...resampling(flags), diagnostics: false };
  const fitted = await fitRows(study, () =>
    withProgress(io, "refits", (onProgress) => fitLaw(study.points, { ...options, onProgress })),
  );
  // Only 80 % intervals are shown, for which fewer refits are enough.
  const warnings = fitted.warnings.filter(({ message }) => !message.includes("too few for a 95 % interval"));
  return { fit: { ...fitted, warnings }, rows: await readTable(file) };
}

/** 83 s → "1:23", 2 days → "48 h". */
const timeOf = (seconds: number) => (seconds < 36_000 ? duration(1000 * seconds) : `${grouped(seconds / 3600)} h`);

interface Described {
  readonly file: string;
  readonly fit: Fit;
  readonly speed: number | undefined;
  readonly budget: number;
}

/** What the number of runs leaves unspent. */
function runsLimit({ chosen }: NextRuns, budget: number): string {
  return `The ${chosen.runs} runs cost ${chosen.flops.toExponential(2)} of ${budget.toExponential(2)} FLOPs: no more runs are allowed. Raise --runs (or --least, for dearer ones) to spend the rest.`;
}

function describe(next: NextRuns, { file, fit, speed, budget }: Described): string[] {
  const { target, chosen, even, halfWidth, width, from } = next;
  const hours = (flops: number) => (speed === undefined ? [] : [timeOf(flops / speed)]);
  const withHours = speed === undefined ? [] : ["time"];
  const runs = chosen.trainings.map(({ n, d, c, runs: times, loss }) => [
    ...[String(times), grouped(n), grouped(d), (d / n).toPrecision(3), c.toExponential(2)],
    ...[loss.toFixed(4), (c * times).toExponential(2), ...hours(c * times)],
  ]);
  const half = (value: number) => `± ${(100 * Math.expm1(value)).toFixed(2)} %`;
  const set = (name: string, { halfWidth: after, runs: count, flops }: RunSet) => [
    ...[name, half(after), `${(100 * (1 - after / halfWidth)).toFixed(0)} %`],
    ...[String(count), flops.toExponential(2), ...hours(flops)],
  ];
  const sizes = `Sizes within a factor of ${width.toPrecision(2)} of the optimum of their FLOPs.`;
  const at =
    speed === undefined ? "" : ` Times at ${speed.toExponential(2)} FLOPs per second, one run after the other.`;
  return [
    `${file}: ${fit.method}, ${grouped(fit.points)} points; target N ${grouped(target.n)}, D ${grouped(target.d)}, C ${target.c.toExponential(2)}: loss ${target.loss.toFixed(4)}`,
    "",
    ...table(["runs", "N", "D", "D / N", "C of one", "loss", "C of all", ...withHours], runs),
    "",
    ...table(
      ["the law at the target", "80 %", "narrower by", "runs", "FLOPs", ...withHours],
      [
        ["now", half(halfWidth), "-", "-", "-", ...(speed === undefined ? [] : ["-"])],
        set("with these runs", chosen),
        set("with an even grid", even),
      ],
    ),
    "",
    ...(next.limitedBy === "runs" ? [wrapped(runsLimit(next, budget)), ""] : []),
    wrapped(`The interval now is from ${from}; the others are expected. ${sizes}${at}`),
  ];
}
