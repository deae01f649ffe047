/**
 * Generation: one token after another from a trained model, by temperature, top-k and a seed. Tokens appear as they
 * are drawn, all samples side by side in one batch. It trains nothing and prints nothing. Notebook 00-start samples.
 */
import * as tf from "@tensorflow/tfjs-core";
import { resolveDevice } from "./engine/device.js";
import { float32, type HostTensors, int32, openSession, type RunStep, type Step } from "./engine/session.js";
import type { TrainedModel } from "./evaluate.js";
import { forward } from "./model.js";
import { uniform } from "./random.js";
import type { Tokenizer } from "./tokenizer.js";

/** What to generate. */
export interface SampleOptions {
  /** Text to go on from; at least one token long. */
  readonly prompt: string;
  readonly numSamples?: number;
  readonly maxNewTokens?: number;
  /** Divides the logits: below 1 more careful, above 1 more daring. */
  readonly temperature?: number;
  /** Draw from the k likeliest tokens only; 0: from all. */
  readonly topK?: number;
  readonly seed?: number;
  readonly compile?: boolean;
  readonly device?: "auto" | "cpu" | "cuda";
  readonly signal?: AbortSignal;
}

/** One new token of one sample. */
export interface SampledToken {
  /** Which sample, from 0. */
  readonly sample: number;
  readonly token: number;
  /** What the token adds to the sample's text. */
  readonly text: string;
}

/**
 * Generates. Each round yields one token of every sample. The context is the last blockSize tokens, as nanoGPT's.
 * A token is a function of the model, the prompt, the seed, the sample's number and its place.
 * @throws {RangeError} for an empty prompt, text that the tokenizer does not know, or impossible options
 * @example
 * for await (const { text } of sample(openCheckpoint("out"), tokenizer, { prompt: "\n" })) process.stdout.write(text);
 */
export async function* sample(
  model: TrainedModel,
  tokenizer: Tokenizer,
  options: SampleOptions,
): AsyncGenerator<SampledToken> {
  const { numSamples = 1, maxNewTokens = 500, temperature = 0.8, topK = 200, seed = 1337, signal } = options;
  const settings = { ...model.settings, compile: options.compile ?? true, device: options.device ?? "auto" };
  const { blockSize } = settings;
  const prompt = checkedPrompt(tokenizer, options.prompt, settings.vocabSize);
  checkOptions({ numSamples, maxNewTokens, temperature, topK });
  const { dtype } = resolveDevice(settings);
  const session = await openSession({ params: model.params }, { compile: settings.compile, dtype });
  try {
    const draw = session.define(drawStep(settings, { topK, vocabSize: tokenizer.vocabSize }));
    const texts = Array.from({ length: numSamples }, () => ({ ids: [...prompt], shown: tokenizer.decode(prompt) }));
    for (let place = 0; place < maxNewTokens && !signal?.aborted; place++) {
      const contexts = texts.map(({ ids }) => ids.slice(-blockSize));
      // Below 1 also after rounding to float32.
      const values = texts.map((_, number) => Math.min(uniform(seed, "sample", number, place), 1 - 2 ** -24));
      const tokens = await nextTokens(draw, { contexts, values, temperature, blockSize });
      for (const [number, text] of texts.entries()) {
        const token = tokens[number]!;
        text.ids.push(token);
        yield { sample: number, token, text: appended(tokenizer, text, place === maxNewTokens - 1) };
      }
    }
  } finally {
    session.dispose();
  }
}

/**
 * Probabilities that a sampler draws from: softmax(logits / temperature) over the k largest logits, 0 elsewhere.
 * @param logits [B, V]
 * @param temperature scalar above 0
 * @param topK 0: all of V. Logits equal to the k-th stay too, as in nanoGPT.
 */
export function sampleProbabilities(logits: tf.Tensor2D, temperature: tf.Tensor, topK: number): tf.Tensor2D {
  // The largest becomes 0, so that the quotient by a small temperature cannot overflow.
  const scaled = tf.div(tf.sub(logits, tf.max(logits, 1, true)), temperature) as tf.Tensor2D;
  if (topK === 0 || topK >= logits.shape[1]) return tf.softmax(scaled);
  const { values } = tf.topk(scaled, topK);
  const least = tf.slice(values, [0, topK - 1], [-1, 1]); // [B, 1]
  return tf.softmax(
    tf.where(tf.less(scaled, least), tf.fill(scaled.shape, Number.NEGATIVE_INFINITY), scaled),
  ) as tf.Tensor2D;
}

