/**
 * The records of JSON lines and of a JSON array, one after another as bytes, each with the place where it ends, so that
 * a file of any size is read in constant memory. documents.ts parses the records.
 */
import fs from "node:fs";
import { markLength } from "../text.js";
import { refuseSource } from "./refuse-source.js";

/** One record: its bytes, where they begin in the file, and the place after it. */
export interface JsonRecord {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** A longer record is refused, since it would not fit in a string. */
const MAX_RECORD_BYTES = 2 ** 28;

function tooLong(filePath: string, at: number): RangeError {
  const found = `the record that begins at byte ${at} is longer than ${MAX_RECORD_BYTES} bytes`;
  return refuseSource(filePath, found, "split it into several records");
}

/** The lines of a file, without their ends. */
export async function* readLines(filePath: string, from: number): AsyncGenerator<JsonRecord> {
  let parts: Buffer[] = []; // of the current line: joined once, at its end
  let length = 0;
  let at = from; // where the current line begins
  for await (const chunk of fs.createReadStream(filePath, { start: from, highWaterMark: 1 << 20 })) {
    let start = at === 0 && length === 0 ? markLength(chunk as Buffer) : 0;
    at += start;
    for (let end = (chunk as Buffer).indexOf(0x0a, start); end >= 0; end = (chunk as Buffer).indexOf(0x0a, start)) {
      const piece = (chunk as Buffer).subarray(start, end);
      const bytes = parts.length > 0 ? Buffer.concat([...parts, piece]) : piece;
      yield { bytes, start: at, end: at + bytes.length + 1 };
      at += bytes.length + 1;
      parts = [];
      length = 0;
      start = end + 1;
    }
    const rest = (chunk as Buffer).subarray(start);
    if (rest.length > 0) parts.push(rest);
    length += rest.length;
    if (length > MAX_RECORD_BYTES) throw tooLong(filePath, at);
  }
  if (length > 0) yield { bytes: Buffer.concat(parts), start: at, end: at + length };
}

const [QUOTE, BACKSLASH, COMMA, OPEN, CLOSE] = [0x22, 0x5c, 0x2c, 0x5b, 0x5d];

/** The elements of a JSON array. @param from 0, or the `end` of an element */
export async function* readElements(filePath: string, from: number): AsyncGenerator<JsonRecord> {
  let parts: Buffer[] = [];
  let [length, at, depth] = [0, from, from === 0 ? 0 : 1];
  let [inText, escaped] = [false, false];
  let closed = false;
  for await (const data of fs.createReadStream(filePath, { start: from, highWaterMark: 1 << 20 })) {
    const chunk = data as Buffer;
    let start = 0; // of the current element, in this chunk
    for (let index = 0; index < chunk.length; index++) {
      const byte = chunk[index]!;
      if (inText) {
        if (escaped) escaped = false;
        else if (byte === BACKSLASH) escaped = true;
        else if (byte === QUOTE) inText = false;
        continue;
      }
      if (byte === QUOTE) inText = true;
      else if (byte === OPEN || byte === 0x7b) {
        if (depth++ === 0) start = index + 1;
      } else if (byte === CLOSE || byte === 0x7d) depth--;
      const ends = (byte === COMMA && depth === 1) || (byte === CLOSE && depth === 0);
      if (!ends) continue;
      const bytes = Buffer.concat([...parts, chunk.subarray(start, index)]);
      parts = [];
      length = 0;
      start = index + 1;
      closed = depth === 0;
      if (closed && !isBlank(chunk.subarray(index + 1))) {
        throw refuseSource(
          filePath,
          `something follows its array at byte ${at + index + 1}`,
          "give one array per file",
        );
      }
      // After the last element nothing is left to read.
      const end = closed ? Number.MAX_SAFE_INTEGER : at + index + 1;
      if (!closed || !isBlank(bytes)) yield { bytes, start: at + index - bytes.length, end };
      if (closed) return;
    }
    if (depth > 0) {
      parts.push(chunk.subarray(start));
      length += chunk.length - start;
    }
    if (length > MAX_RECORD_BYTES) throw tooLong(filePath, at + chunk.length - length);
    at += chunk.length;
  }
  if (!closed)
    throw refuseSource(filePath, `its array has no end: the file stops at byte ${at}`, "write the file again");
}

/** Whether a record is only white space. */
export function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x0d || byte === 0x09 || byte === 0x0a);
}
