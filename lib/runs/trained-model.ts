/**
 * A trained model from wherever it is: GPT-2 by its name, a Hugging Face folder, a checkpoint of nanoGPT, or a run of
 * Folio's. This file only tells which it is; gpt2.ts, hub.ts, torch-checkpoint.ts and checkpoint.ts read them. It is
 * what the setting `initFrom` names. Shown in notebooks/05-gpt2.
 */
import fs from "node:fs";
import path from "node:path";
import { closest, distance } from "fastest-levenshtein";
import { openDataset } from "../data/batches.js";
import type { TokenizerSpec } from "../data/tokenizers/tokenizer.js";
import type { HostTensors } from "../engine/host-tensors.js";
import type { Settings } from "../settings/settings.js";
import {
  cropBlockSize,
  type Gpt2Name,
  gpt2Names,
  type Pretrained,
  padVocabulary,
  readGpt2Folder,
} from "../weights/gpt2-folder.js";
import type { HubOptions } from "../weights/gpt2-hub.js";
import { type NanoGptCheckpoint, readNanoGptCheckpoint } from "../weights/nanogpt-checkpoint.js";
import { type ChosenCheckpoint, chooseCheckpoint, openCheckpoint } from "./checkpoint.js";

/** A model with values: what openCheckpoint gives, or its parts. */
export interface TrainedModel {
  readonly params: HostTensors;
  readonly settings: Settings;
}

export interface LoadOptions extends HubOptions {
  /** Of a run: "best", "last" or a step; the best where there is one unless given. */
  readonly checkpoint?: string;
  /** Fewer positions than it has. */
  readonly blockSize?: number;
  /** More ids than it has; see `padVocabulary`. */
  readonly vocabSize?: number;
  /** Where prepared datasets are: a checkpoint of nanoGPT names its dataset, which has the tokenizer; `data`. */
  readonly dataDir?: string;
}

/**
 * Loads a model.
 * @param source gpt2, gpt2-medium, gpt2-large, gpt2-xl, or the path of a Hugging Face folder, of nanoGPT's ckpt.pt, of a
 * folder with one, or of a run's folder
 * @throws {Error} if there is no such model, or it is damaged
 * @throws {RangeError} if it is smaller than blockSize, or larger than vocabSize
 */
export async function loadPretrained(source: string, options: LoadOptions = {}): Promise<Pretrained> {
  const found = await load(source, options);
  const cropped = options.blockSize === undefined ? found : cropBlockSize(found, options.blockSize);
  return options.vocabSize === undefined ? cropped : padVocabulary(cropped, options.vocabSize);
}

async function load(source: string, options: LoadOptions): Promise<Pretrained> {
  if (isGpt2Name(source)) {
    const { gpt2Folder } = await import("../weights/gpt2-hub.js"); // 0.1 s to load: only for those who want it
    return readGpt2Folder(await gpt2Folder(source, options));
  }
  const chosen = chooseCheckpoint(source, options.checkpoint);
  if (chosen) return fromRun(chosen);
  const status = fs.statSync(source, { throwIfNoEntry: false });
  if (status?.isFile()) return fromNanoGpt(source, options.dataDir);
  if (status && fs.existsSync(path.join(source, "config.json"))) return readGpt2Folder(source);
  if (status && fs.existsSync(path.join(source, "ckpt.pt"))) {
    return fromNanoGpt(path.join(source, "ckpt.pt"), options.dataDir);
  }
  const nearest = closest(source, gpt2Names);
  const hint = !status && distance(source, nearest) <= 2 ? ` Did you mean ${nearest}?` : "";
  throw new Error(
    `Cannot load a model from ${source}: ${status ? "the folder holds no checkpoint, no config.json and no ckpt.pt" : "there is no such file or folder"}; wanted ${gpt2Names.join(", ")}, a Hugging Face folder, nanoGPT's ckpt.pt, or a run's folder.${hint}`,
  );
}

const isGpt2Name = (source: string): source is Gpt2Name => (gpt2Names as readonly string[]).includes(source);

function fromRun({ outDir, name }: ChosenCheckpoint): Pretrained {
  const { params, settings, tokenizer } = openCheckpoint(outDir, name, { optimizer: false });
  const { nLayer, nHead, nEmbd, blockSize, vocabSize, bias, tieHead, gelu } = settings;
  return { params, tokenizer, model: { nLayer, nHead, nEmbd, blockSize, vocabSize, bias, tieHead, gelu } };
}

function fromNanoGpt(file: string, dataDir = "data"): Pretrained {
  const { params, model, config } = readNanoGptCheckpoint(file);
  return { params, model, tokenizer: nanoGptTokenizer(file, dataDir, { model, config }) };
}

/**
 * As nanoGPT's sample.py: that of the dataset which the checkpoint names, in our folder of datasets or in the nanoGPT
 * that holds the checkpoint; where there is none, GPT-2's if the vocabulary has its size.
 */
export function nanoGptTokenizer(
  file: string,
  dataDir: string,
  { model, config }: Pick<NanoGptCheckpoint, "model" | "config">,
): TokenizerSpec | undefined {
  const { dataset } = config;
  if (typeof dataset === "string" && /^\w[\w.-]*$/.test(dataset)) {
    for (const folder of [dataDir, path.join(path.dirname(file), "..", "data")]) {
      if (!fs.existsSync(path.join(folder, dataset))) continue;
      try {
        const { meta, close } = openDataset(folder, dataset);
        close();
        if (meta.vocabSize <= model.vocabSize) return meta.tokenizer;
      } catch {
        // not a prepared dataset
      }
    }
  }
  return model.vocabSize >= 50_257 && model.vocabSize <= 50_304 ? { kind: "gpt2" } : undefined;
}
