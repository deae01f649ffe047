/**
 * Tokenizers: text to ids and back. A tokenizer is a plain record of functions; its specification (`toJSON()`) is all
 * that a dataset or a checkpoint needs to build it again. There are five kinds: characters, GPT-2's byte-pair encoding,
 * byte pairs learned from a text, any Hugging Face tokenizer.json, and none, for ids that have no text. Shown in
 * notebook 02-data.
 */
import gpt2Ranks from "js-tiktoken/ranks/gpt2";
import {
  type ByteEncoder,
  type BytePairs,
  byteEncoder,
  bytePairsOfMerges,
  bytePairsOfRanks,
  decodeBytes,
  END_OF_TEXT,
} from "./byte-pairs.js";
import { openTokenizerJson, parseTokenizerJson } from "./tokenizer-json.js";

/**
 * A tokenizer.json: the parts that determine ids, in a fixed order; the tokens added around a text; the special tokens.
 */
export interface HuggingFaceSpec {
  kind: "huggingface";
  json: string;
  postProcessor?: string;
  special?: Readonly<Record<string, string>>;
}

/** A tokenizer's specification, as plain JSON. `merges` are pairs of ids, separated by spaces: "116 104 256 101". */
export type TokenizerSpec =
  | { kind: "char"; characters: string }
  | { kind: "gpt2" }
  | { kind: "bpe"; merges: string }
  | HuggingFaceSpec
  | { kind: "none"; vocabSize: number };

/** Text ↔ ids in [0, vocabSize). */
export interface Tokenizer {
  readonly kind: TokenizerSpec["kind"];
  readonly vocabSize: number;
  /** The id that ends a document, to which no text encodes; a character tokenizer has none. */
  readonly endOfText?: number | undefined;
  /**
   * @param options.special the names of special tokens, such as `<|endoftext|>`, stand for their ids, as in a prompt;
   * otherwise they are ordinary text
   * @throws {RangeError} if the text has a character that the vocabulary lacks, naming it and its position
   */
  encode(text: string, options?: { special?: boolean }): Uint32Array;
  /**
   * The same for a text as UTF-8 bytes, for large texts.
   * @param bytes well-formed (`isUtf8` of node:buffer)
   */
  encodeBytes(bytes: Uint8Array): Uint16Array | Uint32Array;
  /** @throws {RangeError} if an id is not an integer in [0, vocabSize) */
  decode(ids: ArrayLike<number>): string;
  toJSON(): TokenizerSpec;
}

function isSurrogate(codePoint: number): boolean {
  return codePoint >= 0xd800 && codePoint <= 0xdfff;
}

/** `"é" (U+00E9)`; control characters are escaped. */
function describeCharacter(codePoint: number): string {
  const hex = codePoint.toString(16).toUpperCase().padStart(4, "0");
  return `${JSON.stringify(String.fromCodePoint(codePoint))} (U+${hex})`;
}

/** The line and column of `index` in the text, counted from 1 as in editors. */
function describePosition(text: string, index: number): string {
  const before = text.slice(0, index);
  const line = before.split("\n").length;
  const column = Array.from(before.slice(before.lastIndexOf("\n") + 1)).length + 1;
  return `line ${line}, column ${column}`;
}

function checkId(id: number | undefined, index: number, vocabSize: number): void {
  if (!Number.isInteger(id) || id! < 0 || id! >= vocabSize) {
    throw new RangeError(
      `Cannot decode: id ${id} at position ${index} is not in the vocabulary; ids are integers from 0 to ${vocabSize - 1}.`,
    );
  }
}

/**
 * The character tokenizer of nanoGPT's shakespeare_char: the vocabulary is the sorted set of the text's characters
 * (Unicode code points), and a character's id is its position in it.
 * @throws {RangeError} if the text is empty or has half of a surrogate pair
 * @example
 * charTokenizer("hello").encode("hole"); // Uint32Array [1, 3, 2, 0]: the vocabulary is "ehlo"
 */
