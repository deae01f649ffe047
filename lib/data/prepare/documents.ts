/**
 * Reads documents from text files, folders, JSON lines, JSON arrays and Parquet files, in pieces of about a megabyte of
 * UTF-8, each with the place where reading continues after it, so that a preparation needs little memory and can be
 * resumed. Text files follow the rule of ../text.ts; the texts in JSON and Parquet are left unchanged. Shown in
 * notebook 02-data.
 */
import { isUtf8 } from "node:buffer";
import fs from "node:fs";
import path from "node:path";
import { statusOf } from "../../host/regular-file.js";
import { convertAdvice, markLength, notUtf8, wholeCharacters } from "../text.js";
import { lastCut } from "../tokenizers/gpt2-split.js";
import { isBlank, type JsonRecord, readElements, readLines } from "./json-records.js";
import { refuseSource } from "./refuse-source.js";
import { kindOf, type SourceKind } from "./source-kind.js";

/** A file to read documents from. */
export interface SourceFile {
  /** Its path, now or once it is fetched. */
  readonly path: string;
  readonly kind: SourceKind;
  readonly bytes: number;
}

/**
 * A place between two pieces: the file, the position in it (a byte, or a row of a Parquet file), and the documents
 * before.
 */
export interface Place {
  readonly file: number;
  readonly offset: number;
  readonly document: number;
}

/** A part of a document. */
export interface Piece {
  readonly bytes: Uint8Array;
  /** Counted from 0 over all files. */
  readonly document: number;
  /** Whether it is the document's last piece. */
  readonly last: boolean;
  readonly next: Place;
}

export interface ReadOptions {
  /** The field of JSON objects, or the column of Parquet files, that contains the text. */
  readonly textKey: string;
  /** Whether text may be cut between any two characters, not only where `lastCut` allows it. */
  readonly anywhere?: boolean;
  /** Byte offsets in a text file at which a new document begins: the split of a single text. */
  readonly cuts?: readonly number[];
  /** Approximate size of a piece; default 1 MiB. */
  readonly pieceBytes?: number;
}

/** The files of a path. */
export interface Source {
  readonly files: readonly SourceFile[];
  /** Whether it is one text file, to be split by its characters. */
  readonly single: boolean;
  /** Files of a folder that were left out, each with the reason. */
  readonly skipped: readonly string[];
}

/**
 * The files of a path, in the order of their names; hidden files of a folder and those that are not text are left out.
 * @param textKey the field or column that contains the text
 * @throws {RangeError} if it is missing or has nothing to read
 */
export function listSource(from: string, textKey = "text"): Source {
  const status = statusOf(from);
  if (!status) throw refuseSource(from, "it is missing", "give a text, JSONL or Parquet file, or a folder of them");
  if (!status.isDirectory()) {
    if (!status.isFile())
      throw refuseSource(from, "it is a pipe or a device, not a file", "write its text into a file");
    if (status.size === 0) throw refuseSource(from, "it is empty", "give a file that contains text");
    const found = kindOf(from, textKey);
    if ("unread" in found) throw refuseSource(from, found.unread, found.advice);
    return {
      files: [{ path: from, kind: found.kind, bytes: status.size }],
      single: found.kind === "text",
      skipped: [],
    };
  }
  const files: SourceFile[] = [];
  const skipped: string[] = [];
  for (const name of filesBelow(from)) {
    const file = path.join(from, name);
    const { size } = fs.statSync(file);
    const found = kindOf(file, textKey);
    if ("kind" in found) files.push({ path: file, kind: found.kind, bytes: size });
    else skipped.push(`${name} (${found.unread})`);
  }
  if (files.length === 0) {
    const there = skipped.length > 0 ? `: ${listed(skipped)}` : "";
    throw refuseSource(from, `the folder has no text files${there}`, "give a folder with text files in it");
  }
  return { files, single: false, skipped };
}

/** The files below a folder, sorted by name, including links to files, without hidden names and node_modules. */
function filesBelow(folder: string): string[] {
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() || entry.isSymbolicLink())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .filter((file) => !file.split(path.sep).some((part) => part.startsWith(".") || part === "node_modules"))
    .filter((file) => fs.statSync(path.join(folder, file), { throwIfNoEntry: false })?.isFile())
    .sort((a, b) => (a < b ? -1 : 1));
}

/** The first names of a list, and how many more there are. */
export function listed(names: readonly string[], most = 8): string {
  const more = names.length > most ? `, and ${(names.length - most).toLocaleString("en")} more` : "";
  return names.slice(0, most).join(", ") + more;
}

/** "\r\n" and "\r" → "\n". */
function withPlainLineEnds(bytes: Uint8Array): Uint8Array {
  if (!bytes.includes(0x0d)) return bytes;
  const plain = new Uint8Array(bytes.length);
  let count = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (byte === 0x0a && at > 0 && bytes[at - 1] === 0x0d) continue;
    plain[count++] = byte === 0x0d ? 0x0a : byte;
  }
  return plain.subarray(0, count);
}

const longestRun = 1 << 28;

