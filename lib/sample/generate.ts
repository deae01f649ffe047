/**
 * Generates ids from a prompt's ids: a session with the model's weights and a cache, a step that reads a context into
 * the cache, and a step that adds one token. Past the context window, the last half of the window is read again or,
 * with a sliding window, all but its first token. sample.ts converts between text and ids.
 */
import * as tf from "@tensorflow/tfjs-core";
import { type ResolvedDevice, resolveDevice } from "../engine/device.js";
import { float32, type HostTensor, type HostTensors, int32, mapRecord } from "../engine/host-tensors.js";
import { pairsReadable, writingStep } from "../engine/operations/decoding.js";
import { openSession } from "../engine/session.js";
import type { RunStep, SessionOptions, State, Step } from "../engine/steps.js";
import { machineBytes } from "../host/memory.js";
import { uniform } from "../host/random.js";
import { toHalf } from "../host/sixteen-bit.js";
import { type Edits, withEdits } from "../model/edits.js";
import { type Cache, cacheGroup, cacheOf, cacheState } from "../model/kv-cache.js";
import { forward, type Parameters, parameterSpecs } from "../model/model.js";
import type { TrainedModel } from "../weights/pretrained.js";
import { drawTokens, nextTokens, penalize, sampleProbabilities } from "./next-token.js";

/** Options for drawing ids; see SampleOptions. */
export interface Generation {
  readonly rows: number;
  readonly temperature: number;
  readonly topK: number;
  /** 1: all. */
  readonly topP: number;
  /** 1: none. */
  readonly repetitionPenalty: number;
  readonly seed: number;
  /** How many of the likeliest tokens to report with each token; 0: no probabilities. */
  readonly alternatives: number;
  /** Only ids below this may be drawn. */
  readonly vocabSize: number;
  /** false: process the whole context again for each token, as nanoGPT does. */
  readonly cache: boolean;
  /**
   * The context of a token once the text is longer than blockSize: half a window or more (half, the default), or always
   * blockSize tokens.
   */
  readonly context?: "half" | "slide";
  /** Edits of each forward pass. */
  readonly edits?: Edits | undefined;
}

/** One round: a token for each row. */
export interface Drawn {
  readonly tokens: ArrayLike<number>;
  /** Of each row's token, and the likeliest tokens, `alternatives` per row, if requested. */
  readonly probabilities?: ArrayLike<number> | undefined;
  readonly likeliest?: { readonly tokens: ArrayLike<number>; readonly probabilities: ArrayLike<number> } | undefined;
}

/**
 * Continues a prompt, one round at a time, for as long as the caller asks.
 * @param prompt at least one id; only the last blockSize ids are used
 */
export async function* generate(
  model: TrainedModel,
  prompt: readonly number[],
  how: Generation,
): AsyncGenerator<Drawn> {
  const { settings } = model;
  const { blockSize } = settings;
  checkMemory(settings, how.rows);
  const { params, ...options } = heldWeights(model, await resolveDevice({ ...settings, xla: false }));
  const state = { params, cache: cacheState(settings, how.rows) };
  const session = await openSession(state, options);
  try {
    const steps = generationSteps(settings, how);
    const [read, next] = [session.define(steps.read), session.define(steps.next)];
    const texts = Array.from({ length: how.rows }, () => [...prompt]);
    const seen = how.repetitionPenalty === 1 ? undefined : seenTokens(texts, how.vocabSize);
    let start = Math.max(0, prompt.length - blockSize); // the first position in the cache
    let inCache = 0;
    for (let place = 0; ; place++) {
      const inputs = drawInputs(how, place, seen);
      const length = texts[0]!.length;
      let outputs: HostTensors;
      if (inCache > 0 && how.cache && length - start <= blockSize) {
        const last = int32(
          texts.map((ids) => ids.at(-1)!),
          [how.rows, 1],
        );
        outputs = await next({ ids: last, position: int32([length - start - 1], []), ...inputs });
      } else {
        const kept = how.cache && how.context !== "slide" ? Math.max(1, blockSize >> 1) : blockSize;
        if (place > 0) start = Math.max(start, length - kept);
        const contexts = texts.map((ids) => ids.slice(start));
        outputs = await readContexts(read, place === 0 ? contexts.slice(0, 1) : contexts, inputs, blockSize);
      }
      inCache = length - start;
      const drawn = drawnOf(outputs);
      for (const [row, ids] of texts.entries()) {
        ids.push(drawn.tokens[row]!);
        if (seen) seen.values[row * how.vocabSize + drawn.tokens[row]!] = 1;
      }
      yield drawn;
    }
  } finally {
    session.dispose();
  }
}

/** @throws {RangeError} when the keys and values of all texts exceed this machine's memory */
function checkMemory({ nLayer, nEmbd, blockSize }: TrainedModel["settings"], rows: number): void {
  const bytes = 8 * rows * nLayer * blockSize * nEmbd;
  if (bytes <= machineBytes()) return;
  throw new RangeError(
    `Cannot sample: ${rows.toLocaleString("en-US")} texts in one batch need ${(bytes / 1e9).toFixed(1)} GB for their keys and values, but there are only ${(machineBytes() / 1e9).toFixed(1)} GB; lower numSamples (${rows}).`,
  );
}

