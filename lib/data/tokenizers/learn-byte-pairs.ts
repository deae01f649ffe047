/**
 * Learns byte pairs from a text (Sennrich 2016; on bytes, Radford 2019): repeatedly, the most frequent pair of
 * neighbouring ids within GPT-2's pieces becomes a new id. The counts are updated rather than recomputed, so learning a
 * vocabulary of 8k from a megabyte takes a second. The result does not depend on the order of the pieces. byte-pairs.ts
 * encodes. Shown in notebook 02-data.
 */
import { maxTokenBytes } from "./byte-pairs.js";
import { pieceEnd } from "./gpt2-split.js";

/** How often each piece occurs; its bytes are the characters of the key (latin1). */
export type PieceCounts = Map<string, number>;

/** Adds a text's pieces. @param bytes well-formed UTF-8 */
export function countPieces(counts: PieceCounts, bytes: Uint8Array): void {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; ) {
    const stop = pieceEnd(bytes, at, bytes.length);
    const piece = buffer.toString("latin1", at, stop);
    counts.set(piece, (counts.get(piece) ?? 0) + 1);
    at = stop;
  }
}

/** Record of one merge. */
export interface MergeRecord {
  /** The number of merges made, including this one, and the number wanted. */
  merges: number;
  wanted: number;
  left: number;
  right: number;
  /** How often the pair occurred in the text. */
  occurrences: number;
  /** The new token's bytes. */
  token: Uint8Array;
}

interface Candidate {
  readonly occurrences: number;
  readonly pair: number;
}

/** A heap of pairs, the most frequent first; of equally frequent pairs, the one with the smaller ids. */
class CandidateHeap {
  private readonly items: Candidate[] = [];

  private static before(a: Candidate, b: Candidate): boolean {
    return a.occurrences > b.occurrences || (a.occurrences === b.occurrences && a.pair < b.pair);
  }

  push(item: Candidate): void {
    const { items } = this;
    let at = items.length;
    for (let up = (at - 1) >> 1; at > 0 && CandidateHeap.before(item, items[up]!); up = (at - 1) >> 1) {
      items[at] = items[up]!;
      at = up;
    }
    items[at] = item;
  }

  pop(): Candidate | undefined {
    const { items } = this;
    const top = items[0];
    const item = items.pop();
    if (item === undefined || items.length === 0) return top;
    let at = 0;
    for (let child = 1; child < items.length; child = 2 * at + 1) {
      if (child + 1 < items.length && CandidateHeap.before(items[child + 1]!, items[child]!)) child++;
      if (!CandidateHeap.before(items[child]!, item)) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = item;
    return top;
  }
}

/** The pieces as ids, and the places of each pair in them. */
class PairCounts {
  readonly heap = new CandidateHeap();
  private readonly pieces: Uint16Array[] = [];
  private readonly times: number[] = [];
  /** Key: left × 65,536 + right. */
  private readonly occurrences = new Map<number, number>();
  private readonly places = new Map<number, number[]>();

  constructor(counts: PieceCounts) {
    for (const [piece, count] of counts) {
      const index = this.pieces.push(Uint16Array.from(piece, (character) => character.charCodeAt(0))) - 1;
      this.times.push(count);
      this.add(index, count);
    }
    for (const pair of this.occurrences.keys()) this.offer(pair);
  }

  of(pair: number): number {
    return this.occurrences.get(pair) ?? 0;
  }

  offer(pair: number): void {
    this.heap.push({ occurrences: this.of(pair), pair });
  }

  /** Adds a piece's pairs `times` times to the counts, and records their places. */
  private add(index: number, times: number, only?: number): void {
    const ids = this.pieces[index]!;
    for (let at = 0; at + 1 < ids.length; at++) {
      const pair = ids[at]! * 65_536 + ids[at + 1]!;
      this.occurrences.set(pair, this.of(pair) + times);
      if (times < 0 || (only !== undefined && ids[at] !== only && ids[at + 1] !== only)) continue;
      const places = this.places.get(pair);
      if (places === undefined) this.places.set(pair, [index]);
      else if (places.at(-1) !== index) places.push(index);
    }
  }

  /** Replaces the pair by `id` everywhere, and offers the new pairs. */
  merge(pair: number, id: number): void {
    const [left, right] = [Math.floor(pair / 65_536), pair % 65_536];
    const made = new Set<number>();
    for (const index of this.places.get(pair) ?? []) {
      const ids = this.pieces[index]!;
      const next = mergeInto(ids, left, right, id);
      if (next.length === ids.length) continue;
      this.add(index, -this.times[index]!);
      this.pieces[index] = next;
      this.add(index, this.times[index]!, id);
      for (let at = 0; at + 1 < next.length; at++) {
        if (next[at] === id || next[at + 1] === id) made.add(next[at]! * 65_536 + next[at + 1]!);
      }
    }
    this.places.delete(pair);
    this.occurrences.delete(pair);
    for (const neighbour of made) this.offer(neighbour);
  }
}

/** The ids with each pair left, right replaced by `id`, from the left. */
function mergeInto(ids: Uint16Array, left: number, right: number, id: number): Uint16Array {
  const merged = new Uint16Array(ids.length);
  let count = 0;
  for (let at = 0; at < ids.length; at++) {
    if (ids[at] === left && ids[at + 1] === right) {
      merged[count++] = id;
      at++;
    } else merged[count++] = ids[at]!;
  }
  return count === ids.length ? ids : merged.slice(0, count);
}

/**
 * Learns merges until there are `vocabSize` ids: 256 bytes, the merges, and the end of text. It stops early when no
 * pair occurs twice any more. Yields one record per merge.
 * @param options.vocabSize 257 to 65,536
 * @returns the merges, left and right one after another, as `bpeTokenizer` takes them
 * @throws {RangeError} if vocabSize is out of range
 * @example
 * const counts = new Map();
 * countPieces(counts, new TextEncoder().encode("low lower lowest"));
 * const training = trainBytePairs(counts, { vocabSize: 259 });
 * training.next().value; // { merges: 1, wanted: 2, left: 108, right: 111, occurrences: 3, token: "lo" in bytes }
 */
export function* trainBytePairs(counts: PieceCounts, options: { vocabSize: number }): Generator<MergeRecord, number[]> {
  const { vocabSize } = options;
  if (!Number.isInteger(vocabSize) || vocabSize < 257 || vocabSize > 65_536) {
    throw new RangeError(
      `Cannot learn byte pairs: the vocabulary size is ${vocabSize}; it must be an integer from 257 (256 bytes and the end of text) to 65536.`,
    );
  }
  const wanted = vocabSize - 257;
  const pairs = new PairCounts(counts);
  const tokens = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte));
  const idOf = new Map(tokens.map((token, id) => [token, id]));
  const merges: number[] = [];
  while (tokens.length < vocabSize - 1) {
    const best = pairs.heap.pop();
    if (best === undefined) break;
    const occurrences = pairs.of(best.pair);
    if (occurrences !== best.occurrences) {
      if (occurrences > 0) pairs.offer(best.pair); // its count has decreased since
      continue;
    }
    if (occurrences < 2) break;
    const [left, right] = [Math.floor(best.pair / 65_536), best.pair % 65_536];
    const token = tokens[left]! + tokens[right]!;
    if (token.length > maxTokenBytes) continue;
    const id = idOf.get(token) ?? tokens.length;
    if (id === tokens.length) tokens.push(token);
    idOf.set(token, id);
    merges.push(left, right);
    pairs.merge(best.pair, id);
    yield { merges: tokens.length - 256, wanted, left, right, occurrences, token: Buffer.from(token, "latin1") };
  }
  return merges;
}
