/**
 * Fast byte-pair encoding: UTF-8 bytes to ids and back, for any vocabulary of at most 65,536 ids whose tokens are
 * merged pairs within GPT-2's pieces. GPT-2's tables come from js-tiktoken, with which the tests compare; it encodes 3
 * MB/s, this file 40. learn-byte-pairs.ts learns merges. Shown in notebook 02-data.
 */
import type { TiktokenBPE } from "js-tiktoken/lite";
import { pieceEnd } from "./gpt2-split.js";

/** The text of the end-of-text token. */
export const END_OF_TEXT = "<|endoftext|>";

/** The tables of a byte-pair encoding. Ranks order the merges: the lowest rank merges first. */
export interface BytePairs {
  /** All ids are below it; the last one is the end-of-text id. */
  readonly vocabSize: number;
  /** [256]: the id of each byte. */
  readonly byteIds: Uint16Array;
  /** The tokens' bytes, one after another; those of `id` begin at `starts[id]`. */
  readonly bytes: Uint8Array;
  /** [vocabSize + 1] */
  readonly starts: Int32Array;
  /** The rank at which two neighbouring ids merge, or −1. */
  rankOf(left: number, right: number): number;
  /** By rank: the id that the pair becomes. */
  readonly merged: Uint16Array;
}

/** Text as UTF-8 bytes → ids. */
export type ByteEncoder = (bytes: Uint8Array) => Uint16Array;

/** An open-addressing table from pairs of ids to ranks. */
class PairTable {
  private keys: Int32Array;
  private ranks: Int32Array;
  private count = 0;

  constructor(expected: number) {
    const capacity = 2 ** Math.ceil(Math.log2(Math.max(2 * expected, 16)));
    this.keys = new Int32Array(capacity);
    this.ranks = new Int32Array(capacity).fill(-1);
  }

  private slotOf(key: number): number {
    const { keys, ranks } = this;
    const mask = keys.length - 1;
    let slot = (Math.imul(key, 0x9e3779b1) >>> 7) & mask;
    while (ranks[slot]! >= 0 && keys[slot] !== key) slot = (slot + 1) & mask;
    return slot;
  }

  get(left: number, right: number): number {
    return this.ranks[this.slotOf((left << 16) | right)]!;
  }

  set(left: number, right: number, rank: number): void {
    if (2 * ++this.count > this.keys.length) this.grow();
    const key = (left << 16) | right;
    const slot = this.slotOf(key);
    this.keys[slot] = key;
    this.ranks[slot] = rank;
  }

  private grow(): void {
    const { keys, ranks } = this;
    this.keys = new Int32Array(2 * keys.length);
    this.ranks = new Int32Array(2 * keys.length).fill(-1);
    ranks.forEach((rank, index) => {
      if (rank < 0) return;
      const slot = this.slotOf(keys[index]!);
      this.keys[slot] = keys[index]!;
      this.ranks[slot] = rank;
    });
  }
}

/** Joins tokens (one character per byte), followed by an end-of-text token: their bytes, and where each begins. */
function joinTokens(tokens: readonly string[]): Pick<BytePairs, "bytes" | "starts" | "vocabSize"> {
  const all = [...tokens, END_OF_TEXT];
  const starts = new Int32Array(all.length + 1);
  all.forEach((token, id) => {
    starts[id + 1] = starts[id]! + token.length;
  });
  const bytes = Uint8Array.from(all.join(""), (byte) => byte.charCodeAt(0));
  return { bytes, starts, vocabSize: all.length };
}

/**
 * The tables of a vocabulary of tiktoken's kind: a token's rank is its id, and two neighbours merge if their joined
 * bytes are a token.
 */
export function bytePairsOfRanks(ranks: Pick<TiktokenBPE, "bpe_ranks">): BytePairs {
  const tokens: string[] = [];
  for (const line of ranks.bpe_ranks.split("\n").filter(Boolean)) {
    const [, first, ...encoded] = line.split(" ");
    encoded.forEach((token, index) => {
      tokens[Number(first) + index] = atob(token);
    });
  }
  const idOf = new Map(tokens.map((token, id) => [token, id]));
  const pairs = new PairTable(4 * tokens.length);
  for (const [token, rank] of idOf) {
    for (let at = 1; at < token.length; at++) {
      const left = idOf.get(token.slice(0, at));
      const right = left === undefined ? undefined : idOf.get(token.slice(at));
      if (right !== undefined) pairs.set(left!, right, rank);
    }
  }
  return {
    ...joinTokens(tokens),
    byteIds: Uint16Array.from({ length: 256 }, (_, byte) => idOf.get(String.fromCharCode(byte))!),
    rankOf: (left, right) => pairs.get(left, right),
    merged: Uint16Array.from(tokens, (_, id) => id),
  };
}

/** Longest token accepted, a limit against malicious files. */
export const maxTokenBytes = 256;

/**
 * The tables of a list of merges, as in GPT-2's merges.txt or from trainBytePairs: the ids 0 to 255 are the bytes, and
 * each merge makes the next id, unless its bytes are already a token.
 * @throws {RangeError} if a merge joins ids that do not exist yet, is repeated, makes a token of more than 256 bytes,
 * or there are more than 65,536 ids
 */
