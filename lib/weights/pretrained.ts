/**
 * Weights that somebody has trained, whatever format they came in: what is known of them, and fitting them to another
 * length of context or another number of ids. Which formats there are stands in open-weights.ts. Shown in notebooks/05-gpt2.
 */
import { createHash } from "node:crypto";
import type { TokenizerSpec } from "../data/tokenizers/tokenizer.js";
import { float32, type HostState, type HostTensors } from "../engine/host-tensors.js";
import type { Numerics } from "../engine/numerics.js";
import type { ModelShape } from "../settings/model.js";
import type { Settings } from "../settings/settings.js";

/** A model that somebody has trained. */
export interface Pretrained {
  readonly params: HostTensors;
  readonly model: ModelShape;
  /** Undefined where nothing tells: the ids are then known to whoever has the model. */
  readonly tokenizer: TokenizerSpec | undefined;
  /** What to know about it, as sentences: that it was guessed, or that a file of it is not read here. */
  readonly tokenizerNotes?: readonly string[];
}

/** Whether a model of so many ids learned on a tokenizer of that many: the same, or rounded up to a multiple of 64 or 128. */
export function isVocabularyOf(modelIds: number, tokenizerIds: number): boolean {
  const roundedTo = (multiple: number) => Math.ceil(tokenizerIds / multiple) * multiple;
  return modelIds === tokenizerIds || modelIds === roundedTo(64) || modelIds === roundedTo(128);
}

/** A model with values: what openCheckpoint gives, or its parts. */
export interface TrainedModel {
  readonly params: HostTensors;
  readonly settings: Settings;
}

/** What a run came from besides its settings and data. */
export interface RunOrigin {
  /** SHA-256 of the weights that it began with, where they were not new. */
  readonly weights?: string;
  /** The run whose settings or data were changed, and the step at which they were. */
  readonly runId?: string;
  readonly step?: number;
}

/** A training that can go on: its weights, what its optimizer holds, and how far it has come. */
export interface Training extends TrainedModel {
  /** Where it is. */
  readonly path: string;
  readonly tokenizer: TokenizerSpec | undefined;
  /** What is kept beside the weights, in groups: the optimizer's, in float16 the loss scaler's. Empty when not asked for. */
  readonly optimizer: HostState;
  /** Updates done. */
  readonly step: number;
  /** Whether the evaluation before the next update was done. */
  readonly evaluated: boolean;
  readonly bestValLoss: number | null;
  /** Time spent in steps, over all sittings. */
  readonly trainedMs: number;
  /** Tokens trained on. Those of a step change with batchSize, so they do not follow from the step. */
  readonly tokens?: number;
  /** Hash of what determines the run's result; absent of a run of somebody else's. */
  readonly runId?: string;
  /** What the run came from, besides its settings and data: other weights, or a run whose settings were changed. */
  readonly origin?: RunOrigin;
  /** How its numbers are rounded: what it is gone on with. Absent in older ones, and of a run of somebody else's. */
  readonly numerics?: Numerics;
}

/**
 * A model with fewer positions: the first of its position table, as nanoGPT's crop_block_size.
 * @throws {RangeError} if it has not so many
 */
export function cropBlockSize<T extends Omit<Pretrained, "tokenizer">>(pretrained: T, blockSize: number): T {
  const { model, params } = pretrained;
  if (blockSize === model.blockSize) return pretrained;
  if (blockSize > model.blockSize) {
    throw new RangeError(
      `Cannot start from this model: blockSize is ${blockSize}, and it knows ${model.blockSize} positions; use a blockSize of at most ${model.blockSize}.`,
    );
  }
  const values = params["wpe.weight"]!.values.slice(0, blockSize * model.nEmbd) as Float32Array;
  const wpe = float32(values, [blockSize, model.nEmbd]);
  return { ...pretrained, model: { ...model, blockSize }, params: { ...params, "wpe.weight": wpe } };
}

/**
 * A model with more ids, for example 50,304 = 64 · 786, which graphics cards multiply faster. The new rows are the mean
 * of the others: a row of zeros would get the logit 0, and GPT-2's logits lie far below it.
 * @throws {RangeError} if it has more ids already
 */
export function padVocabulary<T extends Omit<Pretrained, "tokenizer">>(pretrained: T, vocabSize: number): T {
  const { model, params } = pretrained;
  if (vocabSize === model.vocabSize) return pretrained;
  if (vocabSize < model.vocabSize) {
    throw new RangeError(
      `Cannot start from this model: vocabSize is ${vocabSize}, and it knows ${model.vocabSize} ids; use a vocabSize of at least ${model.vocabSize}, or 0.`,
    );
  }
  const tables = ["wte.weight", "lm_head.weight"].filter((name) => params[name]);
  const padded = tables.map((name) => [name, withMeanRows(params[name]!.values, [vocabSize, model.nEmbd])] as const);
  return { ...pretrained, model: { ...model, vocabSize }, params: { ...params, ...Object.fromEntries(padded) } };
}

function withMeanRows(values: ArrayLike<number>, [rows, columns]: [number, number]) {
  const mean = new Float64Array(columns);
  for (let i = 0; i < values.length; i++) mean[i % columns]! += values[i]!;
  const all = new Float32Array(rows * columns);
  all.set(values);
  const row = Float32Array.from(mean, (sum) => (sum * columns) / values.length);
  for (let at = values.length; at < all.length; at += columns) all.set(row, at);
  return float32(all, [rows, columns]);
}

/** SHA-256 of tensors: names, shapes and values. */
export function digest(tensors: HostTensors): string {
  const hash = createHash("sha256");
  for (const [name, { shape, values }] of Object.entries(tensors)) {
    hash.update(`${name} ${shape}\n`).update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  return hash.digest("hex");
}
