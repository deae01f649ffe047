/** Shared by `fit` and `report`: the flags that name a table's columns, and the table as a study of points. */
import { availableParallelism } from "node:os";
import {
  ownColumns,
  type PointColumns,
  type ReadPointsOptions,
  readTable,
  type Study,
  toStudy,
} from "../../../scaling/read-points.js";
import { type Flags, positive, whole } from "./flags.js";

export const studyKinds = {
  n: "string",
  d: "string",
  c: "string",
  loss: "string",
  group: "string",
  unique: "string",
  "drop-missing": "boolean",
  bootstrap: "string",
  seed: "string",
  threads: "string",
} as const;

/** Both commands' description of the table. */
export const fileHelp = `FILE is a table with one row per training: CSV (comma, tab or semicolon, decimal comma, UTF-8 or UTF-16), JSON, JSON
lines or Parquet, also compressed by gzip. In a table of \`folio scaling run\` the columns are known; in other tables,
columns named n, d, c and loss are found without flags.`;

/** The study in a file, with the columns named by flags. */
export async function readStudy(
  file: string,
  flags: Flags,
  check: (columns: PointColumns) => void = () => {},
): Promise<Study> {
  const table = await readTable(file);
  const { n, d, c, loss, group, unique } = flags.text;
  const named = { n, d, c, loss, group, unique };
  const given = Object.fromEntries(Object.entries(named).filter(([, column]) => column !== undefined));
  const own = ownColumns(table);
  const base = n === undefined && d === undefined && c === undefined ? own : { loss: own.loss };
  const columns: PointColumns = { ...base, ...given };
  check(columns);
  const missing: ReadPointsOptions["missing"] = flags.yes["drop-missing"] ? "drop" : "refuse";
  return toStudy(table, columns, { name: file, missing });
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
