/**
 * Opens a run of nanoGPT as a run of Folio: its settings, the tokenizer of its dataset, and its training state.
 * nanogpt-checkpoint.ts reads the file. Shown in notebook 05-gpt2.
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

/** Options for reading a run of nanoGPT. */
export interface NanoGptOptions {
  /** Folder of the prepared datasets, one of which the file names and has the tokenizer; default `data`. */
  readonly dataDir?: string | undefined;
}

/** The weights of a ckpt.pt. @throws as readNanoGptCheckpoint */
export function readNanoGptWeights(file: string, { dataDir = "data" }: NanoGptOptions): Pretrained {
  const { params, model, config } = readNanoGptCheckpoint(file);
  return { params, model, tokenizer: nanoGptTokenizer(file, dataDir, { model, config }) };
}

/**
 * The training in a ckpt.pt: weights, AdamW's state by PyTorch's names, step and best loss.
 * @throws {Error} if it was trained but has no state of AdamW; else as readNanoGptCheckpoint
 */
export function openNanoGptTraining(
  file: string,
  { optimizer, gelu, dataDir = "data" }: NanoGptOptions & { optimizer: boolean; gelu: ModelShape["gelu"] },
): Training {
  const found = readNanoGptCheckpoint(file, { optimizer, gelu });
  const { params, iterNum: step, bestValLoss } = found;
  if (optimizer && step > 0 && !found.optimizer) {
    throw new Error(
      `Cannot resume from ${file}: it has no AdamW moments; start from its weights instead (initFrom: "${file}").`,
    );
  }
  const settings = resumedSettings(file, found);
  return {
    ...{ path: file, params, settings, step, bestValLoss },
    optimizer: found.optimizer ?? {},
    // nanoGPT saves between an evaluation and an update; the evaluation is repeated on Folio's batches.
    evaluated: false,
    trainedMs: 0,
    tokens: step * tokensPerStep(settings),
    tokenizer: nanoGptTokenizer(file, dataDir, found),
  };
}

/**
 * The settings of nanoGPT's run in `file`: those of the model and of training, but not the device, the number format
 * and the tracker, which depend on the machine.
 * @throws {Error} if the file is damaged or not a checkpoint of nanoGPT; {RangeError, TypeError} for wrong settings
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
 * The tokenizer, found as in nanoGPT's sample.py: that of the dataset which the checkpoint names, in the folder of
 * datasets or in the nanoGPT folder with the checkpoint; otherwise GPT-2's, if the vocabulary has its size.
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
