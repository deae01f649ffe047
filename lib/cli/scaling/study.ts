/** What `fit` and `report` share: the flags that name a table's columns, and the table as a study of points. */
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

/** A table as both commands say that they take it. */
export const fileHelp = `FILE is a table, a row per training: CSV (comma, tab or semicolon, decimal comma, UTF-8 or UTF-16), JSON, JSON
lines or Parquet, packed by gzip or not. A table of \`folio scaling run\` needs no columns named; elsewhere too, columns
n, d, c and loss are found by themselves.`;

/** The study that a file holds, in the columns that flags name. */
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

/** How intervals are made. */
export function resampling(flags: Flags): { bootstrap: number; seed: number; threads: number } {
  return {
    bootstrap: whole(flags, "bootstrap") ?? 1000,
    seed: whole(flags, "seed") ?? 1337,
    threads: positive(flags, "threads", { whole: true }) ?? availableParallelism(),
  };
}

/** "1 held out, 6 of tuning left out"; "" where the table has none of them. */
export function leftOut({ heldOut, tuning, dropped }: Study, highest = 0): string {
  const parts = [
    [heldOut.points.length, "held out"],
    [tuning.length, "of tuning left out"],
    [dropped.length, "without a number left out"],
    [highest, "of highest loss left out"],
  ] as const;
  return parts.flatMap(([count, what]) => (count > 0 ? [`, ${count} ${what}`] : [])).join("");
}