/** The two steps, over a state of `params` and `cache`. */
function generationSteps(settings: TrainedModel["settings"], how: Generation): { read: Step; next: Step } {
  const edits = withEdits(how.edits, settings);
  const closes = how.cache && edits.at === undefined;
  const step =
    (first: boolean): Step =>
    ({ params, cache }, inputs) => {
      const [ids, position] = [inputs.ids as tf.Tensor2D, inputs.position!];
      const before = cacheOf(cache!, first ? undefined : position);
      const after =
        (closes && closedForward(params!, ids, settings, before, first ? position : tf.scalar(0, "int32"))) ||
        forward(params!, ids, settings, { cache: before, lastOnly: first ? position : true, ...edits });
      const logits = tf.reshape(after.logits, [-1, settings.vocabSize]) as tf.Tensor2D;
      return { state: { cache: cacheGroup(after.cache!) } as State, outputs: draw(logits, inputs, how) };
    };
  return { read: step(true), next: step(false) };
}

/** `forward` for a few tokens of each sequence in one operation, in a compiled session on a CPU. */
function closedForward(
  params: Parameters,
  ids: tf.Tensor2D,
  settings: TrainedModel["settings"],
  cache: Cache,
  last: tf.Tensor,
): { logits: tf.Tensor; cache: Cache } | undefined {
  const { keys, values, position = tf.scalar(0, "int32") } = cache;
  if (ids.shape[0] !== keys[0]!.shape[0]) return undefined; // one prompt for all rows
  const weights = parameterSpecs(settings).map(({ name }) => params[name]!);
  const { bias, gelu, vocabSize } = settings;
  return writingStep({ weights, ids, keys, values, position, last, bias, gelu, vocabSize });
}

/** Draws the next tokens. Inputs: `u` [B, 1], `temperature`, and if requested `topP`, `penalty`, `seen` [B, V]. */
function draw(
  all: tf.Tensor2D,
  inputs: Readonly<Record<string, tf.Tensor>>,
  how: Generation,
): Record<string, tf.Tensor> {
  // A model may have more ids than its tokenizer, if its vocabulary was rounded up; these are never drawn.
  const known = all.shape[1] > how.vocabSize ? tf.slice(all, [0, 0], [-1, how.vocabSize]) : all;
  // One prompt is read once for all rows.
  const logits = (known.shape[0] === how.rows ? known : tf.tile(known, [how.rows, 1])) as tf.Tensor2D;
  const penalized = inputs.seen ? penalize(logits, inputs.seen as tf.Tensor2D, inputs.penalty!) : logits;
  const filter = { topK: how.topK, topP: inputs.topP };
  const [temperature, u] = [inputs.temperature!, inputs.u as tf.Tensor2D];
  if (how.alternatives === 0) return { tokens: nextTokens(penalized, { ...filter, temperature, u }) };
  const probabilities = sampleProbabilities(penalized, temperature, filter);
  const tokens = drawTokens(probabilities, u);
  const { values, indices } = tf.topk(probabilities, Math.min(how.alternatives, how.vocabSize));
  const hot = tf.cast(tf.oneHot(tokens, how.vocabSize), "float32");
  return { tokens, probabilities: tf.sum(tf.mul(probabilities, hot), 1), values, indices };
}

function drawInputs(how: Generation, place: number, seen: HostTensor | undefined): HostTensors {
  // Below 1 even after rounding to float32.
  const u = Array.from({ length: how.rows }, (_, row) =>
    Math.min(uniform(how.seed, "sample", row, place), 1 - 2 ** -24),
  );
  return {
    u: float32(u, [how.rows, 1]),
    // Far smaller than any difference of logits, but still a float32 above 0.
    temperature: float32([Math.max(how.temperature, 1e-30)], []),
    ...(how.topP < 1 && { topP: float32([how.topP], []) }),
    ...(seen && { seen, penalty: float32([how.repetitionPenalty], []) }),
  };
}

async function readContexts(
  read: RunStep,
  contexts: readonly (readonly number[])[],
  inputs: HostTensors,
  blockSize: number,
): Promise<HostTensors> {
  const length = contexts[0]!.length;
  // Lengths are rounded up to powers of two, so that a compiled step is traced a few times, not once per length. The
  // padding has no effect on the last real id, since attention is causal.
  const T = Math.min(blockSize, 2 ** Math.ceil(Math.log2(Math.max(length, 16))));
  const ids = new Int32Array(contexts.length * T);
  for (const [row, context] of contexts.entries()) ids.set(context, row * T);
  return read({ ids: int32(ids, [contexts.length, T]), position: int32([length - 1], []), ...inputs });
}

function drawnOf({ tokens, probabilities, values, indices }: HostTensors): Drawn {
  if (!probabilities) return { tokens: tokens!.values };
  const likeliest = { tokens: indices!.values, probabilities: values!.values };
  return { tokens: tokens!.values, probabilities: probabilities.values, likeliest };
}

function seenTokens(texts: readonly (readonly number[])[], vocabSize: number): HostTensor {
  const values = new Float32Array(texts.length * vocabSize);
  for (const [row, ids] of texts.entries()) for (const id of ids) values[row * vocabSize + id] = 1;
  return float32(values, [texts.length, vocabSize]);
}

/**
 * The weights for the session. In bfloat16 on a CPU, matrices are stored as pairs of bfloat16, which halves the memory
 * to read per token. If that is not possible, TensorFlow converts the products, as in training.
 */
function heldWeights(
  { params }: TrainedModel,
  { device, dtype, compile }: ResolvedDevice,
): SessionOptions & { params: HostTensors } {
  if (dtype !== "bfloat16" || device !== "cpu" || !pairsReadable()) return { params, device, dtype, compile };
  const paired = (host: HostTensor, name: string): HostTensor => {
    const [rows, columns = 1] = host.shape;
    if (host.shape.length !== 2 || name === "wpe.weight" || columns % 2 === 1) return host;
    return int32(new Int32Array(toHalf("bfloat16", host.values as Float32Array).buffer), [rows!, columns / 2]);
  };
  return { params: mapRecord(params, paired), device, dtype: "float32", compile };
}
