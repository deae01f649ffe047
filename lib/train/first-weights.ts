/**
 * What a run starts from, by its setting `initFrom`: new weights, a checkpoint of its own (resume), or weights from
 * elsewhere, which bring the model's shape with them as in nanoGPT. Reading other formats is gpt2.ts' matter. It trains
 * nothing. Notebook 01-train resumes.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { closest, distance } from "fastest-levenshtein";
import type { Dataset } from "../data/batches.js";
import type { TokenizerSpec } from "../data/tokenizers/tokenizer.js";
import { type HostTensors, toHost } from "../engine/host-tensors.js";
import { initialParameters } from "../model/model.js";
import { tokensPerStep } from "../model/sizing.js";
import { type Checkpoint, chooseCheckpoint, hasCheckpoint, openCheckpoint, readState } from "../runs/checkpoint.js";
import { differingSettings, identityOf } from "../runs/identity.js";
import { loadPretrained, nanoGptTokenizer } from "../runs/trained-model.js";
import {
  defaultSettings,
  type ModelSettings,
  parseSettings,
  type Settings,
  settingRows,
} from "../settings/settings.js";
import { padVocabulary } from "../weights/gpt2-folder.js";
import { type NanoGptCheckpoint, readNanoGptCheckpoint, readNanoGptSettings } from "../weights/nanogpt-checkpoint.js";

/** Weights from elsewhere, with what they are. */
export interface Pretrained {
  readonly params: HostTensors;
  /** The shape that they have; `dropout` is of no account. */
  readonly model: ModelSettings;
  /** What their ids mean, where that is known. */
  readonly tokenizer?: TokenizerSpec | undefined;
}

/** Weights to begin with, and the settings that go with them. */
export interface Start {
  readonly settings: Settings;
  readonly params: HostTensors;
  /** SHA-256 of the weights where they are not new. */
  readonly weights: string | undefined;
}

/** New weights, or those that initFrom names. @throws {RangeError} when settings, weights and dataset do not fit */
export async function startWeights(settings: Settings, dataset: Dataset): Promise<Start> {
  if (settings.initFrom === "scratch") {
    return { settings, params: await newParameters(settings), weights: undefined };
  }
  const source = withIds(await openSource(settings), settings, dataset);
  const adopted = { ...settings, ...adoptedModel(settings, source, dataset) };
  const params = croppedTo(adopted.blockSize, source.params);
  return { settings: adopted, params, weights: digest(params) };
}

async function newParameters(settings: Settings): Promise<HostTensors> {
  const tensors = initialParameters(settings, settings.seed);
  const host = await Promise.all(Object.entries(tensors).map(async ([name, t]) => [name, await toHost(t)] as const));
  for (const tensor of Object.values(tensors)) tensor.dispose();
  return Object.fromEntries(host);
}

const NAMES = ["scratch", "resume", "gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"];

/** More rows in the token table where vocabSize asks for more ids than the weights and the dataset have. */
function withIds(source: Pretrained, { vocabSize }: Settings, { meta }: Dataset): Pretrained {
  const { model } = source;
  return vocabSize > model.vocabSize && model.vocabSize >= meta.vocabSize ? padVocabulary(source, vocabSize) : source;
}

async function openSource({ initFrom, checkpoint, dataDir }: Settings): Promise<Pretrained> {
  const chosen = chooseCheckpoint(initFrom, checkpoint);
  if (chosen) {
    const { params, settings, tokenizer } = openCheckpoint(chosen.outDir, chosen.name, { optimizer: false });
    return { params, model: settings, tokenizer };
  }
  if (!NAMES.includes(initFrom) && !fs.existsSync(initFrom)) {
    const near = closest(initFrom, NAMES);
    const hint =
      distance(initFrom, near) <= 3 ? `did you mean ${near}?` : `wanted one of ${NAMES.join(", ")}, or a path.`;
    throw new RangeError(`Cannot start from ${initFrom}: there is no such file or folder; ${hint}`);
  }
  const { params, model, tokenizer } = await loadPretrained(initFrom, { dataDir });
  return { params, model: { ...model, dropout: 0 }, tokenizer };
}

