/**
 * A sweep's result table: a CSV file to which several processes append whole lines, under a lock and synced to disk. A
 * line that a kill has truncated is removed. (arquero would rewrite the whole table for each row.) Every run also keeps
 * its row in its own folder, from which the table can be restored. The table can be converted to Parquet.
 */
import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { type ColumnTable, from } from "arquero";
import { parquetWriteBuffer } from "hyparquet-writer";
import { lockFolder } from "../../lib/host/folder-lock.js";
import { replaceFile } from "../../lib/host/replace-file.js";
import { columns, type ResultRow, textColumns, type Value } from "./columns.js";
import { checkedRow } from "./row-schema.js";

const csvOf = (folder: string) => path.join(folder, "results.csv");
const header = `${columns.join(",")}\n`;

/** The rows of a sweep's table, oldest first; empty if there is no table. */
export function readResults(folder: string): ResultRow[] {
  const file = csvOf(folder);
  if (!fs.existsSync(file)) return [];
  return parseRows(fs.readFileSync(file, "utf8"), file);
}

function parseRows(text: string, file: string): ResultRow[] {
  const lines = text.slice(0, text.lastIndexOf("\n") + 1).split("\n");
  const [head = "", ...rest] = lines.filter((line) => line !== "");
  const names = splitLine(head);
  return rest.map((line, row) => {
    const cells = splitLine(line);
    const content = Object.fromEntries(names.map((name, index) => [name, typed(name, cells[index] ?? "")]));
    return checkedRow(content, `${file}, row ${row + 1}`);
  });
}

function typed(name: string, cell: string): Value {
  if (cell === "") return null;
  return textColumns.has(name) ? cell : Number(cell);
}

/** The cells of a line by RFC 4180, without line breaks in cells. */
function splitLine(line: string): string[] {
  const cells: string[] = [];
  for (const match of line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^",]*))/g)) {
    cells.push(match[1] === undefined ? (match[2] ?? "") : match[1].replaceAll('""', '"'));
  }
  return cells;
}

function rowLine(row: ResultRow): string {
  return `${columns.map((column) => cellText(row[column] ?? null)).join(",")}\n`;
}

function cellText(value: Value): string {
  if (value === null || Number.isNaN(value)) return "";
  const text = String(value).replaceAll(/[\r\n]+/g, " ");
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * Appends the rows that the table does not have yet (by column `run`) and syncs them to disk. A truncated last line is
 * removed, and a table with other columns is rewritten.
 * @returns the number of added rows
 */
export async function addResults(folder: string, rows: readonly ResultRow[]): Promise<number> {
  const lock = await waitForLock(folder);
  try {
    const there = repaired(folder);
    const missing = rows.filter(({ run }) => !there.has(run));
    if (missing.length === 0) return 0;
    const descriptor = fs.openSync(csvOf(folder), "a");
    try {
      fs.writeFileSync(descriptor, missing.map(rowLine).join(""));
      fs.fsyncSync(descriptor);
    } finally {
      fs.closeSync(descriptor);
    }
    return missing.length;
  } finally {
    lock.release();
  }
}

async function waitForLock(folder: string) {
  for (;;) {
    const lock = lockFolder(folder);
    if ("release" in lock) return lock;
    await setTimeout(10 + 20 * Math.random());
  }
}

/** Repairs the file: whole lines under the right header. @returns the runs in the table */
function repaired(folder: string): Set<Value | undefined> {
  const file = csvOf(folder);
  const text = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
  const rows = parseRows(text, file);
  if (!text.startsWith(header)) replaceFile(file, header + rows.map(rowLine).join(""));
  else if (!text.endsWith("\n")) fs.truncateSync(file, Buffer.byteLength(text.slice(0, text.lastIndexOf("\n") + 1)));
  return new Set(rows.map(({ run }) => run));
}

/** The table of a sweep's folder. @throws {Error} if there is none */
export function resultsTable(folder: string): ColumnTable {
  if (!fs.existsSync(csvOf(folder))) throw new Error(`Cannot read the results: there is no ${csvOf(folder)}.`);
  return from(readResults(folder));
}

/** Converts the CSV to `results.parquet`. @returns its path */
export function writeParquet(folder: string): string {
  const rows = readResults(folder);
  const file = path.join(folder, "results.parquet");
  const columnData = columns.map((name) => ({
    name,
    data: rows.map((row) => row[name] ?? null),
    type: textColumns.has(name) ? ("STRING" as const) : ("DOUBLE" as const),
    nullable: true,
  }));
  replaceFile(file, new Uint8Array(parquetWriteBuffer({ columnData })));
  return file;
}
