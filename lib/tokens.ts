/**
 * Datasets on disk. A dataset is a folder with train.bin and val.bin (raw little-endian uint16, or uint32 past 65,535
 * ids: nanoGPT's files as they are) and a meta.json that says which tokenizer made them. Files are read in place, a row at
 * a time, so memory stays flat whatever their size, and are replaced whole or not at all. What this file is not: it
 * draws no batches (data.ts does, and exports all of this too). Notebook 01-train shows it.
 */
import { createHash, randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { type Tokenizer, type TokenizerSpec, tokenizerFromSpec } from "./tokenizer.js";

/** How an id is stored: 2 bytes, or 4 for a vocabulary of more than 65,536 ids. */
export type TokenDtype = "uint16" | "uint32";

/** Where a dataset's text comes from. */
export interface TokenSource {
  /** What the text is, in a line. */
  name: string;
  licence: string;
  /** Of the text as it was read, in lower-case hexadecimal. */
  sha256: string;
  url?: string;
}

/** One split: how many ids its file holds, and the file's SHA-256. */
export interface TokenSplit {
  tokens: number;
  sha256: string;
}

/** meta.json: what is needed to read a dataset's files. */
export interface TokenMeta {
  format: "folio-tokens";
  version: 1;
  dataset: string;
  dtype: TokenDtype;
  vocabSize: number;
  tokenizer: TokenizerSpec;
  splits: { train: TokenSplit; val: TokenSplit };
  source?: TokenSource;
}

/** An open token file; `close()` it. */
export interface TokenFile {
  readonly path: string;
  /** In tokens. */
  readonly length: number;
  /**
   * `count` ids from `start` on, by one positioned read. Ids of 2³¹ and more come out negative.
   * @throws {RangeError} if they do not all lie in the file
   */
  read(start: number, count: number): Int32Array;
  close(): void;
}

/** An open dataset; `close()` it. */
export interface Dataset {
  readonly meta: TokenMeta;
  readonly train: TokenFile;
  readonly val: TokenFile;
  readonly tokenizer: Tokenizer;
  close(): void;
}

const bytesPerToken = { uint16: 2, uint32: 4 } as const;
const littleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

function errorCode(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | null)?.code;
}

/** Swaps bytes in place on a big-endian machine: the files are little-endian everywhere. */
function toLittleEndian(bytes: Buffer, dtype: TokenDtype): Buffer {
  if (!littleEndian) dtype === "uint16" ? bytes.swap16() : bytes.swap32();
  return bytes;
}

/**
 * Opens a raw file of token ids for positioned reads.
 * @param options.tokens how many ids it must hold; left out, whatever it holds
 * @throws {RangeError} if the file is missing, empty, cut within an id, or holds another number of ids
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
    descriptor = fs.openSync(filePath, "r");
  } catch (error) {
    throw refuse(errorCode(error) === "ENOENT" ? "it is missing" : (error as Error).message);
  }
  try {
    const status = fs.fstatSync(descriptor);
    const width = bytesPerToken[dtype];
    const length = status.size / width;
    if (!status.isFile()) throw refuse("it is not a file");
    if (status.size === 0) throw refuse("it is empty");
    if (!Number.isInteger(length)) {
      throw refuse(
        `it is truncated: ${status.size} bytes are not a whole number of ${dtype} ids (${width} bytes each)`,
      );
    }
    if (tokens !== undefined && tokens !== length) {
      const what = length < tokens ? "it is truncated" : "it is too long";
      throw refuse(`${what}: it holds ${length} ids, where meta.json counts ${tokens}`);
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
  let scratch = Buffer.alloc(0); // reused by small reads: one allocation a row is what a batch would spend its time on
  return {
    path: filePath,
    length,
    read(start, count) {
      if (!open) throw new Error(`Cannot read ${filePath}: it has been closed.`);
      if (!Number.isInteger(start) || !Number.isInteger(count) || start < 0 || count < 0 || start + count > length) {
        throw new RangeError(`Cannot read ids ${start} to ${start + count} of ${filePath}: it holds ${length}.`);
      }
      if (count === 0) return new Int32Array(0);
      const byteCount = count * width;
      if (scratch.length < byteCount) scratch = Buffer.from(new ArrayBuffer(Math.max(byteCount, 8192)));
      const bytes = scratch.subarray(0, byteCount);
      for (let done = 0; done < byteCount; ) {
        const got = fs.readSync(descriptor, bytes, done, byteCount - done, start * width + done);
        if (got === 0) throw new RangeError(`Cannot read ids from ${filePath}: it has been cut short while open.`);
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
function datasetDirectory(dataDir: string, name: string): string {
  if (!/^\w[\w.-]*$/.test(name)) {
    throw new RangeError(
      `Cannot use the dataset ${JSON.stringify(name)}: a name holds letters, digits, "_", "-" and "." only, and no path.`,
    );
  }
  return path.join(dataDir, name);
}

/**
 * Opens `<dataDir>/<name>`: meta.json, train.bin, val.bin and the tokenizer. The files' sizes are compared with
 * meta.json; their checksums are not (that would read them whole).
 * @throws {RangeError} if it is not prepared or damaged, saying so and what to do
 * @example
 * const dataset = openDataset("data", "typescript");
 * dataset.tokenizer.decode(dataset.val.read(0, 100));
 * dataset.close();
 */
