/**
 * Turns a corpus of any size into train.bin and val.bin, in constant memory and on several cores. Progress is recorded
 * in preparing.json every 32 MB; a preparation that was killed continues from there and produces the same bytes.
 * token-writer.ts writes texts that fit in memory. Shown in notebook 02-data.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileSha256 } from "../../host/download.js";
import { cellSignal } from "../../host/notebook.js";
import { datasetDirectory, type TokenMeta, type TokenSource } from "../dataset.js";
import { dtypeOf, writeProblem } from "../token-writer.js";
import { type TokenizerSpec, tokenizerFromSpec } from "../tokenizers/tokenizer.js";
import { type Piece, type Place, readPieces, type SourceFile } from "./documents.js";
import { type Encoded, type EncodeJob, endsDocument, ofVal, openEncodePool } from "./encode-threads.js";
import { learnTokenizer, surveyFile, surveyText, validationCount, validationDocuments } from "./survey.js";
import {
  type DatasetFiles,
  filesOf,
  finish,
  lock,
  openParts,
  type Progress,
  readProgress,
  type Split,
  unfinished,
  writeJson,
} from "./unfinished.js";

/** Options of `prepareCorpus`. */
export interface CorpusOptions {
  dataDir: string;
  name: string;
  files: readonly SourceFile[];
  /** One text file, split by its characters, without an end-of-text id; else each document goes to one split. */
  single: boolean;
  /** "char", "gpt2" or "bpe:N", or the specification of an existing tokenizer */
  tokenizer: string | TokenizerSpec;
  /** 0 < valFraction < 1 */
  valFraction: number;
  /** Seed for drawing the validation documents. */
  seed: number;
  textKey: string;
  /** Description of the text; its checksum is added. */
  source: Omit<TokenSource, "sha256">;
  /** Kept in meta.json. */
  recipe: NonNullable<TokenMeta["recipe"]>;
  /** Threads that encode; default one per core, and none for less than 8 MB. */
  workers?: number;
  /** How much text to encode before progress is recorded again; default 32 MB. */
  commitBytes?: number;
  /** Files that have to be fetched. */
  remote?: RemoteFiles;
  signal?: AbortSignal;
  log(line: string): void;
}

/** Files that are fetched one after another, each when it is needed. */
export interface RemoteFiles {
  /** The number of documents in each file; called once. */
  count(): Promise<number[]>;
  /** Fetches a file, unless it has been fetched, and returns its path. */
  fetch(index: number): Promise<string>;
  /** Called when the file's documents have been written. */
  release(index: number): void;
}

/**
 * Writes `<dataDir>/<name>` from documents. Called again after a kill, it continues.
 * @throws {RangeError} if a file cannot be read, or a split would be empty
 * @throws {Error} if the disk is full, or another process is preparing the same dataset; finished work is kept
 */
export async function prepareCorpus(options: CorpusOptions): Promise<TokenMeta> {
  const { dataDir, name, log } = options;
  const directory = datasetDirectory(dataDir, name);
  fs.mkdirSync(directory, { recursive: true });
  const files = filesOf(directory);
  const held = lock(directory, name);
  try {
    let progress = readProgress(files, wishOf(options));
    if (!progress) {
      for (const file of unfinished(files)) fs.rmSync(file, { force: true });
      progress = await survey(options);
      writeJson(files.progress, progress);
    } else if (!progress.meta) {
      const done = progress.tokens.train + progress.tokens.val;
      log(`continuing after ${done.toLocaleString("en")} ids that were already written`);
    }
    if (!progress.meta) {
      await encodeAll(options, files, progress);
      progress.meta = await describe(options, files, progress);
      writeJson(files.progress, progress);
    }
    finish(directory, files, progress.meta);
    return progress.meta;
  } catch (error) {
    // If the text itself is faulty, continuing cannot succeed: nothing is kept.
    if (error instanceof RangeError) for (const file of unfinished(files)) fs.rmSync(file, { force: true });
    throw writeProblem(error, { name, directory, found: "finished work is kept" });
  } finally {
    held.release();
    if (fs.existsSync(directory) && fs.readdirSync(directory).length === 0) fs.rmdirSync(directory);
  }
}

/** Everything that determines the result. */
function wishOf(options: CorpusOptions): string {
  const { files, single, tokenizer, valFraction, seed, textKey } = options;
  const described = files.map((file) => {
    const status = fs.statSync(file.path, { throwIfNoEntry: false });
    return [file.path, file.kind, file.bytes, options.remote ? 0 : (status?.mtimeMs ?? 0)];
  });
  return JSON.stringify({ described, single, tokenizer, valFraction, seed, textKey });
}

