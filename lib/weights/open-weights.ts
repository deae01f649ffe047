/**
 * Opens weights in any format: a model that comes with Folio or GPT-2, by name, a Hugging Face folder, a checkpoint of nanoGPT, or a run of Folio.
 * This file detects the format; each format has a file of its own. The setting `initFrom` is resolved here. Shown in
 * notebooks/05-gpt2.
 */
import fs from "node:fs";
import path from "node:path";
import { closest, distance } from "fastest-levenshtein";
import { packageRoot } from "../host/package.js";
import { statusOf } from "../host/regular-file.js";
import type { ModelShape } from "../settings/model.js";
import type { Settings } from "../settings/settings.js";
import { chooseCheckpoint, hasCheckpoint, openCheckpoint, readRun, readState } from "./checkpoint.js";
import { checkFinite } from "./finite.js";
import { type Gpt2Name, gpt2Names, readGpt2Folder } from "./gpt2-folder.js";
import type { HubOptions } from "./gpt2-hub.js";
import { readModelFile } from "./model-file.js";
import { type NanoGptOptions, nanoGptSettings, openNanoGptTraining, readNanoGptWeights } from "./nanogpt-run.js";
import { cropBlockSize, type Pretrained, padVocabulary, type Training } from "./pretrained.js";

export interface LoadOptions extends HubOptions, NanoGptOptions {
  /** Reduce the number of positions to this. */
  readonly blockSize?: number;
  /** Which checkpoint of a run: auto (the best, if there is one), best, last, or a step. */
  readonly checkpoint?: string;
  /** Raise the number of ids to this; see `padVocabulary`. */
  readonly vocabSize?: number;
}

/** Reads weights of one format. */
type Read = (place: string, options: LoadOptions) => Pretrained | Promise<Pretrained>;

const readers = {
  run: readRun,
  nanoGpt: readNanoGptWeights,
  folder: readGpt2Folder,
  file: readModelFile,
  async hub(name, options) {
    const { gpt2Folder } = await import("./gpt2-hub.js"); // takes 0.1 s to load, so only when needed
    // The published weights use GPT-2's ids; no tokenizer files are downloaded.
    const { params, model } = readGpt2Folder(await gpt2Folder(name as Gpt2Name, options));
    return { params, model, tokenizer: { kind: "gpt2" } };
  },
} satisfies Record<string, Read>;

/** Models that come with Folio, by name: Hugging Face folders in this package. */
const included: Readonly<Record<string, string>> = { induction: path.join("data", "induction", "model") };

/** The format of a source, and its path; undefined if it has no known format. */
function formatOf(source: string, checkpoint?: string): [format: keyof typeof readers, place: string] | undefined {
  if ((gpt2Names as readonly string[]).includes(source)) return ["hub", source];
  if (chooseCheckpoint(source, checkpoint)) return ["run", source];
  const status = statusOf(source);
  if (status && !status.isDirectory() && source.endsWith(".safetensors")) return ["file", source];
  if (status && !status.isDirectory()) return ["nanoGpt", source]; // its reader reports anything that is not a file
  if (!status) return included[source] ? ["folder", path.join(packageRoot(), included[source])] : undefined;
  if (fs.existsSync(path.join(source, "config.json"))) return ["folder", source];
  const file = path.join(source, "ckpt.pt");
  return fs.existsSync(file) ? ["nanoGpt", file] : undefined;
}

/**
 * Loads a model.
 * @param source gpt2, gpt2-medium, gpt2-large, gpt2-xl, or induction, which comes with Folio; or the path of a Hugging Face
 * folder, of a file that a page saved, of nanoGPT's ckpt.pt, of a folder with one, or of a run's folder, which comes first where
 * there is one of that name
 * @throws {Error} if there is no such model, or it is damaged
 * @throws {RangeError} if it is smaller than blockSize, or larger than vocabSize
 */
export async function loadPretrained(source: string, options: LoadOptions = {}): Promise<Pretrained> {
  const [format, place] = formatOf(source, options.checkpoint) ?? missing(source);
  const found: Pretrained = await readers[format](place, options);
  checkFinite(found.params, source);
  const cropped = options.blockSize === undefined ? found : cropBlockSize(found, options.blockSize);
  return options.vocabSize === undefined ? cropped : padVocabulary(cropped, options.vocabSize);
}

function missing(source: string): never {
  const isThere = fs.existsSync(source);
  const names = [...gpt2Names, ...Object.keys(included)];
  const nearest = closest(source, names);
  const hint = !isThere && distance(source, nearest) <= 2 ? ` Did you mean ${nearest}?` : "";
  throw new Error(
    `Cannot load a model from ${source}: ${isThere ? "the folder has no checkpoint, no config.json and no ckpt.pt" : "there is no such file or folder"}; wanted ${names.join(", ")}, a Hugging Face folder, a .safetensors file that a page saved, nanoGPT's ckpt.pt, or a run's folder.${hint}`,
  );
}

/** The ckpt.pt of a folder that nanoGPT has trained into but Folio has not. */
export function nanoGptFile(outDir: string): string | undefined {
  const file = path.join(outDir, "ckpt.pt");
  return !hasCheckpoint(outDir) && fs.existsSync(file) ? file : undefined;
}

/**
 * The training to continue in a folder: Folio's last checkpoint or, if there is none yet, nanoGPT's ckpt.pt, which is
 * left unchanged.
 * @param options.optimizer read the optimizer's state too
 * @param options.gelu needed for a ckpt.pt, which does not store it
 * @throws {Error} when there is none, or it is damaged
 */
export function openTraining(
  outDir: string,
  options: NanoGptOptions & { optimizer: boolean; gelu: ModelShape["gelu"] },
): Training {
  const file = nanoGptFile(outDir);
  return file ? openNanoGptTraining(file, options) : openCheckpoint(outDir, "last", options);
}

/** The settings of the training in a folder, without its weights. @throws as openTraining */
export function trainedSettings(outDir: string): Readonly<Settings> {
  const file = nanoGptFile(outDir);
  return file ? nanoGptSettings(file) : { ...readState(outDir).settings, outDir, checkpoint: "auto" }; // the folder may have been moved since
}
