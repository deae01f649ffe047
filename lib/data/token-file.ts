/**
 * Opens datasets on disk. A dataset is a folder with train.bin and val.bin (raw little-endian uint16, or uint32 for
 * more than 65,536 ids, in nanoGPT's format) and a meta.json that says which tokenizer made them. nanoGPT's own
 * folders, with or without its meta.pkl, are read too. Only the rows in use are read, so memory does not grow with the
 * file. token-writer.ts writes datasets; batches.ts draws batches. Shown in notebook 02-data.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import * as z from "zod";
import { faultOf } from "../host/checked-json.js";
import { numpyGlobals } from "../host/python/numpy-scalars.js";
import { readPickle } from "../host/python/pickle.js";
import { openRegularFile, readRegularFile, readRegularText, reasonOf } from "../host/regular-file.js";
import { largest } from "../settings/rows.js";
import {
  characterTokenizer,
  gpt2Tokenizer,
  idTokenizer,
  type Tokenizer,
  type TokenizerSpec,
  tokenizerFromSpec,
} from "./tokenizers/tokenizer.js";

/** How an id is stored: 2 bytes, or 4 for a vocabulary of more than 65,536 ids. */
export type TokenDtype = "uint16" | "uint32";

/** Where a dataset's text comes from. */
export interface TokenSource {
  /** A description in one line. */
  name: string;
  licence: string;
  /** SHA-256 of the text as it was read, in lower-case hexadecimal; for several files, of the lines "sha256 name". */
  sha256: string;
  url?: string;
}

/** One split: the number of ids in its file, and the file's SHA-256 (for nanoGPT's own folders, of samples of it). */
export interface TokenSplit {
  tokens: number;
  sha256: string;
}

/** The content of meta.json: what is needed to read a dataset's files. */
export interface TokenMeta {
  format: "folio-tokens";
  version: 1;
  dataset: string;
  dtype: TokenDtype;
  vocabSize: number;
  tokenizer: TokenizerSpec;
  splits: { train: TokenSplit; val: TokenSplit };
  source?: TokenSource;
  /** The options that it was prepared with; preparing it again with the same options does nothing. */
  recipe?: Readonly<Record<string, string | number>>;
}

/** An open token file; the owner must call `close()`. */
export interface TokenFile {
  readonly path: string;
  /** In tokens. */
  readonly length: number;
  /**
   * `count` ids from `start` on, by one positioned read. Ids of 2³¹ and more come out negative.
   * @throws {RangeError} if the range exceeds the file
   */
  read(start: number, count: number): Int32Array;
  close(): void;
}

/** An open dataset; the owner must call `close()`. */
export interface Dataset {
  readonly meta: TokenMeta;
  readonly train: TokenFile;
  readonly val: TokenFile;
  readonly tokenizer: Tokenizer;
  close(): void;
}

/** Bytes per id. */
export const bytesPerToken = { uint16: 2, uint32: 4 } as const;
const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

export function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | null)?.code;
}

/** Swaps bytes in place on a big-endian machine, since the files are always little-endian. */
export function toLittleEndian(bytes: Buffer, dtype: TokenDtype): Buffer {
  if (!littleEndian) dtype === "uint16" ? bytes.swap16() : bytes.swap32();
  return bytes;
}

/**
 * Opens a raw file of token ids for positioned reads.
 * @param options.tokens how many ids it must have; default any number
 * @throws {RangeError} if the file is missing, empty, cut inside an id, or has another number of ids
 * @example
 * const file = openTokenFile("data/shakespeare_char/val.bin", { dtype: "uint16" });
 * file.read(0, 3); // Int32Array [12, 0, 0]
 * file.close();
 */
