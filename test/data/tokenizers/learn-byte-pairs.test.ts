import { expect, test } from "vitest";
import {
  countPieces,
  type MergeRecord,
  type PieceCounts,
  trainBytePairs,
} from "../../../lib/data/tokenizers/learn-byte-pairs.js";
import { bpeTokenizer, tokenizerFromSpec } from "../../../lib/data/tokenizers/tokenizer.js";

function learn(text: string, vocabSize: number): { merges: number[]; records: MergeRecord[] } {
  const counts: PieceCounts = new Map();
  countPieces(counts, new TextEncoder().encode(text));
  return learnFrom(counts, vocabSize);
}

function learnFrom(counts: PieceCounts, vocabSize: number): { merges: number[]; records: MergeRecord[] } {
  const records: MergeRecord[] = [];
  const training = trainBytePairs(counts, { vocabSize });
  for (;;) {
    const next = training.next();
    if (next.done) return { merges: next.value, records };
    records.push(next.value);
  }
}

/** The definition: count all pairs again for each merge. */
function learnSlowly(text: string, vocabSize: number): number[] {
  const pieces = text
    .match(/ ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu)!
    .map((piece) => [...Buffer.from(piece)]);
  const merges: number[] = [];
  for (let id = 256; id < vocabSize - 1; id++) {
    const counts = new Map<number, number>();
    for (const ids of pieces) {
      for (let at = 0; at + 1 < ids.length; at++) {
        const pair = ids[at]! * 65_536 + ids[at + 1]!;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
    }
    const [best] = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]);
    if (!best || best[1] < 2) break;
    const [left, right] = [Math.floor(best[0] / 65_536), best[0] % 65_536];
    merges.push(left, right);
    for (const ids of pieces) {
      for (let at = 0; at + 1 < ids.length; at++) if (ids[at] === left && ids[at + 1] === right) ids.splice(at, 2, id);
    }
  }
  return merges;
}

const words = [
  "low",
  "lower",
  "lowest",
  "newer",
  "wider",
  "new",
  "aaaa",
  "aaa",
  "banana",
  "naïve",
  "語語",
  "12",
  "121",
];
const text = Array.from(
  { length: 600 },
  (_, index) => words[(7 * index + (index >> 3) * (index >> 4)) % words.length],
).join(" ");

test("trainBytePairs() learns the same as counting again for each merge", () => {
  const { merges, records } = learn(text, 285);
  expect(merges).toEqual(learnSlowly(text, 285));
  expect(records.length).toBe(28);
  expect(records.at(-1)).toMatchObject({ merges: 28, wanted: 28 });
  expect(records.every(({ occurrences }, index) => index === 0 || occurrences <= records[index - 1]!.occurrences)).toBe(
    true,
  );
});

test("trainBytePairs() does not depend on the order of the pieces", () => {
  const counts: PieceCounts = new Map();
  countPieces(counts, new TextEncoder().encode(text));
  expect(learnFrom(new Map([...counts].reverse()), 290).merges).toEqual(learnFrom(counts, 290).merges);
});

test("trainBytePairs() counts each merge as often as the encoding uses it", () => {
  const plain = text.replace(/a{3,} /g, ""); // in a run of one letter, pairs overlap: "aaa" has two but allows one merge
  const { merges, records } = learn(plain, 285);
  const saved = records.reduce((sum, { occurrences }) => sum + occurrences, 0);
  expect(bpeTokenizer(merges).encode(plain).length).toBe(Buffer.byteLength(plain) - saved);
});

test("trainBytePairs() stops when no pair occurs twice, and refuses a vocabulary out of range", () => {
  const { merges } = learn("abab cd", 1000);
  expect(merges).toEqual([97, 98]);
  expect(learn("", 300).merges).toEqual([]);
  expect(learn("x", 257).merges).toEqual([]);
  for (const vocabSize of [256, 65_537, 300.5, Number.NaN]) {
    expect(() => learn("ab", vocabSize)).toThrow(/it must be an integer from 257/);
  }
});

test("trainBytePairs() makes no token of more than 256 bytes", () => {
  const { merges } = learn(`${"a".repeat(5000)} `.repeat(3), 400);
  const tokenizer = bpeTokenizer(merges);
  expect(tokenizer.vocabSize).toBeGreaterThan(260);
  expect(tokenizer.decode(tokenizer.encode("a".repeat(1000)))).toBe("a".repeat(1000));
});

test("bpeTokenizer() round-trips any text, ends texts with its last id, and is built again from its specification", () => {
  const tokenizer = bpeTokenizer(learn(text, 275).merges);
  expect(tokenizer).toMatchObject({ kind: "bpe", vocabSize: 275, endOfText: 274 });
  for (const any of [text, "unseen wörds, 中文 😀\r\n\t<|endoftext|>", ""]) {
    expect(tokenizer.decode(tokenizer.encode(any))).toBe(any);
  }
  expect(tokenizer.decode([274])).toBe("<|endoftext|>");
  const again = tokenizerFromSpec(JSON.parse(JSON.stringify(tokenizer)));
  expect(again.encode(text)).toEqual(tokenizer.encode(text));
  for (const merges of [undefined, 3, "1", "1  2", "1 x", "1 2\n", "9".repeat(900_000)]) {
    expect(() => tokenizerFromSpec({ kind: "bpe", merges })).toThrow(/Cannot build a byte-pair tokenizer/);
  }
});
