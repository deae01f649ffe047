/**
 * `folio scaling tune`: finds the best learning rate of each size in a tuning sweep's table, and the rule fitted to
 * them, for use in a plan; of a grid of rates and batch sizes, both. scaling/planning/learning-rates.ts and surface.ts
 * compute them.
 */

import {
  type CellSurface,
  fitSurfaces,
  type GridPoint,
  isGrid,
  type PowerRule,
  type Quantity,
  type SurfaceLaw,
  surfaceLaws,
  surfaceWarnings,
  tuneLearningRates,
} from "../../../scaling/plan.js";
import { applyRule, type TuningPoint } from "../../../scaling/planning/learning-rates.js";
import { batchColumnOf, readTable, toTuningPoints } from "../../../scaling/read-points.js";
import { grouped, type Io, table, wrapped } from "../shared/terminal.js";
import { type Flags, positive, readFlags } from "./shared/flags.js";
import { writeWarnings } from "./shared/warnings.js";

export function help(): string {
  return `folio scaling tune: the best learning rates (and batch sizes) of a tuning sweep, and the laws fitted to them.

Usage: folio scaling tune FILE [--flag value …]

FILE is a table as for \`folio scaling fit\`, with one row per training: several learning rates for each size, on the
same number of tokens. In a table of \`folio scaling run\` the columns are known, and only runs of role tuning, which a
plan's \`tuning\` makes, are used.

Rates alone: at each N and D the best rate is the vertex of the parabola in log rate through the three lowest losses,
averaged over seeds; if several batch sizes were tried, those of the one with the lowest loss. The rule
rate = factor · N^parameters · D^tokens is fitted to the best rates; in N only, if D is constant or follows from N.

Rates and batches together, if a size has three of each: at each N and D the loss is a quadratic in log rate and log
batch, fitted to the runs about its minimum. The minima, with their intervals, give a law of the rate and one of the
batch. Missing runs and minima at the edge of the grid are told.

  --n COL --d COL     parameters and tokens (default n, d)
  --rate COL          learning rates (default learning_rate)
  --batch COL         tokens or sequences per step (default batch_tokens, batch_size or batch, if there is one)
  --loss COL          loss, nats per token (default loss)
  --where CONDITION   only these rows, such as 'd.n > 1e8'
  --drop_missing      leave out rows with a missing number, instead of refusing the table
  --rates_only        rates alone, also if three batches were tried
  --window W          fit runs within a factor of W of the minimum (default 3, more for coarse grids and noisy runs)
  --rate_in n,d --batch_in d   what the laws depend on: n, d, n,d or none (default: what the sizes can tell apart)
  --json              print JSON: best, rule, largest relative difference between them; of a grid, cells and laws

  folio scaling run novels-tuning --out out-tuning
  folio scaling tune out-tuning/results.csv
  folio scaling tune grid.csv --rate=lr --batch='d.sequences * 2048' --batch_in=d`;
}

const kinds = {
  n: "string",
  d: "string",
  rate: "string",
  batch: "string",
  loss: "string",
  where: "string",
  window: "string",
  "rate-in": "string",
  "batch-in": "string",
  "rates-only": "boolean",
  "drop-missing": "boolean",
  json: "boolean",
} as const;

export async function run(args: readonly string[], io: Io): Promise<number> {
  const flags = readFlags(args, kinds, "folio scaling tune");
  const [file, ...more] = flags.words;
  if (file === undefined) throw new RangeError("Cannot tune: name the table of a tuning sweep's trainings.");
  if (more.length > 0) throw new RangeError(`Cannot tune by ${file} and ${more.join(", ")}: give one file.`);
  const { n = "n", d = "d", rate = "learning_rate", loss = "loss", where } = flags.text;
  const read = await readTable(file);
  const batch = flags.text.batch ?? batchColumnOf(read);
  const points = toTuningPoints(
    read,
    { n, d, rate, loss, ...(batch !== undefined && { batch }) },
    { name: file, missing: flags.yes["drop-missing"] ? "drop" : "refuse", ...(where !== undefined && { where }) },
  );
  if (!flags.yes["rates-only"] && isGrid(points)) return together(points, { file, batch: batch ?? "batch", flags, io });
  for (const flag of ["window", "rate-in", "batch-in"] as const) {
    if (flags.text[flag] === undefined) continue;
    throw new RangeError(
      `Cannot use --${flag.replace("-", "_")}: it is for rates and batches together; ${file} has no size with three of each in seven runs${flags.yes["rates-only"] ? ", or leave out --rates_only" : ""}.`,
    );
  }
  return alone(points, { file, flags, io });
}

function alone(points: readonly TuningPoint[], { file, flags, io }: { file: string; flags: Flags; io: Io }): number {
  const { best, rule: exact } = tuneLearningRates(points);
  const rule = rounded(exact);
  const off = Math.max(...best.map((each) => Math.abs(applyRule(rule, each) / each.learningRate - 1)));
  if (flags.yes.json) {
    io.stdout.write(`${JSON.stringify({ file, runs: points.length, best, rule, largestDifference: off }, null, 2)}\n`);
    return 0;
  }
  const batched = best.some(({ otherBatches }) => otherBatches !== undefined);
  const rows = best.map((each) => [
    ...[grouped(each.parameters), grouped(each.tokens), ...(batched ? [String(each.batch ?? "")] : [])],
    ...[each.learningRate.toPrecision(3), applyRule(rule, each).toPrecision(3), each.loss.toFixed(4)],
  ]);
  const tried = [...new Set(best.flatMap(({ batch, otherBatches = [] }) => [batch!, ...otherBatches]))];
  const lines = [
    ...table(["N", "D", ...(batched ? ["batch"] : []), "best rate", "the rule's", "loss there"], rows),
    "",
    ...(batched
      ? [`Batches tried: ${tried.sort((a, b) => a - b).join(", ")}; the rule is fitted to the best one of each row.`]
      : []),
    `The rule is within ${Math.ceil(100 * off)} % of the best rates. In a plan:`,
    `  learningRate: ${literal(rule)},`,
  ];
  io.stdout.write(`${lines.join("\n")}\n`);
  return 0;
}

