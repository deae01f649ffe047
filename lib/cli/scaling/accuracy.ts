/**
 * `folio scaling accuracy`: the accuracy on a task from the loss, by a sigmoid, with or without the task's own loss between
 * them. scaling/questions/accuracy.ts computes it.
 */
import {
  type AccuracyFit,
  type AccuracyPrediction,
  fitAccuracy,
  predictAccuracy,
} from "../../../scaling/questions/accuracy.js";
import { readTable } from "../../../scaling/read-points.js";
import { rowsWhere } from "../../../scaling/tables/expression.js";
import { readColumns } from "../../../scaling/tables/task-table.js";
import { type Io, table, wrapped } from "../shared/terminal.js";
import { one } from "./shared/adapt.js";
import { type Flags, readFlags } from "./shared/flags.js";
import { writeWarnings } from "./shared/warnings.js";

export function help(): string {
  return `folio scaling accuracy: the accuracy on a task from the loss.

Usage: folio scaling accuracy FILE [--loss COL] [--task_loss COL] [--accuracy COL] [--flag value …]

FILE is a table with one row per evaluated model: its loss, its accuracy on a task (a share), and maybe its loss on this
task, such as that of the correct answers. With a task loss there are two steps (Bhagia 2024): the task loss from the
loss, by a line or a power; and the accuracy from the task loss. Accuracy = a / (1 + e^(-k (L - L0))) + b, by least
squares; b is the top, reached at low losses, and a + b is chance. Columns may be expressions over the row d.

  --loss COL          default loss
  --task_loss COL     default: none, the sigmoid is of the loss itself
  --accuracy COL      default accuracy; an expression such as 'd.percent / 100'
  --step linear|power task loss = p + q loss, or ln task loss = p + q ln loss (default linear)
  --chance X --top X  give the accuracy of guessing, or that at the lowest losses, instead of fitting them
  --where CONDITION   only these rows
  --hold_out CONDITION   predict these rows instead of fitting them
  --at L1,L2          predict the accuracy at these losses
  --json              print JSON

  folio scaling accuracy evals.csv --task_loss=arc_loss --accuracy=arc --chance=.25 --hold_out='d.n > 3e9' --at=2.1`;
}

const kinds = {
  loss: "string",
  "task-loss": "string",
  accuracy: "string",
  step: "string",
  chance: "string",
  top: "string",
  where: "string",
  "hold-out": "string",
  at: "string",
  json: "boolean",
} as const;

interface Compared extends AccuracyPrediction {
  readonly row?: number;
  readonly measured?: number;
}

export async function run(args: readonly string[], io: Io): Promise<number> {
  const flags = readFlags(args, kinds, "folio scaling accuracy");
  const [file, ...more] = flags.words;
  if (file === undefined) throw new RangeError("Cannot fit accuracies: name a table of evaluated models.");
  if (more.length > 0) throw new RangeError(`Cannot fit ${file} and ${more.join(", ")}: give one table.`);
  const read = await readTable(file);
  const { loss = "loss", "task-loss": taskLoss, accuracy = "accuracy", where, "hold-out": holdOut } = flags.text;
  const columns = readColumns(
    read,
    { loss, accuracy, ...(taskLoss !== undefined && { taskLoss }) },
    { name: file, where },
  );
  const [losses, accuracies] = [columns.numbers("loss"), columns.numbers("accuracy")];
  const taskLosses = taskLoss === undefined ? undefined : columns.numbers("taskLoss");
  const out = holdOut === undefined ? [] : rowsWhere(read, holdOut, { what: "--hold_out" });
  const all = columns.rows.map((row, i) => ({
    ...{ row, held: out[row] === true, loss: losses[i]!, accuracy: accuracies[i]! },
    ...(taskLosses && { taskLoss: taskLosses[i]! }),
  }));
  if (all.every(({ held }) => held)) {
    throw new RangeError(
      `Cannot fit accuracies: --hold_out ${JSON.stringify(holdOut)} matches all ${all.length} rows, which leaves none to fit; narrow this condition.`,
    );
  }
  const form = one("step", flags.text.step ?? "linear", ["linear", "power"]);
  const [chance, top] = [share(flags, "chance"), share(flags, "top")];
  const fit = fitAccuracy(
    all.filter(({ held }) => !held),
    { form, ...(chance !== undefined && { chance }), ...(top !== undefined && { top }) },
  );
  const predictions: Compared[] = [
    ...all.flatMap(({ held, row, loss: at, accuracy: measured }) =>
      held ? [{ row: row + 1, ...predictAccuracy(fit, at), measured }] : [],
    ),
    ...lossesOf(flags.text.at).map((at) => predictAccuracy(fit, at)),
  ];
  if (flags.yes.json) {
    io.stdout.write(`${JSON.stringify({ file, ...fit, predictions }, null, 2)}\n`);
    return 0;
  }
  io.stdout.write(`${describe(fit, predictions, file).join("\n")}\n`);
  writeWarnings(io, fit.warnings);
  return 0;
}

