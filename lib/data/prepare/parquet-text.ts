/**
 * The text column of a Parquet file, row by row, by hyparquet. A row group is held at a time. What this file is not: it
 * reads no other columns. Notebook 02-data shows it.
 */

import { isUtf8 } from "node:buffer";
import {
  type AsyncBuffer,
  asyncBufferFromFile,
  asyncBufferFromUrl,
  type FileMetaData,
  parquetMetadataAsync,
  parquetRead,
} from "hyparquet";
import { compressors } from "hyparquet-compressors";
import { refuseSource } from "./refuse-source.js";

const largestGroupBytes = 2 ** 31;

async function openParquet(filePath: string): Promise<{ file: AsyncBuffer; metadata: FileMetaData }> {
  try {
    const file = /^https?:\/\//.test(filePath)
      ? await asyncBufferFromUrl({ url: filePath })
      : await asyncBufferFromFile(filePath);
    return { file, metadata: await parquetMetadataAsync(file) };
  } catch (error) {
    throw refuseSource(filePath, `it is no Parquet file (${(error as Error).message})`, "download or write it again");
  }
}

/** How many rows a Parquet file, on disk or behind a URL, says it has; only its end is read. */
export async function countParquetRows(filePath: string): Promise<number> {
  return Number((await openParquet(filePath)).metadata.num_rows);
}

function toBytes(value: unknown, where: string, textKey: string): Uint8Array {
  if (value === null || value === undefined) return new Uint8Array(0);
  if (value instanceof Uint8Array && isUtf8(value)) return value;
  throw refuseSource(where, `the column "${textKey}" holds something that is not UTF-8 text`, "name another column");
}

/**
 * The texts of a Parquet file from a row on, as UTF-8 bytes; what is null counts as empty.
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
