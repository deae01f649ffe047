/**
 * Reads text from files and standard input by one rule: the text is UTF-8; a byte-order mark at the beginning is
 * removed; "\r\n" and "\r" become "\n", as in Python; bytes that are not UTF-8 are refused, with their position. Texts
 * too large for memory are read by prepare/documents.ts, by the same rule.
 */
import { isUtf8 } from "node:buffer";
import { readRegularFile, readStandardInput, reasonOf } from "../host/regular-file.js";

/** The rule in one line, for help texts. */
export const TEXT_RULE = "Text must be UTF-8; a byte-order mark is removed, and the line ends CRLF and CR become LF.";

/** A JavaScript string cannot be longer. */
const MAX_TEXT_BYTES = 500_000_000;
/** For a prompt, since piped input may never end. */
const MAX_INPUT_BYTES = 64_000_000;

/** The length of the complete characters among the bytes, since a read may end inside a character. */
export function wholeCharacters(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(4, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
    return length > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

/** The position of the first byte that is not part of a character, counted from 0. @param bytes not UTF-8 */
export function firstBadByte(bytes: Uint8Array): number {
  const whole = (length: number) => wholeCharacters(bytes.subarray(0, length));
  let [good, bad] = [0, bytes.length + 1]; // lengths of prefixes
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (isUtf8(bytes.subarray(0, whole(middle)))) good = middle;
    else bad = middle;
  }
  return whole(good);
}

/** The length of the byte-order mark at the beginning of the bytes; 0 if there is none. */
export function markLength(bytes: Uint8Array): number {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
}

/** Why bytes are not UTF-8, as a clause. @param at where in the file they begin */
export function notUtf8(bytes: Uint8Array, at = 0): string {
  const mark = at === 0 ? `${bytes[0]} ${bytes[1]}` : "";
  if (mark === "255 254" || mark === "254 255") return "it is UTF-16, not UTF-8";
  const place = firstBadByte(bytes);
  const value = bytes[place]!.toString(16).toUpperCase().padStart(2, "0");
  return `it is not UTF-8: byte ${at + place}, counted from 0, is 0x${value}`;
}

/** What to do about a text that is not UTF-8. @param found the result of notUtf8 */
export function convertAdvice(found: string): string {
  const from = found.startsWith("it is UTF-16") ? "UTF-16" : "LATIN1";
  return `convert it, for example with: iconv -f ${from} -t UTF-8 FILE > NEW${from === "UTF-16" ? "" : " (or from CP1252, …)"}`;
}

/** Decodes text by the rule. @throws {RangeError} whose message is a clause, if the bytes are not UTF-8 */
export function decodeText(bytes: Uint8Array): string {
  if (!isUtf8(bytes)) {
    const found = notUtf8(bytes);
    throw new RangeError(`${found}; ${convertAdvice(found)}`);
  }
  const text = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.subarray(markLength(bytes)));
  return text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text;
}

/**
 * Reads a text file by the rule.
 * @throws {RangeError} if it is missing, not a regular file, too large for one string, or not UTF-8
 */
export function readTextFile(path: string): string {
  try {
    return decodeText(readRegularFile(path, MAX_TEXT_BYTES));
  } catch (error) {
    throw new RangeError(`Cannot read the text ${path}: ${reasonOf(error)}.`, { cause: error });
  }
}

/** Reads standard input to its end, by the rule. @throws {RangeError} if it is too long or not UTF-8 */
export function readTextInput(): string {
  try {
    return decodeText(readStandardInput(MAX_INPUT_BYTES));
  } catch (error) {
    throw new RangeError(`Cannot read the text from standard input: ${(error as Error).message}.`, { cause: error });
  }
}
