/** The draw of one token, step by step: from logits to the token, with the sampler's own functions. */
import * as tf from "@tensorflow/tfjs-core";
import { resolveDevice } from "../../engine/device.js";
import { float32, type HostTensor } from "../../engine/host-tensors.js";
import { openSession } from "../../engine/session.js";
import { drawTokens, sampleProbabilities } from "../../sample/next-token.js";
import { defaultSettings } from "../../settings/settings.js";
import type { Drawing } from "../page/next-token.js";
import { type ComputationStep, sourceOf } from "./computation-step.js";

export interface DrawOptions extends Partial<Drawing> {
  /** Uniform on [0, 1). */
  readonly u: number;
}

/**
 * `logits / temperature`, the largest k, the fewest of share p, softmax, cumulative sum, and the token at which it passes u.
 * @param logits [V]
 * @throws {RangeError} for a u outside [0, 1)
 * @example
 * for await (const step of drawSteps([1, 2, 3], { u: 0.5, topK: 2 })) console.log(step.name, step.output.values);
 */
export async function* drawSteps(
  logits: ArrayLike<number>,
  { u, temperature = 1, topK = 0, topP = 1 }: DrawOptions,
): AsyncGenerator<ComputationStep> {
  if (!(u >= 0 && u < 1)) throw new RangeError(`Cannot draw a token: u is ${u}; wanted 0 ≤ u < 1.`);
  const V = logits.length;
  const machine = await resolveDevice({
    ...defaultSettings,
    device: "cpu",
    compile: false,
    dtype: "float32",
    xla: false,
  });
  const session = await openSession({ none: {} }, machine);
  try {
    const run = session.define((_, inputs) => {
      const scores = inputs.logits as tf.Tensor2D;
      const t = inputs.temperature!;
      const share = topP < 1 ? { topP: tf.scalar(topP) } : {};
      const probabilities = sampleProbabilities(scores, t, { topK, ...share });
      return {
        outputs: {
          scaled: tf.div(scores, t),
          all: sampleProbabilities(scores, t, 0),
          kept: sampleProbabilities(scores, t, topK),
          probabilities,
          cumulative: tf.cumsum(probabilities, 1),
          token: drawTokens(probabilities, inputs.u as tf.Tensor2D),
        },
      };
    });
    const found = await run({
      logits: float32(Float32Array.from(logits), [1, V]),
      temperature: float32([temperature], []),
      u: float32([u], [1, 1]),
    });
    const step = (name: string, formula: string, inputs: readonly string[], output: HostTensor, code: string) => ({
      ...{ name, formula, inputs, flops: 0, source: sourceOf("lib/sample/next-token.ts", code) },
      axes: [name === "token" ? "1" : "V"],
      output: { ...output, shape: [output.values.length] } as HostTensor,
    });
    yield step("logits", "scores of the next token", [], float32(Float32Array.from(logits), [V]), "logits [B, V]");
    yield step("scaled", `logits / temperature, ${temperature}`, ["logits"], found.scaled!, "tf.div(tf.sub(");
    yield step("probabilities", "softmax(scaled)", ["scaled"], found.all!, "return tf.softmax(scaled)");
    yield step("top k", topK ? `only the ${topK} likeliest` : "all tokens", ["probabilities"], found.kept!, "tf.topk(");
    const share = topP < 1 ? `of those, the fewest whose probabilities sum to ${topP}` : "all of those";
    yield step("top p", share, ["top k"], found.probabilities!, "function leastOfShare");
    yield step(
      "cumulative",
      "Σ of the probabilities up to each token",
      ["top p"],
      found.cumulative!,
      "tf.cumsum(probabilities",
    );
    yield step(
      "token",
      `where the cumulative sum passes u = ${u}`,
      ["cumulative", "u"],
      found.token!,
      "tf.lessEqual(cumulative",
    );
  } finally {
    session.dispose();
  }
}