async function survey(options: CorpusOptions): Promise<Progress> {
  const { files, single, valFraction, seed, textKey, tokenizer, log, remote } = options;
  const checksums: (string | null)[] = [];
  const cuts: number[] = [];
  let documents = 0;
  if (remote) {
    documents = (await remote.count()).reduce((sum, count) => sum + count, 0);
    checksums.push(...files.map(() => null));
  } else if (single) {
    const { cut, sha256 } = await surveyText(files[0]!.path, valFraction);
    cuts.push(cut);
    checksums.push(sha256);
    documents = 2;
  } else {
    for (const file of files) {
      (options.signal ?? cellSignal())?.throwIfAborted();
      const found = await surveyFile(file);
      documents += found.documents;
      checksums.push(found.sha256);
    }
  }
  if (!single) {
    const count = (value: number) => value.toLocaleString("en");
    log(`${count(documents)} documents, ${count(validationCount(documents, valFraction))} of them for validation`);
  }
  const isVal = validationTest(single, documents, { valFraction, seed });
  const learned = await learnTokenizer(tokenizer, { files, textKey, cuts, isVal, log });
  return {
    format: "folio-preparing",
    version: 1,
    wish: wishOf(options),
    plan: { documents, cuts, tokenizer: learned.toJSON() },
    checksums,
    next: { file: 0, offset: 0, document: 0 },
    tokens: { train: 0, val: 0 },
  };
}

function validationTest(
  single: boolean,
  documents: number,
  draw: { valFraction: number; seed: number },
): (document: number) => boolean {
  if (single) return (document) => document === 1; // the part after the cut
  const chosen = validationDocuments(documents, draw.valFraction, draw.seed);
  return (document) => chosen[document] === 1;
}

/** Encodes from `progress.next` on, and records its progress. */
async function encodeAll(options: CorpusOptions, files: DatasetFiles, progress: Progress): Promise<void> {
  const { remote, signal = cellSignal(), commitBytes = 32_000_000 } = options;
  const { vocabSize } = tokenizerFromSpec(progress.plan.tokenizer);
  const dtype = dtypeOf(vocabSize);
  const pool = openEncodePool({ tokenizer: progress.plan.tokenizer, dtype }, workersOf(options));
  const output = openParts(files, dtype, progress);
  const report = reporter(options, progress.next);
  try {
    let uncommittedBytes = 0;
    /** Ids are written in the order of the text, whichever worker finishes first. */
    const write = async (ids: Encoded, { next, byteCount }: PlacedJob): Promise<void> => {
      output.append(ids);
      const { file } = progress.next;
      progress.next = next;
      uncommittedBytes += byteCount;
      if (uncommittedBytes >= commitBytes || (remote && next.file > file)) {
        uncommittedBytes = 0;
        await output.commit();
        for (let done = file; done < next.file; done++) remote?.release(done);
      }
      report(next, byteCount);
    };
    const pending: Promise<void>[] = [];
    let written: Promise<void> = Promise.resolve();
    for await (const placed of jobsOf(options, progress)) {
      if (signal?.aborted) break;
      written = Promise.all([pool.encode(placed.job), written]).then(([ids]) => write(ids, placed));
      written.catch(() => {}); // awaited below, and by the next write
      pending.push(written);
      if (pending.length > 2 * pool.size) await pending.shift();
    }
    await written;
    await output.commit();
    signal?.throwIfAborted();
  } finally {
    await pool.close();
    output.close();
  }
}

function workersOf({ files, remote, workers }: CorpusOptions): number {
  if (workers !== undefined) return workers;
  const small = !remote && files.reduce((sum, { bytes }) => sum + bytes, 0) < 8_000_000;
  return small ? 0 : Math.min(os.availableParallelism(), 16);
}

/** A job, and the place where reading continues after it. */
interface PlacedJob {
  readonly job: EncodeJob;
  readonly byteCount: number;
  readonly next: Place;
}

const jobBytes = 1 << 20;

