import fs from "node:fs";
import path from "node:path";
import { Tiktoken } from "js-tiktoken/lite";
import gpt2Ranks from "js-tiktoken/ranks/gpt2";
import { describe, expect, test } from "vitest";
import {
  byteEncoder,
  bytePairsOfMerges,
  bytePairsOfRanks,
  decodeBytes,
} from "../../../lib/data/tokenizers/byte-pairs.js";
import { lastCut, pieceEnd } from "../../../lib/data/tokenizers/gpt2-split.js";
import { ended, startChild } from "../../tiny-run.js";

const pairs = bytePairsOfRanks(gpt2Ranks);
const encode = byteEncoder(pairs);
// As tiktoken, whose \s is Unicode's White_Space; JavaScript's differs in two characters.
const whiteSpace = gpt2Ranks.pat_str.replaceAll("\\s", "\\p{White_Space}").replaceAll("\\S", "\\P{White_Space}");
const reference = new Tiktoken({ ...gpt2Ranks, pat_str: whiteSpace });

/** By test/golden/tiktoken_ids.py: tiktoken itself. */
const golden: { text: string; ids: number[] }[] = JSON.parse(
  fs.readFileSync(path.join(import.meta.dirname, "..", "..", "golden", "tiktoken.json"), "utf8"),
);

const bytesOf = (text: string) => new TextEncoder().encode(text);

/** A deterministic generator of numbers in [0, 1). */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const alphabet = [
  ..." \n\r\t'sdmtlvreST09.,!-<|>_#",
  ..."éß中文語あ한ж😀👩½²٣ǅ",
  "\u0085",
  "\u00a0",
  "\u200d",
  "\u2028",
  "\u3000",
  "\ufeff",
  "\u0301",
  "\ud83d", // half of a surrogate pair
  "<|endoftext|>",
  "  ",
  "'ll",
  "'re",
];

function randomText(random: () => number, length: number): string {
  return Array.from({ length }, () => alphabet[Math.floor(random() * alphabet.length)]).join("");
}

describe("byteEncoder()", () => {
  test("gives tiktoken's ids for emoji, CJK, long runs, special tokens as text, odd white space, control characters", () => {
    for (const { text, ids } of golden) {
      expect([...encode(bytesOf(text))], JSON.stringify(text.slice(0, 40))).toEqual(ids);
      expect(new TextDecoder("utf-8", { ignoreBOM: true }).decode(decodeBytes(pairs, ids))).toBe(text);
    }
  });

  test("gives js-tiktoken's ids for 3,000 random mixtures, half surrogate pairs included", () => {
    const random = generator(7);
    for (let round = 0; round < 3000; round++) {
      const text = randomText(random, 1 + Math.floor(random() * 24));
      expect([...encode(bytesOf(text))], JSON.stringify(text)).toEqual(reference.encode(text, [], []));
    }
  });

  test("encodes the bytes of each GPT-2 token as this token, like tiktoken's shortcut", () => {
    // Such bytes may be invalid UTF-8 and not a single piece; only merging is tested, so they are passed as one piece.
    let reached = 0;
    for (let id = 0; id < 50_256; id++) {
      const bytes = decodeBytes(pairs, [id]);
      const text = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true }).decode(bytes);
      if (text.includes("\ufffd") || pieceEnd(bytes, 0, bytes.length) !== bytes.length) continue;
      expect([...encode(bytes)]).toEqual([id]);
      reached++;
    }
    expect(reached).toBeGreaterThan(49_000);
  });

  test("encodes a piece of 100,000 characters as merging by hand does", () => {
    const long = encode(bytesOf("=".repeat(100_000)));
    // 64 equals signs are one token: 1,562 of them and the rest of 32.
    expect(long.length).toBe(Math.ceil(100_000 / 64));
    const text = "abababbaab".repeat(300);
    expect([...encode(bytesOf(text))]).toEqual(reference.encode(text, [], []));
  });

  // In a process of its own: a memory that is not cleared looks for a free place without end, and blocks whoever waits.
  test("goes on giving the same when its memory of pieces is full, twice over", async () => {
    const code = `
      const { byteEncoder, bytePairsOfRanks } = await load("lib/data/tokenizers/byte-pairs.ts");
      const ranks = await import(process.cwd() + "/node_modules/js-tiktoken/dist/ranks/gpt2.js");
      const encode = byteEncoder(bytePairsOfRanks(ranks.default));
      const words = (from, count) => Array.from({ length: count }, (_, k) => "w" + ((from + k) * 7919) % 1e9).join(" ");
      const hash = (text) => Buffer.from(encode(new TextEncoder().encode(text)).buffer).toString("base64");
      const first = hash(words(0, 3000));
      for (let from = 3000; from < 303_000; from += 50_000) encode(new TextEncoder().encode(words(from, 50_000)));
      if (hash(words(0, 3000)) !== first) throw new Error("other ids");
      console.log(JSON.stringify([...encode(new TextEncoder().encode(words(0, 300)))]));`;
    const child = startChild(code, null);
    const guard = setTimeout(() => child.kill("SIGKILL"), 300_000); // it takes a second
    const end = await ended(child);
    clearTimeout(guard);
    expect(end, child.output()).toEqual({ code: 0, signal: null });
    const text = Array.from({ length: 300 }, (_, k) => `w${(k * 7919) % 1e9}`).join(" ");
    expect(JSON.parse(child.output())).toEqual(reference.encode(text, [], []));
  });
});

