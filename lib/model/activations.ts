/**
 * The catalogue of a forward pass's intermediate values: name, axes, meaning, and what TransformerLens and nanoGPT call them.
 * model.ts hands each of them to its tap under these names and no other; to add a value is a row here and an `at()` there.
 */
import type { ModelShape } from "../settings/model.js";

/**
 * An axis: B sequences, T positions, S positions that are looked at (keys), H heads, D features of a head, C features,
 * 4C features inside the MLP, V ids, 1 a single number.
 */
export type Axis = "B" | "T" | "S" | "H" | "D" | "C" | "4C" | "V" | "1";

interface Row {
  readonly axes: readonly Axis[];
  /** A formula or a phrase. */
  readonly meaning: string;
  /** Its name in TransformerLens, `l` being the layer. */
  readonly transformerLens: string;
  /** Its expression in nanoGPT's model.py. */
  readonly nanoGpt: string;
}

const row = (axes: readonly Axis[], meaning: string, transformerLens: string, nanoGpt: string): Row => ({
  ...{ axes, meaning, transformerLens, nanoGpt },
});

const first = {
  wte: row(["B", "T", "C"], "embedding of the tokens", "hook_embed", "tok_emb"),
  wpe: row(["T", "C"], "embedding of the positions", "hook_pos_embed", "pos_emb"),
  embed: row(["B", "T", "C"], "wte + wpe, where the residual stream begins", "blocks.0.hook_resid_pre", "x"),
} as const;

const inLayer = {
  "ln_1.scale": row(["B", "T", "1"], "√(variance + 1e-5), what ln_1 divides by", "blocks.l.ln1.hook_scale", "–"),
  ln_1: row(
    ["B", "T", "C"],
    "the residual stream, normalized for attention",
    "blocks.l.ln1.hook_normalized",
    "ln_1(x)",
  ),
  "attn.q": row(["B", "H", "T", "D"], "queries", "blocks.l.attn.hook_q", "q"),
  "attn.k": row(["B", "H", "T", "D"], "keys", "blocks.l.attn.hook_k", "k"),
  "attn.v": row(["B", "H", "T", "D"], "values", "blocks.l.attn.hook_v", "v"),
  "attn.scores": row(["B", "H", "T", "S"], "q kᵀ / √D, before the mask", "blocks.l.attn.hook_attn_scores", "att"),
  "attn.weights": row(
    ["B", "H", "T", "S"],
    "softmax of the masked scores",
    "blocks.l.attn.hook_pattern",
    "softmax(att)",
  ),
  "attn.heads": row(["B", "H", "T", "D"], "weights v, each head's mix of values", "blocks.l.attn.hook_z", "y"),
  "attn.head_out": row(
    ["B", "H", "T", "C"],
    "what each head adds to the residual stream, without the bias",
    "blocks.l.attn.hook_result",
    "–",
  ),
  "attn.out": row(["B", "T", "C"], "what attention adds to the residual stream", "blocks.l.hook_attn_out", "attn(…)"),
  resid_mid: row(["B", "T", "C"], "the residual stream after attention", "blocks.l.hook_resid_mid", "x"),
  "ln_2.scale": row(["B", "T", "1"], "√(variance + 1e-5), what ln_2 divides by", "blocks.l.ln2.hook_scale", "–"),
  ln_2: row(["B", "T", "C"], "the residual stream, normalized for the MLP", "blocks.l.ln2.hook_normalized", "ln_2(x)"),
  "mlp.pre": row(["B", "T", "4C"], "the MLP's hidden layer before GELU", "blocks.l.mlp.hook_pre", "c_fc(x)"),
  "mlp.act": row(["B", "T", "4C"], "the same after GELU", "blocks.l.mlp.hook_post", "gelu(…)"),
  "mlp.out": row(["B", "T", "C"], "what the MLP adds to the residual stream", "blocks.l.hook_mlp_out", "mlp(…)"),
  resid_out: row(["B", "T", "C"], "the residual stream after the block", "blocks.l.hook_resid_post", "x"),
} as const;

const last = {
  "ln_f.scale": row(["B", "T", "1"], "√(variance + 1e-5), what ln_f divides by", "ln_final.hook_scale", "–"),
  ln_f: row(["B", "T", "C"], "the residual stream, normalized for the head", "ln_final.hook_normalized", "ln_f(x)"),
  logits: row(["B", "T", "V"], "scores of the next token", "logits", "logits"),
} as const;

/** A value of a layer, without its `h.0.`. */
export type LayerValue = keyof typeof inLayer;
/** A value of a forward pass: `"embed"`, `"h.0.attn.weights"`. */
export type ValueName = keyof typeof first | `h.${number}.${LayerValue}` | keyof typeof last;

/** An intermediate value of a forward pass. */
export interface ValueSpec extends Row {
  readonly name: ValueName;
}

/** Every value of a model of this shape, in the order in which a forward pass comes to them. */
export function valueSpecs({ nLayer }: Pick<ModelShape, "nLayer">): ValueSpec[] {
  const named = (rows: Readonly<Record<string, Row>>, prefix = "", layer = "") =>
    Object.entries(rows).map(([name, row]) => ({
      ...row,
      name: `${prefix}${name}` as ValueName,
      transformerLens: row.transformerLens.replace("blocks.l.", `blocks.${layer}.`),
    }));
  const layers = Array.from({ length: nLayer }, (_, layer) => named(inLayer, `h.${layer}.`, `${layer}`));
  return [...named(first), ...layers.flat(), ...named(last)];
}
