import { describe, expect, test } from "vitest";
import { charTokenizer, gpt2Tokenizer } from "../../lib/data/tokenizers/tokenizer.js";
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
});
