/**
 * `folio scaling decide`: how often small runs put two recipes in the order of the largest ones.
 * scaling/questions/decisions.ts computes it.
 */
import { type Decision, decisions } from "../../../scaling/questions/decisions.js";
import { readTable } from "../../../scaling/read-points.js";
import { readColumns } from "../../../scaling/tables/task-table.js";
import { grouped, type Io, table } from "../shared/terminal.js";
import { positive, readFlags, whole } from "./shared/flags.js";

export function help(): string {
  return `folio scaling decide: how often small runs put two recipes in the order that large runs have.

Usage: folio scaling decide FILE [--recipe COL] [--scale COL] [--score COL] [--flag value …]

FILE is a table with one row per trained model: its recipe (such as a data set), its scale (parameters or FLOPs) and its
score. For each scale below the target, every pair of recipes is a decision; it is right if single runs of the small
scale stand in the order of the mean scores at the target (Magnusson 2025). Runs of other seeds are further rows. The
intervals are those of a bootstrap over recipes and over the runs of each.

  --recipe COL        default recipe
  --scale COL         default n
  --score COL         default accuracy; of a loss, add --lower
  --lower             lower scores are better
  --target X          the scale whose order counts (default: the largest)
  --where CONDITION   only these rows
  --bootstrap R       resamples (default 1000)
  --json              print JSON

  folio scaling decide runs.csv --recipe=data --scale=n --score=loss --lower`;
}

const kinds = {
  recipe: "string",
  scale: "string",
  score: "string",
  target: "string",
  where: "string",
  bootstrap: "string",
  lower: "boolean",
  json: "boolean",
} as const;

export async function run(args: readonly string[], io: Io): Promise<number> {
  const flags = readFlags(args, kinds, "folio scaling decide");
  const [file, ...more] = flags.words;
  if (file === undefined) throw new RangeError("Cannot judge decisions: name a table of trained models.");
  if (more.length > 0) throw new RangeError(`Cannot judge ${file} and ${more.join(", ")}: give one table.`);
  const { recipe = "recipe", scale = "n", score = "accuracy", where } = flags.text;
  const columns = readColumns(await readTable(file), { recipe, scale, score }, { name: file, where });
  const [recipes, scales, scores] = [columns.texts("recipe"), columns.numbers("scale"), columns.numbers("score")];
  const runs = recipes.map((name, i) => ({ recipe: name, scale: scales[i]!, score: scores[i]! }));
  const [target, bootstrap] = [positive(flags, "target"), whole(flags, "bootstrap")];
  const found = decisions(runs, {
    lower: flags.yes.lower === true,
    ...(target !== undefined && { target }),
    ...(bootstrap !== undefined && { bootstrap }),
  });
  const largest = target ?? Math.max(...scales);
  if (flags.yes.json) {
    io.stdout.write(`${JSON.stringify({ file, runs: runs.length, target: largest, decisions: found }, null, 2)}\n`);
    return 0;
  }
  io.stdout.write(`${describe(found, { file, runs: runs.length, largest }).join("\n")}\n`);
  return 0;
}

const percent = (share: number) => (Number.isNaN(share) ? "-" : `${(100 * share).toFixed(1)} %`);

function describe(
  found: readonly Decision[],
  { file, runs, largest }: { file: string; runs: number; largest: number },
) {
  const rows = found.map((each) => [
    ...[grouped(each.scale), String(each.recipes), String(each.pairs), percent(each.right)],
    ...[each.ci80.map(percent).join(" … "), percent(1 - each.right), each.chosen, each.regret.toPrecision(3)],
  ]);
  return [
    `${file}: ${grouped(runs)} runs; decisions of single runs against the order at ${grouped(largest)}`,
    "",
    ...table(["scale", "recipes", "pairs", "right", "80 %", "wrong", "chosen", "worse than the best by"], rows),
  ];
}
