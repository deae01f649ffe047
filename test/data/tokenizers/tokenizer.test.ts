import { expect, test } from "vitest";
import { charTokenizer, gpt2Tokenizer, tokenizerFromSpec } from "../../../lib/data/tokenizers/tokenizer.js";

test("charTokenizer() numbers the sorted set of characters, as nanoGPT does", () => {
  const tokenizer = charTokenizer("hello");
  expect(tokenizer.kind).toBe("char");
  expect(tokenizer.vocabSize).toBe(4);
  expect([...tokenizer.encode("hole")]).toEqual([1, 3, 2, 0]);
  expect(tokenizer.decode(tokenizer.encode("hello"))).toBe("hello");
  expect(tokenizer.encode("")).toHaveLength(0);
  expect(tokenizer.decode([])).toBe("");
});

test("charTokenizer() sorts by code point and takes a surrogate pair as one character", () => {
  const text = "z😀é\nￊ"; // U+FFCA sorts before U+1F600, although UTF-16 puts it after
  const tokenizer = charTokenizer(text);
  expect(tokenizer.toJSON()).toEqual({ kind: "char", characters: "\nzéￊ😀" });
  expect([...tokenizer.encode(text)]).toEqual([1, 4, 2, 0, 3]);
  expect(tokenizer.decode(tokenizer.encode(text))).toBe(text);
});

test("charTokenizer() round-trips a megabyte", () => {
  const text = "First Citizen:\nBefore we proceed any further, hear me speak.\n".repeat(20_000);
  const tokenizer = charTokenizer(text);
  const ids = tokenizer.encode(text);
  const back = tokenizer.decode(ids);
  expect(ids).toHaveLength(text.length);
  expect(back === text).toBe(true);
});

test("charTokenizer() refuses an empty text and half a surrogate pair", () => {
  expect(() => charTokenizer("")).toThrow(/the text is empty/);
  expect(() => charTokenizer("a\ud83d")).toThrow(/half of a surrogate pair, U\+D83D/);
});

test("encode() names an unknown character and its position", () => {
  const tokenizer = charTokenizer("abc \n");
  expect(() => tokenizer.encode("ab\nca é")).toThrow(
    'Cannot encode the text: the character "é" (U+00E9) at line 2, column 4 is not in the vocabulary of 5 characters',
  );
  expect(() => tokenizer.encode("a😀")).toThrow(/"😀" \(U\+1F600\) at line 1, column 2/);
  expect(() => tokenizer.encode("\t")).toThrow(/"\\t" \(U\+0009\)/);
});

test("decode() refuses an id beyond the vocabulary, negative or fractional", () => {
  for (const tokenizer of [charTokenizer("abc"), gpt2Tokenizer()]) {
    const last = tokenizer.vocabSize - 1;
    expect(() => tokenizer.decode([0, last + 1])).toThrow(
      `id ${last + 1} at position 1 is not in the vocabulary; ids are integers from 0 to ${last}`,
    );
    expect(() => tokenizer.decode([-1])).toThrow(RangeError);
    expect(() => tokenizer.decode([0.5])).toThrow(RangeError);
  }
});

test("gpt2Tokenizer() gives tiktoken's ids", () => {
  const tokenizer = gpt2Tokenizer();
  expect(tokenizer.vocabSize).toBe(50_257);
  // tiktoken's README: enc("gpt2").encode("hello world") == [31373, 995]
  expect([...tokenizer.encode("hello world")]).toEqual([31373, 995]);
  const text = "naïve 😀\n\n  indent <|endoftext|> it's 12345";
  const ids = tokenizer.encode(text);
  expect(tokenizer.decode(ids)).toBe(text);
  expect([...ids]).not.toContain(50256);
  expect(tokenizer.decode([50256])).toBe("<|endoftext|>");
});

test("tokenizerFromSpec() rebuilds what toJSON() gave, through JSON", () => {
  for (const tokenizer of [charTokenizer('a"\\\n\u2028😀'), gpt2Tokenizer()]) {
    const again = tokenizerFromSpec(JSON.parse(JSON.stringify(tokenizer)));
    expect(again.kind).toBe(tokenizer.kind);
    expect(again.vocabSize).toBe(tokenizer.vocabSize);
    expect([...again.encode("aaa")]).toEqual([...tokenizer.encode("aaa")]);
  }
});

test("tokenizerFromSpec() refuses what is not a specification", () => {
  for (const spec of [null, undefined, 3, "char", {}, { kind: "words" }]) {
    expect(() => tokenizerFromSpec(spec)).toThrow(/this version knows "char", "gpt2", "bpe", "huggingface" and "none"/);
  }
  expect(() => tokenizerFromSpec({ kind: "char" })).toThrow(/"characters" is undefined; it must be a string/);
  expect(() => tokenizerFromSpec({ kind: "char", characters: "" })).toThrow(/is empty/);
  expect(() => tokenizerFromSpec({ kind: "char", characters: "aab" })).toThrow(/"a" \(U\+0061\) is repeated/);
  expect(tokenizerFromSpec({ kind: "char", characters: "ba" }).encode("ab")).toEqual(Uint32Array.of(1, 0));
  expect(() => tokenizerFromSpec({ kind: "char", characters: "\ud83d" })).toThrow(/surrogate/);
});