/** A flag's share from 0 to 1. */
function share(flags: Flags, name: "chance" | "top"): number | undefined {
  const written = flags.text[name];
  if (written === undefined) return undefined;
  const value = Number(written);
  if (written !== "" && value >= 0 && value <= 1) return value;
  throw new RangeError(`Cannot read --${name}: ${JSON.stringify(written)} is not a share from 0 to 1, such as .25.`);
}

function lossesOf(written: string | undefined): number[] {
  return (written?.split(",") ?? []).map((text) => {
    const value = Number(text);
    if (text.trim() !== "" && value > 0 && Number.isFinite(value)) return value;
    throw new RangeError(`Cannot read --at: ${JSON.stringify(text)} is not a loss above 0; write them as 2.4,2.1.`);
  });
}

const fixed = (value: number) => value.toFixed(4);
const ends = (interval: readonly [number, number]) =>
  interval.every(Number.isFinite) ? interval.map(fixed).join(" … ") : "-";

function describe({ taskLoss, sigmoid, points, range }: AccuracyFit, predictions: readonly Compared[], file: string) {
  const { params, ci80, scatter, converged } = sigmoid;
  const interval = (name: keyof typeof params) => {
    const found = ci80[name];
    if (!found) return " (given)";
    return found.every(Number.isFinite) ? ` [${found.map((end) => Number(end.toPrecision(4))).join(", ")}]` : "";
  };
  const constants = (["top", "chance", "k", "L0"] as const).map(
    (name) => `${name} ${Number(params[name].toPrecision(4))}${interval(name)}`,
  );
  const [a, b] = [params.chance - params.top, params.top];
  const step = taskLoss
    ? `${taskLoss.form === "power" ? "ln task loss = " : "task loss = "}${taskLoss.intercept.toPrecision(4)} + ${taskLoss.slope.toPrecision(4)} · ${taskLoss.form === "power" ? "ln loss" : "loss"}; scatter ${taskLoss.scatter.toPrecision(2)}`
    : undefined;
  const measured = predictions.some((each) => each.measured !== undefined);
  const rows = predictions.map((each) => [
    ...[fixed(each.loss), fixed(each.accuracy), ends(each.law), ends(each.run)],
    ...(measured ? [each.measured === undefined ? "-" : fixed(each.measured)] : []),
  ]);
  const head = ["loss", "accuracy", "law, 80 %", "run, 80 %", ...(measured ? ["measured"] : [])];
  return [
    `${file}: ${points} models, losses ${range.map(fixed).join(" to ")}`,
    ...(step === undefined ? [] : [wrapped(step)]),
    wrapped(
      `accuracy = ${a.toPrecision(4)} / (1 + e^(-k (${taskLoss ? "task loss" : "loss"} - L0))) + ${b.toPrecision(4)}; scatter ${scatter.toPrecision(2)}${converged ? "" : ", NOT CONVERGED"}`,
    ),
    wrapped(`${constants.join(", ")} (80 %)`),
    ...(rows.length > 0 ? ["", ...table(head, rows)] : []),
  ];
}
