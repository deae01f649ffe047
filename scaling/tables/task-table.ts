/** Columns of a table by name or expression, as numbers or texts, for evaluated models (accuracies, recipes). */
import type { ColumnTable } from "arquero";
import { cellNumber } from "./cell-number.js";
import { checkedColumns, chosenRows } from "./columns.js";
import { withExpressions } from "./expression.js";

export interface ReadColumnsOptions {
  /** The table's name in messages. */
  readonly name: string;
  /** Only rows for which this expression holds. */
  readonly where?: string | undefined;
}

/** The chosen rows of a table. */
export interface Columns {
  readonly rows: readonly number[];
  numbers(what: string): number[];
  texts(what: string): string[];
}

/**
 * The named columns, for the rows that `where` selects.
 * @throws {RangeError} for a missing column, no row, or (when it is read) a cell that is no number
 */
export function readColumns(
  given: ColumnTable,
  named: Readonly<Record<string, string>>,
  { name, where }: ReadColumnsOptions,
): Columns {
  const table = withExpressions(given, named);
  const columns = checkedColumns(table, named, name);
  const rows = chosenRows(given, where, name);
  if (rows.length === 0) throw new RangeError(`Cannot read ${name}: it has no rows.`);
  const cells = (what: string) => {
    const column = table.array(columns[what]!) as ArrayLike<unknown>;
    return rows.map((row) => ({ row, cell: column[row] }));
  };
  return {
    rows,
    texts: (what) =>
      cells(what).map(({ row, cell }) => {
        const text = String(cell ?? "").trim();
        if (text !== "") return text;
        throw new RangeError(
          `Cannot read ${name}: row ${row + 1} has nothing in column "${columns[what]}"; complete this row, or leave it out (--where).`,
        );
      }),
    numbers: (what) =>
      cells(what).map(({ row, cell }) => {
        const value = cellNumber(cell);
        if (value !== null && value !== undefined) return value;
        throw new RangeError(
          `Cannot read ${name}: row ${row + 1} has ${JSON.stringify(cell ?? "")} in column "${columns[what]}", where a number is wanted; correct this row, or leave it out (--where).`,
        );
      }),
  };
}
