/**
 * Reads the text column of a Parquet file row by row, with hyparquet, holding one row group at a time. Shown in
 * notebook 02-data.
 */

import { isUtf8 } from "node:buffer";
import fs from "node:fs";
import { type AsyncBuffer, asyncBufferFromUrl, type FileMetaData, parquetMetadataAsync, parquetRead } from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { refuseSource } from "./refuse-source.js";

const largestGroupBytes = 2 ** 31;

const isUrl = (filePath: string) => /^https?:\/\//.test(filePath);

async function openParquet(filePath: string): Promise<{ file: AsyncBuffer; metadata: FileMetaData }> {
  let file: AsyncBuffer;
  try {
    file = heard(isUrl(filePath) ? await asyncBufferFromUrl({ url: filePath }) : fileBuffer(filePath));
  } catch (error) {
    if (isUrl(filePath)) throw unreachable(filePath, error);
    throw refuseSource(filePath, (error as Error).message, "give a Parquet file");
  }
  try {
    return { file, metadata: await parquetMetadataAsync(file) };
  } catch (error) {
    if (isUrl(filePath) && isNetwork(error)) throw unreachable(filePath, error);
    throw refuseSource(
      filePath,
      `it is not a Parquet file (${(error as Error).message})`,
      "download or write it again",
    );
  }
}

/** fetch fails with a TypeError that has a cause; hyparquet reports a status that is not 200. */
const isNetwork = (error: unknown) =>
  (error instanceof TypeError && error.cause !== undefined) || /^fetch (head )?failed/.test((error as Error).message);

function unreachable(url: string, error: unknown): Error {
  let deepest = error as Error & { code?: string };
  while (deepest.cause instanceof Error) deepest = deepest.cause;
  const found = [...new Set([deepest.code, deepest.message])].filter(Boolean).join(": ");
  const advice = "Check the network, or give a mirror (HF_ENDPOINT or --url) or a folder with the files (--source)";
  return new Error(`Cannot reach ${new URL(url).host} for ${url}: ${found}. ${advice}.`, { cause: error });
}

/** A file with bounded positioned reads, since a damaged Parquet file may refer to positions beyond its end. */
function fileBuffer(filePath: string): AsyncBuffer {
  const { size } = fs.statSync(filePath);
  return {
    byteLength: size,
    async slice(start, end = size) {
      const [from, to] = [start < 0 ? size + start : start, end < 0 ? size + end : end];
      if (!(from >= 0 && from <= to && to <= size))
        throw new RangeError(`it points to bytes ${start} to ${end} of ${size}`);
      const bytes = new Uint8Array(to - from);
      const handle = await fs.promises.open(filePath, "r");
      try {
        for (let done = 0; done < bytes.length; ) {
          const { bytesRead } = await handle.read(bytes, done, bytes.length - done, from + done);
          if (bytesRead === 0) throw new RangeError("it became shorter while it was read");
          done += bytesRead;
        }
      } finally {
        await handle.close();
      }
      return bytes.buffer;
    },
  };
}

/** The same, with every rejection handled: hyparquet reads ahead and drops promises that it no longer needs. */
function heard(file: AsyncBuffer): AsyncBuffer {
  return {
    byteLength: file.byteLength,
    slice(start, end) {
      const bytes = Promise.resolve(file.slice(start, end));
      bytes.catch(() => {});
      return bytes;
    },
  };
}

/** The number of rows that a Parquet file, on disk or at a URL, declares; only its end is read. */
export async function countParquetRows(filePath: string): Promise<number> {
  return Number((await openParquet(filePath)).metadata.num_rows);
}

function toBytes(value: unknown, where: string, textKey: string): Uint8Array {
  if (value === null || value === undefined) {
    throw refuseSource(where, `the column "${textKey}" is empty (null)`, "write the file without such rows");
  }
  if (value instanceof Uint8Array && isUtf8(value)) return value;
  throw refuseSource(where, `the column "${textKey}" has a value that is not UTF-8 text`, "name another column");
}

/**
 * The texts of a Parquet file from a row on, as UTF-8 bytes.
 * @throws {RangeError} if it is not a Parquet file, lacks the column, or is damaged
 */
export async function* readParquetRows(
  filePath: string,
  textKey: string,
  from: number,
): AsyncGenerator<{ bytes: Uint8Array; row: number; last: boolean }> {
  const { file, metadata } = await openParquet(filePath);
  const columns = metadata.schema.slice(1).map(({ name }) => name);
  if (!columns.includes(textKey)) {
    const there = `name the column with --text_key (its columns: ${columns.join(", ")})`;
    throw refuseSource(filePath, `it has no column "${textKey}"`, there);
  }
  let start = 0;
  for (const group of metadata.row_groups) {
    const end = start + Number(group.num_rows);
    if (end > from) {
      if (Number(group.total_byte_size) > largestGroupBytes) {
        const wanted = "write it again with smaller row groups (row_group_size=10000)";
        throw refuseSource(filePath, `one of its row groups has ${group.total_byte_size} bytes`, wanted);
      }
      const rowStart = Math.max(start, from);
      const rows = await readRows(filePath, { file, metadata, rowStart, rowEnd: end, textKey });
      for (let index = 0; index < rows.length; index++) {
        const row = rowStart + index;
        const last = row + 1 === Number(metadata.num_rows);
        yield { bytes: toBytes(rows[index], `${filePath}, row ${row}`, textKey), row, last };
      }
    }
    start = end;
  }
}

async function readRows(
  filePath: string,
  options: { file: AsyncBuffer; metadata: FileMetaData; rowStart: number; rowEnd: number; textKey: string },
): Promise<unknown[]> {
  const { textKey, rowStart, rowEnd, ...opened } = options;
  let rows: unknown[] = [];
  try {
    await parquetRead({
      ...opened,
      columns: [textKey],
      rowStart,
      rowEnd,
      compressors,
      utf8: false,
      parsers: { stringFromBytes: (bytes) => bytes },
      onComplete: (found) => {
        rows = found.map(([value]) => value);
      },
    });
  } catch (error) {
    throw refuseSource(filePath, `it is damaged (${(error as Error).message})`, "download or write it again");
  }
  if (rows.length !== rowEnd - rowStart) {
    throw refuseSource(filePath, `some of the rows ${rowStart} to ${rowEnd} are missing`, "download or write it again");
  }
  return rows;
}
