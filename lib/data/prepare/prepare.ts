/**
 * Prepares datasets: code shared by the modules data/NAME/prepare.ts, and the preparation of a user's own texts. To add
 * a dataset, add a folder with a module that exports `prepare(options)` and a README with source, licence and sizes.
 * Shown in notebook 02-data.
 */
import { createHash } from "node:crypto";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { fetchFile } from "../../host/download.js";
import { openDataset, type TokenMeta } from "../dataset.js";
import { readTextFile } from "../text.js";
import { type TokenizerSpec, tokenizerFromSpec } from "../tokenizers/tokenizer.js";
import { prepareCorpus } from "./corpus.js";
import { listed, listSource } from "./documents.js";
import { isTokenizerName } from "./survey.js";

/** Options of a dataset's `prepare`. */
export interface PrepareOptions {
  /** The folder of all datasets; the files go to `<dataDir>/<name>`. */
  dataDir: string;
  /** A local file to read the text from instead of the usual source. */
  source?: string;
  /** URL to download the text from instead of its public URL. */
  url?: string;
  /** Prepare it again if it is already prepared. */
  overwrite?: boolean;
  /** Stops a download; the next call resumes it. */
  signal?: AbortSignal;
  /** Receives lines of progress. */
  log?(line: string): void;
}

/** The exports of every data/NAME/prepare.ts. */
export interface PrepareModule {
  prepare(options: PrepareOptions): Promise<TokenMeta>;
}

/**
 * The dataset's name for a module in data/: the name of its folder, so that a copied and edited folder makes a dataset
 * of its own.
 * @example const name = folderName(import.meta.url);
 */
export function folderName(moduleUrl: string): string {
  return path.basename(path.dirname(fileURLToPath(moduleUrl)));
}

const silent = (): void => {};

const counted = (value: number) => value.toLocaleString("en");

/**
 * The dataset, if it is already prepared and need not be replaced.
 * @param recipe the options requested; without it, any recipe is accepted
 * @throws {RangeError} if it was prepared by another recipe
 */
export function preparedAlready(
  name: string,
  options: Pick<PrepareOptions, "dataDir" | "overwrite" | "log">,
  recipe: NonNullable<TokenMeta["recipe"]> = {},
): TokenMeta | undefined {
  const { dataDir, overwrite, log = silent } = options;
  if (overwrite) return undefined;
  let meta: TokenMeta;
  try {
    const dataset = openDataset(dataDir, name);
    ({ meta } = dataset);
    dataset.close();
  } catch {
    return undefined; // it is missing or damaged
  }
  for (const [key, wanted] of Object.entries(recipe)) {
    const had = meta.recipe?.[key];
    if (had === undefined || had === wanted) continue;
    throw new RangeError(
      `Cannot prepare ${name}: it is already prepared with ${key} ${had}, but ${wanted} is requested; choose another name, or add --overwrite.`,
    );
  }
  const { train, val } = meta.splits;
  log(
    `${path.join(dataDir, name)} is already prepared: ${counted(train.tokens)} training and ${counted(val.tokens)} validation ids; --overwrite prepares it again`,
  );
  return meta;
}

/** How to prepare a text of your own. */
export interface TextOptions extends Omit<PrepareOptions, "source" | "url"> {
  name: string;
  /** A text, JSONL or Parquet file, or a folder of them. */
  from: string;
  /** "char", "gpt2" or "bpe:N", or an existing tokenizer, such as a model's; default "gpt2". */
  tokenizer?: string | TokenizerSpec;
  /** Between 0 and 1; default 0.1. */
  valFraction?: number;
  /** The field of JSONL or the column of Parquet that contains the text; default "text". */
  textKey?: string;
  /** Seed for drawing the validation documents; default 2357, as in nanoGPT. */
  seed?: number;
  /** Threads that encode: see `prepareCorpus`. */
  workers?: number;
  commitBytes?: number;
}

/**
 * Prepares a text of your own. One text file is split by its characters, as nanoGPT's scripts do. Each document of a
 * folder, of JSONL or of Parquet goes to one split, drawn as `datasets.train_test_split` does, and ends with the
 * end-of-text id (for a character tokenizer, with a line end). Called again after a kill, it continues; when the
 * dataset is already prepared, it does nothing.
 * @throws {RangeError} if the source cannot be read, or an option is out of range
 * @example
 * await prepareText({ dataDir: "data", name: "poems", from: "poems.txt", tokenizer: "bpe:1024", log: console.log });
 */