export function openDataset(dataDir: string, name: string): Dataset {
  const directory = datasetDirectory(dataDir, name);
  const meta = readMeta(directory, name);
  const tokenizer = tokenizerFromSpec(meta.tokenizer);
  if (tokenizer.vocabSize > meta.vocabSize) {
    throw new RangeError(
      `Cannot open the dataset "${name}": its tokenizer has ${tokenizer.vocabSize} ids, where meta.json says ${meta.vocabSize}; run folio prepare ${name}.`,
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

function readMeta(directory: string, name: string): TokenMeta {
  const metaPath = path.join(directory, "meta.json");
  let text: string;
  try {
    text = fs.readFileSync(metaPath, "utf8");
  } catch (error) {
    if (errorCode(error) !== "ENOENT" && errorCode(error) !== "ENOTDIR") throw error;
    const found = fs.existsSync(path.join(directory, "train.bin"))
      ? `${directory} holds train.bin but no meta.json (nanoGPT's files, or a preparation that was interrupted)`
      : `${directory} holds no prepared dataset`;
    throw new RangeError(`Cannot open the dataset "${name}": ${found}; run folio prepare ${name}.`, { cause: error });
  }
  let meta: unknown;
  try {
    meta = JSON.parse(text);
  } catch (error) {
    throw new RangeError(`Cannot read ${metaPath}: it is not JSON; run folio prepare ${name}.`, { cause: error });
  }
  const fault = metaFault(meta);
  if (fault) throw new RangeError(`Cannot read ${metaPath}: ${fault}; run folio prepare ${name}.`);
  return meta as TokenMeta;
}

/** What is wrong with the contents of a meta.json, if anything (the tokenizer's specification is checked on its own). */
function metaFault(value: unknown): string | undefined {
  const meta = value as Partial<TokenMeta> | null;
  const isCount = (count: unknown): boolean => Number.isSafeInteger(count) && (count as number) > 0;
  if (meta?.format !== "folio-tokens") return `its format is ${JSON.stringify(meta?.format)}, not "folio-tokens"`;
  if (meta.version !== 1) return `its version is ${JSON.stringify(meta.version)}; this version of Folio reads 1`;
  if (meta.dtype !== "uint16" && meta.dtype !== "uint32") {
    return `its dtype is ${JSON.stringify(meta.dtype)}, neither "uint16" nor "uint32"`;
  }
  if (!isCount(meta.vocabSize)) return `its vocabSize is ${JSON.stringify(meta.vocabSize)}, not a positive integer`;
  for (const split of ["train", "val"] as const) {
    const tokens = meta.splits?.[split]?.tokens;
    if (!isCount(tokens)) return `its splits.${split}.tokens is ${JSON.stringify(tokens)}, not a positive integer`;
  }
  return undefined;
}

/** What `writeDataset` writes. */
export interface DatasetContents {
  name: string;
  tokenizer: Tokenizer;
  train: ArrayLike<number>;
  val: ArrayLike<number>;
  source?: TokenSource;
}

/**
 * Writes train.bin, val.bin and meta.json into `<dataDir>/<name>`, where `openDataset` finds them. The new files are complete and
 * synced under temporary names before the old ones go; meta.json goes first and comes last, so a kill at any moment
 * leaves the old dataset, the new one or one that `openDataset` refuses, never a mixture. A process that has the old
 * files open keeps reading them.
 * @throws {RangeError} if a split is empty or holds an id beyond the vocabulary
 * @throws {Error} if the disk is full, saying how many bytes are needed; nothing is changed then
 * @example
 * const tokenizer = charTokenizer(text);
 * const ids = tokenizer.encode(text);
 * writeDataset("data", { name: "mine", tokenizer, train: ids.subarray(0, 900), val: ids.subarray(900) });
 */
export function writeDataset(dataDir: string, contents: DatasetContents): TokenMeta {
  const { name, tokenizer, train, val, source } = contents;
  const directory = datasetDirectory(dataDir, name);
  const { vocabSize } = tokenizer;
  const dtype: TokenDtype = vocabSize > 65_536 ? "uint32" : "uint16";
  for (const [split, ids] of [["train", train] as const, ["val", val] as const]) {
    if (ids.length === 0) {
      throw new RangeError(`Cannot write the dataset "${name}": the split "${split}" is empty; give it a longer text.`);
    }
  }
  const neededBytes = (train.length + val.length) * bytesPerToken[dtype];
  const suffix = `.${randomUUID()}.tmp`;
  const at = (file: string) => path.join(directory, file);
  try {
    fs.mkdirSync(directory, { recursive: true });
    removeStale(directory);
    const writeSplit = (split: "train" | "val", ids: ArrayLike<number>): TokenSplit => ({
      tokens: ids.length,
      sha256: writeIds(at(`${split}.bin${suffix}`), ids, { dtype, vocabSize, what: `split "${split}" of "${name}"` }),
    });
    const meta: TokenMeta = {
      format: "folio-tokens",
      version: 1,
      dataset: name,
      dtype,
      vocabSize,
      tokenizer: tokenizer.toJSON(),
      splits: { train: writeSplit("train", train), val: writeSplit("val", val) },
      ...(source && { source }),
    };
    writeSynced(at(`meta.json${suffix}`), [Buffer.from(`${JSON.stringify(meta, null, 2)}\n`)]);
    fs.rmSync(at("meta.json"), { force: true });
    syncDirectory(directory);
    for (const file of ["train.bin", "val.bin", "meta.json"]) fs.renameSync(at(file + suffix), at(file));
    syncDirectory(directory);
    return meta;
  } catch (error) {
    for (const file of ["train.bin", "val.bin", "meta.json"]) fs.rmSync(at(file + suffix), { force: true });
    if (errorCode(error) !== "ENOSPC" && errorCode(error) !== "EDQUOT") throw error;
    throw new Error(
      `Cannot write the dataset "${name}" to ${directory}: the disk is full; it needs ${neededBytes} bytes. Free some space, or choose another dataDir.`,
      { cause: error },
    );
  }
}

/** Removes what a killed preparation left behind, if it is more than an hour old: younger ones may still be in use. */
function removeStale(directory: string): void {
  for (const file of fs.readdirSync(directory)) {
    if (!/^(train\.bin|val\.bin|meta\.json)\.[\da-f-]{36}\.tmp$/.test(file)) continue;
    const filePath = path.join(directory, file);
    const status = fs.statSync(filePath, { throwIfNoEntry: false });
    if (status && Date.now() - status.mtimeMs > 3_600_000) fs.rmSync(filePath, { force: true });
  }
}

/** Writes ids in chunks; gives the SHA-256 of the bytes. */
function writeIds(
  filePath: string,
  ids: ArrayLike<number>,
  options: { dtype: TokenDtype; vocabSize: number; what: string },
): string {
  const { dtype, vocabSize, what } = options;
  const hash = createHash("sha256");
  const Ids = dtype === "uint16" ? Uint16Array : Uint32Array;
  function* chunks(): Generator<Buffer> {
    const chunkTokens = 1 << 20;
    for (let start = 0; start < ids.length; start += chunkTokens) {
      const chunk = new Ids(Math.min(chunkTokens, ids.length - start));
      for (let index = 0; index < chunk.length; index++) {
        const id = ids[start + index]!;
        if (!(id >= 0 && id < vocabSize)) {
          throw new RangeError(
            `Cannot write the ${what}: id ${id} at position ${start + index} is not below the vocabulary size ${vocabSize}.`,
          );
        }
        chunk[index] = id;
      }
      const bytes = toLittleEndian(Buffer.from(chunk.buffer), dtype);
      hash.update(bytes);
      yield bytes;
    }
  }
  writeSynced(filePath, chunks());
  return hash.digest("hex");
}

function writeSynced(filePath: string, chunks: Iterable<Buffer>): void {
  const descriptor = fs.openSync(filePath, "wx");
  try {
    for (const chunk of chunks) {
      for (let done = 0; done < chunk.length; ) done += fs.writeSync(descriptor, chunk, done);
    }
    fs.fsyncSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

/** Makes renames and removals in a directory outlast a power cut, where the system can. */
function syncDirectory(directory: string): void {
  let descriptor: number | undefined;
  try {
    descriptor = fs.openSync(directory, "r");
    fs.fsyncSync(descriptor);
  } catch (error) {
    if (!["EISDIR", "EPERM", "EACCES", "EINVAL", "ENOTSUP"].includes(errorCode(error) ?? "")) throw error;
  } finally {
    if (descriptor !== undefined) fs.closeSync(descriptor);
  }
}