describe("lastCut()", () => {
  test("cuts only where the pieces of the parts are the pieces of the whole", () => {
    const random = generator(11);
    let cuts = 0;
    for (let round = 0; round < 3000; round++) {
      const bytes = bytesOf(randomText(random, 2 + Math.floor(random() * 16)));
      const whole = [...encode(bytes)];
      for (let end = bytes.length; end > 0; ) {
        const cut = lastCut(bytes, end);
        if (cut === 0) break;
        cuts++;
        expect([...encode(bytes.subarray(0, cut)), ...encode(bytes.subarray(cut))]).toEqual(whole);
        end = cut;
      }
    }
    expect(cuts).toBeGreaterThan(5000);
  });

  test("finds white space and the end of letters or digits, but nothing within a single run", () => {
    expect(lastCut(bytesOf("one two"), 7)).toBe(3);
    expect(lastCut(bytesOf("中文。字"), 12)).toBe(6);
    expect(lastCut(bytesOf("ab12"), 4)).toBe(2);
    expect(lastCut(bytesOf("abcd"), 4)).toBe(0);
    expect(lastCut(bytesOf("    "), 4)).toBe(0);
  });
});

describe("bytePairsOfMerges()", () => {
  test("numbers bytes, merges and the end of text; a merge into an existing token makes no new id", () => {
    const own = bytePairsOfMerges([97, 98, 98, 99, 256, 99, 97, 257]); // ab, bc, abc, and abc again
    expect(own.vocabSize).toBe(256 + 3 + 1);
    expect([...byteEncoder(own)(bytesOf("abc bc"))]).toEqual([258, 32, 257]);
    expect(Buffer.from(decodeBytes(own, [258, 32, 257])).toString()).toBe("abc bc");
  });

  test("refuses an invalid list of merges", () => {
    const doubling = Array.from({ length: 10 }, (_, index) => (index === 0 ? 97 : 255 + index)).flatMap((id) => [
      id,
      id,
    ]);
    for (const [merges, message] of [
      [[1], /its merges are not pairs/],
      [[1, 256], /merge 0 joins id 256, but only 256 ids exist/],
      [[-1, 2], /joins id -1/],
      [[0.5, 2], /joins id 0.5/],
      [[97, 98, 97, 98], /merge 1 repeats the pair 97, 98/],
      [doubling, /makes a token of 512 bytes/],
    ] as const) {
      expect(() => bytePairsOfMerges(merges)).toThrow(message);
    }
  });
});
