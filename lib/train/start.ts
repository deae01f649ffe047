/**
 * Prepares the start of a run by its setting `initFrom`: new weights, its own checkpoint (resume), or other weights,
 * which determine the model's shape as in nanoGPT. lib/weights/ reads them. Notebook 01-train resumes a run.
 */
import fs from "node:fs";
import { closest, distance } from "fastest-levenshtein";
import type { Dataset } from "../data/batches.js";
import { sameTokenizer } from "../data/tokenizers/tokenizer.js";
import { type HostTensors, toHost } from "../engine/host-tensors.js";
import { initialParameters } from "../model/model.js";
import { tokensPerStep } from "../model/sizing.js";
import { differingSettings } from "../runs/identity.js";
import { shapeKeys, shapeOf } from "../settings/model.js";
import type { Settings } from "../settings/settings.js";
import { hasCheckpoint, readState } from "../weights/checkpoint.js";
import { loadPretrained, openTraining } from "../weights/open-weights.js";
import {
  cropBlockSize,
  digest,
  isVocabularyOf,
  type Pretrained,
  padVocabulary,
  type Training,
} from "../weights/pretrained.js";

/** What a run starts from. */
export interface Start {
  /** With the shape of the weights, if they are not new. */
  readonly settings: Settings;
  readonly params: HostTensors;
  /** The training that it continues. */
  readonly from?: Training;
  /** SHA-256 of weights that are not new. */
  readonly weights?: string;
}

/**
 * @throws {RangeError} when settings, weights and dataset do not fit; {Error} when outDir has a run that would be lost
 */
export async function startOf(settings: Settings, dataset: Dataset): Promise<Start> {
  if (settings.initFrom === "resume") return resumed(settings, dataset);
  checkFolder(settings);
  if (settings.initFrom === "scratch") return { settings, params: await newWeights(settings) };
  return await adopted(settings, dataset);
}

/**
 * New weights, by the settings' seed: those that a run from scratch begins with.
 * @throws {RangeError} when vocabSize is 0
 * @example
 * const untrained = { params: await newWeights(settings), settings };
 */
export async function newWeights(settings: Settings): Promise<HostTensors> {
  const tensors = Object.entries(initialParameters(settings, settings.seed));
  const host = await Promise.all(tensors.map(async ([name, tensor]) => [name, await toHost(tensor)] as const));
  for (const [, tensor] of tensors) tensor.dispose();
  return Object.fromEntries(host);
}

// ---------------------------------------------------------------------------------------------- weights from elsewhere

const NAMES = ["scratch", "resume", "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"];

/** Other weights, with the requested numbers of positions and ids, and the settings with their shape. */
async function adopted(settings: Settings, dataset: Dataset): Promise<Start> {
  const { initFrom, checkpoint, dataDir, vocabSize } = settings;
  if (!NAMES.includes(initFrom) && !fs.existsSync(initFrom)) {
    const near = closest(initFrom, NAMES);
    const hint =
      distance(initFrom, near) <= 3 ? `did you mean ${near}?` : `wanted one of ${NAMES.join(", ")}, or a path.`;
    throw new RangeError(`Cannot start from ${initFrom}: there is no such file or folder; ${hint}`);
  }
  const loaded = await loadPretrained(initFrom, { dataDir, checkpoint });
  checkIds(settings, loaded, dataset);
  // The token table grows if more ids are requested than the weights and the dataset have.
  const grows = vocabSize > loaded.model.vocabSize && loaded.model.vocabSize >= dataset.meta.vocabSize;
  const source = grows ? padVocabulary(loaded, vocabSize) : loaded;
  checkSource(settings, source, dataset);
  const { params, model } = cropBlockSize(source, settings.blockSize);
  return { settings: { ...settings, ...shapeOf(model) }, params, weights: digest(params) };
}

/** Weights with an unknown tokenizer must have as many ids as the dataset. @throws {RangeError} */
function checkIds({ initFrom }: Settings, { tokenizer, model }: Pretrained, { meta }: Dataset): void {
  if (tokenizer || model.vocabSize < meta.vocabSize || isVocabularyOf(model.vocabSize, meta.vocabSize)) return;
  throw new RangeError(
    `Cannot start from ${initFrom}: the tokenizer of its ${model.vocabSize} ids is unknown, and the dataset ${meta.dataset} has ${meta.vocabSize} ids, so the ids would mean something else; put its tokenizer.json beside its weights, and prepare the text with it: folio prepare NAME --from=TEXT --tokenizer=FOLDER.`,
  );
}