export function bytePairsOfMerges(merges: ArrayLike<number>): BytePairs {
  const refuse = (found: string) =>
    new RangeError(`Cannot build a byte-pair tokenizer: ${found}; prepare the dataset again.`);
  if (merges.length % 2 !== 0) throw refuse("its merges are not pairs");
  const tokens = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte));
  const idOf = new Map(tokens.map((token, byte) => [token, byte]));
  const pairs = new PairTable(merges.length / 2);
  const merged = new Uint16Array(merges.length / 2);
  for (let rank = 0; rank < merged.length; rank++) {
    const [left, right] = [merges[2 * rank]!, merges[2 * rank + 1]!];
    for (const id of [left, right]) {
      if (!Number.isInteger(id) || id < 0 || id >= tokens.length) {
        throw refuse(`merge ${rank} joins id ${id}, but only ${tokens.length} ids exist`);
      }
    }
    if (pairs.get(left, right) >= 0) throw refuse(`merge ${rank} repeats the pair ${left}, ${right}`);
    const token = tokens[left]! + tokens[right]!;
    if (token.length > maxTokenBytes) throw refuse(`merge ${rank} makes a token of ${token.length} bytes`);
    const id = idOf.get(token) ?? tokens.length;
    if (id === tokens.length) tokens.push(token);
    if (tokens.length > 65_535) throw refuse("its merges make more than 65,536 ids");
    idOf.set(token, id);
    pairs.set(left, right, rank);
    merged[rank] = id;
  }
  return {
    ...joinTokens(tokens),
    byteIds: Uint16Array.from({ length: 256 }, (_, byte) => byte),
    rankOf: (left, right) => pairs.get(left, right),
    merged,
  };
}

/** Merges the ids `ids[0 … count − 1]` of a short piece in place. @returns the number of ids left */
function mergeShort(pairs: BytePairs, ids: Uint16Array, ranks: Int32Array, count: number): number {
  for (let index = 0; index + 1 < count; index++) ranks[index] = pairs.rankOf(ids[index]!, ids[index + 1]!);
  while (count > 1) {
    let best = -1;
    let bestRank = 0x7fffffff;
    for (let index = 0; index + 1 < count; index++) {
      const rank = ranks[index]!;
      if (rank >= 0 && rank < bestRank) {
        bestRank = rank;
        best = index;
      }
    }
    if (best < 0) break;
    ids[best] = pairs.merged[bestRank]!;
    count--;
    for (let index = best + 1; index < count; index++) {
      ids[index] = ids[index + 1]!;
      ranks[index] = ranks[index + 1]!;
    }
    if (best > 0) ranks[best - 1] = pairs.rankOf(ids[best - 1]!, ids[best]!);
    if (best + 1 < count) ranks[best] = pairs.rankOf(ids[best]!, ids[best + 1]!);
  }
  return count;
}

/** The same for a piece of any length, in O(n log n): a linked list of ids, and a heap of (rank, position). */
function mergeLong(pairs: BytePairs, ids: Uint16Array, count: number): number {
  const next = Int32Array.from({ length: count }, (_, index) => index + 1);
  const previous = Int32Array.from({ length: count }, (_, index) => index - 1);
  const heap = new NumberHeap();
  const offer = (left: number): void => {
    const right = next[left]!;
    const rank = right < count ? pairs.rankOf(ids[left]!, ids[right]!) : -1;
    if (rank >= 0) heap.push(rank * 2 ** 32 + left);
  };
  const gone = new Uint8Array(count);
  for (let index = 0; index + 1 < count; index++) offer(index);
  for (let entry = heap.pop(); entry !== undefined; entry = heap.pop()) {
    const left = entry % 2 ** 32;
    const right = next[left]!;
    const rank = (entry - left) / 2 ** 32;
    // An entry is stale if either id has since been merged into another.
    if (gone[left] || right >= count || pairs.rankOf(ids[left]!, ids[right]!) !== rank) continue;
    ids[left] = pairs.merged[rank]!;
    gone[right] = 1;
    next[left] = next[right]!;
    if (next[left]! < count) previous[next[left]!] = left;
    if (previous[left]! >= 0) offer(previous[left]!);
    offer(left);
  }
  let kept = 0;
  for (let index = 0; index < count; index = next[index]!) ids[kept++] = ids[index]!;
  return kept;
}

/** A min-heap of numbers. */
class NumberHeap {
  private readonly items: number[] = [];

