/**
 * The text column of a Parquet file, row by row, by hyparquet. A row group is held at a time. What this file is not: it
 * reads no other columns. Notebook 02-data shows it.
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
    throw refuseSource(filePath, `it is no Parquet file (${(error as Error).message})`, "download or write it again");
  }
}

/** fetch fails with a TypeError that has a cause; hyparquet tells a status that is not 200. */
const isNetwork = (error: unknown) =>
  (error instanceof TypeError && error.cause !== undefined) || /^fetch (head )?failed/.test((error as Error).message);

function unreachable(url: string, error: unknown): Error {
  let deepest = error as Error & { code?: string };
  while (deepest.cause instanceof Error) deepest = deepest.cause;
  const found = [...new Set([deepest.code, deepest.message])].filter(Boolean).join(": ");
  const advice = "Check the network; or name a mirror (HF_ENDPOINT, or --url), or a folder with the files (--source)";
  return new Error(`Cannot reach ${new URL(url).host} for ${url}: ${found}. ${advice}.`, { cause: error });
}

/** A file by positioned reads that stay within it: a damaged Parquet file asks for places that it does not have. */
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

/** The same, with each failure heard: hyparquet reads ahead, and lets go of what it no longer needs. */
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

/** How many rows a Parquet file, on disk or behind a URL, says it has; only its end is read. */
export async function countParquetRows(filePath: string): Promise<number> {
  return Number((await openParquet(filePath)).metadata.num_rows);
}

function toBytes(value: unknown, where: string, textKey: string): Uint8Array {
  if (value === null || value === undefined) {
    throw refuseSource(where, `the column "${textKey}" holds nothing (null)`, "write the file without such rows");
  }
  if (value instanceof Uint8Array && isUtf8(value)) return value;
  throw refuseSource(where, `the column "${textKey}" holds something that is not UTF-8 text`, "name another column");
}

/**
 * The texts of a Parquet file from a row on, as UTF-8 bytes.
 * @throws {RangeError} if it is no Parquet file, lacks the column, or is damaged
 */
export async function* readParquetRows(
  filePath: string,
  textKey: string,
  from: number,
): AsyncGenerator<{ bytes: Uint8Array; row: number; last: boolean }> {
  const { file, metadata } = await openParquet(filePath);
  const columns = metadata.schema.slice(1).map(({ name }) => name);
  if (!columns.includes(textKey)) {
    const there = `name the column by --text_key (there are: ${columns.join(", ")})`;
    throw refuseSource(filePath, `it has no column "${textKey}"`, there);
  }
  let start = 0;
  for (const group of metadata.row_groups) {
    const end = start + Number(group.num_rows);
    if (end > from) {
      if (Number(group.total_byte_size) > largestGroupBytes) {
        const wanted = "write it again with smaller ones (row_group_size=10000)";
        throw refuseSource(filePath, `a row group of it has ${group.total_byte_size} bytes`, wanted);
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
    throw refuseSource(filePath, `rows ${rowStart} to ${rowEnd} are not all there`, "download or write it again");
  }
  return rows;
}