export function openTokenFile(filePath: string, options: { dtype: TokenDtype; tokens?: number }): TokenFile {
  const { dtype, tokens } = options;
  const refuse = (found: string): RangeError =>
    new RangeError(`Cannot open the token file ${filePath}: ${found}; prepare the dataset again.`);
  let descriptor: number;
  try {
    descriptor = openRegularFile(filePath);
  } catch (error) {
    throw refuse(reasonOf(error));
  }
  try {
    const status = fs.fstatSync(descriptor);
    const width = bytesPerToken[dtype];
    const length = status.size / width;
    if (status.size === 0) throw refuse("it is empty");
    if (!Number.isInteger(length)) {
      throw refuse(
        `it is truncated: ${status.size} bytes are not a whole number of ${dtype} ids (${width} bytes each)`,
      );
    }
    if (tokens !== undefined && tokens !== length) {
      const what = length < tokens ? "it is truncated" : "it is too long";
      throw refuse(`${what}: it has ${length} ids, but meta.json says ${tokens}`);
    }
    return tokenFile(filePath, descriptor, dtype, length);
  } catch (error) {
    fs.closeSync(descriptor);
    throw error;
  }
}

function tokenFile(filePath: string, descriptor: number, dtype: TokenDtype, length: number): TokenFile {
  const width = bytesPerToken[dtype];
  let open = true;
  let scratch = Buffer.alloc(0); // reused by small reads, since an allocation per row would dominate the time of a batch
  return {
    path: filePath,
    length,
    read(start, count) {
      if (!open) throw new Error(`Cannot read ${filePath}: it has been closed.`);
      if (!Number.isInteger(start) || !Number.isInteger(count) || start < 0 || count < 0 || start + count > length) {
        throw new RangeError(`Cannot read ids ${start} to ${start + count} of ${filePath}: it has ${length}.`);
      }
      if (count === 0) return new Int32Array(0);
      const byteCount = count * width;
      if (scratch.length < byteCount) scratch = Buffer.from(new ArrayBuffer(Math.max(byteCount, 8192)));
      const bytes = scratch.subarray(0, byteCount);
      for (let done = 0; done < byteCount; ) {
        const got = fs.readSync(descriptor, bytes, done, byteCount - done, start * width + done);
        if (got === 0)
          throw new RangeError(`Cannot read ids from ${filePath}: it has become shorter since it was opened.`);
        done += got;
      }
      toLittleEndian(bytes, dtype);
      const Ids = dtype === "uint16" ? Uint16Array : Uint32Array;
      const ids = new Int32Array(new Ids(bytes.buffer, bytes.byteOffset, count));
      if (scratch.length > 1 << 20) scratch = Buffer.alloc(0);
      return ids;
    },
    close() {
      if (open) fs.closeSync(descriptor);
      open = false;
    },
  };
}

/** `<dataDir>/<name>`, which must stay inside `dataDir`. */
export function datasetDirectory(dataDir: string, name: string): string {
  if (!/^\w[\w.-]*$/.test(name)) {
    throw new RangeError(
      `Cannot use the dataset ${JSON.stringify(name)}: a name has only letters, digits, "_", "-" and ".", and is not a path.`,
    );
  }
  return path.join(dataDir, name);
}

/**
 * Reads `<dataDir>/<name>/meta.json`; if nanoGPT made the folder, the same from its files.
 * @throws {RangeError} if it is not prepared or is damaged, saying what to do
 */
export function readMeta(dataDir: string, name: string, options: OpenOptions = {}): TokenMeta {
  const directory = datasetDirectory(dataDir, name);
  return isNanoGptFolder(directory) ? nanoGptMeta(directory, name, options) : readOwnMeta(directory, name);
}

/** Whether `<dataDir>/<name>` holds a dataset, prepared by Folio or by nanoGPT's way. */
export function isPrepared(dataDir: string, name: string): boolean {
  const directory = datasetDirectory(dataDir, name);
  return fs.existsSync(path.join(directory, "meta.json")) || isNanoGptFolder(directory);
}