  push(item: number): void {
    const { items } = this;
    let at = items.length;
    for (let parent = (at - 1) >> 1; at > 0 && items[parent]! > item; parent = (at - 1) >> 1) {
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  pop(): number | undefined {
    const { items } = this;
    const top = items[0];
    const item = items.pop();
    if (item === undefined || items.length === 0) return top;
    let at = 0;
    for (let child = 1; child < items.length; child = 2 * at + 1) {
      if (child + 1 < items.length && items[child + 1]! < items[child]!) child++;
      if (items[child]! >= item) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = item;
    return top;
  }
}

const cachedBytes = 48; // pieces up to this length are cached
const shortBytes = 64; // up to this length the quadratic algorithm is faster

/** Merges one piece, and writes its ids to `ids` from `count` on. @returns their number */
type MergePiece = (bytes: Uint8Array, at: number, length: number, ids: Uint16Array, count: number) => number;

function pieceMerger(pairs: BytePairs): MergePiece {
  const ranks = new Int32Array(shortBytes);
  return (bytes, at, length, ids, count) => {
    const own = ids.subarray(count, count + length);
    for (let index = 0; index < length; index++) own[index] = pairs.byteIds[bytes[at + index]!]!;
    return length <= shortBytes ? mergeShort(pairs, own, ranks, length) : mergeLong(pairs, own, length);
  };
}

/** A cache of merged pieces and their ids, since most words of a text are repeated. Its size is fixed at about 5 MB. */
class PieceCache {
  private static readonly slotMask = (1 << 18) - 1;
  private readonly slots = new Int32Array(PieceCache.slotMask + 1); // entry + 1, or 0
  private readonly hashes = new Int32Array(1 << 17);
  private readonly keyStarts = new Int32Array(this.hashes.length + 1);
  private readonly idStarts = new Int32Array(this.hashes.length + 1);
  private readonly keys = new Uint8Array(1 << 20);
  private readonly values = new Uint16Array(1 << 19);
  private entries = 0;

  /** Writes the piece's ids to `ids` from `count` on. @returns their number; 0 if the piece is not in the cache */
  copy(bytes: Uint8Array, at: number, length: number, hash: number, ids: Uint16Array, count: number): number {
    const { slots, hashes, keyStarts, idStarts, keys, values } = this;
    let slot = hash & PieceCache.slotMask;
    for (let entry = slots[slot]! - 1; entry >= 0; entry = slots[slot]! - 1) {
      if (hashes[entry] === hash) {
        const start = keyStarts[entry]!;
        let same = keyStarts[entry + 1]! - start === length;
        for (let index = 0; same && index < length; index++) same = keys[start + index] === bytes[at + index];
        if (same) {
          const first = idStarts[entry]!;
          const copied = idStarts[entry + 1]! - first;
          for (let index = 0; index < copied; index++) ids[count + index] = values[first + index]!;
          return copied;
        }
      }
      slot = (slot + 1) & PieceCache.slotMask;
    }
    return 0;
  }

  add(piece: Uint8Array, hash: number, ids: Uint16Array): void {
    const { slots, hashes, keyStarts, idStarts, keys, values } = this;
    const full =
      this.entries === hashes.length ||
      keyStarts[this.entries]! + piece.length > keys.length ||
      idStarts[this.entries]! + ids.length > values.length;
    if (full) {
      slots.fill(0);
      this.entries = 0;
    }
    const entry = this.entries++;
    let slot = hash & PieceCache.slotMask;
    while (slots[slot]! > 0) slot = (slot + 1) & PieceCache.slotMask;
    slots[slot] = entry + 1;
    hashes[entry] = hash;
    keys.set(piece, keyStarts[entry]);
    values.set(ids, idStarts[entry]);
    keyStarts[entry + 1] = keyStarts[entry]! + piece.length;
    idStarts[entry + 1] = idStarts[entry]! + ids.length;
  }
}

/** An encoder of well-formed UTF-8 that uses constant memory. */
export function byteEncoder(pairs: BytePairs): ByteEncoder {
  const cache = new PieceCache();
  const mergePiece = pieceMerger(pairs);
  return (bytes) => {
    const end = bytes.length;
    const ids = new Uint16Array(end); // an id stands for at least one byte
    let count = 0;
    for (let at = 0; at < end; ) {
      const stop = pieceEnd(bytes, at, end);
      const length = stop - at;
      if (length > cachedBytes) {
        count += mergePiece(bytes, at, length, ids, count);
      } else {
        let hash = length;
        for (let index = at; index < stop; index++) hash = Math.imul(hash ^ bytes[index]!, 0x01000193);
        hash ^= hash >>> 15;
        let made = cache.copy(bytes, at, length, hash, ids, count);
        if (made === 0) {
          made = mergePiece(bytes, at, length, ids, count);
          cache.add(bytes.subarray(at, stop), hash, ids.subarray(count, count + made));
        }
        count += made;
      }
      at = stop;
    }
    return ids.slice(0, count);
  };
}

/** The bytes of `ids`, joined. @param ids all in [0, vocabSize) */
export function decodeBytes(pairs: BytePairs, ids: ArrayLike<number>): Uint8Array {
  const { starts, bytes } = pairs;
  let length = 0;
  for (let index = 0; index < ids.length; index++) length += starts[ids[index]! + 1]! - starts[ids[index]!]!;
  const joined = new Uint8Array(length);
  let at = 0;
  for (let index = 0; index < ids.length; index++) {
    const token = bytes.subarray(starts[ids[index]!]!, starts[ids[index]! + 1]!);
    joined.set(token, at);
    at += token.length;
  }
  return joined;
}
