/**
 * Documents from text files, folders, JSON lines and Parquet files, as pieces of UTF-8 bytes of about a megabyte, each
 * with the place where reading goes on after it: so a preparation holds little and can be taken up again. A text file is
 * read as Python reads one: its line ends become "\n". What this file is not: it knows no tokenizer (corpus.ts does).
 * Notebook 02-data shows it.
 */
import { isUtf8 } from "node:buffer";
import fs from "node:fs";
import path from "node:path";
import { lastCut } from "../tokenizers/gpt2-split.js";
import { refuseSource } from "./refuse-source.js";

export type SourceKind = "text" | "jsonl" | "parquet";

/** A file to take documents from. */
export interface SourceFile {
  /** Where it is, or will be. */
  readonly path: string;
  readonly kind: SourceKind;
  readonly bytes: number;
}

/** A place between two pieces: which file, where in it (a byte, or a row of a Parquet file), and how many documents before. */
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
  /** Whether the document ends with it. */
  readonly last: boolean;
  readonly next: Place;
}

export interface ReadOptions {
  /** The field of JSON lines, or the column of Parquet files, that holds the text. */
  readonly textKey: string;
  /** A text may be cut between any two characters, and not only where `lastCut` allows it. */
  readonly anywhere?: boolean;
  /** Where in a text file a new document begins, as byte offsets: the split of a single text. */
  readonly cuts?: readonly number[];
  /** How large a piece is, about; 1 MiB unless given. */
  readonly pieceBytes?: number;
}

