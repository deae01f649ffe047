/**
 * A file of trainings → an arquero table: CSV in its many forms, JSON, JSONL or Parquet, optionally compressed by gzip.
 * The format is detected by the content, not by the file's name. read-points.ts interprets the columns.
 */
import { readFile, stat } from "node:fs/promises";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import type { ColumnTable } from "arquero";
import { parquetMetadataAsync, parquetReadObjects, parquetSchema } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { parseDelimited, toTable } from "./delimited.js";

/** A row of any table. */
export type TableRow = Readonly<Record<string, unknown>>;

/** The largest file, also when unpacked: tables of trainings are much smaller, and V8 strings cannot be much longer. */
const most = 400 * 2 ** 20;

/**
 * The table in a file. Text cells stay text, so that messages can quote them.
 * @throws {Error} if the file is missing or cannot be read: what was found, and the command that helps
 * @example
 * const runs = await readTable("sweep/results.csv");
 * runs.groupby("budget").rollup({ lowest: (d) => op.min(d.loss) });
 */
export async function readTable(file: string): Promise<ColumnTable> {
  let read: ColumnTable;
  try {
    read = await parse(await unpacked(file), file);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const found = code === "ENOENT" ? "there is no such file" : message.replace(/\.$/, "");
    throw new Error(`Cannot read ${file}: ${found}.`, { cause: error });
  }
  if (read.numRows() === 0) throw new RangeError(`Cannot read ${file}: it has no rows.`);
  return read;
}

async function unpacked(file: string): Promise<Buffer> {
  const found = await stat(file);
  if (!found.isFile()) throw new Error("it is not a file");
  if (found.size > most) throw new Error(`it has ${found.size} bytes; the limit for a table is ${most}`);
  const bytes = await readFile(file);
  if (!(bytes[0] === 0x1f && bytes[1] === 0x8b)) return bytes;
  return promisify(gunzip)(bytes, { maxOutputLength: most });
}

async function parse(bytes: Buffer, file: string): Promise<ColumnTable> {
  const magic = bytes.toString("latin1", 0, 4);
  if (magic === "PAR1" || /\.parquet$/i.test(file)) return await parseParquet(bytes);
  if (magic.startsWith("PK") || magic === "\xd0\xcf\x11\xe0") {
    throw new Error(
      `it is a spreadsheet or another archive; save it as CSV: libreoffice --headless --convert-to csv ${shellWord(file)}`,
    );
  }
  const text = decoded(bytes, file);
  if (text.trim() === "") throw new RangeError("it has no rows");
  return /^\s*[[{]/.test(text) ? parseJson(text) : parseDelimited(text);
}

/** Decodes UTF-8 or UTF-16, detected by the byte-order mark or by the zero bytes of Latin letters in UTF-16. */
function decoded(bytes: Buffer, file: string): string {
  const little = bytes[0] === 0xff && bytes[1] === 0xfe;
  const big = bytes[0] === 0xfe && bytes[1] === 0xff;
  const label =
    big || (bytes[0] === 0 && bytes[1] !== 0) ? "utf-16be" : little || bytes[1] === 0 ? "utf-16le" : "utf-8";
  try {
    return new TextDecoder(label, { fatal: true }).decode(bytes);
  } catch {
    throw new Error(
      `it is neither a table nor text in UTF-8; if it is text, convert it: iconv -f WINDOWS-1252 -t UTF-8 ${shellWord(file)} > converted.csv`,
    );
  }
}

const shellWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

/** A JSON array of objects, or one object per line. */
function parseJson(text: string): ColumnTable {
  const rows: unknown = /^\s*\[/.test(text) ? json(text, "it is not JSON") : jsonLines(text);
  if (!Array.isArray(rows)) throw new Error("it is JSON, but not an array of rows");
  const wrong = rows.findIndex((row) => typeof row !== "object" || row === null || Array.isArray(row));
  if (wrong >= 0) throw new Error(`row ${wrong + 1} is not an object of columns`);
  const names = [...new Set(rows.flatMap((row: object) => Object.keys(row)))];
  return toTable(
    names,
    names.map((name) => rows.map((row: TableRow) => (Object.hasOwn(row, name) ? row[name] : null))),
  );
}

function jsonLines(text: string): unknown[] {
  const lines = text.split("\n").flatMap((line, index) => (line.trim() === "" ? [] : [{ line, index }]));
  return lines.map(({ line, index }) => json(line, `line ${index + 1} is not JSON`));
}

function json(text: string, complaint: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${complaint} (${(error as Error).message})`, { cause: error });
  }
}

/** Reads column by column; in parallel, a damaged file would cause unhandled rejections. */
async function parseParquet(bytes: Buffer): Promise<ColumnTable> {
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
  try {
    const metadata = await parquetMetadataAsync(file);
    const names = parquetSchema(metadata).children.map(({ element }) => element.name);
    const columns: unknown[][] = [];
    for (const name of names) {
      const cells = await parquetReadObjects({ file, metadata, columns: [name], compressors });
      columns.push(cells.map((row) => row[name]));
    }
    return toTable(names, columns);
  } catch (error) {
    throw new Error(`it is not a Parquet file, or it is damaged (${(error as Error).message})`, { cause: error });
  }
}
