/**
 * Text ↔ ids. A tokenizer is a plain record of functions, and its specification (`toJSON()`) is all that a token file
 * or a checkpoint needs to build it again. Here are nanoGPT's two: one id a character, and GPT-2's byte-pair encoding.
 * What this file is not: it reads no files and makes no batches (see data.ts). Notebook 01-train shows it.
 */
import { Tiktoken } from "js-tiktoken/lite";
import gpt2Ranks from "js-tiktoken/ranks/gpt2";

/** What builds a tokenizer again: plain JSON. */
export type TokenizerSpec = { kind: "char"; characters: string } | { kind: "gpt2" };

/** Text ↔ ids in [0, vocabSize). */
export interface Tokenizer {
  readonly kind: "char" | "gpt2" | "bpe";
  readonly vocabSize: number;
  /** @throws {RangeError} if the text holds a character that the vocabulary lacks, naming it and where it stands */
  encode(text: string): Uint32Array;
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

/** Where `index` stands in the text, counted from 1 as editors do. */
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
 * (Unicode code points), and a character's id is its rank there.
 * @throws {RangeError} if the text is empty or holds half of a surrogate pair
 * @example
 * charTokenizer("hello").encode("hole"); // Uint32Array [1, 3, 2, 0]: the vocabulary is "ehlo"
 */
export function charTokenizer(text: string): Tokenizer {
  if (text.length === 0) {
    throw new RangeError("Cannot build a character tokenizer: the text is empty; give it the text to learn from.");
  }
  const seen = new Set<number>();
  for (let index = 0; index < text.length; index++) {
    const codePoint = text.codePointAt(index)!;
    if (codePoint > 0xffff) index++;
    seen.add(codePoint);
  }
  return fromCodePoints(Int32Array.from(seen).sort());
}

/** Sorted, distinct code points → tokenizer. */
function fromCodePoints(codePoints: Int32Array): Tokenizer {
  const broken = codePoints.find(isSurrogate);
  if (broken !== undefined) {
    throw new RangeError(
      `Cannot build a character tokenizer: the text holds half of a surrogate pair, U+${broken.toString(16).toUpperCase()}; read it as UTF-8.`,
    );
  }
  const vocabSize = codePoints.length;
  const idOf = new Int32Array(codePoints[vocabSize - 1]! + 1).fill(-1);
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
            `Cannot encode the text: the character ${describeCharacter(codePoint)} at ${describePosition(text, index)} is not in the vocabulary of ${vocabSize} characters; remove it, or prepare a dataset that holds it.`,
          );
        }
        ids[count++] = id;
        if (codePoint > 0xffff) index++;
      }
      return count === ids.length ? ids : ids.slice(0, count);
    },
    decode(ids) {
      // Joined in pieces: one string of millions of single-character joins is slow to read afterwards.
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

let gpt2Encoder: Tiktoken | undefined; // its tables take 0.1 s to build: once, when first used

/**
 * GPT-2's byte-pair encoding (Radford 2019), 50,257 ids, by js-tiktoken. `encode` is tiktoken's `encode_ordinary`: the
 * text `<|endoftext|>` is text, not the special id 50256. Ids that end within a UTF-8 sequence decode to U+FFFD.
 * @example
 * gpt2Tokenizer().encode("hello world"); // Uint32Array [31373, 995]
 */
export function gpt2Tokenizer(): Tokenizer {
  const vocabSize = 50_257;
  gpt2Encoder ??= new Tiktoken(gpt2Ranks);
  const encoder = gpt2Encoder;
  return {
    kind: "gpt2",
    vocabSize,
    encode: (text) => Uint32Array.from(encoder.encode(text, [], [])),
    decode(ids) {
      const list = Array.from(ids);
      list.forEach((id, index) => {
        checkId(id, index, vocabSize);
      });
      return encoder.decode(list);
    },
    toJSON: () => ({ kind: "gpt2" }),
  };
}

/**
 * The tokenizer of a specification, as stored in a dataset's meta.json or a checkpoint. The input is data from a file:
 * it is checked.
 * @throws {TypeError} if `spec` is not a specification
 * @throws {RangeError} if its characters are empty, repeated or not sorted
 * @example
 * tokenizerFromSpec({ kind: "char", characters: "ehlo" }).decode([1, 0, 2, 2, 3]); // "hello"
 */
export function tokenizerFromSpec(spec: unknown): Tokenizer {
  const { kind, characters } = (typeof spec === "object" && spec !== null ? spec : {}) as Record<string, unknown>;
  if (kind === "gpt2") return gpt2Tokenizer();
  if (kind !== "char") {
    throw new TypeError(
      `Cannot build a tokenizer: its kind is ${JSON.stringify(kind)}; this version knows "char" and "gpt2".`,
    );
  }
  if (typeof characters !== "string") {
    throw new TypeError(
      `Cannot build a character tokenizer: "characters" is ${characters === null ? "null" : typeof characters}; it must be a string that holds each character once.`,
    );
  }
  const codePoints = Int32Array.from(characters, (character) => character.codePointAt(0)!);
  if (codePoints.length === 0) {
    throw new RangeError('Cannot build a character tokenizer: "characters" is empty; the vocabulary needs one.');
  }
  for (let id = 1; id < codePoints.length; id++) {
    if (codePoints[id]! <= codePoints[id - 1]!) {
      throw new RangeError(
        `Cannot build a character tokenizer: ${describeCharacter(codePoints[id]!)} is repeated or out of order; "characters" holds each one once, sorted by code point.`,
      );
    }
  }
  return fromCodePoints(codePoints);
}