export async function prepareText(options: TextOptions): Promise<TokenMeta> {
  const {
    name,
    from,
    tokenizer = "gpt2",
    valFraction = 0.1,
    textKey = "text",
    seed = 2357,
    log = silent,
    ...others
  } = options;
  const recipeTokenizer = checkTokenizer(tokenizer);
  if (!(valFraction > 0 && valFraction < 1)) {
    throw new RangeError(`Cannot prepare ${name}: val_fraction is ${valFraction}; it must be between 0 and 1.`);
  }
  const source = listSource(from, textKey);
  const bytes = source.files.reduce((sum, file) => sum + file.bytes, 0);
  const readsFields = source.files.some(({ kind }) => kind !== "text");
  const recipe = {
    tokenizer: recipeTokenizer,
    valFraction,
    files: source.files.length,
    bytes,
    seed,
    ...(readsFields && { textKey }),
  };
  const ready = preparedAlready(name, options, recipe);
  if (ready) return ready;
  const files = `${counted(source.files.length)} ${source.files.length === 1 ? "file" : "files"}`;
  const read = new Set(source.files.map(({ kind }) => kindNames[kind]));
  log(`reading ${from}: ${files} of ${[...read].join(" and ")}, ${counted(bytes)} bytes`);
  if (source.skipped.length > 0) log(`  left out: ${listed(source.skipped)}`);
  const meta = await prepareCorpus({
    ...others,
    ...source,
    name,
    tokenizer,
    valFraction,
    textKey,
    seed,
    log,
    source: { name: path.basename(path.resolve(from)), licence: "unknown" },
    recipe,
  });
  log(`${path.join(options.dataDir, name)}: ${describeSplits(meta)}`);
  return meta;
}

const kindNames = { text: "text", jsonl: "JSON lines", json: "a JSON array", parquet: "Parquet" } as const;

/**
 * How the recipe names the tokenizer; a given tokenizer is identified by a digest of its content.
 * @throws {RangeError}
 */
function checkTokenizer(tokenizer: string | TokenizerSpec): string {
  if (typeof tokenizer !== "string") {
    if (tokenizer.kind === "none") {
      throw new RangeError("Cannot prepare: the model has no tokenizer, so text cannot be encoded for it.");
    }
    tokenizerFromSpec(tokenizer);
    const digest = createHash("sha256").update(JSON.stringify(tokenizer)).digest("hex").slice(0, 16);
    return tokenizer.kind === "gpt2" ? "gpt2" : `${tokenizer.kind} ${digest}`;
  }
  if (isTokenizerName(tokenizer)) return tokenizer;
  throw new RangeError(
    `Cannot prepare: the tokenizer is ${JSON.stringify(tokenizer)}; it must be char, gpt2 or bpe:N with N from 257 to 65536, or the path of a model or a tokenizer.json.`,
  );
}

/** "1,003,854 training and 111,540 validation ids, 65 characters" */
export function describeSplits({ splits, tokenizer, vocabSize }: TokenMeta): string {
  const of = tokenizer.kind === "char" ? `${counted(vocabSize)} characters` : `a vocabulary of ${counted(vocabSize)}`;
  return `${counted(splits.train.tokens)} training and ${counted(splits.val.tokens)} validation ids, ${of}`;
}

/** Where a text is downloaded from and to. */
export interface DownloadPlan {
  url: string;
  sha256: string;
  /** Its length. */
  bytes?: number;
  filePath: string;
}

/** `fetchFile`, with a log line at the start, at each further quarter and at the end. */
export async function download(plan: DownloadPlan, options: Pick<PrepareOptions, "log" | "signal">): Promise<void> {
  const { url, sha256, bytes, filePath } = plan;
  const { log = silent, signal } = options;
  log(`downloading ${url}`);
  let quarter = 1;
  await fetchFile(url, filePath, {
    sha256,
    ...(bytes !== undefined && { maxBytes: bytes }),
    ...(signal && { signal }),
    onProgress({ receivedBytes, totalBytes }) {
      if (totalBytes === undefined || receivedBytes * 4 < totalBytes * quarter) return;
      quarter = Math.floor((receivedBytes * 4) / totalBytes) + 1;
      log(`  ${receivedBytes.toLocaleString("en")} of ${totalBytes.toLocaleString("en")} bytes`);
    },
  });
}

/**
 * Reads a text file by the rule of lib/data/text.ts.
 * @throws {RangeError} if it is missing, empty, or not UTF-8
 */
export function readText(filePath: string): string {
  const text = readTextFile(filePath);
  if (text.trim() === "")
    throw new RangeError(`Cannot read the text ${filePath}: it is empty; give a file that contains text.`);
  return text;
}
