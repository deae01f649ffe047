/**
 * Generates text from a prompt, token by token, all samples in one batch. Tokens are yielded as they are drawn;
 * generate.ts draws the ids. Shown in notebook 03-sample.
 */

import type { Tokenizer } from "../data/tokenizers/tokenizer.js";
import { dtypeFor } from "../engine/device.js";
import type { Edits } from "../model/edits.js";
import type { Device, Dtype } from "../settings/settings.js";
import type { TrainedModel } from "../weights/pretrained.js";
import { type Drawn, type Generation, generate } from "./generate.js";
import { openTextStream, type TextStream } from "./text-stream.js";

/** Options of sampling. */
export interface SampleOptions {
  /**
   * The text to continue, at least one token long. Names of special tokens, such as `<|endoftext|>`, are those tokens.
   */
  readonly prompt: string;
  readonly numSamples?: number;
  readonly maxNewTokens?: number;
  /** Divides the logits; below 1: fewer unlikely tokens, above 1: more. */
  readonly temperature?: number;
  /** Draw from the k likeliest tokens only; 0: from all. */
  readonly topK?: number;
  /** Of those, draw from the fewest tokens whose probabilities sum to topP; 1: from all. */
  readonly topP?: number;
  /** Divides the logits of tokens already in the text (multiplies negative ones); 1: no effect. */
  readonly repetitionPenalty?: number;
  /** Texts that end a sample, and are not part of it. */
  readonly stop?: readonly string[];
  /** End a sample at the tokenizer's end-of-text token, which is not part of it. */
  readonly stopAtEnd?: boolean;
  readonly seed?: number;
  /** How many of the likeliest tokens each record reports; 0: no probabilities. */
  readonly alternatives?: number;
  /** false: process the whole context again for each token, as nanoGPT does. */
  readonly cache?: boolean;
  /**
   * Once the text is longer than blockSize: read the last half of the window again and continue from there, which is
   * fast (half, the default), or slide the window by one token each time, as nanoGPT does (slide).
   */
  readonly context?: "half" | "slide";
  /** Values of each forward pass that are replaced, by name. */
  readonly edits?: Edits;
  readonly compile?: boolean;
  readonly device?: Device;
  /** auto: the format of the model's settings. bfloat16 stores the weights in half the memory. */
  readonly dtype?: Dtype;
  readonly signal?: AbortSignal;
}

/** A token that could have been drawn. */
export interface Alternative {
  readonly token: number;
  readonly text: string;
  readonly probability: number;
}

/** One new token of one sample. */
export interface SampledToken {
  /** Which sample, from 0. */
  readonly sample: number;
  readonly token: number;
  /** The text that the token adds to the sample; the bytes of an incomplete character come with a later token. */
  readonly text: string;
  /** Why the sample ends with this token, if it does: its length, a stop text, or the end-of-text token. */
  readonly ended?: "length" | "stop" | "end";
  /** The token's probability among those that could have been drawn, if alternatives were requested. */
  readonly probability?: number;
  /** The likeliest first. */
  readonly alternatives?: readonly Alternative[];
}

/**
 * Generates samples. Each round yields one token of every sample that has not ended. The context is the text so far;
 * once that is longer than blockSize, the last half is read again, or the window slides. A token is a function of the
 * model, the prompt, the seed, the sample's number and the token's position.
 * @throws {RangeError} for an empty prompt, text that the tokenizer cannot encode, or invalid options
 * @example
 * for await (const { text } of sample(openCheckpoint("out"), tokenizer, { prompt: "\n" })) process.stdout.write(text);
 */
export async function* sample(
  model: TrainedModel,
  tokenizer: Tokenizer,
  options: SampleOptions,
): AsyncGenerator<SampledToken> {
  const { maxNewTokens = 500, stop = [], stopAtEnd = false, signal } = options;
  const { compile = true, device = "auto", dtype = "auto" } = options;
  const wanted = { compile, device, dtype };
  const settings = { ...model.settings, ...wanted, dtype: dtypeFor(model.settings.dtype, wanted) };
  const how = generationOf(options, tokenizer);
  const prompt = checkedPrompt(tokenizer, options.prompt, settings.vocabSize);
  checkOptions({ ...how, maxNewTokens, stop });
  if (signal?.aborted) return;
  const streams: (TextStream | undefined)[] = Array.from({ length: how.rows }, () =>
    openTextStream(tokenizer, stop, prompt),
  );
  let place = 0;
  for await (const drawn of generate({ ...model, settings }, prompt, how)) {
    place++;
    for (const [number, stream] of streams.entries()) {
      if (!stream) continue;
      const token = drawn.tokens[number]!;
      const atEnd = stopAtEnd && token === tokenizer.endOfText;
      const { text, stopped } = atEnd ? { text: "", stopped: false } : stream.add(token);
      const ended = atEnd ? "end" : stopped ? "stop" : place === maxNewTokens ? "length" : undefined;
      if (ended) streams[number] = undefined;
      const whole = ended && ended !== "stop" ? text + stream.rest() : text;
      yield { sample: number, token, text: whole, ...(ended && { ended }), ...told(drawn, number, how, tokenizer) };
      if (signal?.aborted) return;
    }
    if (streams.every((stream) => stream === undefined)) return;
  }
}

