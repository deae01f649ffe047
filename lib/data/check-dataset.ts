/**
 * Looks for errors in a prepared dataset: ids beyond the vocabulary, one id that dominates, files with another number
 * of bytes per id, text that does not decode, validation text that also occurs in training. Large files are sampled.
 * Shown in notebook 02-data.
 */
import path from "node:path";
import { fileSha256 } from "../host/download.js";
import { readMeta, type TokenMeta } from "./dataset.js";
import { openTokenFile, type TokenFile } from "./token-file.js";
import type { Tokenizer } from "./tokenizers/tokenizer.js";
import { tokenizerFromSpec } from "./tokenizers/tokenizer.js";

/** The result of `checkDataset`. */
export interface DatasetCheck {
  /** What the dataset contains, one line each. */
  readonly facts: string[];
  /** Decoded text from both splits. */
  readonly samples: { readonly where: string; readonly text: string }[];
  /** What looks wrong, one line each. */
  readonly problems: string[];
}

const splits = ["train", "val"] as const;
const blockIds = 1 << 16;
const mostBlocks = 2048; // 134 million ids per split, spread over the file
const hashedBytes = 2 ** 30;

const counted = (value: number) => value.toLocaleString("en");
const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

/** The starts of the blocks to read: all blocks, or a sample at even distances. */
function blockStarts(length: number): number[] {
  const blocks = Math.ceil(length / blockIds);
  const looked = Math.min(blocks, mostBlocks);
  return Array.from({ length: looked }, (_, index) => Math.floor((index * blocks) / looked) * blockIds);
}

/** Counts of one split's ids. */
interface Tally {
  counts: Float64Array;
  total: number;
  /** Ids beyond the vocabulary: their number, and the first of them. */
  beyond: number;
  firstBeyond: string | undefined;
  /** Every second id is 0: uint32 read as uint16. */
  oddZeros: boolean;
}

function tally(tokens: TokenFile, vocabSize: number): Tally {
  const counts = new Float64Array(vocabSize);
  let [total, beyond, odd, oddZeros, evenZeros] = [0, 0, 0, 0, 0];
  let firstBeyond: string | undefined;
  for (const start of blockStarts(tokens.length)) {
    const ids = tokens.read(start, Math.min(blockIds, tokens.length - start));
    for (let index = 0; index < ids.length; index++) {
      const id = ids[index]! >>> 0;
      if (id < vocabSize) counts[id]!++;
      else {
        beyond++;
        firstBeyond ??= `${id} at position ${counted(start + index)}`;
      }
      if (index % 2 === 1) {
        odd++;
        if (id === 0) oddZeros++;
      } else if (id === 0) evenZeros++;
    }
    total += ids.length;
  }
  return { counts, total, beyond, firstBeyond, oddZeros: odd > 8 && oddZeros === odd && evenZeros < odd / 2 };
}

function mostFrequent(counts: Float64Array): number {
  return counts.reduce((best, count, id) => (count > counts[best]! ? id : best), 0);
}

/** Adds the facts and problems of a tally. */
function judge(split: string, found: Tally, tokenizer: Tokenizer, check: DatasetCheck): void {
  const { counts, total, beyond, firstBeyond, oddZeros } = found;
  const { facts, problems } = check;
  const used = counts.reduce((sum, count) => sum + (count > 0 ? 1 : 0), 0);
  const most = mostFrequent(counts);
  const share = counts[most]! / total;
  const shown = JSON.stringify(tokenizer.decode([most]));
  facts.push(
    `${split}: ${counted(used)} of ${counted(counts.length)} ids occur; the most frequent is ${most}, ${shown}, with ${percent(share)}`,
  );
  const { endOfText } = tokenizer;
  if (endOfText !== undefined) facts.push(`${split}: ${counted(counts[endOfText]!)} ends of text`);
  if (oddZeros) problems.push(`${split}: every second id is 0: these look like 4-byte ids read as 2-byte ones`);
  if (beyond > 0) {
    problems.push(
      `${split}: ${counted(beyond)} of ${counted(total)} ids are beyond the vocabulary of ${counted(counts.length)} (${firstBeyond}): the files are from another tokenizer, or have another number of bytes per id`,
    );
  }
  if (share > 0.5 && total > 100)
    problems.push(`${split}: the id ${most}, ${shown}, makes up ${percent(share)} of all ids`);
}

/** Ids that occur only in validation, which the model can never learn. */
function compareTallies(train: Tally, val: Tally, check: DatasetCheck): void {
  let unseen = 0;
  val.counts.forEach((count, id) => {
    if (train.counts[id] === 0) unseen += count;
  });
  if (unseen / val.total > 0.01) {
    check.problems.push(
      `val: ${percent(unseen / val.total)} of its ids never occur in train: the two splits are different kinds of text`,
    );
  }
}

/** `count` ids decoded; ids beyond the vocabulary are left out. */
function decodeAt(tokens: TokenFile, tokenizer: Tokenizer, start: number, count: number): string {
  const ids = tokens.read(start, Math.max(0, Math.min(count, tokens.length - start)));
  return tokenizer.decode(ids.filter((id) => id >= 0 && id < tokenizer.vocabSize));
}

