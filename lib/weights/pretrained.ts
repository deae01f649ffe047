/**
 * Trained weights, from any format: their description, and how they are fitted to another context length or number of
 * ids. open-weights.ts has the formats. Shown in notebooks/05-gpt2.
 */
import { createHash } from "node:crypto";
import type { TokenizerSpec } from "../data/tokenizers/tokenizer.js";
import { float32, type HostState, type HostTensors } from "../engine/host-tensors.js";
import type { Numerics } from "../engine/numerics.js";
import type { ModelShape } from "../settings/model.js";
import type { Settings } from "../settings/settings.js";

/** A trained model. */
export interface Pretrained {
  readonly params: HostTensors;
  readonly model: ModelShape;
  /** Undefined if it is unknown; only the model's owner then knows what the ids mean. */
  readonly tokenizer: TokenizerSpec | undefined;
  /** Notes on it, as sentences: that it was guessed, or that one of its files cannot be read. */
  readonly tokenizerNotes?: readonly string[];
}

/** Whether a model's number of ids fits a tokenizer's: the same, or rounded up to a multiple of 64 or 128. */
export function isVocabularyOf(modelIds: number, tokenizerIds: number): boolean {
  const roundedTo = (multiple: number) => Math.ceil(tokenizerIds / multiple) * multiple;
  return modelIds === tokenizerIds || modelIds === roundedTo(64) || modelIds === roundedTo(128);
}

/** A model with its weights, such as the result of openCheckpoint. */
export interface TrainedModel {
  readonly params: HostTensors;
  readonly settings: Settings;
}

/** The origin of a run, besides its settings and data. */
export interface RunOrigin {
  /** SHA-256 of the weights that it started from, if they were not new. */
  readonly weights?: string;
  /** The run whose settings or data were changed, and the step of the change. */
  readonly runId?: string;
  readonly step?: number;
}

/** A training that can be continued: weights, optimizer state and progress. */
export interface Training extends TrainedModel {
  /** Its path. */
  readonly path: string;
  readonly tokenizer: TokenizerSpec | undefined;
  /**
   * The groups of state beside the weights: the optimizer's and, in float16, the loss scaler's. Empty if not requested.
   */
  readonly optimizer: HostState;
  /** Updates done. */
  readonly step: number;
  /** Whether the evaluation before the next update was done. */
  readonly evaluated: boolean;
  readonly bestValLoss: number | null;
  /** Time spent in steps, including earlier sessions of the run. */
  readonly trainedMs: number;
  /** Tokens trained on. They do not follow from the step, since batchSize may have changed. */
  readonly tokens?: number;
  /** Hash of what determines the run's result; absent for a run of another program. */
  readonly runId?: string;
  /** The run's origin, besides its settings and data: other weights, or a run whose settings were changed. */
  readonly origin?: RunOrigin;
  /** How its numbers are rounded, for continuing. Absent in older checkpoints and for a run of another program. */
  readonly numerics?: Numerics;
}

/**
 * A model with fewer positions, the first of its position table, as nanoGPT's crop_block_size.
 * @throws {RangeError} if it does not have that many
 */
export function cropBlockSize<T extends Omit<Pretrained, "tokenizer">>(pretrained: T, blockSize: number): T {
  const { model, params } = pretrained;
  if (blockSize === model.blockSize) return pretrained;
  if (blockSize > model.blockSize) {
    throw new RangeError(
      `Cannot start from this model: blockSize is ${blockSize}, but it has ${model.blockSize} positions; use a blockSize of at most ${model.blockSize}.`,
    );
  }
  const cropped = { ...pretrained, model: { ...model, blockSize } };
  const table = params["wpe.weight"];
  if (!table) return cropped; // a group of an optimizer that has no tensor for it
  const values = table.values.slice(0, blockSize * model.nEmbd) as Float32Array;
  return { ...cropped, params: { ...params, "wpe.weight": float32(values, [blockSize, model.nEmbd]) } };
}

/**
 * A model with more ids, for example 50,304 = 64 · 786, which GPUs multiply faster. The new rows are the mean of the
 * others: a row of zeros would have the logit 0, and GPT-2's logits are far below that.
 * @throws {RangeError} if it already has more ids
 */
export function padVocabulary<T extends Omit<Pretrained, "tokenizer">>(pretrained: T, vocabSize: number): T {
  const { model, params } = pretrained;
  if (vocabSize === model.vocabSize) return pretrained;
  if (vocabSize < model.vocabSize) {
    throw new RangeError(
      `Cannot start from this model: vocabSize is ${vocabSize}, but it has ${model.vocabSize} ids; use a vocabSize of at least ${model.vocabSize}, or 0.`,
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