function isNanoGptFolder(directory: string): boolean {
  const has = (file: string) => fs.existsSync(path.join(directory, file));
  // With preparing.json, train.bin and val.bin are from an interrupted preparation, not from nanoGPT.
  return ["train.bin", "val.bin"].every(has) && !["meta.json", "preparing.json"].some(has);
}

/** Options for opening a dataset. */
export interface OpenOptions {
  /**
   * The number of different ids, for a folder with only train.bin and val.bin whose ids have no tokenizer. With 0, or
   * 50,257 to 50,304, the ids are GPT-2's.
   */
  readonly vocabSize?: number;
}

/**
 * The meta.json of nanoGPT's folder. Its meta.pkl has the characters, or only the number of ids; without meta.pkl the
 * ids are GPT-2's or, if the caller gives their number, have no tokenizer.
 */
function nanoGptMeta(directory: string, name: string, { vocabSize = 0 }: OpenOptions): TokenMeta {
  const picklePath = path.join(directory, "meta.pkl");
  const isGpt2 = vocabSize === 0 || (vocabSize >= 50_257 && vocabSize <= 50_304);
  const bare = () => (isGpt2 ? gpt2Tokenizer() : idTokenizer(vocabSize));
  const tokenizer = fs.existsSync(picklePath) ? nanoGptTokenizer(picklePath) : bare();
  const split = (file: string): TokenSplit => {
    const { length, close } = openTokenFile(path.join(directory, file), { dtype: "uint16" });
    close();
    return { tokens: length, sha256: sampledSha256(path.join(directory, file)) };
  };
  return {
    format: "folio-tokens",
    version: 1,
    dataset: name,
    dtype: "uint16",
    vocabSize: tokenizer.vocabSize,
    tokenizer: tokenizer.toJSON(),
    splits: { train: split("train.bin"), val: split("val.bin") },
  };
}

/** The characters of meta.pkl; if it has none, or tokens of several characters, only the number of ids. */
function nanoGptTokenizer(picklePath: string): Tokenizer {
  const refuse = (found: string) =>
    new RangeError(
      `Cannot read ${picklePath}: ${found}; wanted nanoGPT's stoi and itos, of one character each, or only vocab_size. Prepare the text with folio prepare NAME --from=FILE.`,
    );
  let bytes: Buffer;
  try {
    bytes = readRegularFile(picklePath);
  } catch (error) {
    throw refuse(reasonOf(error));
  }
  const meta = readPickle(bytes, { name: picklePath, globals: numpyGlobals });
  if (!(meta instanceof Map)) throw refuse("it is not a dictionary");
  const itos: unknown = meta.get("itos");
  const vocabSize: unknown = meta.get("vocab_size") ?? (itos instanceof Map ? itos.size : undefined);
  if (!(itos instanceof Map) || itos.size === 0) {
    const counts = Number.isSafeInteger(vocabSize) && (vocabSize as number) > 0;
    const told = vocabSize === undefined ? "no vocab_size" : `a vocab_size of ${vocabSize}`;
    if (!counts) throw refuse(`it has no table of characters (itos), and ${told}`);
    return idTokenizer(vocabSize);
  }
  const characters = Array.from({ length: itos.size }, (_, id) => itos.get(id) as unknown);
  const absent = characters.findIndex((character) => typeof character !== "string");
  if (absent >= 0) throw refuse(`its itos has no character for id ${absent}`);
  const single = (characters as string[]).every(
    (token) => token !== "" && token === String.fromCodePoint(token.codePointAt(0)!),
  );
  return single ? characterTokenizer(characters as string[]) : idTokenizer(vocabSize);
}

/**
 * A checksum of a file's length, its ends and 64 places between, since the file may be too large to read completely.
 */
