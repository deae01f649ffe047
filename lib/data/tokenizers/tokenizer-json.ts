/**
 * Checks a Hugging Face tokenizer.json, brings it into a fixed order so that two of them can be compared by content,
 * and builds its tokenizer with @huggingface/tokenizers. read-hugging-face.ts finds the files of a folder. Shown in
 * notebook 05-gpt2.
 */
import { Tokenizer as Library } from "@huggingface/tokenizers";
import * as z from "zod";

const id = z.int().min(0).lt(4_000_000); // a limit against malicious files
const addedToken = z.object({
  id,
  content: z.string().min(1),
  single_word: z.boolean().default(false),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
  normalized: z.boolean().default(true),
  special: z.boolean().default(false),
});
const merge = z.union([z.tuple([z.string(), z.string()]), z.string()]);
const vocabulary = z.record(z.string(), id);
const model = z.union([
  z.looseObject({ type: z.literal("BPE").default("BPE"), vocab: vocabulary, merges: z.array(merge) }),
  z.looseObject({ type: z.enum(["WordPiece", "WordLevel"]), vocab: vocabulary }),
  z.looseObject({ type: z.literal("Unigram").default("Unigram"), vocab: z.array(z.tuple([z.string(), z.number()])) }),
]);
const step = z.looseObject({ type: z.string() }).nullish();
const tokenizerJson = z.object({
  added_tokens: z.array(addedToken).nullish(),
  normalizer: step,
  pre_tokenizer: step,
  post_processor: step,
  decoder: step,
  model,
});

export type TokenizerJson = z.infer<typeof tokenizerJson>;
export type AddedToken = z.infer<typeof addedToken>;

/**
 * The parts of a tokenizer.json that determine a text's ids, always in the same order: tokens by their ids, merges as
 * pairs. Two equivalent files are then equal as JSON. The tokens added before and after a text (`post_processor`) are
 * kept unchanged.
 * @throws {RangeError} if it has another form; the message is a clause: "it has …"
 */
export function parseTokenizerJson(value: unknown): TokenizerJson {
  const parsed = tokenizerJson.safeParse(value);
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!;
    throw new RangeError(`it is not a tokenizer.json (${path.join(".") || "the whole"}: ${message})`);
  }
  const { added_tokens, normalizer, pre_tokenizer, post_processor, decoder, model } = parsed.data;
  const byId = (added_tokens ?? []).toSorted((a, b) => a.id - b.id);
  return {
    added_tokens: byId,
    normalizer: normalizer ?? null,
    pre_tokenizer: pre_tokenizer ?? null,
    post_processor: post_processor ?? null,
    decoder: decoder ?? null,
    model: sortedModel(model),
  };
}

function sortedModel(model: TokenizerJson["model"]): TokenizerJson["model"] {
  if (model.type === "Unigram") return model as TokenizerJson["model"];
  const vocab = Object.fromEntries(
    Object.entries(model.vocab as Record<string, number>).toSorted(([, a], [, b]) => a - b),
  );
  if (model.type !== "BPE") return { ...model, vocab } as TokenizerJson["model"];
  const merges = (model.merges as z.infer<typeof merge>[]).map((pair): [string, string] => {
    if (typeof pair !== "string") return pair;
    const at = pair.indexOf(" ");
    return [pair.slice(0, at), pair.slice(at + 1)];
  });
  return { ...model, vocab, merges } as TokenizerJson["model"];
}

/** A tokenizer built by @huggingface/tokenizers from a tokenizer.json. */
export interface JsonTokenizer {
  /** All ids are below it. */
  readonly vocabSize: number;
  /** The id of a token by its exact text. */
  idOf(token: string): number | undefined;
  /** @param special whether the names of special tokens stand for their ids; otherwise they are ordinary text */
  encode(text: string, special: boolean): Uint32Array;
  /** @param ids below vocabSize; ids without a token are skipped */
  decode(ids: readonly number[]): string;
}

/**
 * Builds the tokenizer of a parsed tokenizer.json.
 * @throws {RangeError} if it names parts that the library does not support; the message is a clause
 */
export function openTokenizerJson(json: TokenizerJson): JsonTokenizer {
  const added = json.added_tokens ?? [];
  const known = idsOf(json);
  const vocabSize = 1 + [...known.values()].reduce((largest, value) => Math.max(largest, value), -1);
  if (vocabSize === 0) throw new RangeError("it has no tokens");
  const whole = open(json, added);
  // A second tokenizer, for which the names of special tokens are ordinary text; built when a text is first encoded.
  let plain: Library | undefined;
  const plainOne = () => {
    plain ??= added.some(({ special }) => special)
      ? open(
          json,
          added.filter(({ special }) => !special),
        )
      : whole;
    return plain;
  };
  const taken = new Uint8Array(vocabSize);
  for (const value of known.values()) taken[value] = 1;
  return {
    vocabSize,
    idOf: (token) => known.get(token),
    encode(text, special) {
      const { ids } = (special ? whole : plainOne()).encode(text, { add_special_tokens: false });
      // The library leaves a hole for text without a token if the tokenizer has no unknown token.
      const absent = ids.findIndex((found: unknown) => !Number.isInteger(found));
      if (absent >= 0) throw new RangeError(`Cannot encode the text: its token ${absent} is not in the vocabulary.`);
      return Uint32Array.from(ids);
    },
    decode(ids) {
      const there = ids.filter((value) => taken[value] === 1);
      return there.length === 0 ? "" : whole.decode(there, { clean_up_tokenization_spaces: false });
    },
  };
}

function idsOf({ model, added_tokens }: TokenizerJson): Map<string, number> {
  const tokens: [string, number][] =
    model.type === "Unigram"
      ? (model.vocab as [string, number][]).map(([token], at) => [token, at])
      : Object.entries(model.vocab as Record<string, number>);
  return new Map([...tokens, ...(added_tokens ?? []).map(({ content, id }): [string, number] => [content, id])]);
}

function open(json: TokenizerJson, added: readonly AddedToken[]): Library {
  const { unk_token, eos_token } = json.model as { unk_token?: unknown; eos_token?: unknown };
  const config = {
    ...(typeof unk_token === "string" && { unk_token }),
    ...(typeof eos_token === "string" && { eos_token }),
  };
  try {
    return new Library({ ...json, added_tokens: added }, config);
  } catch (error) {
    throw new RangeError(`@huggingface/tokenizers cannot build it (${(error as Error).message})`, { cause: error });
  }
}
