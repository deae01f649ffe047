/**
 * Evaluates a trained model on a text: its loss over every token once, or over random batches as in training, and units
 * in which models with different tokenizers can be compared. Notebook 01-train compares exact and sampled losses;
 * 06-experiments uses bits per byte.
 */

import { drawBatch, type SplitBatch, type TokenFile, wholeSplit } from "../data/batches.js";
import type { Tokenizer } from "../data/tokenizers/tokenizer.js";
import { resolveDevice } from "../engine/device.js";
import { int32 } from "../engine/host-tensors.js";
import { type Numerics, withNumerics } from "../engine/numerics.js";
import { openSession } from "../engine/session.js";
import { throwIfInterrupted } from "../host/notebook.js";
import { type Edits, withEdits } from "../model/edits.js";
import type { Settings } from "../settings/settings.js";
import type { TrainedModel } from "../weights/pretrained.js";
import { evaluationLoss } from "./steps.js";

/** How to evaluate; the default of each setting is the model's. */
export interface EvaluateOptions extends Partial<Pick<Settings, "device" | "dtype" | "compile" | "batchSize">> {
  /**
   * Distance between successive windows, 1 to blockSize; a smaller one gives each token more context. Default
   * blockSize.
   */
  readonly stride?: number | undefined;
  /** Random batches instead of the whole split. */
  readonly sampled?: SampledBatches | undefined;
  /** The run's numerics, which are then used. @throws {RangeError} if this machine cannot reproduce them */
  readonly numerics?: Numerics | undefined;
  /** Values of each forward pass that are replaced, by name. */
  readonly edits?: Edits | undefined;
  /** Called after each batch with the fraction that is done. */
  readonly onProgress?: ((share: number) => void) | undefined;
}

/** The batches of training's own estimates with the same seed, split and step. */
export interface SampledBatches {
  readonly batches: number;
  readonly use: "eval-train" | "eval-val";
  readonly seed: number;
  readonly step: number;
}

/** A loss, in nats per token, and the number of tokens that it is the mean over. */
export interface Evaluation {
  readonly loss: number;
  /** The number of predicted tokens. */
  readonly targets: number;
  /** For a sampled loss: the standard error of the mean over its batches. */
  readonly standardError?: number;
}

/**
 * Mean cross-entropy in nats per token over all of `tokens`, each id but the first predicted once, in windows of
 * blockSize (`wholeSplit`); or over random batches.
 * @throws {RangeError} when the file is shorter than a block, or has ids beyond the vocabulary
 * @example
 * const { loss } = await evaluateSplit(openCheckpoint("out", "best"), dataset.val);
 */
export async function evaluateSplit(
  model: TrainedModel,
  tokens: TokenFile,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const settings = { ...model.settings, ...given(options), gradientAccumulationSteps: 1 };
  const found = await resolveDevice({ ...settings, xla: false });
  const machine = withNumerics(found, options.numerics, { what: "the run", allow: settings.allowOtherNumerics });
  const session = await openSession({ params: model.params }, machine);
  try {
    const edits = withEdits(options.edits, settings);
    const run = session.define(({ params }, inputs) => ({
      outputs: { loss: evaluationLoss(params!, inputs, settings, edits) },
    }));
    const losses: { loss: number; targets: number }[] = [];
    let total = 0;
    const expected = options.sampled ? options.sampled.batches : tokens.length - 1;
    for (const { x, y, batchSize, blockSize, targets } of batchesOf(tokens, settings, options)) {
      throwIfInterrupted();
      const shape = [batchSize, blockSize];
      const { loss } = await run({ x: int32(x, shape), y: int32(y, shape) });
      losses.push({ loss: loss!.values[0]!, targets });
      total += targets;
      options.onProgress?.((options.sampled ? losses.length : total) / expected);
    }
    const mean = losses.reduce((sum, { loss, targets }) => sum + loss * targets, 0) / total;
    if (!options.sampled) return { loss: mean, targets: total };
    const squares = losses.reduce((sum, { loss }) => sum + (loss - mean) ** 2, 0);
    const n = losses.length;
    return { loss: mean, targets: total, standardError: n > 1 ? Math.sqrt(squares / (n - 1) / n) : Number.NaN };
  } finally {
    session.dispose();
  }
}

/** The options that are settings, without those that are undefined. */
function given({ device, dtype, compile, batchSize }: EvaluateOptions): Partial<Settings> {
  const settings = { device, dtype, compile, batchSize };
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
}

function* batchesOf(tokens: TokenFile, settings: Settings, { stride, sampled }: EvaluateOptions): Iterable<SplitBatch> {
  if (!sampled) {
    yield* wholeSplit(tokens, { ...settings, stride });
    return;
  }
  const { batches, ...draw } = sampled;
  for (let index = 0; index < batches; index++) {
    const batch = drawBatch(tokens, { ...settings, ...draw, row: index * settings.batchSize });
    yield { ...batch, targets: batch.x.length };
  }
}

/** Converts a loss in nats per token to other units. `bytes` is the UTF-8 length of the text of `targets` tokens. */
export function lossUnits({ loss, targets, bytes }: { loss: number; targets: number; bytes: number }): {
  /** exp(loss): the number of equally likely tokens with the same uncertainty. */
  perplexity: number;
  /** loss · targets / (ln 2 · bytes), which does not depend on how the text is split into tokens. */
  bitsPerByte: number;
} {
  return { perplexity: Math.exp(loss), bitsPerByte: (loss * targets) / (Math.LN2 * bytes) };
}

const CHUNK = 1 << 16;

/**
 * UTF-8 bytes of the text of a file's ids, except the first, which is not a target, and ends of documents, which have
 * no text. Reads the file in pieces.
 */
export function targetBytes(tokens: TokenFile, tokenizer: Tokenizer): number {
  let bytes = 0;
  for (let start = 1; start < tokens.length; ) {
    const ids = tokens.read(start, Math.min(CHUNK, tokens.length - start));
    const count = start + ids.length < tokens.length ? wholeCharacters(ids, tokenizer) : ids.length;
    bytes += textBytes(ids.subarray(0, count), tokenizer);
    start += count;
  }
  return bytes;
}

/** UTF-8 bytes of the text of ids. */
function textBytes(ids: Int32Array, tokenizer: Tokenizer): number {
  const text = tokenizer.decode(ids.filter((id) => id !== tokenizer.endOfText));
  return Buffer.byteLength(text, "utf8");
}

/** The number of ids, nearly all, up to a whole character, since a byte-pair token may end inside one. */
function wholeCharacters(ids: Int32Array, tokenizer: Tokenizer): number {
  const isWhole = (id: number) => !tokenizer.decode([id]).includes("\uFFFD");
  for (let count = ids.length - 1; count > ids.length - 64 && count > 0; count--) {
    if (isWhole(ids[count - 1]!) && isWhole(ids[count]!)) return count;
  }
  return ids.length;
}

/** A text as a token file in memory. */
export function tokensOfText(text: string, tokenizer: Tokenizer, path: string): TokenFile {
  const ids = Int32Array.from(tokenizer.encode(text));
  return {
    path,
    length: ids.length,
    read: (start, count) => ids.subarray(start, start + count),
    close: () => {},
  };
}
