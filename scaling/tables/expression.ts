/**
 * Expressions over the rows of a table, in arquero's own language: `d` is the row, and its functions (`log10`, `exp`,
 * `startswith`, …) are there. Nothing else of JavaScript is: arquero parses the text and refuses other names.
 */
import { type ColumnTable, table as from } from "arquero";

/** Whether a text is an expression rather than the name of a column. */
export const isExpression = (text: string): boolean => /\bd\s*[.[]/.test(text);

/**
 * The value of an expression at each row.
 * @param what the flag or the column that it is for, in messages
 * @throws {RangeError} for an expression that arquero cannot read, or one that names a missing column
 * @example
 * valuesOf(runs, "10 ** d.log_n", { what: "--n" });
 */
export function valuesOf(table: ColumnTable, expression: string, { what }: { readonly what: string }): unknown[] {
  try {
    // arquero looks columns up in an object, whose own properties are no columns.
    const inherited = /\bd\s*\.\s*(constructor|__proto__|toString|valueOf|hasOwnProperty)\b/.exec(expression);
    if (inherited) throw new Error(`Invalid column reference: "d.${inherited[1]}"`);
    return Array.from(table.derive({ "\0value": expression }).array("\0value") as ArrayLike<unknown>);
  } catch (error) {
    const [reason] = (error as Error).message.split("\n");
    throw new RangeError(
      `Cannot read ${what} ${JSON.stringify(expression)}: ${reason}; write an expression over the row d, such as "d.loss < 3 && d.dataset == 'c4'", with the columns ${table.columnNames().join(", ")}.`,
    );
  }
}

/** The rows at which a condition holds. @throws {RangeError} as `valuesOf`, and if a value is not true or false */
export function rowsWhere(table: ColumnTable, condition: string, options: { readonly what: string }): boolean[] {
  return valuesOf(table, condition, options).map((value, row) => {
    if (typeof value === "boolean" || value === null || value === undefined) return value === true;
    throw new RangeError(
      `Cannot read ${options.what} ${JSON.stringify(condition)}: at row ${row + 1} it is ${JSON.stringify(value)}, where true or false is wanted; compare it with something.`,
    );
  });
}

/** The table with a column for each expression, named by its text. */
export function withExpressions(table: ColumnTable, columns: object): ColumnTable {
  const there = new Set(table.columnNames());
  const wanted = Object.entries(columns).filter(
    (entry): entry is [string, string] =>
      typeof entry[1] === "string" && !there.has(entry[1]) && isExpression(entry[1]),
  );
  return wanted.reduce((all, [what, text]) => {
    return all.assign(from({ [text]: valuesOf(table, text, { what: `the column for ${what}` }) }));
  }, table);
}
