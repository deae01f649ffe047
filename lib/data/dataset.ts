/**
 * Opens datasets on disk. A dataset is a folder with train.bin and val.bin (token-file.ts) and a meta.json that says which
 * tokenizer made them. nanoGPT's own folders are read too (nanogpt-folder.ts). token-writer.ts writes datasets; batches.ts
 * draws batches. Shown in notebook 02-data.
 */
import fs from "node:fs";
import path from "node:path";
import * as z from "zod";
import { faultOf } from "../host/checked-json.js";
import { readRegularText } from "../host/regular-file.js";
import { largest } from "../settings/rows.js";
import { isNanoGptFolder, readNanoGptFolder } from "./nanogpt-folder.js";
import { errorCode, openTokenFile, type TokenDtype, type TokenFile } from "./token-file.js";
import { type Tokenizer, type TokenizerSpec, tokenizerFromSpec } from "./tokenizers/tokenizer.js";

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

/** An open dataset; the owner must call `close()`. */
export interface Dataset {
  readonly meta: TokenMeta;
  readonly train: TokenFile;
  readonly val: TokenFile;
  readonly tokenizer: Tokenizer;
  close(): void;
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
  if (!isNanoGptFolder(directory)) return readOwnMeta(directory, name);
  const { tokenizer, splits } = readNanoGptFolder(directory, options);
  return {
    ...{ format: "folio-tokens", version: 1, dataset: name, dtype: "uint16" },
    ...{ vocabSize: tokenizer.vocabSize, tokenizer: tokenizer.toJSON(), splits },
  };
}

/** Whether `<dataDir>/<name>` holds a dataset, prepared by Folio or by nanoGPT's way. */
export function isPrepared(dataDir: string, name: string): boolean {
  const directory = datasetDirectory(dataDir, name);
  return fs.existsSync(path.join(directory, "meta.json")) || isNanoGptFolder(directory);
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
