/** What a model expects at one position, read from its logits: the likeliest tokens, and how likely the true one is. */
import type { Tokenizer } from "../../data/tokenizers/tokenizer.js";
import { type LookedAt, tokenizerOf, tokenText } from "../look.js";
import { likeliest, softmax } from "../probabilities.js";

/** A token that may come next. */
export interface Candidate {
  readonly id: number;
  readonly token: string;
  readonly probability: number;
}

/** The token that does come next. */
export interface TrueToken extends Candidate {
  /** 1: no token is likelier. */
  readonly rank: number;
  /** −ln probability, in nats. */
  readonly loss: number;
}

/** What is expected at one position. */
export interface Prediction {
  /** The likeliest tokens, the likeliest first. */
  readonly top: readonly Candidate[];
  /** Missing at the last position, where nothing comes next. */
  readonly next?: TrueToken;
}

/** Reads a prediction at each position from logits [T, V]. */
export function predictionsOf(
  logits: Float32Array,
  ids: readonly number[],
  { top, tokenizer }: { readonly top: number; readonly tokenizer: Tokenizer | undefined },
): Prediction[] {
  const V = logits.length / ids.length;
  return ids.map((_, position) => {
    const probabilities = softmax(logits.subarray(position * V, (position + 1) * V));
    const candidate = (id: number) => ({ id, token: tokenText(id, tokenizer), probability: probabilities[id]! });
    const likely = likeliest(probabilities, top).map(candidate);
    const id = ids[position + 1];
    if (id === undefined) return { top: likely };
    const p = probabilities[id]!;
    const rank = 1 + probabilities.reduce((above, other) => above + Number(other > p), 0);
    return { top: likely, next: { ...candidate(id), rank, loss: -Math.log(p) } };
  });
}

/** A logit, or a difference of two: which position, which token, and minus which. */
export interface LogitMetric {
  /** Where; the last position unless given. */
  readonly position?: number;
  /** An id, or a text that is one token. */
  readonly token: number | string;
  /** The token whose logit is subtracted. */
  readonly minus?: number | string;
}

/** A metric whose tokens are ids. */
export interface ChosenLogit {
  readonly position: number;
  readonly token: number;
  readonly minus: number | undefined;
}

/** @throws {RangeError} if there is no such position, or no such token */
export function chosenLogit({ position, token, minus }: LogitMetric, model: LookedAt, T: number): ChosenLogit {
  const where = position ?? T - 1;
  if (!(Number.isInteger(where) && where >= 0 && where < T))
    throw new RangeError(`Cannot measure a logit: there is no position ${where}; the text has 0 to ${T - 1}.`);
  return {
    position: where,
    token: tokenId(token, model),
    minus: minus === undefined ? undefined : tokenId(minus, model),
  };
}

function tokenId(token: number | string, model: LookedAt): number {
  const { vocabSize } = model.settings;
  if (typeof token === "number") {
    if (Number.isInteger(token) && token >= 0 && token < vocabSize) return token;
    throw new RangeError(`Cannot measure the logit of token ${token}: the model knows 0 to ${vocabSize - 1}.`);
  }
  const name = JSON.stringify(token);
  const tokenizer = tokenizerOf(model);
  if (!tokenizer)
    throw new RangeError(
      `Cannot measure the logit of ${name}: the model does not bring its tokenizer; give the token's id, or { ...model, tokenizer }.`,
    );
  const ids = [...tokenizer.encode(token)];
  if (ids.length === 1) return ids[0]!;
  const parts = ids.map((id) => JSON.stringify(tokenText(id, tokenizer))).join(", ");
  throw new RangeError(`Cannot measure the logit of ${name}: it is ${ids.length} tokens (${parts}); give one token.`);
}