interface Grid {
  readonly file: string;
  /** The column of the batches. */
  readonly batch: string;
  readonly flags: Flags;
  readonly io: Io;
}

function together(points: readonly GridPoint[], { file, batch, flags, io }: Grid): number {
  const window = positive(flags, "window");
  const [rateIn, batchIn] = [quantitiesOf(flags, "rate-in"), quantitiesOf(flags, "batch-in")];
  const cells = fitSurfaces(points, window === undefined ? {} : { window });
  const laws = surfaceLaws(cells, { ...(rateIn && { rateIn }), ...(batchIn && { batchIn }) });
  const warnings = surfaceWarnings(cells);
  if (flags.yes.json) {
    const rules = { learningRate: rounded(laws.learningRate.rule), batch: rounded(laws.batch.rule) };
    io.stdout.write(`${JSON.stringify({ file, runs: points.length, cells, laws, rules, warnings }, null, 2)}\n`);
    return 0;
  }
  io.stdout.write(`${describe({ points, cells, laws, batch }).join("\n")}\n`);
  writeWarnings(io, warnings);
  return 0;
}

const quantities: Readonly<Record<string, Quantity>> = { n: "parameters", d: "tokens" };

/** What a law depends on, of a flag such as --rate_in=n,d. */
function quantitiesOf(flags: Flags, name: "rate-in" | "batch-in"): Quantity[] | undefined {
  const written = flags.text[name];
  if (written === undefined) return undefined;
  const letters = written === "none" ? [] : written.split(",").map((letter) => letter.trim().toLowerCase());
  const found = letters.flatMap((letter) => (Object.hasOwn(quantities, letter) ? [quantities[letter]!] : []));
  if (found.length === letters.length && new Set(found).size === found.length) return found;
  throw new RangeError(
    `Cannot read --${name.replace("-", "_")}: ${JSON.stringify(written)} is not one of n, d, n,d and none.`,
  );
}

interface Described {
  readonly points: readonly GridPoint[];
  readonly cells: readonly CellSurface[];
  readonly laws: { readonly learningRate: SurfaceLaw; readonly batch: SurfaceLaw };
  readonly batch: string;
}

function describe({ points, cells, laws, batch }: Described): string[] {
  const head = ["N", "D", "fitted", "best rate", "80 %", "best batch", "80 %", "loss there", "lowest"];
  const rows = cells.map(({ parameters, tokens, fitted, runs, optimum, lowest, problem }) => [
    ...[grouped(parameters), grouped(tokens), `${fitted}/${runs}`],
    ...(optimum
      ? [
          optimum.learningRate.value.toPrecision(3),
          optimum.learningRate.ci80.map((end) => end.toPrecision(3)).join(" … "),
          grouped(optimum.batch.value),
          optimum.batch.ci80.map(grouped).join(" … "),
          optimum.loss.toFixed(4),
        ]
      : ["-", "-", "-", "-", "-"]),
    `${lowest.loss.toFixed(4)}${problem === undefined ? "" : ` (${problem})`}`,
  ]);
  const inTokens = /tokens/.test(batch);
  return [
    `${grouped(points.length)} runs in ${cells.length} cells of N and D; the loss as a quadratic in log rate and log batch (${batch})`,
    "",
    ...table(head, rows),
    "",
    ...lawLines("rate", laws.learningRate),
    ...lawLines("batch", laws.batch),
    "",
    inTokens ? "In a plan:" : `In a plan, if ${batch} is in tokens:`,
    `  learningRate: ${literal(rounded(laws.learningRate.rule))},`,
    `  batchTokens: ${literal(rounded(laws.batch.rule))},`,
  ];
}

/** A law with the 80 % intervals of its constants. */
function lawLines(what: string, { rule, ci80, cells, scatter }: SurfaceLaw): string[] {
  const ends = (name: "factor" | Quantity) => {
    const [low, high] = ci80[name]!;
    return `[${low.toPrecision(3)}, ${high.toPrecision(3)}]`;
  };
  const power = (symbol: string, name: Quantity) =>
    ci80[name] ? [`${symbol}^${rule[name]!.toFixed(3)} ${ends(name)}`] : [];
  const parts = [
    `${rule.factor.toPrecision(3)} ${ends("factor")}`,
    ...power("N", "parameters"),
    ...power("D", "tokens"),
  ];
  const off = scatter > 0 ? `; optima are off it by ${(100 * scatter).toFixed(0)} % beyond their errors` : "";
  return [wrapped(`${what} = ${parts.join(" · ")} (80 %, ${cells} cells${off})`)];
}

/** The rule rounded for writing: exponents to four decimals, an error of a thousandth at ten billion tokens. */
function rounded({ factor, ...exponents }: PowerRule): PowerRule {
  const short = Object.entries(exponents).map(([name, value]) => [name, Number(value.toFixed(4))]);
  return { factor: Number(factor.toPrecision(4)), ...Object.fromEntries(short) };
}

/** A rule as it is written in a plan. */
function literal(rule: PowerRule): string {
  return `{ ${Object.entries(rule)
    .map(([name, value]) => `${name}: ${value}`)
    .join(", ")} }`;
}
