/**
 * Text and repetitions, by characters: passages of the embedded corpus, in turns with sequences of random characters that
 * repeat themselves. In the text a model learns to spell; the sequences can be predicted only by copying what followed the same
 * character before, which is what induction heads do. configs/induction.ts trains on it. Sizes and the trained model: README.md.
 */
import { type TokenMeta, writeDataset } from "../../lib/data/batches.js";
import { folderName, type PrepareOptions, preparedAlready } from "../../lib/data/prepare/prepare.js";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { permuted, uniform } from "../../lib/host/random.js";
import { readDeclarations, splitDeclarations } from "../typescript/prepare.js";

const seed = 1337;
/** Characters of each passage of text, and of each random sequence with its repetitions. */
const passage = 128;
/** The shortest and the longest sequence before it repeats itself. */
const [shortest, longest] = [8, 32];

/** Passages of a text in turns with random sequences over the same ids; no id occurs twice before a sequence repeats itself. */
function withRepetitions(text: Uint32Array, vocabSize: number, split: string): Uint32Array {
  const turns = Math.floor(text.length / passage);
  const ids = new Uint32Array(2 * passage * turns);
  for (let turn = 0; turn < turns; turn++) {
    const start = 2 * passage * turn;
    ids.set(text.subarray(passage * turn, passage * (turn + 1)), start);
    const period = shortest + Math.floor(uniform(seed, split, turn) * (longest - shortest + 1));
    const once = Array.from({ length: period }, (_, at) => permuted(at, vocabSize, seed, split, turn));
    for (let at = 0; at < passage; at++) ids[start + passage + at] = once[at % period]!;
  }
  return ids;
}

/** Writes `<dataDir>/induction`. */
export async function prepare(options: PrepareOptions): Promise<TokenMeta> {
  const name = folderName(import.meta.url);
  const ready = options.source === undefined && options.url === undefined ? preparedAlready(name, options) : undefined;
  if (ready) return ready;
  const { text, source } = readDeclarations(options);
  const { train, val } = splitDeclarations(text);
  const tokenizer = charTokenizer(train + val);
  const mixed = (part: string, split: string) => withRepetitions(tokenizer.encode(part), tokenizer.vocabSize, split);
  const ids = { train: mixed(train, "train"), val: mixed(val, "val") };
  const meta = writeDataset(options.dataDir, { name, tokenizer, ...ids, source });
  const counted = (count: number) => count.toLocaleString("en");
  options.log?.(
    `${options.dataDir}/${name}: ${counted(ids.train.length)} training and ${counted(ids.val.length)} validation ids, ${meta.vocabSize} characters; half is text, half repeated random sequences`,
  );
  return meta;
}
