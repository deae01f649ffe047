/**
 * What must be known about a corpus before its first id is written: the number of documents, which of them are for
 * validation, the files' checksums, and the tokenizer learned from it. Each takes one pass in constant memory. Shown in
 * notebook 02-data.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import { fileSha256 } from "../../host/download.js";
import { permutation } from "../../host/python/numpy-permutation.js";
import { markLength } from "../text.js";
import { countPieces, trainBytePairs } from "../tokenizers/learn-byte-pairs.js";
import {
  bpeTokenizer,
  characterTokenizer,
  gpt2Tokenizer,
  type Tokenizer,
  type TokenizerSpec,
  tokenizerFromSpec,
} from "../tokenizers/tokenizer.js";
import { readPieces, type SourceFile } from "./documents.js";
import { isBlank, readElements, readLines } from "./json-records.js";
import { refuseSource } from "./refuse-source.js";

/** How many of `documents` are for validation: the fraction, rounded up, as in `datasets.train_test_split`. */
export function validationCount(documents: number, valFraction: number): number {
  return Math.ceil(documents * valFraction);
}

/**
 * For each document, whether it is for validation. Drawn as by `datasets.train_test_split(test_size=valFraction,
 * seed=seed)`: the first documents of NumPy's permutation.
 * @throws {RangeError} if a split would be empty
 */
export function validationDocuments(documents: number, valFraction: number, seed: number): Uint8Array {
  const count = validationCount(documents, valFraction);
  if (count === documents) {
    throw new RangeError(
      `Cannot split ${documents} ${documents === 1 ? "document" : "documents"}: all of them would be for validation; give more documents, or one text file, which is split by its characters.`,
    );
  }
  const chosen = new Uint8Array(documents);
  for (const document of permutation(documents, seed).subarray(0, count)) chosen[document] = 1;
  return chosen;
}

/** The number of documents in a file, and its SHA-256. */
export async function surveyFile(file: SourceFile): Promise<{ documents: number; sha256: string }> {
  if (file.kind === "text") return { documents: 1, sha256: await fileSha256(file.path) };
  if (file.kind === "parquet") {
    const { countParquetRows } = await import("./parquet-text.js");
    return { documents: await countParquetRows(file.path), sha256: await fileSha256(file.path) };
  }
  const sha256 = await fileSha256(file.path);
  let documents = 0;
  if (file.kind === "json") for await (const _ of readElements(file.path, 0)) documents++;
  else for await (const { bytes } of readLines(file.path, 0)) if (!isBlank(bytes)) documents++;
  return { documents, sha256 };
}

/**
 * Where to split a text file: the byte at which its character number ⌊(1 − valFraction) · characters⌋ begins, with
 * "\r\n" counted as one, as nanoGPT's scripts split it in Python; and its SHA-256.
 * @throws {RangeError} if a split would be empty
 */
export async function surveyText(filePath: string, valFraction: number): Promise<{ cut: number; sha256: string }> {
  const hash = createHash("sha256");
  const blockBytes = 1 << 20;
  const counts: number[] = []; // characters that begin in each block
  let previous = 0;
  for await (const chunk of fs.createReadStream(filePath, { highWaterMark: blockBytes })) {
    hash.update(chunk as Buffer);
    counts.push(countCharacters(chunk as Buffer, previous));
    previous = (chunk as Buffer).at(-1)!;
  }
  // A byte-order mark is not part of the text.
  const marks = (await hasMark(filePath)) ? 1 : 0;
  const characters = counts.reduce((sum, count) => sum + count, 0) - marks;
  const wanted = Math.floor(characters * (1 - valFraction)) + marks;
  if (wanted === marks || wanted === characters + marks) {
    throw refuseSource(filePath, `its ${characters} characters are too few to split`, "give a longer text");
  }
  let block = 0;
  let before = 0;
  while (before + counts[block]! <= wanted) before += counts[block++]!;
  const handle = await fs.promises.open(filePath, "r");
  try {
    const start = Math.max(0, block * blockBytes - 1); // one byte more, to see a "\r" before it
    const bytes = Buffer.alloc(blockBytes + 1);
    const { bytesRead } = await handle.read(bytes, 0, bytes.length, start);
    let at = block * blockBytes - start;
    for (; at < bytesRead; at++) {
      if (!beginsCharacter(bytes[at]!, at > 0 ? bytes[at - 1]! : 0)) continue;
      if (before++ === wanted) break;
    }
    return { cut: start + at, sha256: hash.digest("hex") };
  } finally {
    await handle.close();
  }
}

