/** Direct logit attribution: what each component of a model adds to one logit. */
import type { HostTensors } from "../../engine/host-tensors.js";
import type { LayerValue, ValueName } from "../../model/activations.js";
import type { ModelSettings } from "../../settings/model.js";
import { type Looked, type LookedAt, look, tokenizerOf, tokenText } from "../look.js";
import { chosenLogit, type LogitMetric } from "./predictions.js";

/** A summand of the final residual stream, and so of the logit. */
export interface Contribution {
  /** `token embedding`, `head 0.3` (layer 0, head 3), `mlp 0`, `attention bias 0`, `final bias`. */
  readonly component: string;
  /** The value or parameter that it comes from. */
  readonly name: string;
  readonly layer?: number;
  readonly head?: number;
  /** In units of the logit. */
  readonly value: number;
}

/** What logitAttribution() gives. */
export interface LogitAttribution {
  readonly ids: readonly number[];
  readonly tokens: readonly string[];
  readonly position: number;
  /** The token whose logit it is, and the one whose logit is subtracted, if any. */
  readonly token: string;
  readonly minus: string | undefined;
  readonly axes: readonly ["component"];
  /** In the order of the forward pass. */
  readonly contributions: readonly Contribution[];
  /** Their sum. */
  readonly sum: number;
  /** The logit, or the difference of two, as the forward pass gives it; the sum differs from it by rounding alone. */
  readonly logit: number;
}

/**
 * The logit as a sum over components (Elhage 2021, "A Mathematical Framework for Transformer Circuits"). The final residual
 * stream is a sum Σ c of vectors [C]: both embeddings, each head, the bias of each attention, each MLP with its bias. The
 * final norm is not linear. The convention here: it is frozen, that is, its scale s = √(variance + 1e-5) is taken from the real
 * pass, and the mean, which is linear, is taken from each component: `value(c) = ((c − mean(c)) / s · w) · u`, with w the
 * norm's weight and u the head's row of the token, or the difference of two rows. The norm's bias b is a component of its own,
 * `b · u`. The sum is the logit.
 * @param options.position where; default the last position
 * @param options.token an id, or a text that is one token
 * @param options.minus a second token, whose logit is subtracted
 * @throws {RangeError} for a position that the text, or a token that the model does not have
 * @example
 * const { contributions, sum } = await logitAttribution(openCheckpoint("out"), "ROMEO: my lov", { token: "e", minus: "i" });
 */
export async function logitAttribution(
  model: LookedAt,
  text: string | readonly number[],
  options: LogitMetric,
): Promise<LogitAttribution> {
  const { settings, params } = model;
  const layers = Array.from({ length: settings.nLayer }, (_, layer) => layer);
  const inLayers = layers.flatMap((l) => [`h.${l}.attn.head_out`, `h.${l}.mlp.out`] as const);
  const seen = await look(model, text, ["wte", "wpe", ...inLayers, "ln_f.scale", "logits"]);
  const { ids, tokens, values } = seen;
  const { position, token, minus } = chosenLogit(options, model, ids.length);
  const readout = readoutOf(settings, params, { token, minus, scale: values["ln_f.scale"].values[position]! });
  const contributions = componentsOf(settings, params, seen, position).map(({ vector, ...component }) => ({
    ...component,
    value: readout.of(vector),
  }));
  if (settings.bias) contributions.push({ component: "final bias", name: "ln_f.bias", value: readout.bias });
  const logits = values.logits.values.subarray(position * settings.vocabSize);
  const tokenizer = tokenizerOf(model);
  return {
    ...{ ids, tokens, position, axes: ["component"], contributions },
    token: tokenText(token, tokenizer),
    minus: minus === undefined ? undefined : tokenText(minus, tokenizer),
    sum: contributions.reduce((sum, { value }) => sum + value, 0),
    logit: logits[token]! - (minus === undefined ? 0 : logits[minus]!),
  };
}

type Component = Omit<Contribution, "value"> & { readonly vector: ArrayLike<number> };
type LookedParts = Looked<"wte" | "wpe" | `h.${number}.attn.head_out` | `h.${number}.mlp.out`>;

/** The vectors [C] that the final residual stream at `position` is the sum of. */
function componentsOf(
  { nLayer, nHead, nEmbd: C, bias }: ModelSettings,
  params: HostTensors,
  { ids, values }: LookedParts,
  position: number,
): Component[] {
  const T = ids.length;
  const at = (name: keyof typeof values & ValueName, row: number) =>
    values[name]!.values.subarray(row * C, (row + 1) * C);
  const all: Component[] = [
    { component: "token embedding", name: "wte", vector: at("wte", position) },
    { component: "position embedding", name: "wpe", vector: at("wpe", position) },
  ];
  for (let layer = 0; layer < nLayer; layer++) {
    const of = <N extends LayerValue>(value: N) => `h.${layer}.${value}` as const;
    for (let head = 0; head < nHead; head++) {
      const vector = at(of("attn.head_out"), head * T + position);
      all.push({ component: `head ${layer}.${head}`, name: of("attn.head_out"), layer, head, vector });
    }
    const name = `h.${layer}.attn.c_proj.bias`;
    if (bias) all.push({ component: `attention bias ${layer}`, name, layer, vector: params[name]!.values });
    all.push({ component: `mlp ${layer}`, name: of("mlp.out"), layer, vector: at(of("mlp.out"), position) });
  }
  return all;
}

/** What a vector of the residual stream adds to the logit, the final norm being frozen. */
function readoutOf(
  { nEmbd: C, tieHead, bias }: ModelSettings,
  params: HostTensors,
  { token, minus, scale }: { readonly token: number; readonly minus: number | undefined; readonly scale: number },
) {
  const head = params[tieHead ? "wte.weight" : "lm_head.weight"]!.values; // [V, C]
  const direction = Float64Array.from({ length: C }, (_, i) => {
    return head[token * C + i]! - (minus === undefined ? 0 : head[minus * C + i]!);
  });
  const weight = params["ln_f.weight"]!.values;
  const offset = bias ? params["ln_f.bias"]!.values : undefined;
  return {
    of(vector: ArrayLike<number>): number {
      let mean = 0;
      for (let i = 0; i < C; i++) mean += vector[i]! / C;
      let sum = 0;
      for (let i = 0; i < C; i++) sum += ((vector[i]! - mean) / scale) * weight[i]! * direction[i]!;
      return sum;
    },
    bias: offset ? direction.reduce((sum, u, i) => sum + offset[i]! * u, 0) : 0,
  };
}