/** The rest of the corpus, in jobs of a megabyte or of one document. */
async function* jobsOf(options: CorpusOptions, progress: Progress): AsyncGenerator<PlacedJob> {
  const { files, single, textKey, remote, valFraction, seed } = options;
  const { documents, cuts, tokenizer } = progress.plan;
  const isVal = validationTest(single, documents, { valFraction, seed });
  const byCharacters = tokenizer.kind === "char";
  const locate = async (index: number): Promise<string> => {
    const filePath = await remote!.fetch(index);
    progress.checksums[index] ??= await fileSha256(filePath);
    return filePath;
  };
  const largest = Math.min(jobBytes, options.commitBytes ?? jobBytes);
  const reading = { textKey, cuts, anywhere: byCharacters, pieceBytes: largest, ...(remote && { locate }) };
  let pieces: Piece[] = [];
  let byteCount = 0;
  const pack = (): PlacedJob => {
    const packed = packJob(pieces, { isVal, endsDocuments: !single, byCharacters });
    const placed = { job: packed, byteCount, next: pieces.at(-1)!.next };
    pieces = [];
    byteCount = 0;
    return placed;
  };
  for await (const piece of readPieces(files, progress.next, reading)) {
    if (pieces.length === 4096 || (pieces.length > 0 && byteCount + piece.bytes.length > largest)) yield pack();
    pieces.push(piece);
    byteCount += piece.bytes.length;
    if (remote && piece.next.offset === 0) yield pack(); // a file is finished: it can be removed before the next one is fetched
  }
  if (pieces.length > 0) yield pack();
}

/** Packs pieces into one job. A character tokenizer has no end-of-text id: documents end with a line end. */
function packJob(
  pieces: readonly Piece[],
  how: { isVal: (document: number) => boolean; endsDocuments: boolean; byCharacters: boolean },
): EncodeJob {
  const { isVal, endsDocuments, byCharacters } = how;
  const texts = new Int32Array(2 * pieces.length);
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.bytes.length + 1, 0));
  let at = 0;
  pieces.forEach((piece, index) => {
    bytes.set(piece.bytes, at);
    at += piece.bytes.length;
    const ends = endsDocuments && piece.last;
    if (ends && byCharacters && piece.bytes.length > 0 && piece.bytes.at(-1) !== 0x0a) bytes[at++] = 0x0a;
    texts[2 * index] = at;
    texts[2 * index + 1] = (isVal(piece.document) ? ofVal : 0) + (ends ? endsDocument : 0);
  });
  return { bytes, texts };
}

/** Logs a line at each tenth of the text; for fetched files, at each file. */
function reporter({ files, remote, log }: CorpusOptions, from: Place): (next: Place, byteCount: number) => void {
  const totalBytes = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const startMs = performance.now();
  let doneBytes = files.slice(0, from.file).reduce((sum, { bytes }) => sum + bytes, 0) + from.offset;
  let encodedBytes = 0;
  let shown = Math.floor((doneBytes * 10) / totalBytes);
  let shownFile = from.file;
  return (next, byteCount) => {
    doneBytes += byteCount;
    encodedBytes += byteCount;
    const rate = `${(encodedBytes / 1000 / (performance.now() - startMs)).toFixed(1)} MB/s`;
    if (remote && next.file > shownFile) {
      shownFile = next.file;
      log(`  ${shownFile} of ${files.length} files, ${rate}`);
    }
    const tenth = Math.floor((doneBytes * 10) / totalBytes);
    if (remote || totalBytes < 8_000_000 || tenth <= shown) return;
    shown = tenth;
    log(`  ${Math.min(100, 10 * tenth)} %, ${rate}`);
  };
}

/** The meta.json for what has been written. @throws {RangeError} if a split is empty */
async function describe(options: CorpusOptions, files: DatasetFiles, progress: Progress): Promise<TokenMeta> {
  const { name, recipe, source } = options;
  const { vocabSize } = tokenizerFromSpec(progress.plan.tokenizer);
  const split = async (split: Split) => {
    const tokens = progress.tokens[split];
    if (tokens === 0) {
      throw new RangeError(`Cannot write the dataset "${name}": the split "${split}" is empty; give more text.`);
    }
    return { tokens, sha256: await fileSha256(files.part[split]) };
  };
  const [only, ...others] = progress.checksums;
  const lines = options.files.map((file, index) => `${progress.checksums[index]}  ${path.basename(file.path)}\n`);
  return {
    format: "folio-tokens",
    version: 1,
    dataset: name,
    dtype: dtypeOf(vocabSize),
    vocabSize,
    tokenizer: progress.plan.tokenizer,
    splits: { train: await split("train"), val: await split("val") },
    source: {
      ...source,
      sha256: others.length === 0 ? only! : createHash("sha256").update(lines.join("")).digest("hex"),
    },
    recipe,
  };
}
