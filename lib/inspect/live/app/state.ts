/** What a page shows, and the look at the model that it is drawn from. */
import type { ValueName } from "../../../model/activations.js";
import { type LogitLens, logitLens } from "../../measures/logit-lens.js";
import { residualStates } from "../../measures/residual-norms.js";
import { type TokenLosses, tokenLossesOf } from "../../measures/token-losses.js";
import type { FoundAttention } from "../../views/attention.js";
import { pack } from "../../views/pack.js";
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
  const { nLayer, nHead, nEmbd: C, blockSize, vocabSize: V } = settings;
  const all = tokenizer.encode(text, { special: true });
  if (all.length === 0) throw new RangeError("The text is empty: type at least one character.");
  const ids = Array.from(all.slice(-blockSize));
  const T = ids.length;
  const layers = [...Array(nLayer).keys()];
  const named = (part: "weights" | "q" | "k") => layers.map((layer): ValueName => `h.${layer}.attn.${part}`);
  const states = residualStates(model);
  const parts = T <= mostWeights ? named("weights") : [...named("q"), ...named("k")];
  const changed = editsOf(edits);

  const from = performance.now();
  const looked = await live.look(ids, ["logits", ...states, ...parts], changed);
  const ms = performance.now() - from;
  const { values, tokens } = looked;
  const joined = (part: "weights" | "q" | "k", shape: readonly number[]) => {
    const size = shape.reduce((product, axis) => product * axis, 1);
    const flat = new Float32Array(nLayer * size);
    for (const [layer, name] of named(part).entries()) flat.set(values[name]!.values, layer * size);
    return pack(flat, [nLayer, ...shape]);
  };
  const shared = { tokens, layers, heads: nHead };
  const attention: FoundAttention =
    T <= mostWeights
      ? { ...shared, weights: joined("weights", [nHead, T, T]) }
      : { ...shared, queries: joined("q", [nHead, T, C / nHead]), keys: joined("k", [nHead, T, C / nHead]) };
  const losses = T > 1 ? tokenLossesOf(looked, tokenizer) : undefined;
  const plain = changed && T > 1 ? tokenLossesOf(await live.look(ids, ["logits"]), tokenizer).mean : undefined;
  return {
    ...{ ids, tokens, cut: all.length - T, attention, losses, plainLoss: plain, ms },
    logits: values.logits!.values.slice(-V),
    norms: states.map((state) => ({ state, mean: meanNorm(values[state]!.values, C) })),
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

function meanNorm(values: Float32Array, C: number): number {
  let sum = 0;
  for (let from = 0; from < values.length; from += C) {
    let squares = 0;
    for (let c = from; c < from + C; c++) squares += values[c]! ** 2;
    sum += Math.sqrt(squares);
  }
  return (sum * C) / values.length;
}