/**
 * The token at which the cumulative probability passes `u`: inverse transform sampling.
 * @param probabilities [B, V]
 * @param u [B, 1], uniform on [0, 1)
 * @returns int32 [B]
 */
export function drawTokens(probabilities: tf.Tensor2D, u: tf.Tensor2D): tf.Tensor1D {
  const cumulative = tf.cumsum(probabilities, 1);
  // Rounding may leave the total below 1: what is drawn from is the total, and never a token of probability 0.
  const total = tf.slice(cumulative, [0, probabilities.shape[1] - 1], [-1, 1]);
  const passed = tf.lessEqual(cumulative, tf.mul(u, total));
  return tf.sum(tf.cast(passed, "int32"), 1);
}

/** Inputs: `ids` int32 [B, T], `last` int32 scalar (place of the last real id), `temperature`, `u` [B, 1]. */
function drawStep(settings: TrainedModel["settings"], { topK, vocabSize }: { topK: number; vocabSize: number }): Step {
  return ({ params }, inputs) => {
    const { logits } = forward(params!, inputs.ids as tf.Tensor2D, settings); // [B, T, V]
    const hot = tf.oneHot(tf.reshape(inputs.last!, [1]) as tf.Tensor1D, logits.shape[1]); // [1, T]
    const chosen = tf.sum(tf.mul(logits, tf.reshape(tf.cast(hot, "float32"), [1, -1, 1])), 1) as tf.Tensor2D; // [B, V]
    // A model may know more ids than its tokenizer, when its vocabulary was rounded up; those are never drawn.
    const known = tf.slice(chosen, [0, 0], [-1, vocabSize]);
    const probabilities = sampleProbabilities(known, inputs.temperature!, topK);
    return { outputs: { tokens: drawTokens(probabilities, inputs.u as tf.Tensor2D) } };
  };
}

interface Round {
  readonly contexts: readonly (readonly number[])[];
  readonly values: readonly number[];
  readonly temperature: number;
  readonly blockSize: number;
}

async function nextTokens(
  draw: RunStep,
  { contexts, values, temperature, blockSize }: Round,
): Promise<ArrayLike<number>> {
  const length = contexts[0]!.length;
  // Lengths are rounded up to powers of two, so that a compiled step is traced a few times, not once a length.
  // What stands after the last real id is invisible to it: attention looks back only.
  const T = Math.min(blockSize, 2 ** Math.ceil(Math.log2(Math.max(length, 16))));
  const ids = new Int32Array(contexts.length * T);
  for (const [row, context] of contexts.entries()) ids.set(context, row * T);
  const inputs: HostTensors = {
    ids: int32(ids, [contexts.length, T]),
    last: int32([length - 1], []),
    // Far below what tells two logits apart, and still a number in 32 bits.
    temperature: float32([Math.max(temperature, 1e-30)], []),
    u: float32(values, [contexts.length, 1]),
  };
  return (await draw(inputs)).tokens!.values;
}

/** The text that the newest token adds. A character that is not whole yet (a part of its bytes) waits for the next. */
function appended(tokenizer: Tokenizer, text: { ids: number[]; shown: string }, last: boolean): string {
  const whole = tokenizer.decode(text.ids);
  if (whole.endsWith("\uFFFD") && !last) return "";
  const added = whole.slice(text.shown.length);
  text.shown = whole;
  return added;
}

function checkedPrompt(tokenizer: Tokenizer, prompt: string, vocabSize: number): number[] {
  const ids = Array.from(tokenizer.encode(prompt));
  if (ids.length === 0)
    throw new RangeError('Cannot sample: the prompt is empty; give at least one character, such as "\\n".');
  if (tokenizer.vocabSize > vocabSize) {
    throw new RangeError(
      `Cannot sample: the tokenizer has ${tokenizer.vocabSize} ids and the model ${vocabSize}; use the tokenizer that the model was trained with.`,
    );
  }
  return ids;
}

function checkOptions(
  options: Required<Pick<SampleOptions, "numSamples" | "maxNewTokens" | "temperature" | "topK">>,
): void {
  for (const name of ["numSamples", "maxNewTokens"] as const) {
    if (!Number.isInteger(options[name]) || options[name] < 1) {
      throw new RangeError(`Cannot sample: ${name} is ${options[name]}; wanted a whole number of at least 1.`);
    }
  }
  if (!(options.temperature > 0))
    throw new RangeError(`Cannot sample: temperature is ${options.temperature}; wanted a number above 0.`);
  if (!Number.isInteger(options.topK) || options.topK < 0) {
    throw new RangeError(`Cannot sample: topK is ${options.topK}; wanted a whole number, 0 for all tokens.`);
  }
}
