/** The columns and rows that are read from a table. */
import type { ColumnTable } from "arquero";
import { closest, distance } from "fastest-levenshtein";
import { columnOf } from "./delimited.js";
import { rowsWhere } from "./expression.js";

/** The column of this name, or the only one that equals it when case is ignored. */
export function columnNamed(there: readonly string[], name: string): string | undefined {
  if (there.includes(name)) return name;
  const alike = there.filter((column) => column.toLowerCase() === name.trim().toLowerCase());
  return alike.length === 1 ? alike[0] : undefined;
}

/**
 * The columns with the table's spelling.
 * @param name of what is read, in messages
 * @throws {RangeError} for a missing or ambiguous column
 */
export function checkedColumns<Columns extends object>(table: ColumnTable, given: Columns, name: string): Columns {
  const there = table.columnNames();
  const entries = Object.entries(given) as [string, string | undefined][];
  return Object.fromEntries(
    entries.flatMap(([what, column]) => {
      if (column === undefined) return [];
      const found = columnNamed(there, column);
      if (found !== undefined) return [[what, found]];
      throw noColumn(there, { what, column, name });
    }),
  ) as Columns;
}

function noColumn(there: readonly string[], { what, column, name }: { what: string; column: string; name: string }) {
  const same = there.filter((_, index) => there[index] === columnOf(column, index + 1));
  const found =
    same.length > 1
      ? `it has ${same.length} columns named "${column}" (for ${what}); rename one, or name the right one: ${same.map((each) => `"${each}"`).join(" or ")}`
      : `it has no column "${column}" (for ${what}); ${nearest(column, there) ?? "the"} columns are ${there.join(", ")}`;
  return new RangeError(`Cannot read ${name}: ${found}.`);
}

/** "did you mean …? The"; undefined if no column has a similar name, or several have. */
function nearest(column: string, there: readonly string[]): string | undefined {
  const wanted = column.trim().toLowerCase();
  const similar = (other: string) =>
    other.length > 1 && wanted.length > 1 && (other.includes(wanted) || wanted.includes(other));
  const within = there.filter((other) => similar(other.toLowerCase()));
  if (within.length > 3) return undefined;
  if (within.length > 0) return `did you mean ${within.map((each) => `"${each}"`).join(" or ")}? The`;
  const close = closest(column, [...there]);
  const most = Math.floor(Math.min(column.length, close.length) / 2);
  return distance(wanted, close.toLowerCase()) <= most ? `did you mean "${close}"? The` : undefined;
}

/** The rows that `where` selects; without it, all. @throws {RangeError} if it selects none */
export function chosenRows(table: ColumnTable, where: string | undefined, name: string): number[] {
  const all = Array.from({ length: table.numRows() }, (_, row) => row);
  if (where === undefined) return all;
  const chosen = rowsWhere(table, where, { what: "--where" });
  const found = all.filter((row) => chosen[row]);
  if (found.length > 0) return found;
  throw new RangeError(`Cannot read ${name}: no row fulfils --where ${JSON.stringify(where)}.`);
}