const kinds: Readonly<Record<string, SourceKind>> = { ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet" };

function kindOf(filePath: string): SourceKind {
  return kinds[path.extname(filePath).toLowerCase()] ?? "text";
}

/** Whether the file's beginning is UTF-8 without a NUL. */
function looksLikeText(filePath: string): boolean {
  const descriptor = fs.openSync(filePath, "r");
  try {
    const start = Buffer.alloc(65_536);
    const bytes = start.subarray(0, fs.readSync(descriptor, start, 0, start.length, 0));
    return !bytes.includes(0) && isUtf8(bytes.subarray(0, wholeCharacters(bytes)));
  } finally {
    fs.closeSync(descriptor);
  }
}

/** What a path holds. */
export interface Source {
  readonly files: readonly SourceFile[];
  /** It is one text file, to be split by its characters. */
  readonly single: boolean;
  /** Files of a folder that are no text. */
  readonly skipped: number;
}

/**
 * The files of a path, in the order of their names; hidden ones and those that are no text are left out of a folder.
 * @throws {RangeError} if it is missing or holds nothing to read
 */
export function listSource(from: string): Source {
  const status = fs.statSync(from, { throwIfNoEntry: false });
  if (!status) throw refuseSource(from, "it is missing", "give a text, JSONL or Parquet file, or a folder of them");
  if (!status.isDirectory()) {
    if (!status.isFile())
      throw refuseSource(from, "it is no file, but a pipe or a device", "write its text into a file");
    if (status.size === 0) throw refuseSource(from, "it is empty", "give a file that holds text");
    const kind = kindOf(from);
    return { files: [{ path: from, kind, bytes: status.size }], single: kind === "text", skipped: 0 };
  }
  const found = fs
    .readdirSync(from, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(from, path.join(entry.parentPath, entry.name)))
    .filter((file) => !file.split(path.sep).some((part) => part.startsWith(".") || part === "node_modules"))
    .sort((a, b) => (a < b ? -1 : 1))
    .map((file) => path.join(from, file));
  const files = found
    .filter((file) => kindOf(file) !== "text" || looksLikeText(file))
    .map((file) => ({ path: file, kind: kindOf(file), bytes: fs.statSync(file).size }));
  if (files.length === 0) throw refuseSource(from, "the folder holds no text", "give a folder with text files in it");
  return { files, single: false, skipped: found.length - files.length };
}

/** How many of the bytes are whole characters: a read may end within one. */
function wholeCharacters(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(4, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    return length > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
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

/** Where to cut a text that goes on; 0 if more of it must be read first. */
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

type TextPiece = { bytes: Uint8Array; end: number };

/** The bytes `from` to `to` of a text file. */
async function* readTextRange(
  filePath: string,
  range: { from: number; to: number; pieceBytes: number; anywhere: boolean },
): AsyncGenerator<TextPiece> {
  const { to, pieceBytes, anywhere } = range;
  const handle = await fs.promises.open(filePath, "r");
  try {
    for (let at = range.from, want = pieceBytes; at < to; ) {
      let bytes = await readFully(handle, at, Math.min(want, to - at));
      if (bytes.length < Math.min(want, to - at)) throw refuseSource(filePath, "it became shorter", "run it again");
      if (at + bytes.length < to) {
        const cut = cutOf(bytes, anywhere);
        if (cut === 0) {
          want *= 2;
          if (want > longestRun) {
            throw refuseSource(filePath, `${bytes.length} bytes from byte ${at} on have no place to cut`, "use char");
          }
          continue;
        }
        bytes = bytes.subarray(0, cut);
      }
      if (!isUtf8(bytes)) throw refuseSource(filePath, `it is not UTF-8, near byte ${at}`, "convert it to UTF-8");
      at += bytes.length;
      want = pieceBytes;
      yield { bytes: withPlainLineEnds(bytes), end: at };
    }
  } finally {
    await handle.close();
  }
}

/** The lines of a file, without their ends, and where each ends. */
export async function* readLines(filePath: string, from: number): AsyncGenerator<TextPiece> {
  let rest = Buffer.alloc(0);
  let at = from;
  for await (const chunk of fs.createReadStream(filePath, { start: from, highWaterMark: 1 << 20 })) {
    const bytes: Buffer = rest.length > 0 ? Buffer.concat([rest, chunk as Buffer]) : (chunk as Buffer);
    let start = 0;
    // What an earlier chunk left holds no line end.
    for (let end = bytes.indexOf(0x0a, rest.length); end >= 0; end = bytes.indexOf(0x0a, start)) {
      at += end + 1 - start;
      yield { bytes: bytes.subarray(start, end), end: at };
      start = end + 1;
    }
    rest = Buffer.from(bytes.subarray(start));
  }
  if (rest.length > 0) yield { bytes: rest, end: at + rest.length };
}

/** Whether a line of JSON lines holds anything. */
export function isBlank(line: Uint8Array): boolean {
  return line.every((byte) => byte === 0x20 || byte === 0x0d || byte === 0x09);
}

function textOfLine(line: Uint8Array, textKey: string, where: string): Uint8Array {
  let record: unknown;
  try {
    record = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(line));
  } catch (error) {
    throw refuseSource(where, `it is not JSON (${(error as Error).message})`, "give one JSON object a line");
  }
  const text = typeof record === "string" ? record : (record as Record<string, unknown> | null)?.[textKey];
  if (typeof text === "string") return new TextEncoder().encode(text);
  const keys = typeof record === "object" && record !== null ? Object.keys(record).slice(0, 8).join(", ") : "none";
  throw refuseSource(
    where,
    `the field "${textKey}" holds no text`,
    `name the field by --text_key (there are: ${keys})`,
  );
}

/**
 * The pieces of all files from a place on.
 * @param locate makes sure that a file is there and gives its path; the path in the list unless given
 * @throws {RangeError} naming file and line if one cannot be read
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
    } else if (kind === "jsonl") {
      let line = offset === 0 ? 1 : undefined; // after a resumption lines are no longer counted
      for await (const { bytes: raw, end } of readLines(filePath, offset)) {
        const where = line === undefined ? `${filePath}, before byte ${end}` : `${filePath}, line ${line++}`;
        if (isBlank(raw)) continue;
        yield { bytes: textOfLine(raw, options.textKey, where), document, last: true, next: place(end, ++document) };
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