export function charTokenizer(text: string): Tokenizer {
  if (text.length === 0) {
    throw new RangeError("Cannot build a character tokenizer: the text is empty; give the text to learn from.");
  }
  const seen = new Set<number>();
  for (let index = 0; index < text.length; index++) {
    const codePoint = text.codePointAt(index)!;
    if (codePoint > 0xffff) index++;
    seen.add(codePoint);
  }
  return fromCodePoints(Int32Array.from(seen).sort());
}

/** The tokenizer of distinct code points, given by id. */
function fromCodePoints(codePoints: Int32Array): Tokenizer {
  const broken = codePoints.find(isSurrogate);
  if (broken !== undefined) {
    throw new RangeError(
      `Cannot build a character tokenizer: the text has half of a surrogate pair, U+${broken.toString(16).toUpperCase()}; read it as UTF-8.`,
    );
  }
  const vocabSize = codePoints.length;
  const idOf = new Int32Array(codePoints.reduce((largest, codePoint) => Math.max(largest, codePoint)) + 1).fill(-1);
  for (let id = 0; id < vocabSize; id++) idOf[codePoints[id]!] = id;
  const characters = Array.from(codePoints, (codePoint) => String.fromCodePoint(codePoint));

  return {
    kind: "char",
    vocabSize,
    encode(text) {
      const ids = new Uint32Array(text.length);
      let count = 0;
      for (let index = 0; index < text.length; index++) {
        let codePoint = text.charCodeAt(index);
        if (isSurrogate(codePoint)) codePoint = text.codePointAt(index)!;
        const id = codePoint < idOf.length ? idOf[codePoint]! : -1;
        if (id < 0) {
          throw new RangeError(
            `Cannot encode the text: the character ${describeCharacter(codePoint)} at ${describePosition(text, index)} is not in the vocabulary of ${vocabSize} characters; remove it, or prepare a dataset that has it.`,
          );
        }
        ids[count++] = id;
        if (codePoint > 0xffff) index++;
      }
      return count === ids.length ? ids : ids.slice(0, count);
    },
    encodeBytes(bytes) {
      return this.encode(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes));
    },
    decode(ids) {
      // Joined in pieces, since a string made of millions of single characters is slow to read afterwards.
      const pieces: string[] = [];
      let piece: string[] = [];
      for (let index = 0; index < ids.length; index++) {
        checkId(ids[index], index, vocabSize);
        piece.push(characters[ids[index]!]!);
        if (piece.length === 65_536) {
          pieces.push(piece.join(""));
          piece = [];
        }
      }
      pieces.push(piece.join(""));
      return pieces.join("");
    },
    toJSON: () => ({ kind: "char", characters: characters.join("") }),
  };
}

let gpt2Pairs: BytePairs | undefined; // the tables take 0.2 s: built once, when first used

/**
 * GPT-2's byte-pair encoding (Radford 2019), 50,257 ids: tiktoken's `encode_ordinary`, which encodes `<|endoftext|>` as
 * ordinary text, not as the id 50256. Ids that end inside a UTF-8 sequence decode to U+FFFD, and so does half a
 * surrogate pair.
 * @example
 * gpt2Tokenizer().encode("hello world"); // Uint32Array [31373, 995]
 */
export function gpt2Tokenizer(): Tokenizer {
  gpt2Pairs ??= bytePairsOfRanks(gpt2Ranks);
  return bytePairTokenizer(gpt2Pairs, { kind: "gpt2" });
}

/**
 * A learned byte-pair encoding: the ids are the 256 bytes, the merges in their order, and the end of text.
 * @param merges left and right ids one after another, as `trainBytePairs` returns them
 * @throws {RangeError} if they are not valid merges: see `bytePairsOfMerges`
 * @example
 * bpeTokenizer([108, 111]).encode("low"); // Uint32Array [256, 119]: "lo" is one id
 */
