/**
 * The text of a table → an arquero table. Cells may be separated by commas, tabs, semicolons or bars; any line endings,
 * comment lines (`#`) at the top and empty rows are accepted. arquero splits the cells; errors that it would not report
 * (duplicate column names, rows longer than the header) are found here.
 */
import { type ColumnTable, fromCSV, table } from "arquero";
import { cellNumber, hasDecimalCommas, withoutDecimalComma } from "./cell-number.js";

const delimiters = [",", "\t", ";", "|"] as const;

/** The name of one of several columns with the same name: "loss" → "loss (column 3)". */
export const columnOf = (name: string, position: number): string => `${name} (column ${position})`;

/** @throws {RangeError} for a text without rows, or if a row is longer than the header */
export function parseDelimited(text: string): ColumnTable {
  const lines = text.includes("\n") ? text : text.replaceAll("\r", "\n");
  const body = withoutComments(lines);
  const head = firstLine(body);
  const delimiter = delimiterOf(head);
  const width = split(head, delimiter)[0]?.length ?? 0;
  // Since the parser takes the width of the first row, give the header one more cell to detect longer rows.
  const rows = split(`${delimiter.repeat(width)}\n${body}`, delimiter);
  const [names = [], ...cells] = rows.slice(1);
  const full = cells.filter((row) => row.some((cell) => cell !== null));
  const long = full.findIndex((row) => row[width] !== null);
  if (long >= 0) {
    throw new RangeError(
      `row ${long + 1} has more cells than the header, which has ${width}; quote cells that contain "${delimiter}"`,
    );
  }
  const decimal =
    delimiter !== "," && hasDecimalCommas(everyCell(full)) ? withoutDecimalComma : (cell: unknown) => cell;
  return toTable(
    names.slice(0, width),
    Array.from({ length: width }, (_, column) => typed(full.map((row) => decimal(row[column])))),
  );
}

function* everyCell(rows: readonly (readonly unknown[])[]): Generator<unknown> {
  for (const row of rows) yield* row;
}

/** The most digits that a number represents exactly; longer ones are identifiers. */
const exactDigits = 15;

/**
 * Converts a column to numbers if it has only numbers and cells without a value (their text, such as "NaN", is kept).
 * Other columns stay text, so that messages can quote it.
 */
function typed(cells: readonly unknown[]): unknown[] {
  const numbers = cells.map(cellNumber);
  const whole = numbers.every((number, row) => number !== undefined && String(cells[row]).length <= exactDigits + 10);
  const identities = cells.some((cell) => typeof cell === "string" && /^\d+$/.test(cell) && cell.length > exactDigits);
  return whole && !identities ? cells.map((cell, row) => numbers[row] ?? cell) : [...cells];
}

/** Rows of trimmed cells; empty cells are null. */
function split(text: string, delimiter: string): (string | null)[][] {
  if (text === "") return [];
  const parsed = fromCSV(text, { delimiter, header: false, autoType: false });
  const columns = parsed.columnNames().map((name) => parsed.array(name) as (string | null | undefined)[]);
  return Array.from({ length: parsed.numRows() }, (_, row) => columns.map((column) => column[row]?.trim() || null));
}

/**
 * Removes lines of `#` above the header. If numbers follow directly, the last of these lines is the header, as in files
 * of NumPy.
 */
function withoutComments(text: string): string {
  const above = /^(?:[ \t]*(?:#[^\n]*)?\r?\n)+/.exec(text)?.[0];
  if (above === undefined) return text;
  const rest = text.slice(above.length);
  const last = above
    .trimEnd()
    .split("\n")
    .at(-1)!
    .replace(/^\s*#\s*/, "")
    .trimEnd();
  const delimiter = delimiterOf(last);
  const [names, first] = [last.split(delimiter), firstLine(rest).split(delimiter)];
  const bare =
    names.length > 1 && names.length === first.length && first.every((cell) => cellNumber(cell) !== undefined);
  return bare ? `${last}\n${rest}` : rest;
}

function firstLine(text: string): string {
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '"') quoted = !quoted;
    else if (text[at] === "\n" && !quoted) return text.slice(0, at).replace(/\r$/, "");
  }
  return text;
}

/** The delimiter that occurs most often in the header, outside quotes. */
function delimiterOf(head: string): (typeof delimiters)[number] {
  const bare = head.replaceAll(/"[^"]*"/g, "");
  const count = (delimiter: string) => bare.split(delimiter).length;
  return delimiters.reduce((best, other) => (count(other) > count(best) ? other : best));
}

/**
 * Names the columns. A column without a name is named by its position, and left out if it is empty. Columns with the
 * same name get their positions added, so that they are not confused.
 */
export function toTable(names: readonly (string | null)[], columns: readonly (readonly unknown[])[]): ColumnTable {
  const counts = new Map<string | null, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  const named = columns.flatMap((column, index): [string, readonly unknown[]][] => {
    const name = names[index] ?? null;
    if (name === null) return column.every((cell) => cell === null) ? [] : [[columnOf("unnamed", index + 1), column]];
    return [[counts.get(name)! > 1 ? columnOf(name, index + 1) : name, column]];
  });
  const reserved = named.find(([name]) => name === "__proto__");
  if (reserved) throw new RangeError("it has a column named __proto__, which is reserved in JavaScript; rename it");
  return table(named as [string, unknown[]][]);
}
