/**
 * `folio scaling decide`: how often small runs put two recipes in the order of the largest ones.
 * scaling/questions/decisions.ts computes it.
 */
import { type Decision, decisions } from "../../../scaling/questions/decisions.js";
import { readTable } from "../../../scaling/read-points.js";
import { readColumns } from "../../../scaling/tables/task-table.js";
import { grouped, type Io, table } from "../shared/terminal.js";
import { type Flags, positive, readFlags, whole } from "./shared/flags.js";

export function help(): string {
  return `folio scaling decide: how often small runs put two recipes in the order that large runs have.

Usage: folio scaling decide FILE [--recipe COL] [--scale COL] [--score COL] [--flag value …]

FILE is a table with one row per trained model: its recipe (such as a data set), its scale (parameters or FLOPs) and its
score. For each scale below the target, every pair of recipes is a decision; it is right if single runs of the small
scale stand in the order of the mean scores at the target (Magnusson 2025). Runs of other seeds are further rows. The
intervals are those of a bootstrap over recipes and over the runs of each.

  --recipe COL        default recipe
  --scale COL         default n
  --score COL         default accuracy
  --lower, --higher   lower scores are better, as of losses; or higher ones (default; for a column whose name has loss,
                      ppl, perplexity, bpb, bits or error in it, one of the two must be given)
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
  higher: "boolean",
  json: "boolean",
} as const;

export async function run(args: readonly string[], io: Io): Promise<number> {
  const flags = readFlags(args, kinds, "folio scaling decide");
  const [file, ...more] = flags.words;
  if (file === undefined) throw new RangeError("Cannot judge decisions: name a table of trained models.");
  if (more.length > 0) throw new RangeError(`Cannot judge ${file} and ${more.join(", ")}: give one table.`);
  const { recipe = "recipe", scale = "n", score = "accuracy", where } = flags.text;
  const better = directionOf(flags, score);
  const columns = readColumns(await readTable(file), { recipe, scale, score }, { name: file, where });
  const [recipes, scales, scores] = [columns.texts("recipe"), columns.numbers("scale"), columns.numbers("score")];
  const runs = recipes.map((name, i) => ({ recipe: name, scale: scales[i]!, score: scores[i]! }));
  const [target, bootstrap] = [positive(flags, "target"), whole(flags, "bootstrap")];
  const found = decisions(runs, {
    lower: better === "lower",
    ...(target !== undefined && { target }),
    ...(bootstrap !== undefined && { bootstrap }),
  });
  const largest = target ?? Math.max(...scales);
  if (flags.yes.json) {
    const said = { file, runs: runs.length, score, better, target: largest, decisions: found };
    io.stdout.write(`${JSON.stringify(said, null, 2)}\n`);
    return 0;
  }
  const direction = `${better} ${score} counts as better`;
  io.stdout.write(`${describe(found, { file, runs: runs.length, largest, direction }).join("\n")}\n`);
  return 0;
}

/** Names of scores of which lower ones are better. */
const losses = /loss|ppl|perplexity|bpb|bits|error/i;

/** @throws {RangeError} for both directions, or for none if the column looks like a loss */
function directionOf({ yes }: Flags, score: string): "lower" | "higher" {
  if (yes.lower && yes.higher) throw new RangeError("Cannot judge decisions: --lower and --higher exclude each other.");
  if (yes.lower) return "lower";
  if (yes.higher || !losses.test(score)) return "higher";
  throw new RangeError(
    `Cannot judge decisions: is a lower or a higher "${score}" better? Its name is that of a loss, so add --lower; or --higher, if higher values are better.`,
  );
}

const percent = (share: number) => (Number.isNaN(share) ? "-" : `${(100 * share).toFixed(1)} %`);

function describe(
  found: readonly Decision[],
  { file, runs, largest, direction }: { file: string; runs: number; largest: number; direction: string },
) {
  const rows = found.map((each) => [
    ...[grouped(each.scale), String(each.recipes), String(each.pairs), percent(each.right)],
    ...[each.ci80.map(percent).join(" … "), percent(1 - each.right), each.chosen, each.regret.toPrecision(3)],
  ]);
  return [
    `${file}: ${grouped(runs)} runs; decisions of single runs against the order at ${grouped(largest)}; ${direction}`,
    "",
    ...table(["scale", "recipes", "pairs", "right", "80 %", "wrong", "chosen", "worse than the best by"], rows),
  ];
}
