/** A dataset as nanoGPT's prepare.py makes it: train.bin and val.bin, with or without meta.pkl. */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { numpyGlobals } from "../host/python/numpy-scalars.js";
import { readPickle } from "../host/python/pickle.js";
import { openRegularFile, readRegularFile, reasonOf } from "../host/regular-file.js";
import { openTokenFile } from "./token-file.js";
import { characterTokenizer, gpt2Tokenizer, idTokenizer, type Tokenizer } from "./tokenizers/tokenizer.js";

/** Whether nanoGPT made the folder. */
export function isNanoGptFolder(directory: string): boolean {
  const has = (file: string) => fs.existsSync(path.join(directory, file));
  // With preparing.json, train.bin and val.bin are from an interrupted preparation, not from nanoGPT.
  return ["train.bin", "val.bin"].every(has) && !["meta.json", "preparing.json"].some(has);
}

/** One split: the number of ids in its file, and a checksum of samples of it. */
interface Split {
  tokens: number;
  sha256: string;
}

/**
 * What meta.json would say of the folder. Its meta.pkl has the characters, or only the number of ids; without meta.pkl the
 * ids are GPT-2's or, if the caller gives their number, have no tokenizer.
 */
export function readNanoGptFolder(
  directory: string,
  { vocabSize = 0 }: { readonly vocabSize?: number },
): { tokenizer: Tokenizer; splits: { train: Split; val: Split } } {
  const picklePath = path.join(directory, "meta.pkl");
  const isGpt2 = vocabSize === 0 || (vocabSize >= 50_257 && vocabSize <= 50_304);
  const bare = () => (isGpt2 ? gpt2Tokenizer() : idTokenizer(vocabSize));
  const tokenizer = fs.existsSync(picklePath) ? nanoGptTokenizer(picklePath) : bare();
  const split = (file: string): Split => {
    const { length, close } = openTokenFile(path.join(directory, file), { dtype: "uint16" });
    close();
    return { tokens: length, sha256: sampledSha256(path.join(directory, file)) };
  };
  return { tokenizer, splits: { train: split("train.bin"), val: split("val.bin") } };
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
