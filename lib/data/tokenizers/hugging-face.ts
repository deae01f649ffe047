/**
 * Makes a tokenizer's files for Hugging Face's `tokenizers`: tokenizer.json, and for byte-pair encodings vocab.json and
 * merges.txt. read-hugging-face.ts reads them. Shown in notebooks/05-gpt2.
 */
import gpt2Ranks from "js-tiktoken/ranks/gpt2";
import { END_OF_TEXT } from "./byte-pairs.js";
import type { HuggingFaceSpec, TokenizerSpec } from "./tokenizer.js";
import type { TokenizerJson } from "./tokenizer-json.js";

export interface TokenizerFiles {
  /** Content by name; objects are JSON. */
  readonly files: Readonly<Record<string, string | object>>;
  /** The end-of-text id, if there is one. */
  readonly endOfText: number | undefined;
}

/** The files of a tokenizer; none if the tokenizer is unknown. */
export function tokenizerFiles(spec: TokenizerSpec | undefined): TokenizerFiles {
  if (!spec || spec.kind === "none") return { files: {}, endOfText: undefined };
  if (spec.kind === "char") return characterFiles(spec.characters);
  if (spec.kind === "huggingface") return filesAsTheyWere(spec);
  return bytePairFiles(spec.kind === "gpt2" ? gpt2Pairs() : ownPairs(spec.merges));
}

/** A byte-pair encoding: tokens by id, and the merges in their order; bytes as GPT-2's files spell them. */
export interface BytePairList {
  readonly tokens: readonly string[];
  readonly merges: readonly (readonly [string, string])[];
}

/**
 * The files of a character tokenizer: a byte-pair encoding of whole characters without merges. `tokenizers` drops a
 * character that is not in the vocabulary, since there is no unknown token.
 */
function characterFiles(characters: string): TokenizerFiles {
  const vocab = Object.fromEntries(Array.from(characters, (character, id) => [character, id]));
  const model = {
    type: "BPE",
    dropout: null,
    unk_token: null,
    fuse_unk: false,
    byte_fallback: false,
    vocab,
    merges: [],
  };
  const json = { ...tokenizerJson, added_tokens: [], decoder: { type: "Fuse" }, model };
  return {
    files: {
      "tokenizer.json": json,
      "tokenizer_config.json": { tokenizer_class: "PreTrainedTokenizerFast", ...asItIs },
    },
    endOfText: undefined,
  };
}

/** The tokenizer files of a Hugging Face folder, saved again. */
function filesAsTheyWere({ json, postProcessor, special = {} }: HuggingFaceSpec): TokenizerFiles {
  const { added_tokens, normalizer, pre_tokenizer, decoder, model } = JSON.parse(json) as TokenizerJson;
  const post_processor = postProcessor === undefined ? null : (JSON.parse(postProcessor) as object);
  const own = { added_tokens, normalizer, pre_tokenizer, post_processor, decoder, model };
  const end = added_tokens?.find(({ content }) => content === (special.eos_token ?? END_OF_TEXT));
  return {
    files: {
      "tokenizer.json": { ...tokenizerJson, ...own },
      "tokenizer_config.json": { tokenizer_class: "PreTrainedTokenizerFast", ...special, ...asItIs },
      "special_tokens_map.json": special,
    },
    endOfText: end?.id,
  };
}

/** Decoded text is left unchanged: no spaces are removed before punctuation. */
const asItIs = { clean_up_tokenization_spaces: false };
const tokenizerJson = {
  version: "1.0",
  truncation: null,
  padding: null,
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
};

function bytePairFiles({ tokens, merges }: BytePairList): TokenizerFiles {
  const endOfText = tokens.length;
  const vocab = Object.fromEntries([...tokens, END_OF_TEXT].map((token, id) => [token, id]));
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const added = { id: endOfText, content: END_OF_TEXT, special: true };
  const json = {
    ...tokenizerJson,
    added_tokens: [{ ...added, single_word: false, lstrip: false, rstrip: false, normalized: true }],
    pre_tokenizer: byteLevel,
    decoder: byteLevel,
    model: { type: "BPE", dropout: null, unk_token: null, fuse_unk: false, byte_fallback: false, vocab, merges },
  };
  const special = { bos_token: END_OF_TEXT, eos_token: END_OF_TEXT, unk_token: END_OF_TEXT };
  return {
    files: {
      "tokenizer.json": json,
      "tokenizer_config.json": { tokenizer_class: "GPT2Tokenizer", add_prefix_space: false, ...special, ...asItIs },
      "special_tokens_map.json": special,
      "vocab.json": JSON.stringify(vocab),
      "merges.txt": `#version: 0.2\n${merges.map((pair) => pair.join(" ")).join("\n")}\n`,
    },
    endOfText,
  };
}

/** GPT-2's spelling of a byte: itself if it is printable, else a character from U+0100 on. */
export const spelledByte: readonly string[] = (() => {
  const prints = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let unprinted = 0;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(prints(byte) ? byte : 256 + unprinted++));
})();

const spelled = (bytes: Uint8Array): string => Array.from(bytes, (byte) => spelledByte[byte]!).join("");

/** The tables of a learned vocabulary: the bytes, then the results of the merges; see `bpeTokenizer`. */
export function ownPairs(text: string): BytePairList {
  const ids = text.split(" ").filter(Boolean).map(Number);
  const tokens = [...spelledByte];
  const known = new Set(tokens);
  const merges: [string, string][] = [];
  for (let i = 0; i + 1 < ids.length; i += 2) {
    const pair: [string, string] = [tokens[ids[i]!]!, tokens[ids[i + 1]!]!];
    merges.push(pair);
    const token = pair.join("");
    if (!known.has(token)) tokens.push(token);
    known.add(token);
  }
  return { tokens, merges };
}

let gpt2List: BytePairList | undefined; // takes a second: made once, when first used

/** GPT-2's tables. */
export function gpt2Pairs(): BytePairList {
  gpt2List ??= pairsOfRanks();
  return gpt2List;
}

/** GPT-2's tables from tiktoken's list of tokens by rank. */
function pairsOfRanks(): BytePairList {
  const tokens: string[] = [];
  for (const line of gpt2Ranks.bpe_ranks.split("\n").filter(Boolean)) {
    const [, first, ...encoded] = line.split(" ");
    encoded.forEach((token, i) => {
      tokens[Number(first) + i] = spelled(Buffer.from(token, "base64"));
    });
  }
  const rankOf = new Map(tokens.map((token, rank) => [token, rank]));
  return { tokens, merges: tokens.slice(256).map((token, i) => halves(token, rankOf, 256 + i)) };
}

/** The two tokens that merge into `token`: what is left of it when only pairs of lower rank are merged. */
function halves(token: string, rankOf: ReadonlyMap<string, number>, limit: number): [string, string] {
  let parts = Array.from(token);
  while (parts.length > 2) {
    const ranks = parts.slice(1).map((part, i) => rankOf.get(parts[i]! + part) ?? Infinity);
    const lowest = ranks.reduce((best, rank, i) => (rank < ranks[best]! ? i : best), 0);
    if (ranks[lowest]! >= limit) throw new Error(`The token ${JSON.stringify(token)} is not a merge of two others.`);
    parts = [...parts.slice(0, lowest), parts[lowest]! + parts[lowest + 1]!, ...parts.slice(lowest + 2)];
  }
  return parts as [string, string];
}
