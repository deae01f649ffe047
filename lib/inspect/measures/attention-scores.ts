/** Numbers that tell what an attention head does: how widely it looks, and whether it is of a known kind. */
import { permuted } from "../../host/random.js";
import { type Looked, type LookedAt, look, tokenizerOf } from "../look.js";

/** What attentionEntropy() gives. */
export interface AttentionEntropy {
  readonly ids: readonly number[];
  readonly tokens: readonly string[];
  readonly axes: readonly ["layer", "head", "position"];
  /** In nats, by layer, head and position. */
  readonly entropies: readonly (readonly (readonly number[])[])[];
}

/**
 * `−Σ_s w_s ln w_s` over each row w of a head's attention weights, in nats: 0 for a look at one position, ln(t + 1) for an
 * even look at all that position t can see. [nLayer, nHead, T]
 * @throws {RangeError} for a text that does not fit the model
 * @example
 * const { entropies } = await attentionEntropy(openCheckpoint("out"), "ROMEO: my love");
 */
export async function attentionEntropy(model: LookedAt, text: string | readonly number[]): Promise<AttentionEntropy> {
  const seen = await look(model, text, weightNames(model));
  const { ids, tokens } = seen;
  const entropies = byHead(model, seen, (row) =>
    ids.map((_, t) => row(t).reduce((sum, w) => (w > 0 ? sum - w * Math.log(w) : sum), 0)),
  );
  return { ids, tokens, axes: ["layer", "head", "position"], entropies };
}

/** What headScores() gives: three kinds of heads, each head's score from 0 to 1, by layer and head. */
export interface HeadScores {
  readonly ids: readonly number[];
  readonly tokens: readonly string[];
  readonly axes: readonly ["layer", "head"];
  /** Mean weight on the position before. */
  readonly previousToken: readonly (readonly number[])[];
  /** Mean weight on earlier positions with the same token; NaN if no token occurs twice. */
  readonly duplicateToken: readonly (readonly number[])[];
  /** Mean weight on positions after an earlier occurrence of the same token; NaN if no token occurs twice. */
  readonly induction: readonly (readonly number[])[];
}

/**
 * How much each head is a previous-token, a duplicate-token or an induction head. With w[t, s] the weight of position t on s:
 * previous token, the mean of `w[t, t − 1]` over t ≥ 1; and over the positions t whose token has occurred before, duplicate
 * token, the mean of `Σ w[t, s]` over s < t with token_s = token_t, and induction, the mean of `Σ w[t, s + 1]` over the same s
 * (Olsson 2022, "In-context Learning and Induction Heads": prefix matching). Olsson measures repeated random tokens, where
 * nothing but the repetition can be used (`repeatedTokens`); a text of one's own may be given too. [nLayer, nHead] each
 * @throws {RangeError} for a text that does not fit the model
 * @example
 * const model = openCheckpoint("out");
 * const { induction } = await headScores(model, repeatedTokens(model, { seed: 1 }));
 */
export async function headScores(model: LookedAt, text: string | readonly number[]): Promise<HeadScores> {
  const seen = await look(model, text, weightNames(model));
  const { ids, tokens } = seen;
  const earlier = ids.map((id, t) => [...ids.slice(0, t).keys()].filter((s) => ids[s] === id));
  const again = [...ids.keys()].filter((t) => earlier[t]!.length > 0);
  const after = [...ids.keys()].slice(1);
  const mean = (positions: readonly number[], of: (t: number) => number) =>
    positions.reduce((sum, t) => sum + of(t), 0) / positions.length;
  const onto = (row: Float32Array, places: readonly number[], shift: number) =>
    places.reduce((sum, s) => sum + row[s + shift]!, 0);
  return {
    ...{ ids, tokens, axes: ["layer", "head"] },
    previousToken: byHead(model, seen, (row) => mean(after, (t) => row(t)[t - 1]!)),
    duplicateToken: byHead(model, seen, (row) => mean(again, (t) => onto(row(t), earlier[t]!, 0))),
    induction: byHead(model, seen, (row) => mean(again, (t) => onto(row(t), earlier[t]!, 1))),
  };
}

/** How random tokens are repeated. */
export interface RepeatOptions {
  readonly seed?: number;
  /** Tokens before they are repeated; default as many as fit, at most 50. */
  readonly length?: number;
  /** How often they stand there in all; default 2. */
  readonly repeats?: number;
}

/**
 * Random tokens, all different, and then the same again: only copying can predict the second half. The end-of-text token is
 * left out. The same seed gives the same ids.
 * @throws {RangeError} if they do not fit the model
 * @example
 * const ids = repeatedTokens(openCheckpoint("out"), { seed: 1, length: 20 });
 */
export function repeatedTokens(model: LookedAt, options: RepeatOptions = {}): number[] {
  const { seed = 0, repeats = 2 } = options;
  const { blockSize, vocabSize } = model.settings;
  const tokenizer = tokenizerOf(model);
  // A padded vocabulary has ids that stand for nothing.
  const known = Math.min(vocabSize, tokenizer?.vocabSize ?? vocabSize);
  const last = tokenizer?.endOfText === known - 1 ? 1 : 0;
  const most = Math.min(Math.floor(blockSize / repeats), known - last);
  const { length = Math.min(50, most) } = options;
  const whole = Number.isInteger(length) && Number.isInteger(repeats);
  if (!(whole && repeats >= 1 && length >= 1 && length <= most))
    throw new RangeError(
      `Cannot repeat random tokens: length ${length} × repeats ${repeats} does not fit; wanted whole numbers, a length of 1 to ${most} (blockSize ${blockSize}, ${known - last} different tokens).`,
    );
  const once = Array.from({ length }, (_, place) => permuted(place, known - last, seed, "repeated tokens"));
  return Array.from({ length: length * repeats }, (_, place) => once[place % length]!);
}

type Weights = `h.${number}.attn.weights`;

function weightNames({ settings }: LookedAt): Weights[] {
  return Array.from({ length: settings.nLayer }, (_, layer) => `h.${layer}.attn.weights` as const);
}

/** A number, or numbers, of each head. `row(t)` are the weights of position t, [T]. */
function byHead<R>(
  { settings }: LookedAt,
  { ids, values }: Looked<Weights>,
  measure: (row: (t: number) => Float32Array) => R,
): R[][] {
  const T = ids.length;
  return Array.from({ length: settings.nLayer }, (_, layer) => {
    const weights = values[`h.${layer}.attn.weights`]!.values;
    return Array.from({ length: settings.nHead }, (_, head) =>
      measure((t) => weights.subarray((head * T + t) * T, (head * T + t + 1) * T)),
    );
  });
}
