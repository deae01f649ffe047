import { describe, expect, test } from "vitest";
import { charTokenizer, gpt2Tokenizer, tokenizerFromSpec } from "../../lib/data/tokenizers/tokenizer.js";
import { openTextStream } from "../../lib/sample/text-stream.js";

describe("openTextStream()", () => {
  test("never emits a part of a character, and finally emits all text", () => {
    const tokenizer = gpt2Tokenizer();
    for (const text of ["naïve 🏳️‍🌈 emoji", "漢字とかな", "plain", "👍🏽👍🏽"]) {
      const stream = openTextStream(tokenizer);
      const parts = Array.from(tokenizer.encode(text), (id) => stream.add(id).text);
      expect(parts.join("")).not.toContain("\uFFFD");
      expect(parts.join("") + stream.rest()).toBe(text);
    }
  });

  test("emits invalid bytes once they cannot become a character", () => {
    const tokenizer = gpt2Tokenizer();
    const [first] = tokenizer.encode("漢");
    const stream = openTextStream(tokenizer);
    expect(stream.add(first!).text).toBe("");
    expect(stream.add(tokenizer.encode("a")[0]!).text).toMatch(/^\uFFFD+a$/);
    expect(stream.add(first!).text).toBe("");
    expect(stream.rest()).toMatch(/^\uFFFD+$/);
  });

  test("holds back a possible stop text, however it is split into tokens, and emits it if it is none", () => {
    const tokenizer = charTokenizer("\nABab:");
    const written = (text: string, stop: string[]) => {
      const stream = openTextStream(tokenizer, stop);
      const parts: string[] = [];
      for (const id of tokenizer.encode(text)) {
        const { text: part, stopped } = stream.add(id);
        parts.push(part);
        if (stopped) return [...parts, "|"];
      }
      return [...parts, stream.rest()];
    };
    expect(written("ab\nA:", ["\nA:"])).toEqual(["a", "b", "", "", "", "|"]);
    expect(written("\n\nB", ["\nA:"])).toEqual(["", "\n", "\nB", ""]);
    expect(written("ab\n", ["\nA:"])).toEqual(["a", "b", "", "\n"]);
    expect(written("aab", ["ab", "b"])).toEqual(["", "a", "", "|"]);
  });

  // A model without a tokenizer writes its ids, with a space between two.
  const ids = tokenizerFromSpec({ kind: "none", vocabSize: 100 });
  const shown = (before: number[], tokens: number[]) => {
    const stream = openTextStream(ids, [], before);
    return tokens.map((token) => stream.add(token).text);
  };

  test("emits what a token adds to the text of the last eight, those of the prompt among them", () => {
    expect(shown([], [7, 8, 9])).toEqual(["7", " 8", " 9"]);
    expect(shown([5], [7, 8])).toEqual([" 7", " 8"]);
    expect(shown([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [11, 12])).toEqual([" 11", " 12"]);
    let longest = 0;
    const decode = (of: ArrayLike<number>) => {
      longest = Math.max(longest, of.length);
      return ids.decode(of);
    };
    const stream = openTextStream({ ...ids, decode }, [], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    for (let token = 11; token < 30; token++) stream.add(token);
    expect(longest).toBe(9);
  });

  test("emits the token's own text if it changes that of the tokens before it", () => {
    const decode = (of: ArrayLike<number>) => (of.length === 1 ? `<${of[0]}>` : Array.from(of).join(""));
    expect(openTextStream({ ...ids, decode }, [], [5]).add(7).text).toBe("<7>");
  });

  test("holds nothing back after a stop text", () => {
    const tokenizer = charTokenizer("ab");
    const stream = openTextStream(tokenizer, ["b"]);
    expect(stream.add(tokenizer.encode("b")[0]!)).toEqual({ text: "", stopped: true });
    expect(stream.rest()).toBe("");
  });
});