function sampledSha256(filePath: string): string {
  const blockBytes = 4096;
  const descriptor = openRegularFile(filePath);
  try {
    const { size } = fs.fstatSync(descriptor);
    const hash = createHash("sha256").update(`${size}`);
    const block = Buffer.alloc(blockBytes);
    for (let index = 0; index <= 65; index++) {
      const start = Math.floor((Math.max(0, size - blockBytes) * index) / 65);
      hash.update(block.subarray(0, fs.readSync(descriptor, block, 0, blockBytes, start)));
    }
    return hash.digest("hex");
  } finally {
    fs.closeSync(descriptor);
  }
}

/**
 * Opens `<dataDir>/<name>`: meta.json, train.bin, val.bin and the tokenizer. The files' sizes are compared with
 * meta.json, but not their checksums, which would require reading them completely.
 * @throws {RangeError} if it is not prepared or is damaged, saying what to do
 * @example
 * const dataset = openDataset("data", "typescript");
 * dataset.tokenizer.decode(dataset.val.read(0, 100));
 * dataset.close();
 */
export function openDataset(dataDir: string, name: string, options: OpenOptions = {}): Dataset {
  const directory = datasetDirectory(dataDir, name);
  const meta = readMeta(dataDir, name, options);
  const tokenizer = tokenizerFromSpec(meta.tokenizer);
  if (tokenizer.vocabSize > meta.vocabSize) {
    throw new RangeError(
      `Cannot open the dataset "${name}": its tokenizer has ${tokenizer.vocabSize} ids, but meta.json says ${meta.vocabSize}; run folio prepare ${name}.`,
    );
  }
  const { dtype, splits } = meta;
  const train = openTokenFile(path.join(directory, "train.bin"), { dtype, tokens: splits.train.tokens });
  let val: TokenFile;
  try {
    val = openTokenFile(path.join(directory, "val.bin"), { dtype, tokens: splits.val.tokens });
  } catch (error) {
    train.close();
    throw error;
  }
  const close = () => {
    train.close();
    val.close();
  };
  return { meta, train, val, tokenizer, close };
}

function readOwnMeta(directory: string, name: string): TokenMeta {
  const metaPath = path.join(directory, "meta.json");
  let text: string;
  try {
    text = readRegularText(metaPath);
  } catch (error) {
    if (errorCode(error) !== "ENOENT" && errorCode(error) !== "ENOTDIR") {
      throw new RangeError(`Cannot read ${metaPath}: ${(error as Error).message}; run folio prepare ${name}.`, {
        cause: error,
      });
    }
    const found = fs.existsSync(path.join(directory, "train.bin"))
      ? `${directory} has train.bin but no meta.json (an interrupted preparation)`
      : `${directory} has no prepared dataset`;
    throw new RangeError(`Cannot open the dataset "${name}": ${found}; run folio prepare ${name}.`, { cause: error });
  }
  let meta: unknown;
  try {
    meta = JSON.parse(text);
  } catch (error) {
    throw new RangeError(`Cannot read ${metaPath}: it is not JSON; run folio prepare ${name}.`, { cause: error });
  }
  const fault = faultOf(metaSchema, meta);
  if (fault) throw new RangeError(`Cannot read ${metaPath}: its ${fault}; run folio prepare ${name}.`);
  return meta as TokenMeta;
}

const split = z.object({ tokens: z.int().positive(), sha256: z.string().max(64).optional() });
/** The schema of meta.json; the tokenizer's specification is checked when the tokenizer is built. */
export const metaSchema = z.object({
  format: z.literal("folio-tokens"),
  version: z.literal(1),
  dataset: z.string().regex(/^\w[\w.-]*$/),
  dtype: z.enum(["uint16", "uint32"]),
  vocabSize: z.int().positive().max(largest.vocabSize),
  tokenizer: z.record(z.string(), z.unknown()),
  splits: z.object({ train: split, val: split }),
  source: z
    .object({ name: z.string(), licence: z.string(), sha256: z.string(), url: z.string().optional() })
    .optional(),
  recipe: z.record(z.string(), z.union([z.string(), z.number()])).optional(),
});
