/** How well a model expected each token of a text. */
import type { Tokenizer } from "../../data/tokenizers/tokenizer.js";
import type { Edits } from "../../model/edits.js";
import { type Looked, type LookedAt, look, tokenizerOf } from "../look.js";
import { type Prediction, predictionsOf } from "./predictions.js";

/** What tokenLosses() gives. */
export interface TokenLosses {
  readonly ids: readonly number[];
  readonly tokens: readonly string[];
  readonly axes: readonly ["position"];
  /** −ln p of each token, given those before it, in nats; null for the first, which nothing predicts. */
  readonly losses: readonly (number | null)[];
  /** What the model expected in place of each token, with the token itself as `next`; null for the first. */
  readonly expected: readonly (Prediction | null)[];
  /** What the model expects after the text. */
  readonly after: Prediction;
  /** The mean of the losses, in nats per token. */
  readonly mean: number;
}

/**
 * `loss_t = −ln p(token_t | tokens before t)`. [T]
 * @param options.top how many alternatives to each token; default 5
 * @param options.edits values that are replaced in the pass, such as a head's: what does the text cost without it?
 * @throws {RangeError} for a text that does not fit the model, or is shorter than two tokens
 * @example
 * const { tokens, losses, expected } = await tokenLosses(openCheckpoint("out"), "ROMEO: my love");
 */
export async function tokenLosses(
  model: LookedAt,
  text: string | readonly number[],
  { top = 5, edits }: { readonly top?: number; readonly edits?: Edits } = {},
): Promise<TokenLosses> {
  return tokenLossesOf(await look(model, text, ["logits"], edits && { edits }), tokenizerOf(model), { top });
}

/** The same from logits that were looked at. @throws {RangeError} for a text of one token */
export function tokenLossesOf(
  { ids, tokens, values }: Looked<"logits">,
  tokenizer: Tokenizer | undefined,
  { top = 5 }: { readonly top?: number } = {},
): TokenLosses {
  if (ids.length < 2) throw new RangeError(`Cannot measure losses: the text has 1 token; the first is not predicted.`);
  const found = predictionsOf(values.logits.values, ids, { top, tokenizer });
  const expected = [null, ...found.slice(0, -1)];
  const losses = expected.map((prediction) => prediction?.next?.loss ?? null);
  const mean = losses.reduce<number>((sum, loss) => sum + (loss ?? 0), 0) / (ids.length - 1);
  return { ids, tokens, axes: ["position"], losses, expected, after: found.at(-1)!, mean };
}
