/**
 * Writes datasets, train.bin, val.bin and meta.json, completely or not at all. prepare/corpus.ts writes those whose ids
 * do not fit in memory. Shown in notebook 02-data.
 */
import { createHash, randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { datasetDirectory, type TokenMeta, type TokenSource, type TokenSplit } from "./dataset.js";
import { bytesPerToken, errorCode, type TokenDtype, toLittleEndian } from "./token-file.js";
import type { Tokenizer } from "./tokenizers/tokenizer.js";

/** How the ids of a vocabulary are stored. */
export function dtypeOf(vocabSize: number): TokenDtype {
  return vocabSize > 65_536 ? "uint32" : "uint16";
}

/** The dataset that `writeDataset` writes. */
export interface DatasetContents {
  name: string;
  tokenizer: Tokenizer;
  train: ArrayLike<number>;
  val: ArrayLike<number>;
  source?: TokenSource;
  recipe?: TokenMeta["recipe"];
}

/**
 * Writes train.bin, val.bin and meta.json into `<dataDir>/<name>`, where `openDataset` finds them. The new files are
 * complete and synced under temporary names before the old ones are removed. meta.json is removed first and written
 * last, so a kill at any moment leaves the old dataset, the new one, or one that `openDataset` refuses, never a
 * mixture. A process that has the old files open keeps reading them.
 * @throws {RangeError} if a split is empty or has an id beyond the vocabulary
 * @throws {Error} if the disk is full, saying how many bytes are needed; nothing is then changed
 * @example
 * const tokenizer = charTokenizer(text);
 * const ids = tokenizer.encode(text);
 * writeDataset("data", { name: "mine", tokenizer, train: ids.subarray(0, 900), val: ids.subarray(900) });
 */
export function writeDataset(dataDir: string, contents: DatasetContents): TokenMeta {
  const { name, tokenizer, train, val, source, recipe } = contents;
  const directory = datasetDirectory(dataDir, name);
  const { vocabSize } = tokenizer;
  const dtype = dtypeOf(vocabSize);
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
      ...(recipe && { recipe }),
    };
    writeSynced(at(`meta.json${suffix}`), [Buffer.from(`${JSON.stringify(meta, null, 2)}\n`)]);
    // While this file exists, the folder is not taken for one of nanoGPT's.
    fs.writeFileSync(at("preparing.json"), "{}\n");
    fs.rmSync(at("meta.json"), { force: true });
    syncDirectory(directory);
    for (const file of ["train.bin", "val.bin", "meta.json"]) fs.renameSync(at(file + suffix), at(file));
    fs.rmSync(at("preparing.json"));
    syncDirectory(directory);
    return meta;
  } catch (error) {
    for (const file of ["train.bin", "val.bin", "meta.json"]) fs.rmSync(at(file + suffix), { force: true });
    throw writeProblem(error, { name, directory, found: `it needs ${neededBytes} bytes` });
  }
}

/** The error to throw when writing a dataset fails; for a full disk it says what to do. */
export function writeProblem(error: unknown, what: { name: string; directory: string; found: string }): unknown {
  if (errorCode(error) !== "ENOSPC" && errorCode(error) !== "EDQUOT") return error;
  const { name, directory, found } = what;
  return new Error(
    `Cannot write the dataset "${name}" to ${directory}: the disk is full; ${found}. Free some space, or choose another dataDir.`,
    { cause: error },
  );
}

/** Removes files that a killed preparation left behind more than an hour ago; newer ones may still be in use. */
function removeStale(directory: string): void {
  for (const file of fs.readdirSync(directory)) {
    if (!/^(train\.bin|val\.bin|meta\.json)\.[\da-f-]{36}\.tmp$/.test(file)) continue;
    const filePath = path.join(directory, file);
    const status = fs.statSync(filePath, { throwIfNoEntry: false });
    if (status && Date.now() - status.mtimeMs > 3_600_000) fs.rmSync(filePath, { force: true });
  }
}

/** Writes ids in chunks and returns the SHA-256 of the bytes. */
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

/** Makes renames and removals in a directory durable against a power cut, if the system supports it. */
export function syncDirectory(directory: string): void {
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
