/**
 * `folio scaling tune`: finds the best learning rate of each size in a tuning sweep's table, and the rule fitted to
 * them, for use in a plan. scaling/planning/learning-rates.ts computes them.
 */

import { applyRule, type PowerRule, tuneLearningRates } from "../../../scaling/planning/learning-rates.js";
import { readTable, toTuningPoints } from "../../../scaling/read-points.js";
import { grouped, type Io, table } from "../shared/terminal.js";
import { readFlags } from "./flags.js";

export function help(): string {
  return `folio scaling tune: the best learning rates of a tuning sweep, and the rule fitted to them.

Usage: folio scaling tune FILE [--flag value …]

FILE is a table as for \`folio scaling fit\`, with one row per training: several learning rates for each size, on the
same number of tokens. In a table of \`folio scaling run\` the columns are known, and only runs of role tuning, which a
plan's \`tuning\` makes, are used. At each N and D the best rate is the vertex of the parabola in log rate through the
three lowest losses, averaged over seeds; if several batch sizes were tried, those of the one with the lowest loss.
The rule rate = factor · N^parameters · D^tokens is fitted to the best rates; in N only, if D is constant or
follows from N.

  --n COL --d COL     parameters and tokens (default n, d)
  --rate COL          learning rates (default learning_rate)
  --batch COL         tokens or sequences per step (default batch_tokens, batch_size or batch, if there is one)
  --loss COL          loss, nats per token (default loss)
  --drop-missing      leave out rows with a missing number, instead of refusing the table
  --json              print JSON: best, rule, largest relative difference between them

  folio scaling run novels-tuning --out out-tuning
  folio scaling tune out-tuning/results.csv`;
}

const kinds = {
  n: "string",
  d: "string",
  rate: "string",
  batch: "string",
  loss: "string",
  "drop-missing": "boolean",
  json: "boolean",
} as const;

export async function run(args: readonly string[], io: Io): Promise<number> {
  const flags = readFlags(args, kinds, "folio scaling tune");
  const [file, ...more] = flags.words;
  if (file === undefined) throw new RangeError("Cannot tune: name the table of a tuning sweep's trainings.");
  if (more.length > 0) throw new RangeError(`Cannot tune by ${file} and ${more.join(", ")}: give one file.`);
  const { n = "n", d = "d", rate = "learning_rate", loss = "loss", batch } = flags.text;
  const missing = flags.yes["drop-missing"] ? "drop" : "refuse";
  const points = toTuningPoints(
    await readTable(file),
    { n, d, rate, loss, ...(batch !== undefined && { batch }) },
    { name: file, missing },
  );
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
