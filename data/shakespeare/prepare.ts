/**
 * Tiny Shakespeare in GPT-2's byte-pair encoding: train.bin and val.bin are those of nanoGPT's
 * data/shakespeare/prepare.py (301,966 and 36,059 ids). The text is split by characters, then encoded. Source and
 * licence: README.md.
 */
import path from "node:path";
import { type TokenMeta, writeDataset } from "../../lib/data/batches.js";
import { folderName, type PrepareOptions, preparedAlready } from "../../lib/data/prepare/prepare.js";
import { gpt2Tokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { readShakespeare } from "../shakespeare_char/prepare.js";

/** Writes `<dataDir>/shakespeare`. */
export async function prepare(options: PrepareOptions): Promise<TokenMeta> {
  const name = folderName(import.meta.url);
  const ready = preparedAlready(name, options);
  if (ready) return ready;
  const directory = path.join(options.dataDir, name);
  const { train, val, source } = await readShakespeare(options, directory);
  const tokenizer = gpt2Tokenizer();
  const ids = { train: tokenizer.encode(train), val: tokenizer.encode(val) };
  const meta = writeDataset(options.dataDir, { name, tokenizer, ...ids, source });
  options.log?.(
    `${directory}: ${ids.train.length.toLocaleString("en")} training and ${ids.val.length.toLocaleString("en")} validation ids of GPT-2's ${meta.vocabSize.toLocaleString("en")}`,
  );
  return meta;
}
