/** The speed of the runs in a table, for estimates of time. */
import type { ColumnTable } from "arquero";
import { median } from "../../lib/host/statistics.js";
import { cellNumber } from "./cell-number.js";

/** FLOPs per second: the median over the quarter of the rows with the largest compute; undefined without the columns. */
export function speedOf(table: ColumnTable): number | undefined {
  const there = table.columnNames();
  if (!there.includes("seconds") || !there.includes("c")) return undefined;
  const rows = Array.from({ length: table.numRows() }, (_, row) => ({
    c: cellNumber(table.get("c", row)) ?? Number.NaN,
    seconds: cellNumber(table.get("seconds", row)) ?? Number.NaN,
  })).filter(({ c, seconds }) => c > 0 && seconds > 0);
  rows.sort((one, other) => other.c - one.c);
  const largest = rows.slice(0, Math.ceil(rows.length / 4));
  return largest.length === 0 ? undefined : median(largest.map(({ c, seconds }) => c / seconds));
}
