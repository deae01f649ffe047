/** Shared by `fit` and `report`: the flags that name a table's columns, and the table as a study of points. */
import { availableParallelism } from "node:os";
import type { ColumnTable } from "arquero";
import {
  type LossUnit,
  ownColumns,
  type PointColumns,
  type ReadPointsOptions,
  readTable,
  type Study,
  toStudy,
} from "../../../../scaling/read-points.js";
import { type Flags, positive, whole } from "./flags.js";

export const studyKinds = {
  n: "string",
  d: "string",
  c: "string",
  loss: "string",
  group: "string",
  unique: "string",
  weights: "string",
  errors: "string",
  "loss-unit": "string",
  where: "string",
  "hold-out": "string",
  "drop-missing": "boolean",
  bootstrap: "string",
  seed: "string",
  threads: "string",
} as const;

/** Both commands' description of the table. */
export const fileHelp = `FILE is a table with one row per training: CSV (comma, tab or semicolon, decimal comma, UTF-8 or UTF-16), JSON, JSON
lines or Parquet, also compressed by gzip. In a table of \`folio scaling run\` the columns are known; in other tables,
columns named n, d, c and loss are found without flags. COL is the name of a column, or an expression over the row d in
arquero's language, such as --n='10 ** d.log_n' or --d='d.tokens_B * 1e9'. CONDITION is such an expression, too.`;

/** Help for the flags that both commands have, beyond those of columns. */
export const rowsHelp = `  --weights COL       the weight of each row in the fit
  --errors COL        the standard error of each loss, in its unit: a row weighs 1 / error²
  --loss_unit UNIT    nats (default) or bits per token, or ppl (perplexity); results are in nats
  --where CONDITION   only these rows, such as "d.dataset == 'c4' && d.loss < 4"
  --hold_out CONDITION  do not fit these rows, but predict them
  --drop_missing      leave out rows with a missing number (empty, NA, NaN), instead of refusing the table`;

/** The study in a file, with the columns named by flags. */
export async function readStudy(
  file: string,
  flags: Flags,
  check: (columns: PointColumns, there: readonly string[]) => void = () => {},
): Promise<Study> {
  const table = await readTable(file);
  const columns: PointColumns = columnsOf(table, flags);
  check(columns, table.columnNames());
  return toStudy(table, columns, readingOf(flags, file));
}

/** The columns named by flags; without a name for N, D or C, those that the table has. */
export function columnsOf(table: ColumnTable, { text }: Flags): PointColumns {
  const { n, d, c, loss, group, unique, weights, errors } = text;
  const named = { n, d, c, loss, group, unique, weights, errors };
  const given = Object.fromEntries(Object.entries(named).filter(([, column]) => column !== undefined));
  const own = ownColumns(table);
  const base = n === undefined && d === undefined && c === undefined ? own : { loss: own.loss };
  return { ...base, ...given };
}

const units: readonly LossUnit[] = ["nats", "bits", "ppl"];

/** The unit of a table's losses. @throws {RangeError} for an unknown one */
export function lossUnitOf({ text }: Flags, otherwise: LossUnit = "nats"): LossUnit {
  const unit = text["loss-unit"] ?? otherwise;
  const found = units.find((known) => known === unit);
  if (found !== undefined) return found;
  throw new RangeError(`Cannot read --loss_unit: "${unit}" is not one of ${units.join(", ")}.`);
}

/** How the rows of a table are read. @throws {RangeError} for an unknown unit */
export function readingOf(flags: Flags, file: string, lossUnit = lossUnitOf(flags)): ReadPointsOptions {
  const { text, yes } = flags;
  const { where, "hold-out": holdOut } = text;
  return {
    ...{ name: file, missing: yes["drop-missing"] ? "drop" : "refuse", lossUnit },
    ...(where !== undefined && { where }),
    ...(holdOut !== undefined && { holdOut }),
  };
}

/** Options of the intervals. */
export function resampling(flags: Flags): { bootstrap: number; seed: number; threads: number } {
  return {
    bootstrap: whole(flags, "bootstrap") ?? 1000,
    seed: whole(flags, "seed") ?? 1337,
    threads: positive(flags, "threads", { whole: true }) ?? availableParallelism(),
  };
}

/** ", 1 held out, 6 of tuning left out"; "" if there are none. */
export function leftOut({ heldOut, tuning, dropped }: Study, highest = 0): string {
  const parts = [
    [heldOut.points.length, "held out"],
    [tuning.length, "of tuning left out"],
    [dropped.length, "with a missing number left out"],
    [highest, "with the highest loss left out"],
  ] as const;
  return parts.flatMap(([count, what]) => (count > 0 ? [`, ${count} ${what}`] : [])).join("");
}