async function hasMark(filePath: string): Promise<boolean> {
  const handle = await fs.promises.open(filePath, "r");
  try {
    const { buffer } = await handle.read(Buffer.alloc(3), 0, 3, 0);
    return markLength(buffer) > 0;
  } finally {
    await handle.close();
  }
}

/** Whether a byte begins a character; "\r\n" counts as one. */
function beginsCharacter(byte: number, previous: number): boolean {
  return (byte & 0xc0) !== 0x80 && !(byte === 0x0a && previous === 0x0d);
}

function countCharacters(bytes: Buffer, previous: number): number {
  let count = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (beginsCharacter(byte, previous)) count++;
    previous = byte;
  }
  return count;
}

/** Text from which byte pairs are learned; more would change little and take memory. */
const learnedBytes = 100_000_000;

export interface LearnOptions {
  readonly files: readonly SourceFile[];
  readonly textKey: string;
  readonly cuts?: readonly number[];
  /** By document. */
  readonly isVal: (document: number) => boolean;
  readonly log: (line: string) => void;
}

/** "char", "gpt2" or "bpe:N": a tokenizer by its name, or learned from the text. */
export function isTokenizerName(name: string): boolean {
  const size = /^bpe:(\d+)$/.exec(name)?.[1];
  return name === "char" || name === "gpt2" || (size !== undefined && Number(size) >= 257 && Number(size) <= 65_536);
}

/** Learns the tokenizer: characters of the whole corpus, as nanoGPT does; byte pairs of the training documents. */
export async function learnTokenizer(name: string | TokenizerSpec, options: LearnOptions): Promise<Tokenizer> {
  if (typeof name !== "string") return tokenizerFromSpec(name);
  if (name === "gpt2") return gpt2Tokenizer();
  return name === "char" ? await learnCharacters(options) : await learnPairs(Number(name.slice(4)), options);
}

const beginning = { file: 0, offset: 0, document: 0 };

async function learnCharacters({ files, textKey, cuts = [] }: LearnOptions): Promise<Tokenizer> {
  const seen = new Uint8Array(0x110000);
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  for await (const { bytes, last } of readPieces(files, beginning, { textKey, cuts, anywhere: true })) {
    const text = decoder.decode(bytes);
    for (let index = 0; index < text.length; index++) {
      const codePoint = text.codePointAt(index)!;
      if (codePoint > 0xffff) index++;
      seen[codePoint] = 1;
    }
    if (last && cuts.length === 0) seen[0x0a] = 1; // the separator of documents
  }
  const characters: string[] = [];
  seen.forEach((met, codePoint) => {
    if (met) characters.push(String.fromCodePoint(codePoint));
  });
  return characterTokenizer(characters);
}

async function learnPairs(vocabSize: number, options: LearnOptions): Promise<Tokenizer> {
  const { files, textKey, cuts = [], isVal, log } = options;
  const counts = new Map<string, number>();
  let seenBytes = 0;
  for await (const { bytes, document } of readPieces(files, beginning, { textKey, cuts })) {
    if (isVal(document)) continue;
    countPieces(counts, bytes);
    seenBytes += bytes.length;
    if (seenBytes >= learnedBytes) break;
  }
  log(
    `learning ${vocabSize.toLocaleString("en")} byte pairs from ${seenBytes.toLocaleString("en")} bytes of training text`,
  );
  const training = trainBytePairs(counts, { vocabSize });
  let tenth = 1;
  for (;;) {
    const next = training.next();
    if (next.done) {
      const tokenizer = bpeTokenizer(next.value);
      if (tokenizer.vocabSize < vocabSize) {
        log(` no pair occurs twice any more: the vocabulary size is ${tokenizer.vocabSize.toLocaleString("en")}`);
      }
      return tokenizer;
    }
    const { merges, wanted, occurrences, token } = next.value;
    if (merges * 10 < wanted * tenth) continue;
    tenth = Math.floor((merges * 10) / wanted) + 1;
    const shown = JSON.stringify(new TextDecoder().decode(token));
    log(
      `  ${merges.toLocaleString("en")} of ${wanted.toLocaleString("en")}: ${shown}, ${occurrences.toLocaleString("en")} times`,
    );
  }
}
