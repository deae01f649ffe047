/**
 * Reads the tokenizer of a Hugging Face folder: tokenizer.json, or vocab.json and merges.txt. Their content is compared
 * with GPT-2's and with the files that Folio's own tokenizers write, so a model that was exported here and saved again
 * by transformers keeps its tokenizer. hugging-face.ts writes the files.
 */
import fs from "node:fs";
import path from "node:path";
import { readRegularText, reasonOf } from "../../host/regular-file.js";
import { END_OF_TEXT } from "./byte-pairs.js";
import { type BytePairList, gpt2Pairs, ownPairs, spelledByte } from "./hugging-face.js";
import { type TokenizerSpec, tokenizerFromSpec } from "./tokenizer.js";
import { openTokenizerJson, parseTokenizerJson, type TokenizerJson } from "./tokenizer-json.js";

const MAX_BYTES = 128 * 2 ** 20;

/** Files of tokenizers of other libraries, which cannot be read here. */
const foreign = ["spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "vocab.txt", "vocab.json"];

/** The tokenizer of a folder. */
export interface FolderTokenizer {
  readonly spec?: TokenizerSpec;
  /** A tokenizer file that cannot be read here. */
  readonly unread?: string;
}

/**
 * The tokenizer of a folder; neither field is set if it has no tokenizer file.
 * @throws {RangeError} if a file is damaged, or describes something that @huggingface/tokenizers does not support
 */
export function readFolderTokenizer(folder: string): FolderTokenizer {
  const at = (name: string) => path.join(folder, name);
  const has = (name: string) => fs.existsSync(at(name));
  if (has("tokenizer.json")) {
    return { spec: specOf(readJson(at("tokenizer.json")), specialTokens(folder), at("tokenizer.json")) };
  }
  if (has("vocab.json") && has("merges.txt")) {
    return { spec: specOf(jsonOfTables(folder), specialTokens(folder), at("vocab.json")) };
  }
  if (has("folio.json")) {
    const { tokenizer } = (readJson(at("folio.json")) ?? {}) as { tokenizer?: unknown };
    if (tokenizer !== undefined) return { spec: tokenizerFromSpec(tokenizer).toJSON() };
  }
  const unread = foreign.find(has);
  return unread === undefined ? {} : { unread };
}

function readText(file: string): string {
  try {
    return readRegularText(file, MAX_BYTES).replace(/^\uFEFF/, "");
  } catch (error) {
    throw new RangeError(`Cannot read ${file}: ${reasonOf(error)}; save the tokenizer again.`, { cause: error });
  }
}

function readJson(file: string): unknown {
  const text = readText(file);
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new RangeError(`Cannot read ${file}: it is not JSON; save the tokenizer again.`, { cause: error });
  }
}

/** The tokenizer.json that transformers would make from GPT-2's older files. */
function jsonOfTables(folder: string): object {
  const at = (name: string) => path.join(folder, name);
  const vocab = readJson(at("vocab.json")) as Record<string, number>;
  const lines = readText(at("merges.txt")).split(/\r?\n/);
  const merges = lines.filter((line) => line !== "" && !line.startsWith("#version"));
  const added = fs.existsSync(at("added_tokens.json")) ? (readJson(at("added_tokens.json")) as object) : {};
  const special = Object.values(specialTokens(folder));
  const contents = new Map(Object.entries({ ...added }));
  for (const content of [...special, END_OF_TEXT])
    if (Object.hasOwn(vocab, content)) contents.set(content, vocab[content]);
  const config = fs.existsSync(at("tokenizer_config.json")) ? readJson(at("tokenizer_config.json")) : {};
  const { add_prefix_space = false } = (config ?? {}) as { add_prefix_space?: boolean };
  const byteLevel = { type: "ByteLevel", add_prefix_space, trim_offsets: true, use_regex: true };
  return {
    added_tokens: [...contents].map(([content, id]) => ({
      ...{ id, content, special: special.includes(content) || content === END_OF_TEXT },
    })),
    pre_tokenizer: byteLevel,
    decoder: byteLevel,
    model: { type: "BPE", vocab, merges },
  };
}