export function bpeTokenizer(merges: ArrayLike<number>): Tokenizer {
  return bytePairTokenizer(bytePairsOfMerges(merges), { kind: "bpe", merges: Array.from(merges).join(" ") });
}

function bytePairTokenizer(pairs: BytePairs, spec: TokenizerSpec & { kind: "gpt2" | "bpe" }): Tokenizer {
  const { vocabSize } = pairs;
  let encoder: ByteEncoder | undefined; // takes a few megabytes; a tokenizer that only decodes needs none
  const encodeBytes = (bytes: Uint8Array): Uint16Array => {
    encoder ??= byteEncoder(pairs);
    return encoder(bytes);
  };
  return {
    kind: spec.kind,
    vocabSize,
    endOfText: vocabSize - 1,
    encode(text, { special = false } = {}) {
      const ordinary = (part: string) => Uint32Array.from(encodeBytes(new TextEncoder().encode(part)));
      if (!special || !text.includes(END_OF_TEXT)) return ordinary(text);
      const parts = text.split(END_OF_TEXT).map(ordinary);
      return Uint32Array.from(parts.flatMap((ids, at) => (at > 0 ? [vocabSize - 1, ...ids] : [...ids])));
    },
    encodeBytes,
    decode(ids) {
      for (let index = 0; index < ids.length; index++) checkId(ids[index], index, vocabSize);
      return new TextDecoder("utf-8", { ignoreBOM: true }).decode(decodeBytes(pairs, ids));
    },
    toJSON: () => spec,
  };
}

/**
 * The tokenizer of a specification, as stored in a dataset's meta.json or a checkpoint. The specification comes from a
 * file and is checked.
 * @throws {TypeError} if `spec` is not a specification
 * @throws {RangeError} if its characters are empty or repeated, or its merges are invalid
 * @example
 * tokenizerFromSpec({ kind: "char", characters: "ehlo" }).decode([1, 0, 2, 2, 3]); // "hello"
 */
export function tokenizerFromSpec(spec: unknown): Tokenizer {
  const { kind, characters, merges } = (typeof spec === "object" && spec !== null ? spec : {}) as Record<
    string,
    unknown
  >;
  if (kind === "gpt2") return gpt2Tokenizer();
  if (kind === "bpe") return bpeTokenizer(mergesOf(merges));
  if (kind === "none") return idTokenizer((spec as { vocabSize?: unknown }).vocabSize);
  if (kind === "huggingface") return huggingFaceTokenizer(spec as Record<keyof HuggingFaceSpec, unknown>);
  if (kind !== "char") {
    throw new TypeError(
      `Cannot build a tokenizer: its kind is ${JSON.stringify(kind)?.slice(0, 60)}; this version knows "char", "gpt2", "bpe", "huggingface" and "none".`,
    );
  }
  if (typeof characters !== "string") {
    throw new TypeError(
      `Cannot build a character tokenizer: "characters" is ${characters === null ? "null" : typeof characters}; it must be a string that has each character once.`,
    );
  }
  if (characters === "") {
    throw new RangeError(
      'Cannot build a character tokenizer: "characters" is empty; the vocabulary needs at least one.',
    );
  }
  return characterTokenizer(Array.from(characters));
}

/**
 * Whether the ids of two tokenizers mean the same. The tokens that a tokenizer.json adds around a text, and the use of
 * its special tokens, are ignored.
 */
export function sameTokenizer(a: TokenizerSpec, b: TokenizerSpec): boolean {
  const deciding = (spec: TokenizerSpec) => (spec.kind === "huggingface" ? spec.json : JSON.stringify(spec));
  return a.kind === b.kind && deciding(a) === deciding(b);
}