/** The model that results: the weights' shape, with fewer positions and another dropout where they are asked for. */
function adoptedModel(settings: Settings, { model, tokenizer }: Pretrained, { meta }: Dataset): ModelSettings {
  const { initFrom, blockSize, vocabSize, dropout } = settings;
  const refuse = (found: string) => new RangeError(`Cannot start from ${initFrom}: ${found}.`);
  if (blockSize > model.blockSize) {
    throw refuse(
      `blockSize is ${blockSize}, and the weights have ${model.blockSize} positions; use blockSize: ${model.blockSize} or less`,
    );
  }
  if (vocabSize !== meta.vocabSize && vocabSize !== model.vocabSize) {
    throw refuse(`vocabSize is ${vocabSize}, and the weights have ${model.vocabSize} ids; use vocabSize: 0`);
  }
  if (model.vocabSize < meta.vocabSize || (tokenizer && JSON.stringify(tokenizer) !== JSON.stringify(meta.tokenizer))) {
    throw refuse(
      `the weights belong to another tokenizer (${model.vocabSize} ids) than that of the dataset ${meta.dataset} (${meta.vocabSize} ids), so the ids would mean something else; prepare the text with theirs`,
    );
  }
  const { nLayer, nHead, nEmbd, bias, tieHead, gelu } = model;
  return { nLayer, nHead, nEmbd, bias, tieHead, gelu, blockSize, dropout, vocabSize: model.vocabSize };
}

/** The first `blockSize` positions. */
function croppedTo(blockSize: number, params: HostTensors): HostTensors {
  const positions = params["wpe.weight"]!;
  const [rows, width] = positions.shape as [number, number];
  if (rows === blockSize) return params;
  const values = (positions.values as Float32Array).slice(0, blockSize * width);
  return { ...params, "wpe.weight": { ...positions, shape: [blockSize, width], values } };
}

function digest(params: HostTensors): string {
  const hash = createHash("sha256");
  for (const [name, { shape, values }] of Object.entries(params)) {
    hash.update(`${name} ${shape}\n`).update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }
  return hash.digest("hex");
}

/**
 * The checkpoint in outDir that a run goes on from: Folio's, or, where there is none yet, nanoGPT's ckpt.pt, which is
 * left as it is. A run that goes on may change how it trains, not what the model is.
 */
export function openToResume(settings: Settings, dataset: Dataset): Checkpoint {
  const { outDir, checkpoint: wanted } = settings;
  const { meta } = dataset;
  if (wanted !== "auto" && wanted !== "last") {
    throw new RangeError(
      `Cannot resume from ${outDir} at its checkpoint ${wanted}: a run goes on from its last one. To begin with the weights of another, name the run and a folder for the new one (initFrom: "${outDir}", another outDir).`,
    );
  }
  const file = nanoGptFile(outDir);
  const checkpoint = file
    ? openNanoGptRun(file, settings, dataset)
    : openCheckpoint(outDir, "last", { optimizer: !settings.evalOnly });
  const differing = (["nLayer", "nHead", "nEmbd", "blockSize", "vocabSize", "bias", "tieHead", "gelu"] as const).filter(
    (name) => checkpoint.settings[name] !== settings[name],
  );
  if (differing.length > 0) {
    const differences = differing.map((name) => `${name} ${checkpoint.settings[name]} there, ${settings[name]} here`);
    throw new RangeError(
      `Cannot resume from ${outDir}: the checkpoint has another shape (${differences.join("; ")}). Use its settings, or train from scratch into another outDir.`,
    );
  }
  if (JSON.stringify(checkpoint.tokenizer) !== JSON.stringify(meta.tokenizer)) {
    throw new RangeError(
      `Cannot resume from ${outDir}: it was trained with another tokenizer than that of ${meta.dataset}, so the ids would mean something else. Use its dataset (${checkpoint.settings.dataset}), or train from scratch into another outDir.`,
    );
  }
  return checkpoint;
}

