/** What a page shows, and the look at the model that it is drawn from. */
import type { ValueName } from "../../../model/activations.js";
import { type LogitLens, logitLens } from "../../measures/logit-lens.js";
import { residualNormsOf, residualStates } from "../../measures/residual-norms.js";
import { type TokenLosses, tokenLossesOf } from "../../measures/token-losses.js";
import { attentionNames, changesWeights, type FoundAttention, foundAttention } from "../../views/attention.js";
import { editsOf, type PlainEdit } from "../edits.js";
import type { LiveModel } from "../live-model.js";

/** What the user has chosen. */
export interface Wanted {
  readonly text: string;
  /** A second prompt; undefined: none. */
  readonly other?: string;
  readonly edits: readonly PlainEdit[];
  readonly lens: boolean;
}

/** What the model answers. */
export interface Shown {
  readonly ids: readonly number[];
  readonly tokens: readonly string[];
  /** Tokens at the beginning that the model no longer sees. */
  readonly cut: number;
  /** Of the last position, [V]. */
  readonly logits: Float32Array;
  readonly attention: FoundAttention;
  /** The mean of ‖x‖₂ over positions, by state of the residual stream. */
  readonly norms: readonly { readonly state: string; readonly mean: number }[];
  /** Undefined for a text of one token. */
  readonly losses: TokenLosses | undefined;
  /** Without the edits, where there are some. */
  readonly plainLoss: number | undefined;
  readonly other: TokenLosses | undefined;
  readonly lens: LogitLens | undefined;
  readonly ms: number;
}

/** Beyond this many tokens the page keeps queries and keys, and computes the weights of the head that is chosen. */
const mostWeights = 256;

/** Looks at the model. @throws {RangeError} for a text that the model cannot read */
export async function lookAt(live: LiveModel, { text, other, edits, lens }: Wanted): Promise<Shown> {
  const { model } = live;
  const { tokenizer, settings } = model;
  const { blockSize, vocabSize: V } = settings;
  const all = tokenizer.encode(text, { special: true });
  if (all.length === 0) throw new RangeError("The text is empty: type at least one character.");
  const ids = Array.from(all.slice(-blockSize));
  const T = ids.length;
  const asWeights = T <= mostWeights || changesWeights(edits.map(({ name }) => name));
  const names: ValueName[] = ["logits", ...residualStates(model), ...attentionNames(settings, asWeights)];
  const changed = editsOf(edits);

  const from = performance.now();
  const looked = await live.look(ids, names, changed);
  const ms = performance.now() - from;
  const { values, tokens } = looked;
  const attention = foundAttention(looked, settings, asWeights);
  const { states, means } = residualNormsOf(looked, model);
  const losses = T > 1 ? tokenLossesOf(looked, tokenizer) : undefined;
  const plain = changed && T > 1 ? tokenLossesOf(await live.look(ids, ["logits"]), tokenizer).mean : undefined;
  return {
    ...{ ids, tokens, cut: all.length - T, attention, losses, plainLoss: plain, ms },
    logits: values.logits!.values.slice(-V),
    norms: states.map((state, index) => ({ state, mean: means[index]! })),
    other: other === undefined ? undefined : await otherLosses(live, other, edits),
    lens: lens ? await logitLens(model, ids, changed && { edits: changed }) : undefined,
  };
}

async function otherLosses(
  live: LiveModel,
  text: string,
  edits: readonly PlainEdit[],
): Promise<TokenLosses | undefined> {
  const { tokenizer, settings } = live.model;
  const ids = Array.from(tokenizer.encode(text, { special: true }).slice(-settings.blockSize));
  if (ids.length < 2) return undefined;
  return tokenLossesOf(await live.look(ids, ["logits"], editsOf(edits)), tokenizer);
}
