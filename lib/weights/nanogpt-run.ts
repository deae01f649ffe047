/**
 * A run of nanoGPT's as one of Folio's: its settings, the tokenizer of its dataset, and its training as far as it has come.
 * The file itself is nanogpt-checkpoint.ts' matter. Notebook 05-gpt2 shows one.
 */
import fs from "node:fs";
import path from "node:path";
import { openDataset } from "../data/batches.js";
import type { TokenizerSpec } from "../data/tokenizers/tokenizer.js";
import { tokensPerStep } from "../model/sizing.js";
import { snakeCase } from "../settings/flags.js";
import type { ModelShape } from "../settings/model.js";
import { defaultSettings, parseSettings, type Settings, settingRows } from "../settings/settings.js";
import { type NanoGptCheckpoint, readNanoGptCheckpoint, readNanoGptSettings } from "./nanogpt-checkpoint.js";
import { isVocabularyOf, type Pretrained, type Training } from "./pretrained.js";

/** What reading a run of nanoGPT's needs to know besides. */
export interface NanoGptOptions {
  /** Where prepared datasets are: the file names its dataset, which has the tokenizer; `data`. */
  readonly dataDir?: string | undefined;
}

/** The weights of a ckpt.pt. @throws as readNanoGptCheckpoint */
export function readNanoGptWeights(file: string, { dataDir = "data" }: NanoGptOptions): Pretrained {
  const { params, model, config } = readNanoGptCheckpoint(file);
  return { params, model, tokenizer: nanoGptTokenizer(file, dataDir, { model, config }) };
}

/**
 * The training of a ckpt.pt: weights, AdamW's state under PyTorch's names, step and best loss.
 * @throws {Error} if it was trained and has no state of AdamW's; else as readNanoGptCheckpoint
 */
export function openNanoGptTraining(
  file: string,
  { optimizer, gelu, dataDir = "data" }: NanoGptOptions & { optimizer: boolean; gelu: ModelShape["gelu"] },
): Training {
  const found = readNanoGptCheckpoint(file, { optimizer, gelu });
  const { params, iterNum: step, bestValLoss } = found;
  if (optimizer && step > 0 && !found.optimizer) {
    throw new Error(
      `Cannot resume from ${file}: it has no moments of AdamW; begin with its weights instead (initFrom: "${file}").`,
    );
  }
  const settings = resumedSettings(file, found);
  return {
    ...{ path: file, params, settings, step, bestValLoss },
    optimizer: found.optimizer ?? {},
    // nanoGPT saves between an evaluation and an update; the evaluation is done again, on Folio's batches.
    evaluated: false,
    trainedMs: 0,
    tokens: step * tokensPerStep(settings),
    tokenizer: nanoGptTokenizer(file, dataDir, found),
  };
}

/**
 * The settings of nanoGPT's run in `file`: the model's, and how it was trained. Not where it was: the device, the number
 * format and the tracker are this machine's matter.
 * @throws {Error} if the file is damaged or no checkpoint of nanoGPT; {RangeError, TypeError} for settings that are wrong
 */
export function nanoGptSettings(file: string): Readonly<Settings> {
  return resumedSettings(file, readNanoGptSettings(file));
}

function resumedSettings(file: string, { model, config }: Pick<NanoGptCheckpoint, "model" | "config">) {
  const here = ["device", "dtype", "compile", "wandbLog", "evalOnly", "dataDir"];
  const known = Object.keys(settingRows("train")).filter((key) => !here.includes(key));
  const trained = Object.fromEntries(
    known.flatMap((key) => (config[snakeCase(key)] === undefined ? [] : [[key, config[snakeCase(key)]]])),
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

/**
 * As nanoGPT's sample.py: that of the dataset which the checkpoint names, in our folder of datasets or in the nanoGPT
 * that holds the checkpoint; where there is none, GPT-2's if the vocabulary has its size.
 */
function nanoGptTokenizer(
  file: string,
  dataDir: string,
  { model, config }: Pick<NanoGptCheckpoint, "model" | "config">,
): TokenizerSpec | undefined {
  const { dataset } = config;
  if (typeof dataset === "string" && /^\w[\w.-]*$/.test(dataset)) {
    for (const folder of [dataDir, path.join(path.dirname(file), "..", "data")]) {
      if (!fs.existsSync(path.join(folder, dataset))) continue;
      try {
        const { meta, close } = openDataset(folder, dataset, model);
        close();
        if (isVocabularyOf(model.vocabSize, meta.vocabSize)) return meta.tokenizer;
      } catch {
        // not a prepared dataset
      }
    }
  }
  return model.vocabSize >= 50_257 && model.vocabSize <= 50_304 ? { kind: "gpt2" } : undefined;
}