/** Reasons why samples of this model with this tokenizer may be noise, as sentences. @param step training step */
export function noiseWarnings({ settings }: TrainedModel, tokenizer: Tokenizer, step?: number): string[] {
  const warnings = [];
  if (step === 0) warnings.push("The model is untrained (step 0): its samples are noise. Train it first.");
  // A vocabulary is rounded up to at most a multiple of 128.
  if (settings.vocabSize - tokenizer.vocabSize >= 128) {
    warnings.push(
      `The model has ${settings.vocabSize} ids and the tokenizer ${tokenizer.vocabSize}: if it was trained with another tokenizer, its samples are noise.`,
    );
  }
  return warnings;
}

function generationOf(options: SampleOptions, { vocabSize }: Tokenizer): Generation {
  const { numSamples: rows = 1, temperature = 0.8, topK = 200, topP = 1, repetitionPenalty = 1, seed = 1337 } = options;
  const { alternatives = 0, cache = true, context = "half" } = options;
  const drawing = { rows, temperature, topK, topP, repetitionPenalty, seed, alternatives, vocabSize };
  return { ...drawing, cache, context, edits: options.edits };
}

function told(
  drawn: Drawn,
  row: number,
  { alternatives, vocabSize }: Generation,
  tokenizer: Tokenizer,
): Partial<SampledToken> {
  const { probabilities, likeliest } = drawn;
  if (!probabilities || !likeliest) return {};
  const count = Math.min(alternatives, vocabSize);
  const list = Array.from({ length: count }, (_, i): Alternative => {
    const token = likeliest.tokens[row * count + i]!;
    return { token, text: tokenizer.decode([token]), probability: likeliest.probabilities[row * count + i]! };
  });
  // Tokens that cannot be drawn are not alternatives.
  return { probability: probabilities[row]!, alternatives: list.filter(({ probability }) => probability > 0) };
}

function checkedPrompt(tokenizer: Tokenizer, prompt: string, vocabSize: number): number[] {
  const ids = Array.from(tokenizer.encode(prompt, { special: true }));
  if (ids.length === 0)
    throw new RangeError('Cannot sample: the prompt is empty; give at least one character, such as "\\n".');
  if (tokenizer.vocabSize > vocabSize) {
    throw new RangeError(
      `Cannot sample: the tokenizer has ${tokenizer.vocabSize} ids and the model ${vocabSize}; use the tokenizer that the model was trained with.`,
    );
  }
  return ids;
}

function checkOptions(options: Generation & { maxNewTokens: number; stop: readonly string[] }): void {
  const { rows: numSamples, temperature, topP, repetitionPenalty } = options;
  const checked = (name: string, value: number, holds: boolean, wanted: string) => {
    if (!holds) throw new RangeError(`Cannot sample: ${name} is ${value}; wanted ${wanted}.`);
  };
  for (const [name, value] of Object.entries({ numSamples, maxNewTokens: options.maxNewTokens })) {
    checked(name, value, Number.isInteger(value) && value >= 1, "a whole number of at least 1");
  }
  for (const [name, value] of Object.entries({ topK: options.topK, alternatives: options.alternatives })) {
    checked(name, value, Number.isInteger(value) && value >= 0, "a whole number of at least 0");
  }
  checked("temperature", temperature, temperature > 0, "a number above 0");
  checked("topP", topP, topP > 0 && topP <= 1, "a number above 0 and at most 1");
  checked("repetitionPenalty", repetitionPenalty, repetitionPenalty > 0, "a number above 0");
  if (options.stop.includes("")) throw new RangeError("Cannot sample: a stop text is empty; leave it out.");
}
