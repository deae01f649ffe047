/**
 * `folio eval`: prints the loss of a trained model on a split of a dataset or on a text file, as a table or as JSON.
 * lib/train/evaluate.ts computes it.
 */
import type { TokenFile } from "../data/batches.js";
import { readTextFile, TEXT_RULE } from "../data/text.js";
import type { Tokenizer, TokenizerSpec } from "../data/tokenizers/tokenizer.js";

import { readOverrides } from "../settings/config-files.js";
import { helpText } from "../settings/flags.js";
import { defaultSettings, type EvalSettings, parseEvalSettings } from "../settings/settings.js";
import type { EvaluateOptions } from "../train/evaluate.js";
import type { ChosenCheckpoint } from "../weights/checkpoint.js";
import type { TrainedModel } from "../weights/pretrained.js";
import { fetchWeights } from "./shared/download-weights.js";
import { announceDevice } from "./shared/preflight.js";
import { grouped, type Io, openProgress, styled, table } from "./shared/terminal.js";

export function help(): string {
  return `folio eval: the loss of a trained model on a split or a text.

Usage: folio eval [config file …] [--setting=value …]

Every token of the validation split is predicted once, from those before it in a window of the model's context length.
With --stride=N windows overlap, so that each token has at least context − N before it. --eval_iters=N estimates
the loss from N random batches instead, the same as in training's evaluation at this step. Perplexity is e to the loss.
Bits per byte compare models with different tokenizers on one text.
${TEXT_RULE}

  folio eval --out_dir=out-shakespeare-char
  folio eval --out_dir=out-shakespeare-char --file=letter.txt --stride=32
  folio eval --init_from=gpt2 --dataset=shakespeare --stride=512

${helpText("eval")}`;
}

/** A model to evaluate, and its source. */
interface Loaded extends TrainedModel {
  readonly name: string;
  readonly step: number;
  /** Undefined if unknown. */
  readonly tokenizer: TokenizerSpec | undefined;
  /** Notes on the tokenizer. */
  readonly notes?: readonly string[];
}

/** One line of the table. */
interface Result {
  readonly text: string;
  readonly loss: number;
  readonly standardError?: number;
  readonly perplexity: number;
  /** Null if the ids have no text. */
  readonly bitsPerByte: number | null;
  readonly tokens: number;
  readonly bytes: number | null;
}

export async function run(args: readonly string[], io: Io): Promise<number> {
  const { values, notes } = await readOverrides("eval", args);
  for (const note of notes) io.stderr.write(`${note}\n`);
  const settings = parseEvalSettings(values);
  await fetchWeights(settings.initFrom, io);
  const { explainedUse } = await import("../train/failures.js");
  const model = await loadModel(settings);
  const { checkFinite } = await import("../weights/finite.js");
  checkFinite(model.params, model.name);
  for (const note of model.notes ?? []) io.stderr.write(styled(io.stderr, "yellow", `Warning: ${note}\n`));
  io.stderr.write(styled(io.stderr, "dim", `evaluating ${model.name}\n`));
  await announceDevice(settings, model.settings.dtype, io);
  const results: Result[] = [];
  try {
    for await (const text of openTexts(settings, model)) results.push(await evaluateText(text, model, settings, io));
  } catch (error) {
    throw explainedUse(error, { ...settings, lower: "batchSize" });
  }
  if (settings.json) {
    const { name, step } = model;
    const { blockSize } = model.settings;
    const stride = settings.stride || blockSize;
    const how = settings.evalIters > 0 ? { batches: settings.evalIters } : { stride };
    io.stdout.write(`${JSON.stringify({ model: name, step, blockSize, ...how, results }, null, 2)}\n`);
    return 0;
  }
  for (const line of resultTable(results)) io.stdout.write(`${line}\n`);
  io.stdout.write(`\n${contextNote(settings, model)}\n`);
  return 0;
}

async function loadModel({ outDir, initFrom, checkpoint, dataDir }: EvalSettings): Promise<Loaded> {
  if (initFrom === "scratch") {
    throw new RangeError("Cannot evaluate: initFrom is scratch, an untrained model; set it to resume.");
  }
  const { loadPretrained, nanoGptFile, trainedSettings } = await import("../weights/open-weights.js");
  const { chooseCheckpoint } = await import("../weights/checkpoint.js");
  const theirs = initFrom === "resume" ? nanoGptFile(outDir) : undefined;
  if (initFrom === "resume" && !theirs) {
    return await loadRun({ outDir, name: "last", ...chooseCheckpoint(outDir, checkpoint) });
  }
  const chosen = theirs ? undefined : chooseCheckpoint(initFrom, checkpoint);
  if (chosen) return await loadRun(chosen);
  const source = theirs ?? initFrom;
  const {
    params,
    model,
    tokenizer,
    tokenizerNotes: notes = [],
  } = await loadPretrained(source, dataDir ? { dataDir } : {});
  const batchSize = Math.max(1, Math.floor(4096 / model.blockSize));
  const dataset = theirs ? trainedSettings(outDir).dataset : "";
  const settings = { ...defaultSettings, ...model, batchSize, dataset, dropout: 0 };
  return { name: source, step: 0, params, settings, tokenizer, notes };
}

async function loadRun(chosen: ChosenCheckpoint): Promise<Loaded> {
  const { describeCheckpoint, openCheckpoint } = await import("../weights/checkpoint.js");
  const { step, params, settings, tokenizer } = openCheckpoint(chosen.outDir, chosen.name, { optimizer: false });
  return { name: describeCheckpoint(chosen, step), step, params, settings, tokenizer };
}