/** The tokenizer of a tokenizer.json. */
function huggingFaceTokenizer({ json, postProcessor, special }: Record<keyof HuggingFaceSpec, unknown>): Tokenizer {
  const isText = (value: unknown) => typeof value === "string";
  const uses = typeof special === "object" && special !== null ? Object.values(special) : [];
  if (!isText(json) || !(postProcessor === undefined || isText(postProcessor)) || !uses.every(isText)) {
    throw new TypeError('Cannot build a Hugging Face tokenizer: "json" is not text; prepare the dataset again.');
  }
  const spec = { kind: "huggingface", json, postProcessor, special } as HuggingFaceSpec;
  let opened: ReturnType<typeof openTokenizerJson>;
  try {
    opened = openTokenizerJson(parseTokenizerJson(JSON.parse(spec.json)));
  } catch (error) {
    throw new RangeError(`Cannot build a Hugging Face tokenizer: ${(error as Error).message}.`, { cause: error });
  }
  const { vocabSize, encode, idOf } = opened;
  return {
    kind: "huggingface",
    vocabSize,
    endOfText: idOf(spec.special?.eos_token ?? END_OF_TEXT),
    encode: (text, { special = false } = {}) => encode(text, special),
    encodeBytes: (bytes) => encode(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes), false),
    decode(ids) {
      for (let index = 0; index < ids.length; index++) checkId(ids[index], index, vocabSize);
      return opened.decode(Array.from(ids));
    },
    toJSON: () => spec,
  };
}

/** A tokenizer for ids without text: they are written and read as numbers separated by spaces. */
export function idTokenizer(vocabSize: unknown): Tokenizer {
  if (!Number.isSafeInteger(vocabSize) || (vocabSize as number) < 1) {
    throw new RangeError(`Cannot build a tokenizer for bare ids: its vocabSize is ${vocabSize}; wanted 1 or more.`);
  }
  const size = vocabSize as number;
  const encode = (text: string) => {
    const words = text.split(/[\s,]+/).filter(Boolean);
    const wrong = words.find((word) => !/^\d+$/.test(word) || Number(word) >= size);
    if (wrong !== undefined) {
      throw new RangeError(
        `Cannot encode ${JSON.stringify(wrong.slice(0, 40))}: this model has no tokenizer; give ids from 0 to ${size - 1}, separated by spaces.`,
      );
    }
    return Uint32Array.from(words, Number);
  };
  return {
    kind: "none",
    vocabSize: size,
    encode,
    encodeBytes: (bytes) => encode(new TextDecoder().decode(bytes)),
    decode(ids) {
      for (let index = 0; index < ids.length; index++) checkId(ids[index], index, size);
      return Array.from(ids).join(" ");
    },
    toJSON: () => ({ kind: "none", vocabSize: size }),
  };
}

/**
 * A character tokenizer whose ids are the characters' positions in a list, sorted or in the order of nanoGPT's
 * meta.pkl.
 * @throws {RangeError} if one is repeated, or is not one character
 */
export function characterTokenizer(characters: readonly string[]): Tokenizer {
  const seen = new Set<string>();
  for (const character of characters) {
    const codePoint = character.codePointAt(0);
    if (codePoint === undefined || String.fromCodePoint(codePoint) !== character) {
      throw new RangeError(
        `Cannot build a character tokenizer: ${JSON.stringify(character)} is not one character; each id stands for one.`,
      );
    }
    if (seen.has(character)) {
      throw new RangeError(
        `Cannot build a character tokenizer: ${describeCharacter(codePoint)} is repeated; "characters" must have each one once.`,
      );
    }
    seen.add(character);
  }
  return fromCodePoints(Int32Array.from(characters, (character) => character.codePointAt(0)!));
}

function mergesOf(merges: unknown): number[] {
  // A limit against malicious files; 65,279 merges of two numbers of up to five digits fit.
  if (typeof merges !== "string" || merges.length > 800_000 || !/^(\d+( \d+)*)?$/.test(merges)) {
    throw new TypeError(
      'Cannot build a byte-pair tokenizer: "merges" is not a string of ids separated by single spaces; prepare the dataset again.',
    );
  }
  return merges === "" ? [] : merges.split(" ").map(Number);
}
