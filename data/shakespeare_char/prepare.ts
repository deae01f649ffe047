/**
 * Tiny Shakespeare by characters: train.bin and val.bin are identical to those of nanoGPT's
 * data/shakespeare_char/prepare.py (65 characters, 1,003,854 and 111,540 ids). Source, licence, checksums: README.md.
 */
import fs from "node:fs";
import path from "node:path";
import { type TokenMeta, type TokenSource, writeDataset } from "../../lib/data/batches.js";
import {
  download,
  folderName,
  type PrepareOptions,
  preparedAlready,
  readText,
} from "../../lib/data/prepare/prepare.js";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { fileSha256 } from "../../lib/host/download.js";

const sha256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed";
const textBytes = 1_115_394;
const publicUrl = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt";

/** Tiny Shakespeare in nanoGPT's split: the first nine tenths of the characters for training. */
export interface ShakespeareText {
  train: string;
  val: string;
  source: TokenSource;
}

/**
 * The text: from `source`, else from `url`, else from tinyshakespeare.txt in the folder that FOLIO_DATA_DIR names, else
 * from an earlier download or the public URL.
 * @throws if it cannot be read, or its SHA-256 is not that of Tiny Shakespeare
 */
export async function readShakespeare(options: PrepareOptions, directory: string): Promise<ShakespeareText> {
  const { source, url, log = () => {} } = options;
  const offered = process.env.FOLIO_DATA_DIR && path.join(process.env.FOLIO_DATA_DIR, "tinyshakespeare.txt");
  let filePath = source ?? (url === undefined && offered && fs.existsSync(offered) ? offered : undefined);
  if (filePath === undefined) {
    filePath = path.join(directory, "input.txt");
    if (!fs.existsSync(filePath))
      await download({ url: url ?? publicUrl, sha256, bytes: textBytes, filePath }, options);
  }
  log(`reading ${filePath}`);
  const text = readText(filePath);
  const found = await fileSha256(filePath);
  if (found !== sha256) {
    throw new RangeError(
      `Cannot prepare Tiny Shakespeare from ${filePath}: its SHA-256 is ${found}, not ${sha256}, so it is another text; give another source, or move that file away to have the right one downloaded.`,
    );
  }
  const at = Math.floor(text.length * 0.9);
  return {
    train: text.slice(0, at),
    val: text.slice(at),
    source: { name: "Tiny Shakespeare (karpathy/char-rnn)", licence: "public domain", sha256, url: publicUrl },
  };
}

/** Writes `<dataDir>/shakespeare_char`. */
export async function prepare(options: PrepareOptions): Promise<TokenMeta> {
  const name = folderName(import.meta.url);
  const ready = preparedAlready(name, options);
  if (ready) return ready;
  const directory = path.join(options.dataDir, name);
  const { train, val, source } = await readShakespeare(options, directory);
  const tokenizer = charTokenizer(train + val);
  const ids = { train: tokenizer.encode(train), val: tokenizer.encode(val) };
  const meta = writeDataset(options.dataDir, { name, tokenizer, ...ids, source });
  options.log?.(
    `${directory}: ${ids.train.length.toLocaleString("en")} training and ${ids.val.length.toLocaleString("en")} validation ids, ${meta.vocabSize} characters`,
  );
  return meta;
}
