/**
 * Detects the kind of a corpus file from its content rather than its name: Parquet, JSON lines, a JSON array of texts,
 * or plain text. For other files it says which command makes them readable.
 */
import { isUtf8 } from "node:buffer";
import fs from "node:fs";
import path from "node:path";
import { openRegularFile } from "../../host/regular-file.js";
import { convertAdvice, markLength, notUtf8, wholeCharacters } from "../text.js";

export type SourceKind = "text" | "jsonl" | "json" | "parquet";

/** A file's kind; or why it cannot be read, as a clause, and what to do. */
export type FoundKind = { readonly kind: SourceKind } | { readonly unread: string; readonly advice: string };

const packed: readonly { magic: readonly number[]; name: string; command: string }[] = [
  { magic: [0x1f, 0x8b], name: "gzip", command: "gunzip --keep" },
  { magic: [0x28, 0xb5, 0x2f, 0xfd], name: "zstd", command: "unzstd --keep" },
  { magic: [0x42, 0x5a, 0x68], name: "bzip2", command: "bunzip2 --keep" },
  { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a], name: "xz", command: "unxz --keep" },
  { magic: [0x50, 0x4b, 0x03, 0x04], name: "zip", command: "unzip" },
];

const SNIFFED_BYTES = 65_536;

/** @param textKey the field of JSON objects that contains the text */
export function kindOf(filePath: string, textKey: string): FoundKind {
  const start = beginning(filePath);
  const begins = (magic: readonly number[]) => magic.every((byte, at) => start[at] === byte);
  if (begins([0x50, 0x41, 0x52, 0x31])) return { kind: "parquet" }; // PAR1
  const archive = packed.find(({ magic }) => begins(magic));
  const extension = path.extname(filePath).toLowerCase();
  if (archive) {
    const { name, command } = archive;
    return { unread: `it is compressed with ${name}`, advice: `decompress it first: ${command} ${filePath}` };
  }
  if (extension === ".parquet" || extension === ".pq") {
    return { unread: "it is not a Parquet file (it does not begin with PAR1)", advice: "download or write it again" };
  }
  return jsonKind(start, extension, textKey) ?? textKind(start);
}

function beginning(filePath: string): Buffer {
  const descriptor = openRegularFile(filePath);
  try {
    const start = Buffer.alloc(SNIFFED_BYTES);
    return start.subarray(0, fs.readSync(descriptor, start, 0, start.length, 0));
  } finally {
    fs.closeSync(descriptor);
  }
}

function textKind(start: Buffer): FoundKind {
  const whole = start.subarray(0, wholeCharacters(start));
  if (!isUtf8(whole)) {
    const unread = notUtf8(whole);
    return { unread, advice: convertAdvice(unread) };
  }
  const zero = start.indexOf(0);
  if (zero < 0) return { kind: "text" };
  return { unread: `it is not text: byte ${zero} is 0`, advice: "give text, JSON lines, a JSON array or Parquet" };
}

/** JSON if the name says so, or if the first line is an object with the field; undefined for plain text. */
function jsonKind(start: Buffer, extension: string, textKey: string): FoundKind | undefined {
  const text = start.subarray(markLength(start)).toString("utf8").trimStart();
  const named = [".json", ".jsonl", ".ndjson"].includes(extension);
  const end = text.indexOf("\n");
  const first = parsed(end < 0 ? text : text.slice(0, end));
  const isRecord = typeof first === "object" && first !== null && !Array.isArray(first);
  if (!named) return isRecord && Object.hasOwn(first, textKey) ? { kind: "jsonl" } : undefined;
  if (text === "") return undefined;
  if (text[0] === "[" && !Array.isArray(first)) return { kind: "json" };
  if (Array.isArray(first)) return { kind: text.slice(Math.max(0, end)).trim() === "" || end < 0 ? "json" : "jsonl" };
  // The first line may be longer than the bytes that were read.
  if (extension !== ".json" || first !== undefined || (end < 0 && start.length === SNIFFED_BYTES))
    return { kind: "jsonl" };
  return {
    unread: "it is JSON, but neither an array nor one object on each line",
    advice: `give JSON lines, {"${textKey}": "…"} on each, or an array of texts`,
  };
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