function takeSamples(files: Record<"train" | "val", TokenFile>, tokenizer: Tokenizer, check: DatasetCheck): void {
  const { train, val } = files;
  const places = [
    { split: "train", tokens: train, start: 0 },
    { split: "train", tokens: train, start: Math.floor(train.length / 2) },
    { split: "val", tokens: val, start: 0 },
  ];
  for (const { split, tokens, start } of places) {
    const text = decodeAt(tokens, tokenizer, start, tokenizer.kind === "char" ? 160 : 48);
    check.samples.push({ where: `${split} at ${counted(start)}`, text });
  }
  for (const split of splits) {
    let [characters, replaced] = [0, 0];
    for (const start of blockStarts(files[split].length).slice(0, 64)) {
      const text = decodeAt(files[split], tokenizer, start, blockIds);
      characters += text.length;
      replaced += text.split("\ufffd").length - 1;
    }
    // A block may begin and end inside a character.
    if (replaced > 200 && replaced / characters > 0.001) {
      check.problems.push(
        `${split}: ${percent(replaced / characters)} of the decoded characters are U+FFFD: the text was damaged, or was encoded by another tokenizer`,
      );
    }
  }
}

function* linesOf(tokens: TokenFile, tokenizer: Tokenizer, most: number): Generator<string> {
  let rest = "";
  for (let start = 0; start < Math.min(tokens.length, most); start += blockIds) {
    const lines = (rest + decodeAt(tokens, tokenizer, start, blockIds)).split("\n");
    rest = lines.pop()!;
    for (const line of lines) yield line.trim();
  }
  yield rest.trim();
}

/** How many of validation's lines of 20 or more characters also occur in training. */
function compareLines(files: Record<"train" | "val", TokenFile>, tokenizer: Tokenizer, check: DatasetCheck): void {
  const wanted = new Map<string, boolean>();
  let lines = 0;
  for (const line of linesOf(files.val, tokenizer, 4_000_000)) {
    if (line.length < 20 || wanted.size >= 100_000) continue;
    lines++;
    wanted.set(line, false);
  }
  if (lines < 20) return;
  for (const line of linesOf(files.train, tokenizer, 64_000_000)) if (wanted.has(line)) wanted.set(line, true);
  const share = [...wanted.values()].filter(Boolean).length / wanted.size;
  check.facts.push(`val: ${percent(share)} of its distinct lines of 20 or more characters also occur in train`);
  if (share > 0.3) {
    check.problems.push(
      `val: ${percent(share)} of its lines also occur in train: its loss will measure memorized text`,
    );
  }
}

/** Sizes and checksums. */
async function openSplits(dataDir: string, meta: TokenMeta, check: DatasetCheck) {
  const opened: Partial<Record<"train" | "val", TokenFile>> = {};
  for (const split of splits) {
    const filePath = path.join(dataDir, meta.dataset, `${split}.bin`);
    const { tokens, sha256 } = meta.splits[split];
    try {
      const file = openTokenFile(filePath, { dtype: meta.dtype });
      opened[split] = file;
      check.facts.push(`${split}: ${counted(file.length)} ids, ${meta.dtype}`);
      if (file.length !== tokens)
        check.problems.push(`${split}: ${counted(file.length)} ids, but meta.json says ${counted(tokens)}`);
      else if (meta.recipe && file.length < hashedBytes / 4 && (await fileSha256(filePath)) !== sha256) {
        check.problems.push(`${split}: the file is not the one that meta.json describes (SHA-256)`);
      }
    } catch (error) {
      check.problems.push(`${split}: ${(error as Error).message}`);
    }
  }
  return opened;
}

/**
 * Checks `<dataDir>/<name>`: what it contains, samples of its text, and what looks wrong.
 * @throws {RangeError} if there is no such dataset, or its meta.json cannot be read
 * @example
 * const { problems } = await checkDataset("data", "shakespeare_char"); // []
 */
export async function checkDataset(dataDir: string, name: string): Promise<DatasetCheck> {
  const meta = { ...readMeta(dataDir, name), dataset: name };
  const tokenizer = tokenizerFromSpec(meta.tokenizer);
  const check: DatasetCheck = { facts: [], samples: [], problems: [] };
  if (tokenizer.vocabSize > meta.vocabSize) {
    check.problems.push(
      `the tokenizer has ${counted(tokenizer.vocabSize)} ids, but meta.json says ${counted(meta.vocabSize)}`,
    );
  }
  const { train, val } = await openSplits(dataDir, meta, check);
  try {
    if (!train || !val) return check;
    const tallies = { train: tally(train, tokenizer.vocabSize), val: tally(val, tokenizer.vocabSize) };
    for (const split of splits) judge(split, tallies[split], tokenizer, check);
    compareTallies(tallies.train, tallies.val, check);
    takeSamples({ train, val }, tokenizer, check);
    compareLines({ train, val }, tokenizer, check);
    return check;
  } finally {
    train?.close();
    val?.close();
  }
}
