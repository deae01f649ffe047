/**
 * The text of a table as people have it → an arquero table: comma, tab, semicolon or bar between the cells, any
 * kind of line ends, lines of `#` above, empty rows. arquero splits the cells; what it would take without a word (two
 * columns of one name, rows longer than the header) is found here.
 */
import { type ColumnTable, fromCSV, table } from "arquero";
import { cellNumber, hasDecimalCommas, withoutDecimalComma } from "./cell-number.js";

const delimiters = [",", "\t", ";", "|"] as const;

/** The name that one of several columns of one name has instead: "loss" → "loss (column 3)". */
export const columnOf = (name: string, position: number): string => `${name} (column ${position})`;

/** @throws {RangeError} for a text without rows, or with a row that is longer than the header */
export function parseDelimited(text: string): ColumnTable {
  const lines = text.includes("\n") ? text : text.replaceAll("\r", "\n");
  const body = withoutComments(lines);
  const head = firstLine(body);
  const delimiter = delimiterOf(head);
  const width = split(head, delimiter)[0]?.length ?? 0;
  // One cell more than the header has: what a row holds there is too much. The parser takes the width of the first row.
  const rows = split(`${delimiter.repeat(width)}\n${body}`, delimiter);
  const [names = [], ...cells] = rows.slice(1);
  const full = cells.filter((row) => row.some((cell) => cell !== null));
  const long = full.findIndex((row) => row[width] !== null);
  if (long >= 0) {
    throw new RangeError(
      `row ${long + 1} has more cells than the header, which has ${width}; quote cells that hold "${delimiter}"`,
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

/** Digits that a number keeps; longer ones are identities. */
const exactDigits = 15;

/**
 * Numbers where a column has nothing but numbers and cells without a value; a cell that says so in words keeps its words. A
 * column with any other text is text: what it says may be shown as it stands.
 */
function typed(cells: readonly unknown[]): unknown[] {
  const numbers = cells.map(cellNumber);
  const whole = numbers.every((number, row) => number !== undefined && String(cells[row]).length <= exactDigits + 10);
  const identities = cells.some((cell) => typeof cell === "string" && /^\d+$/.test(cell) && cell.length > exactDigits);
  return whole && !identities ? cells.map((cell, row) => numbers[row] ?? cell) : [...cells];
}

/** Rows of trimmed cells, null where a cell is empty. */
function split(text: string, delimiter: string): (string | null)[][] {
  if (text === "") return [];
  const parsed = fromCSV(text, { delimiter, header: false, autoType: false });
  const columns = parsed.columnNames().map((name) => parsed.array(name) as (string | null | undefined)[]);
  return Array.from({ length: parsed.numRows() }, (_, row) => columns.map((column) => column[row]?.trim() || null));
}

/**
 * Lines of `#` above the header go. Where what follows begins with numbers the last of them is the header, as NumPy writes
 * it.
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

/** The one that stands most often in the header, outside of quotes. */
function delimiterOf(head: string): (typeof delimiters)[number] {
  const bare = head.replaceAll(/"[^"]*"/g, "");
  const count = (delimiter: string) => bare.split(delimiter).length;
  return delimiters.reduce((best, other) => (count(other) > count(best) ? other : best));
}

/**
 * Columns under their names. A column without a name is called by its place, and left out where it is empty too; columns of
 * one name each get their place behind it, so that nobody takes one of them for the other.
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
  if (reserved) throw new RangeError("it has a column named __proto__, which JavaScript keeps for itself; rename it");
  return table(named as [string, unknown[]][]);
}
