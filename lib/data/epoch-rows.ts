/**
 * Rows that cover a token file once per epoch, in shuffled order and none across documents, for `batchSampling:
 * "epochs"`. A document ends with the end-of-text id, from which the first id of the next document is predicted, so
 * every id but the file's first is a target exactly once per epoch. The order is a counter-based permutation. Of the
 * documents only one mark per 32,768 ids is kept in memory (4 MB for OpenWebText). Row n of the run is the same row
 * whenever it is requested. Shown in notebook 01-train.
 */
import { permuted } from "../host/random.js";
import type { TokenFile } from "./token-file.js";

/** The position of a row's first id, and how many targets follow it: blockSize, or fewer at the end of a document. */
export interface RowPlace {
  readonly start: number;
  readonly targets: number;
}

/** The rows of an epoch. */
export interface EpochRows {
  /** Rows per epoch. */
  readonly count: number;
  /** Row `number` of the run, counted over all epochs; each epoch has an order of its own. */
  place(number: number): RowPlace;
}

const SEGMENT = 32_768;

/** Where the rows of each segment of the file begin. */
interface Marks {
  /** Rows that begin before the segment. */
  readonly rowsBefore: Float64Array;
  /** Where the last row before the segment begins. */
  readonly lastStart: Float64Array;
}

/**
 * Finds the rows. Without `endOfText` the file is one document and is not read; with it, the file is read once.
 * @throws {RangeError} if the file has fewer than two ids
 */
export function epochRows(
  tokens: TokenFile,
  { blockSize, endOfText, seed }: { blockSize: number; endOfText?: number | undefined; seed: number },
): EpochRows {
  const last = tokens.length - 1; // no row begins at the last id: nothing follows it
  if (last < 1)
    throw new RangeError(`Cannot make rows of ${tokens.path}: it has ${tokens.length} ids; wanted at least 2.`);
  const marks = endOfText === undefined ? undefined : markDocuments(tokens, blockSize, endOfText);
  const count = marks ? marks.rowsBefore.at(-1)! : Math.ceil(last / blockSize);
  const startOf = (row: number) =>
    marks ? findStart(tokens, marks, row, { blockSize, endOfText: endOfText! }) : row * blockSize;
  return {
    count,
    place(number) {
      const row = permuted(number % count, count, seed, "epoch", Math.floor(number / count));
      const start = startOf(row);
      const targets = Math.min(blockSize, last - start);
      if (endOfText === undefined) return { start, targets };
      const end = tokens.read(start + 1, targets).indexOf(endOfText);
      return { start, targets: end < 0 ? targets : end + 1 };
    },
  };
}

/** Reads the file once. Element s of the marks is for segment s; one more element has the number of rows. */
function markDocuments(tokens: TokenFile, blockSize: number, endOfText: number): Marks {
  const segments = Math.ceil(tokens.length / SEGMENT);
  const rowsBefore = new Float64Array(segments + 1);
  const lastStart = new Float64Array(segments + 1);
  for (let segment = 0; segment < segments; segment++) {
    let rows = 0;
    let before = lastStart[segment]!;
    for (const start of rowStarts(tokens, segment, before, { blockSize, endOfText })) {
      rows++;
      before = start;
    }
    rowsBefore[segment + 1] = rowsBefore[segment]! + rows;
    lastStart[segment + 1] = before;
  }
  return { rowsBefore, lastStart };
}

/**
 * Where rows begin in a segment: at its end-of-text ids (and at position 0), and every blockSize ids from there on.
 * @param before where the last row before the segment begins
 */
function* rowStarts(
  tokens: TokenFile,
  segment: number,
  before: number,
  { blockSize, endOfText }: { blockSize: number; endOfText: number },
): Generator<number> {
  const first = segment * SEGMENT;
  const ids = tokens.read(first, Math.min(SEGMENT, tokens.length - first));
  const last = tokens.length - 1;
  let next = segment === 0 ? 0 : before + blockSize;
  for (let searched = 0; ; ) {
    const found = ids.indexOf(endOfText, searched);
    const end = Math.min(first + (found < 0 ? ids.length : found), last);
    for (; next < end; next += blockSize) yield next;
    if (found < 0) return;
    next = first + found;
    searched = found + 1;
  }
}

function findStart(
  tokens: TokenFile,
  { rowsBefore, lastStart }: Marks,
  row: number,
  options: { blockSize: number; endOfText: number },
): number {
  let [low, high] = [0, rowsBefore.length - 1]; // rowsBefore[low] ≤ row < rowsBefore[high]
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (rowsBefore[middle]! <= row) low = middle;
    else high = middle;
  }
  let left = row - rowsBefore[low]!;
  for (const start of rowStarts(tokens, low, lastStart[low]!, options)) if (left-- === 0) return start;
  throw new Error(`Cannot find row ${row} of ${tokens.path}: the file has changed since it was opened.`);
}