interface Text {
  readonly name: string;
  readonly tokens: TokenFile;
  readonly tokenizer: Tokenizer;
  readonly use: "eval-train" | "eval-val";
}

/** The requested texts; each is closed when the next one is requested. */
async function* openTexts(settings: EvalSettings, model: Loaded): AsyncGenerator<Text> {
  const { tokenizerFromSpec } = await import("../data/tokenizers/tokenizer.js");
  if (settings.file !== "") {
    const { tokensOfText } = await import("../train/evaluate.js");
    if (!model.tokenizer) throw new RangeError(`Cannot evaluate ${model.name} on a text: its tokenizer is unknown.`);
    const tokenizer = tokenizerFromSpec(model.tokenizer);
    const tokens = tokensOfText(readTextFile(settings.file), tokenizer, settings.file);
    if (tokens.length < 2) {
      throw new RangeError(
        `Cannot evaluate on ${settings.file}: it has ${tokens.length} tokens; wanted at least 2, since the first is not predicted.`,
      );
    }
    yield { name: settings.file, tokens, tokenizer, use: "eval-val" };
    return;
  }
  const name = settings.dataset || model.settings.dataset;
  if (name === "")
    throw new RangeError(
      `Cannot evaluate ${model.name}: there is no text to evaluate on; name a --dataset or a --file.`,
    );
  const { openDataset } = await import("../data/batches.js");
  const { sameTokenizer } = await import("../data/tokenizers/tokenizer.js");
  const own = model.tokenizer?.kind === "none" ? model.tokenizer : {};
  const dataset = openDataset(settings.dataDir || model.settings.dataDir, name, own);
  try {
    if (model.tokenizer && !sameTokenizer(model.tokenizer, dataset.meta.tokenizer)) {
      throw new RangeError(
        `Cannot evaluate ${model.name} on ${name}: the dataset was not prepared with the model's tokenizer, so the ids mean something else; prepare it with the model's, or evaluate on a text (--file).`,
      );
    }
    const tokenizer = tokenizerFromSpec(dataset.meta.tokenizer);
    for (const split of settings.split === "both" ? (["train", "val"] as const) : [settings.split]) {
      yield { name: `${name} ${split}`, tokens: dataset[split], tokenizer, use: `eval-${split}` };
    }
  } finally {
    dataset.close();
  }
}

async function evaluateText(text: Text, model: Loaded, settings: EvalSettings, io: Io): Promise<Result> {
  const { dtypeFor } = await import("../engine/device.js");
  const { evaluateSplit, lossUnits, targetBytes } = await import("../train/evaluate.js");
  const { tokens, tokenizer } = text;
  // A text shorter than the context is one window.
  const blockSize = Math.min(model.settings.blockSize, tokens.length - 1);
  const { device, compile, seed, evalIters, stride } = settings;
  const dtype = dtypeFor(model.settings.dtype, settings);
  const progress = openProgress(io.stderr);
  const options: EvaluateOptions = {
    device,
    compile,
    dtype,
    batchSize: settings.batchSize || model.settings.batchSize,
    ...(stride > 0 ? { stride: Math.min(stride, blockSize) } : {}),
    ...(evalIters > 0 ? { sampled: { batches: evalIters, use: text.use, seed, step: model.step } } : {}),
    onProgress: (share) => progress.update(Math.round(share * 1000), 1000, text.name),
  };
  try {
    const found = await evaluateSplit({ ...model, settings: { ...model.settings, blockSize } }, tokens, options);
    const { loss, targets, standardError } = found;
    const error = standardError === undefined ? {} : { standardError };
    if (tokenizer.kind === "none") {
      const perplexity = Math.exp(loss);
      return { text: text.name, loss, ...error, perplexity, bitsPerByte: null, tokens: targets, bytes: null };
    }
    // The text of random batches is not counted; the mean token length of the whole split is used.
    const wholeBytes = targetBytes(tokens, tokenizer);
    const bytes = Math.round((wholeBytes * found.targets) / (tokens.length - 1));
    return { text: text.name, loss, ...error, ...lossUnits({ loss, targets, bytes }), tokens: targets, bytes };
  } finally {
    progress.close();
  }
}

function resultTable(results: readonly Result[]): string[] {
  return table(
    ["text", "loss", "perplexity", "bits per byte", "tokens", "bytes"],
    results.map(({ text, loss, standardError, perplexity, bitsPerByte, tokens, bytes }) => [
      text,
      loss.toFixed(4) + (standardError === undefined ? "" : ` ± ${standardError.toFixed(4)}`),
      perplexity.toPrecision(4),
      bitsPerByte?.toFixed(4) ?? "-",
      grouped(tokens),
      bytes === null ? "-" : grouped(bytes),
    ]),
  );
}

function contextNote({ evalIters, stride }: EvalSettings, { settings: { blockSize } }: Loaded): string {
  if (evalIters > 0) {
    return `Loss in nats per token, ± the standard error of the mean over ${evalIters} random batches; bytes by the split's mean bytes per token.`;
  }
  const overlap = stride > 0 && stride < blockSize;
  const context = overlap
    ? `windows of ${blockSize} tokens begin ${stride} apart, so each token has ${blockSize - stride} or more before it`
    : `windows of ${blockSize} tokens do not overlap, so a token has ${(blockSize - 1) / 2} before it on average; --stride=${Math.max(1, blockSize >> 1)} gives it more`;
  return `Loss in nats per token, each predicted once from those before it: ${context}.`;
}