/** Where to cut a text that continues; 0 if more of it must be read first. */
function cutOf(bytes: Uint8Array, anywhere: boolean): number {
  const whole = wholeCharacters(bytes);
  if (!anywhere) return whole > 0 ? lastCut(bytes, whole) : 0;
  return bytes[whole - 1] === 0x0d ? whole - 1 : whole; // "\r\n" stays together
}

async function readFully(handle: fs.promises.FileHandle, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}

function refuseEncoding(where: string, bytes: Uint8Array, at: number): RangeError {
  const found = notUtf8(bytes, at);
  return refuseSource(where, found, convertAdvice(found));
}

type TextPiece = { bytes: Uint8Array; end: number };

/** The bytes `from` to `to` of a text file, without its byte-order mark. */
async function* readTextRange(
  filePath: string,
  range: { from: number; to: number; pieceBytes: number; anywhere: boolean },
): AsyncGenerator<TextPiece> {
  const { to, pieceBytes, anywhere } = range;
  const handle = await fs.promises.open(filePath, "r");
  try {
    for (let at = range.from, want = pieceBytes; at < to; ) {
      let bytes = await readFully(handle, at, Math.min(want, to - at));
      if (bytes.length < Math.min(want, to - at))
        throw refuseSource(filePath, "it became shorter while it was read", "run it again");
      const goesOn = at + bytes.length < to;
      const whole = goesOn ? bytes.subarray(0, wholeCharacters(bytes)) : bytes;
      if (!isUtf8(whole)) throw refuseEncoding(filePath, whole, at);
      if (goesOn) {
        const cut = cutOf(bytes, anywhere);
        if (cut === 0) {
          want *= 2;
          if (want > longestRun) {
            throw refuseSource(
              filePath,
              `the ${bytes.length} bytes from byte ${at} on cannot be cut between words`,
              "use the tokenizer char",
            );
          }
          continue;
        }
        bytes = bytes.subarray(0, cut);
      }
      const mark = at === 0 ? markLength(bytes) : 0;
      at += bytes.length;
      want = pieceBytes;
      yield { bytes: withPlainLineEnds(bytes.subarray(mark)), end: at };
    }
  } finally {
    await handle.close();
  }
}

function textOf({ bytes: line, start }: JsonRecord, textKey: string, where: string): Uint8Array {
  let record: unknown;
  if (!isUtf8(line)) throw refuseEncoding(where, line, start);
  try {
    record = JSON.parse(new TextDecoder().decode(line));
  } catch (error) {
    throw refuseSource(where, `it is not JSON (${(error as Error).message})`, "give one JSON object on each line");
  }
  const text = typeof record === "string" ? record : (record as Record<string, unknown> | null)?.[textKey];
  if (typeof text === "string") return new TextEncoder().encode(text);
  const keys = typeof record === "object" && record !== null ? Object.keys(record).slice(0, 8).join(", ") : "none";
  throw refuseSource(
    where,
    `the field "${textKey}" is not text`,
    `name the field with --text_key (its fields: ${keys})`,
  );
}

/**
 * The pieces of all files from a place on.
 * @param locate fetches a file if need be and returns its path; default: the path in the list
 * @throws {RangeError} naming file and line, if one cannot be read
 */
export async function* readPieces(
  files: readonly SourceFile[],
  from: Place,
  options: ReadOptions & { locate?: (index: number) => Promise<string> },
): AsyncGenerator<Piece> {
  let { document } = from;
  for (let file = from.file; file < files.length; file++) {
    const { kind, bytes: size } = files[file]!;
    const offset = file === from.file ? from.offset : 0;
    const filePath = (await options.locate?.(file)) ?? files[file]!.path;
    const place = (end: number, document: number): Place =>
      end >= size ? { file: file + 1, offset: 0, document } : { file, offset: end, document };
    if (kind === "text") {
      const bounds = [...(options.cuts ?? []), size].filter((bound) => bound > offset || bound === size);
      const { anywhere = false, pieceBytes = 1 << 20 } = options;
      let start = offset;
      for (const to of bounds) {
        if (start === to) yield { bytes: new Uint8Array(0), document, last: true, next: place(to, document + 1) };
        for await (const { bytes, end } of readTextRange(filePath, { from: start, to, pieceBytes, anywhere })) {
          const last = end === to;
          yield { bytes, document, last, next: place(end, document + (last ? 1 : 0)) };
        }
        document++;
        start = to;
      }
    } else if (kind === "jsonl" || kind === "json") {
      let count = offset === 0 ? 1 : undefined; // unknown after resuming
      const name = kind === "jsonl" ? "line" : "element";
      const records = kind === "jsonl" ? readLines(filePath, offset) : readElements(filePath, offset);
      for await (const record of records) {
        const { bytes: raw, end } = record;
        const where = count === undefined ? `${filePath}, before byte ${end}` : `${filePath}, ${name} ${count++}`;
        if (kind === "jsonl" && isBlank(raw)) continue;
        yield { bytes: textOf(record, options.textKey, where), document, last: true, next: place(end, ++document) };
      }
    } else {
      const { readParquetRows } = await import("./parquet-text.js");
      for await (const { bytes, row, last } of readParquetRows(filePath, options.textKey, offset)) {
        document++;
        const next = last ? { file: file + 1, offset: 0, document } : { file, offset: row + 1, document };
        yield { bytes, document: document - 1, last: true, next };
      }
    }
  }
}
