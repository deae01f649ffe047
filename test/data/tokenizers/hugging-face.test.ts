import { describe, expect, test } from "vitest";
import { tokenizerFiles } from "../../../lib/data/tokenizers/hugging-face.js";
import { bpeTokenizer, gpt2Tokenizer } from "../../../lib/data/tokenizers/tokenizer.js";

interface Model {
  vocab: Record<string, number>;
  merges: [string, string][];
}
const modelOf = (files: Readonly<Record<string, string | object>>) =>
  (files["tokenizer.json"] as { model: Model }).model;

/** Encodes a word that GPT-2 does not split into pieces, by the merges in the files, in order. */
function encode({ vocab, merges }: Model, word: string): number[] {
  const rank = new Map(merges.map((pair, i) => [pair.join(" "), i]));
  let parts = Array.from(word);
  for (;;) {
    const ranks = parts.slice(1).map((part, i) => rank.get(`${parts[i]} ${part}`) ?? Infinity);
    const best = ranks.indexOf(Math.min(...ranks));
    if (best < 0 || ranks[best] === Infinity) return parts.map((part) => vocab[part]!);
    parts = [...parts.slice(0, best), parts[best]! + parts[best + 1]!, ...parts.slice(best + 2)];
  }
}

describe("tokenizerFiles()", () => {
  test("of GPT-2 have 50,257 ids and 50,000 merges, with the known first and last ones", () => {
    const { files, endOfText } = tokenizerFiles({ kind: "gpt2" });
    const { vocab, merges } = modelOf(files);
    expect(endOfText).toBe(50_256);
    expect(Object.keys(vocab)).toHaveLength(50_257);
    // OpenAI's encoder.json and vocab.bpe
    expect(["!", "Ġthe", "hello", "Ċ", "<|endoftext|>"].map((token) => vocab[token])).toEqual([
      0, 262, 31373, 198, 50_256,
    ]);
    expect(merges).toHaveLength(50_000);
    expect(merges.slice(0, 4)).toEqual([
      ["Ġ", "t"],
      ["Ġ", "a"],
      ["h", "e"],
      ["i", "n"],
    ]);
    expect((files["merges.txt"] as string).split("\n").slice(0, 2)).toEqual(["#version: 0.2", "Ġ t"]);
    expect(JSON.parse(files["vocab.json"] as string)).toEqual(vocab);
  });

  test("of GPT-2 have merges that give the ids of GPT-2's tokenizer", () => {
    const model = modelOf(tokenizerFiles({ kind: "gpt2" }).files);
    const tokenizer = gpt2Tokenizer();
    for (const word of [
      "hello",
      "antidisestablishmentarianism",
      "aaaaaaaaaaaaaaa",
      "Pneumonoultramicroscopic",
      "zxqjkvb",
    ]) {
      expect(encode(model, word)).toEqual([...tokenizer.encode(word)]);
    }
  });

  test("of a learned vocabulary have bytes first, the end of text last, and a token of two merges only once", () => {
    const merges = [97, 98, 98, 99, 256, 99, 97, 257]; // ab, bc, ab+c, a+bc: the last makes no new token
    const { files, endOfText } = tokenizerFiles({ kind: "bpe", merges: merges.join(" ") });
    const { vocab, merges: pairs } = modelOf(files);
    const tokenizer = bpeTokenizer(merges);
    expect(endOfText).toBe(tokenizer.vocabSize - 1);
    expect(Object.keys(vocab)).toHaveLength(tokenizer.vocabSize);
    expect(pairs).toEqual([
      ["a", "b"],
      ["b", "c"],
      ["ab", "c"],
      ["a", "bc"],
    ]);
    expect(["Ā", "a", "abc", "<|endoftext|>"].map((token) => vocab[token])).toEqual([0, 97, 258, 259]);
    for (const word of ["abc", "abcbcab", "aabbcc"]) {
      expect(encode({ vocab, merges: pairs }, word)).toEqual([...tokenizer.encode(word)]);
    }
  });

  test("of characters have one token each and no merges; without a tokenizer, there are no files", () => {
    const { files, endOfText } = tokenizerFiles({ kind: "char", characters: "\n ae🙂" });
    expect(modelOf(files)).toMatchObject({ vocab: { "\n": 0, " ": 1, a: 2, e: 3, "🙂": 4 }, merges: [] });
    expect(endOfText).toBe(undefined);
    expect(tokenizerFiles(undefined)).toEqual({ files: {}, endOfText: undefined });
  });
});
