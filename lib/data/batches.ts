/**
 * Draws batches from token files. The draws are counter-based: a batch is a function of seed, use, step and row, so a
 * resumed or split run draws the same rows. dataset.ts opens datasets. Shown in notebook 01-train.
 */

import { uniform } from "../host/random.js";
import type { EpochRows } from "./epoch-rows.js";
import type { TokenFile } from "./token-file.js";

export { type Dataset, isPrepared, openDataset, type TokenMeta, type TokenSource } from "./dataset.js";
export { openTokenFile, type TokenFile } from "./token-file.js";
export { writeDataset } from "./token-writer.js";

/** Rows of ids, and the ids to predict: the same rows shifted by one. */
export interface Batch {
  /** [batchSize × blockSize] */
  readonly x: Int32Array;
  /** [batchSize × blockSize]; −1 where there is nothing to predict, which the loss ignores. */
  readonly y: Int32Array;
  readonly batchSize: number;
  readonly blockSize: number;
}

function checkShape(tokens: TokenFile, batchSize: number, blockSize: number): void {
  for (const [name, value] of [["batchSize", batchSize] as const, ["blockSize", blockSize] as const]) {
    if (!Number.isInteger(value) || value < 1) {
      throw new RangeError(`Cannot make a batch: ${name} is ${value}; it must be a positive integer.`);
    }
  }
  if (tokens.length < blockSize + 1) {
    throw new RangeError(
      `Cannot make a batch from ${tokens.path}: it has ${tokens.length} ids, but a block of ${blockSize} and its targets need ${blockSize + 1}; lower blockSize, or prepare a longer text.`,
    );
  }
}

/** Copies a row of blockSize + 1 ids, or fewer at the end of a split, to x and y, checking each. */
function fillRow(
  batch: Batch,
  row: number,
  ids: Int32Array,
  where: { tokens: TokenFile; start: number; vocabSize: number },
) {
  const { x, y, blockSize } = batch;
  const base = row * blockSize;
  for (let index = 0; index < ids.length; index++) {
    const id = ids[index]!;
    if (id < 0 || id >= where.vocabSize) {
      throw new RangeError(
        `Cannot make a batch: id ${id >>> 0} at position ${where.start + index} of ${where.tokens.path} is not below the vocabulary size ${where.vocabSize}; prepare the dataset again, or use the tokenizer that made it.`,
      );
    }
    if (index < blockSize && index < ids.length - 1) x[base + index] = id;
    if (index > 0) y[base + index - 1] = id;
  }
}

/** Options of `drawBatch`. */
export interface DrawOptions {
  batchSize: number;
  /** In tokens. */
  blockSize: number;
  seed: number;
  /** The training step, or the step of the evaluation. */
  step: number;
  /** The first row's number within the step: micro-batches, devices and evaluation batches have rows of their own. */
  row: number;
  use: "train" | "eval-train" | "eval-val";
  /** All ids must be below it. */
  vocabSize: number;
}

/**
 * A random batch: each row starts at an offset uniform on [0, length − blockSize), as in nanoGPT. Row r is a function
 * of (seed, use, step, row + r), so a step has the same rows however they are divided into batches.
 * @returns x, y: [batchSize × blockSize]
 * @throws {RangeError} if the file is shorter than blockSize + 1, or an id is not below vocabSize
 * @example
 * drawBatch(dataset.train, { batchSize: 12, blockSize: 64, seed: 1337, step: 0, row: 0, use: "train", vocabSize: 65 });
 */
export function drawBatch(tokens: TokenFile, options: DrawOptions): Batch {
  const { batchSize, blockSize, seed, step, row, use, vocabSize } = options;
  checkShape(tokens, batchSize, blockSize);
  const batch = emptyBatch(batchSize, blockSize);
  for (let index = 0; index < batchSize; index++) {
    const start = Math.floor(uniform(seed, use, step, row + index) * (tokens.length - blockSize));
    fillRow(batch, index, tokens.read(start, blockSize + 1), { tokens, start, vocabSize });
  }
  return batch;
}

/**
 * Rows `row` … `row + batchSize − 1` of the run, each a part of one document; past the document's end x is 0 and y is
 * −1.
 * @param options.row counted over all steps and epochs
 * @throws {RangeError} if an id is not below vocabSize
 */
export function epochBatch(
  tokens: TokenFile,
  rows: EpochRows,
  { batchSize, blockSize, row, vocabSize }: Pick<DrawOptions, "batchSize" | "blockSize" | "row" | "vocabSize">,
): Batch {
  const batch = emptyBatch(batchSize, blockSize);
  batch.y.fill(-1);
  for (let index = 0; index < batchSize; index++) {
    const { start, targets } = rows.place(row + index);
    fillRow(batch, index, tokens.read(start, targets + 1), { tokens, start, vocabSize });
  }
  return batch;
}

function emptyBatch(batchSize: number, blockSize: number): Batch {
  const x = new Int32Array(batchSize * blockSize);
  return { x, y: new Int32Array(x.length), batchSize, blockSize };
}

/** A batch of an exact evaluation, with the number of its targets that are not −1. */
export interface SplitBatch extends Batch {
  readonly targets: number;
}

/**
 * The whole split once, in order: windows of blockSize ids that begin `stride` ids apart. Only ids that were in no
 * earlier window are targets, so each id but the first is a target exactly once, predicted from at least blockSize −
 * stride ids before it (at the start of the split, from all of them). Without a stride, windows do not overlap, and an
 * id is predicted from those before it in its block. All batches have the same shape; y is −1 where there is no target.
 * Over the split, loss = Σ loss of batch × targets / Σ targets, and Σ targets = length − 1.
 * @throws {RangeError} if the file is shorter than blockSize + 1, an id is not below vocabSize, or the stride is not 1
 * to blockSize
 * @example
 * for (const { x, y, targets } of wholeSplit(dataset.val, { batchSize: 12, blockSize: 64, vocabSize: 65 })) count +=
 * targets;
 */
export function* wholeSplit(
  tokens: TokenFile,
  options: { batchSize: number; blockSize: number; vocabSize: number; stride?: number | undefined },
): Generator<SplitBatch> {
  const { batchSize, blockSize, vocabSize, stride = blockSize } = options;
  checkShape(tokens, batchSize, blockSize);
  if (!Number.isInteger(stride) || stride < 1 || stride > blockSize) {
    throw new RangeError(
      `Cannot go through a split: the stride is ${stride}; it must be 1 to blockSize = ${blockSize}.`,
    );
  }
  const last = tokens.length - 1; // the last target; a window's first id is never a target
  let done = 0; // the last target so far
  for (let first = 0; done < last; first += batchSize * stride) {
    const batch = emptyBatch(batchSize, blockSize);
    batch.y.fill(-1);
    const before = done;
    for (let row = 0; row < batchSize && done < last; row++) {
      const start = first + row * stride;
      const ids = tokens.read(start, Math.min(blockSize + 1, tokens.length - start));
      fillRow(batch, row, ids, { tokens, start, vocabSize });
      batch.y.fill(-1, row * blockSize, row * blockSize + done - start);
      done = Math.min(start + blockSize, last);
    }
    yield { ...batch, targets: done - before };
  }
}
