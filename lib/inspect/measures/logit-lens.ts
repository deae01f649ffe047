/** The logit lens: what a model would predict if it ended after each part of a layer. */
import * as tf from "@tensorflow/tfjs-core";
import { float32 } from "../../engine/host-tensors.js";
import type { Step } from "../../engine/steps.js";
import type { ValueName } from "../../model/activations.js";
import type { Edits } from "../../model/edits.js";
import { layerNorm } from "../../model/functional.js";
import type { ModelSettings } from "../../settings/model.js";
import { inSession, type LookedAt, look, tokenizerOf } from "../look.js";
import { type Prediction, predictionsOf } from "./predictions.js";
import { residualStates } from "./residual-norms.js";

/** What logitLens() gives. */
export interface LogitLens {
  readonly ids: readonly number[];
  readonly tokens: readonly string[];
  readonly axes: readonly ["state", "position"];
  /** The states of the residual stream: `embed`, then each layer's `resid_mid` and `resid_out`. The last is the model's output. */
  readonly states: readonly ValueName[];
  /** By state and position. */
  readonly predictions: readonly (readonly Prediction[])[];
}

/**
 * `softmax(head(ln_f(x)))` for each state x of the residual stream (nostalgebraist 2020, "interpreting GPT: the logit lens").
 * States [T, C], predictions [2 nLayer + 1, T].
 * @param options.top how many of the likeliest tokens; default 5
 * @param options.edits values that are replaced in the pass
 * @throws {RangeError} for a text that does not fit the model
 * @example
 * const { states, predictions } = await logitLens(openCheckpoint("out"), "ROMEO: my love");
 * console.log(states.map((name, i) => [name, predictions[i].at(-1).top[0].token]));
 */
export async function logitLens(
  model: LookedAt,
  text: string | readonly number[],
  { top = 5, edits }: { readonly top?: number; readonly edits?: Edits } = {},
): Promise<LogitLens> {
  const { settings } = model;
  const states = residualStates(model);
  const { ids, tokens, values } = await look(model, text, states, edits && { edits });
  const tokenizer = tokenizerOf(model);
  const predictions = await inSession(model, {}, async (session) => {
    const run = session.define(unembed(settings));
    const found: Prediction[][] = [];
    for (const name of states) {
      const state = values[name]!;
      const { logits } = await run({ x: float32(state.values, state.shape) });
      found.push(predictionsOf(logits!.values as Float32Array, ids, { top, tokenizer }));
    }
    return found;
  });
  return { ids, tokens, axes: ["state", "position"], states, predictions };
}

/** The end of a forward pass: `logits = head(ln_f(x))`. Input: `x` [1, T, C]. Output: `logits` [T, V]. */
function unembed({ bias, tieHead }: ModelSettings): Step {
  return ({ params }, { x }) => {
    const normed = layerNorm(
      x as tf.Tensor3D,
      params!["ln_f.weight"] as tf.Tensor1D,
      bias ? (params!["ln_f.bias"] as tf.Tensor1D) : undefined,
    );
    const [, T, C] = normed.shape;
    const head = params![tieHead ? "wte.weight" : "lm_head.weight"] as tf.Tensor2D; // [V, C]
    return { outputs: { logits: tf.matMul(tf.reshape(normed, [T, C]), head, false, true) } };
  };
}