/** The ckpt.pt of a folder that nanoGPT trained into and Folio did not yet. */
export function nanoGptFile(outDir: string): string | undefined {
  const file = path.join(outDir, "ckpt.pt");
  return !hasCheckpoint(outDir) && fs.existsSync(file) ? file : undefined;
}

/**
 * The settings of nanoGPT's run in `file`: the model's, and how it was trained. Not where it was: the device, the number
 * format and the tracker are this machine's matter.
 * @throws {Error} if the file is damaged or no checkpoint of nanoGPT; {RangeError, TypeError} for settings that are wrong
 */
export function nanoGptSettings(file: string): Readonly<Settings> {
  const { model, config } = readNanoGptSettings(file);
  return resumedSettings(file, { model, config });
}

function resumedSettings(file: string, { model, config }: Pick<NanoGptCheckpoint, "model" | "config">) {
  const here = ["device", "dtype", "compile", "wandbLog", "evalOnly", "dataDir"];
  const known = Object.keys(settingRows("train")).filter((key) => !here.includes(key));
  const written = (key: string) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const trained = Object.fromEntries(
    known.flatMap((key) => (config[written(key)] === undefined ? [] : [[key, config[written(key)]]])),
  );
  try {
    const outDir = path.dirname(file);
    return parseSettings({ ...trained, ...model, outDir, initFrom: "resume" }, defaultSettings);
  } catch (error) {
    throw new RangeError(`Cannot resume from ${file}: its settings are wrong: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** nanoGPT's run as a checkpoint of Folio's: its weights, AdamW's moments, step and best loss. */
function openNanoGptRun(file: string, { evalOnly, gelu, dataDir }: Settings, { meta }: Dataset): Checkpoint {
  const found = readNanoGptCheckpoint(file, { optimizer: !evalOnly, gelu });
  const { params, iterNum: step, bestValLoss, optimizer } = found;
  if (!evalOnly && step > 0 && !optimizer) {
    throw new Error(
      `Cannot resume from ${file}: it has no moments of AdamW; begin with its weights instead (initFrom: "${file}").`,
    );
  }
  const settings = resumedSettings(file, found);
  const zeros = (tensors: HostTensors) =>
    Object.fromEntries(
      Object.entries(tensors).map(([name, tensor]) => [
        name,
        { ...tensor, values: new Float32Array(tensor.values.length) },
      ]),
    );
  const { m, v } = evalOnly ? { m: {}, v: {} } : (optimizer ?? { m: zeros(params), v: zeros(params) });
  const moments = Object.entries({ m, v }).flatMap(([group, tensors]) =>
    Object.entries(tensors).map(([name, tensor]) => [`${group}/${name}`, tensor] as const),
  );
  const origin = { weights: digest({ ...params, ...Object.fromEntries(moments) }) };
  return {
    ...{ format: "folio-checkpoint", version: 1, path: file, versions: {} },
    ...{ params, m, v, settings, step, bestValLoss, origin },
    runId: identityOf(settings, meta, origin),
    // nanoGPT saves between an evaluation and an update; the evaluation is done again, on Folio's batches.
    evaluated: false,
    trainedMs: 0,
    tokens: step * tokensPerStep(settings),
    tokenizer: nanoGptTokenizer(file, dataDir, found) ?? meta.tokenizer,
  };
}

/** @throws {Error} when outDir holds a run that would be lost; says in what it differs */
export function checkFolder(settings: Settings): void {
  const { outDir, overwrite, evalOnly } = settings;
  if (overwrite || evalOnly || !hasCheckpoint(outDir)) return;
  throw new Error(
    `Cannot train into ${outDir}: it holds a run already${differences(settings)}. Go on with it (initFrom: "resume"), choose another outDir, or replace it (overwrite: true).`,
  );
}

function differences(settings: Settings): string {
  try {
    const { settings: there, step } = readState(settings.outDir);
    const differing = differingSettings(there, settings);
    return `, at step ${step}${differing.length > 0 ? `, with other settings (${differing.join("; ")})` : ""}`;
  } catch {
    return ""; // a checkpoint that cannot be read is not lost either
  }
}