/** `eos_token` and the other special tokens, from the files that may have them. */
function specialTokens(folder: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of ["tokenizer_config.json", "special_tokens_map.json"]) {
    const file = path.join(folder, name);
    if (!fs.existsSync(file)) continue;
    for (const [key, value] of Object.entries((readJson(file) ?? {}) as object)) {
      if (!/^(bos|eos|unk|sep|pad|cls|mask)_token$/.test(key)) continue;
      const content: unknown =
        typeof value === "object" && value !== null ? (value as { content?: unknown }).content : value;
      if (typeof content === "string") found[key] = content;
    }
  }
  return Object.fromEntries(Object.entries(found).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function specOf(value: unknown, special: Readonly<Record<string, string>>, file: string): TokenizerSpec {
  try {
    const json = parseTokenizerJson(value);
    const known = knownTokenizer(json);
    if (known) return known;
    openTokenizerJson(json);
    const { post_processor, ...deciding } = json;
    return {
      kind: "huggingface",
      json: JSON.stringify(deciding),
      ...(post_processor && { postProcessor: JSON.stringify(post_processor) }),
      ...(Object.keys(special).length > 0 && { special }),
    };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new RangeError(`Cannot read ${file}: ${error.message}; save the tokenizer again.`, { cause: error });
  }
}

/** GPT-2's tokenizer, or one that Folio made, if tokens, merges and processing steps are the same. */
function knownTokenizer(json: TokenizerJson): TokenizerSpec | undefined {
  const { model, normalizer } = json;
  if (model.type !== "BPE" || normalizer || !isPlain(model)) return undefined;
  return characters(json) ?? bytePairs(json);
}

/** A byte-pair encoding without the options that change what it merges. */
function isPlain(model: Readonly<Record<string, unknown>>): boolean {
  const options = [
    "dropout",
    "unk_token",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "byte_fallback",
    "ignore_merges",
  ];
  return options.every((name) => !model[name]);
}

/** The tokens in the order of their ids, if these are 0, 1, 2, … */
function tokensInOrder(vocab: Readonly<Record<string, number>>): string[] | undefined {
  const tokens = Object.entries(vocab).sort(([, a], [, b]) => a - b);
  return tokens.every(([, id], at) => id === at) ? tokens.map(([token]) => token) : undefined;
}

function characters({ model, added_tokens, pre_tokenizer, decoder }: TokenizerJson): TokenizerSpec | undefined {
  const { vocab, merges } = model as { vocab: Record<string, number>; merges: unknown[] };
  if (merges.length > 0 || pre_tokenizer || decoder?.type !== "Fuse" || added_tokens?.length !== 0) return undefined;
  const tokens = tokensInOrder(vocab);
  const single = tokens?.every((token) => token === String.fromCodePoint(token.codePointAt(0) ?? 0));
  return tokens && single && tokens.length > 0 ? { kind: "char", characters: tokens.join("") } : undefined;
}

function bytePairs(json: TokenizerJson): TokenizerSpec | undefined {
  const { model, added_tokens, pre_tokenizer, decoder } = json;
  const { vocab, merges } = model as { vocab: Record<string, number>; merges: [string, string][] };
  const [added, ...others] = added_tokens ?? [];
  const split =
    pre_tokenizer?.type === "ByteLevel" && !pre_tokenizer.add_prefix_space && pre_tokenizer.use_regex !== false;
  if (!split || decoder?.type !== "ByteLevel" || added?.content !== END_OF_TEXT || others.length > 0) return undefined;
  const tokens = tokensInOrder({ ...vocab, [END_OF_TEXT]: added.id });
  if (tokens?.at(-1) !== END_OF_TEXT) return undefined;
  const found: BytePairList = { tokens: tokens.slice(0, -1), merges };
  if (found.tokens.length === 50_256 && isSame(found, gpt2Pairs())) return { kind: "gpt2" };
  if (!spelledByte.every((byte, id) => tokens[id] === byte)) return undefined;
  const idOf = new Map(found.tokens.map((token, id) => [token, id]));
  const ids = merges.flat().map((token) => idOf.get(token));
  if (ids.includes(undefined)) return undefined;
  const spec: TokenizerSpec = { kind: "bpe", merges: ids.join(" ") };
  return isSame(found, ownPairs(spec.merges)) ? spec : undefined;
}

function isSame(a: BytePairList, b: BytePairList): boolean {
  const samePair = ([left, right]: readonly [string, string], at: number) => {
    const other = b.merges[at];
    return left === other?.[0] && right === other[1];
  };
  return (
    a.tokens.length === b.tokens.length &&
    a.merges.length === b.merges.length &&
    a.tokens.every((token, id) => token === b.tokens[id]) &&
    a.merges.every(samePair)
  );
}
