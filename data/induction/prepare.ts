/**
 * Text and repetitions: passages of the embedded corpus, in turns with sequences of random tokens that are repeated. The text
 * is what the model writes; the random sequences are predictable only by copying, which is what induction heads do.
 * configs/induction.ts trains on it; README.md has the sizes.
 */
import type { TokenMeta } from "../../lib/data/batches.js";
import { writeDataset } from "../../lib/data/batches.js";
import { folderName, type PrepareOptions, preparedAlready } from "../../lib/data/prepare/prepare.js";
import { countPieces, trainBytePairs } from "../../lib/data/tokenizers/learn-byte-pairs.js";
import { bpeTokenizer, type Tokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { uniform } from "../../lib/host/random.js";
import { readDeclarations, splitDeclarations } from "../typescript/prepare.js";

const seed = 1337;
const vocabSize = 512;
/** Tokens per passage of text, and per random sequence with its repetitions. */
const passage = 256;
/** The shortest and longest random sequence before it is repeated. */
const period = { from: 8, to: 48 } as const;

/** Ids in which passages of `text` and repeated random sequences take turns. */
export function withRepetitions(text: ArrayLike<number>, tokenizer: Tokenizer, use: string): number[] {
  const ids: number[] = [];
  const anyId = (...path: number[]) => Math.floor(uniform(seed, use, ...path) * (tokenizer.vocabSize - 1)); // but the end of text
  for (let start = 0, turn = 0; start < text.length; start += passage, turn++) {
    for (let at = start; at < Math.min(start + passage, text.length); at++) ids.push(text[at]!);
    const length = period.from + Math.floor(uniform(seed, use, turn) * (period.to - period.from + 1));
    const once = Array.from({ length }, (_, place) => anyId(turn, place));
    for (let at = 0; at < passage; at++) ids.push(once[at % length]!);
  }
  return ids;
}

/** Writes `<dataDir>/induction`. */
export async function prepare(options: PrepareOptions): Promise<TokenMeta> {
  const name = folderName(import.meta.url);
  const ready = preparedAlready(name, options);
  if (ready) return ready;
  const { text, source } = readDeclarations(options);
  const { train, val } = splitDeclarations(text);
  const counts = new Map<string, number>();
  countPieces(counts, new TextEncoder().encode(train));
  const merges = trainBytePairs(counts, { vocabSize });
  let step = merges.next();
  while (!step.done) step = merges.next();
  const tokenizer = bpeTokenizer(step.value);
  const meta = writeDataset(options.dataDir, {
    name,
    tokenizer,
    train: withRepetitions(tokenizer.encode(train), tokenizer, "train"),
    val: withRepetitions(tokenizer.encode(val), tokenizer, "val"),
    source,
  });
  return meta;
}