function checkSource(settings: Settings, { model, tokenizer }: Pretrained, { meta }: Dataset): void {
  const { initFrom, blockSize, vocabSize } = settings;
  const refuse = (found: string) => new RangeError(`Cannot start from ${initFrom}: ${found}.`);
  if (blockSize > model.blockSize) {
    throw refuse(
      `blockSize is ${blockSize}, but the weights have ${model.blockSize} positions; use blockSize: ${model.blockSize} or less`,
    );
  }
  if (vocabSize !== meta.vocabSize && vocabSize !== model.vocabSize) {
    throw refuse(`vocabSize is ${vocabSize}, but the weights have ${model.vocabSize} ids; use vocabSize: 0`);
  }
  if (model.vocabSize < meta.vocabSize || (tokenizer && !sameTokenizer(tokenizer, meta.tokenizer))) {
    throw refuse(
      `the weights' tokenizer (${model.vocabSize} ids) is not that of the dataset ${meta.dataset} (${meta.vocabSize} ids), so the ids would mean something else; prepare the text with theirs: folio prepare NAME --from=TEXT --tokenizer=${initFrom}`,
    );
  }
}

// ------------------------------------------------------------------------------------------------------------- resume

/** Resumes the training in outDir. Its training settings may change, but not the model's shape. */
function resumed(settings: Settings, { meta }: Dataset): Start {
  const { outDir, checkpoint, evalOnly, gelu, dataDir } = settings;
  if (checkpoint !== "auto" && checkpoint !== "last") {
    throw new RangeError(
      `Cannot resume from ${outDir} at its checkpoint ${checkpoint}: a run resumes from its last one. To start from the weights of another checkpoint, name the run and a folder for the new one (initFrom: "${outDir}", another outDir).`,
    );
  }
  const found = withBlockSize(openTraining(outDir, { optimizer: !evalOnly, gelu, dataDir }), settings.blockSize);
  checkShape(settings, found.settings);
  const { vocabSize } = found.settings;
  if (!found.tokenizer && !isVocabularyOf(vocabSize, meta.vocabSize)) {
    throw new RangeError(
      `Cannot resume from ${found.path}: it was trained on ${vocabSize} ids, but the dataset ${meta.dataset} has ${meta.vocabSize}, so the ids would mean something else; give the folder with its dataset (dataDir), or prepare the dataset again.`,
    );
  }
  if (found.tokenizer && !sameTokenizer(found.tokenizer, meta.tokenizer)) {
    throw new RangeError(
      `Cannot resume from ${outDir}: its tokenizer is not that of ${meta.dataset}, so the ids would mean something else. Use its dataset (${found.settings.dataset}), or train from scratch into another outDir.`,
    );
  }
  return { settings, params: found.params, from: found };
}

/**
 * A training continued with fewer positions, as with nanoGPT's crop_block_size: weights and moments lose the others.
 */
function withBlockSize(training: Training, blockSize: number): Training {
  const { settings, step, params, optimizer } = training;
  if (blockSize >= settings.blockSize) return training;
  const model = shapeOf(settings);
  const cropped = (tensors: HostTensors) => cropBlockSize({ params: tensors, model }, blockSize).params;
  return {
    ...training,
    params: cropped(params),
    optimizer: Object.fromEntries(Object.entries(optimizer).map(([group, tensors]) => [group, cropped(tensors)])),
    // Counted with the old context length.
    tokens: training.tokens ?? step * tokensPerStep(settings),
    settings: { ...settings, blockSize },
  };
}

function checkShape(settings: Settings, there: Settings): void {
  const differing = shapeKeys.filter((name) => there[name] !== settings[name]);
  if (differing.length === 0) return;
  const differences = differing.map((name) => `${name} ${there[name]} there, ${settings[name]} here`);
  throw new RangeError(
    `Cannot resume from ${settings.outDir}: the checkpoint has another shape (${differences.join("; ")}). Use its settings, or train from scratch into another outDir.`,
  );
}

/** @throws {Error} when outDir has a run that would be lost, saying how its settings differ */
function checkFolder(settings: Settings): void {
  const { outDir, overwrite, evalOnly } = settings;
  if (overwrite || evalOnly || !hasCheckpoint(outDir)) return;
  throw new Error(
    `Cannot train into ${outDir}: it already has a run${differences(settings)}. Continue it (initFrom: "resume"), choose another outDir, or replace it (overwrite: true).`,
  );
}

function differences(settings: Settings): string {
  try {
    const { settings: there, step } = readState(settings.outDir);
    const differing = differingSettings(there, settings);
    return `, at step ${step}${differing.length > 0 ? `, with other settings (${differing.join("; ")})` : ""}`;
  } catch {
    return ""; // a checkpoint that cannot be read is not replaced either
  }
}
