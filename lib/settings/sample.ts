/**
 * The settings of sampling: type, default, unit and one line of documentation each. Names and defaults are nanoGPT's.
 */
import {
  type Device,
  type Dtype,
  device,
  deviceDoc,
  dtype,
  dtypeDoc,
  type InitFrom,
  initFrom,
  machine,
  run,
  seed,
} from "./common.js";
import { aboveZero, checkpoint, choice, count, flag, folder, row, type SettingRow, share, text } from "./rows.js";

/** All settings of sampling from a run. */
export interface SampleSettings {
  /** Folder of the run to sample from. */
  outDir: string;
  /** Sample from the run in outDir (resume), GPT-2 by its name, a folder, a file (.pt, .safetensors), or another run. */
  initFrom: InitFrom;
  /** Checkpoint of a run: auto (the best, if there is one), best, last, or the step of one that was kept. */
  checkpoint: string;
  /** Folder of the prepared datasets; a ckpt.pt names the dataset whose tokenizer it uses. */
  dataDir: string;
  /** Prompt; FILE:path reads it from a file, - or FILE:- from standard input; <|endoftext|> is one token. */
  start: string;
  /** Number of samples. */
  numSamples: number;
  /** Length of each sample. */
  maxNewTokens: number;
  /** Divides the logits; below 1: fewer unlikely tokens, above 1: more. */
  temperature: number;
  /** Draw from the k likeliest tokens only; 0: all. */
  topK: number;
  /** Of those, draw from the fewest tokens whose probabilities sum to topP; 1: all. */
  topP: number;
  /** Divides the logits of tokens already in the text; 1: no effect. */
  repetitionPenalty: number;
  /** Text that ends a sample; empty: none. */
  stop: string;
  /** End a sample at the end-of-text token. */
  stopAtEnd: boolean;
  /** Past blockSize: read the last half again (half, fast), or slide the window by one token, as nanoGPT does. */
  context: "half" | "slide";
  /** Show the probability of each token as well as the text. */
  probabilities: boolean;
  /** Seed of the random draws. */
  seed: number;
  /** Where to compute; auto: NVIDIA's GPU (cuda), else Apple's (mps, which is webgpu there), else cpu. */
  device: Device;
  /** Number format of the matrix products; auto: bfloat16 where the hardware has it, else float32. */
  dtype: Dtype;
  /** Trace the step into one TensorFlow graph; false: eager. */
  compile: boolean;
}

const samples = row("Samples");

// biome-ignore format: a table reads best as a table
export const sampleRows: { readonly [K in keyof SampleSettings]: SettingRow & { readonly default: SampleSettings[K] } } = {
  outDir: run(folder, "out", "", "Folder of the run to sample from."),
  initFrom: run(initFrom, "resume" as InitFrom, "", "Sample from the run in outDir (resume), GPT-2 by its name, a folder, a file (.pt, .safetensors), or another run."),
  checkpoint: run(checkpoint, "auto", "", "Checkpoint of a run: auto (the best, if there is one), best, last, or the step of one that was kept."),
  dataDir: run(folder, "data", "", "Folder of the prepared datasets; a ckpt.pt names the dataset whose tokenizer it uses."),

  start: samples(text, "\n", "", "Prompt; FILE:path reads it from a file, - or FILE:- from standard input; <|endoftext|> is one token."),
  numSamples: samples(count(1, 10_000), 10, "samples", "Number of samples."),
  maxNewTokens: samples(count(1), 500, "tokens", "Length of each sample."),
  temperature: samples(aboveZero, 0.8, "", "Divides the logits; below 1: fewer unlikely tokens, above 1: more."),
  topK: samples(count(0), 200, "tokens", "Draw from the k likeliest tokens only; 0: all."),
  topP: samples(share, 1, "probability", "Of those, draw from the fewest tokens whose probabilities sum to topP; 1: all."),
  repetitionPenalty: samples(aboveZero, 1, "", "Divides the logits of tokens already in the text; 1: no effect."),
  stop: samples(text, "", "", "Text that ends a sample; empty: none."),
  stopAtEnd: samples(flag, false, "", "End a sample at the end-of-text token."),
  context: samples(choice("half", "slide"), "half" as "half" | "slide", "", "Past blockSize: read the last half again (half, fast), or slide the window by one token, as nanoGPT does."),
  probabilities: samples(flag, false, "", "Show the probability of each token as well as the text."),
  seed: samples(seed, 1337, "", "Seed of the random draws."),

  device: machine(device, "auto" as Device, "", deviceDoc),
  dtype: machine(dtype, "auto" as Dtype, "", dtypeDoc),
  compile: machine(flag, true, "", "Trace the step into one TensorFlow graph; false: eager."),
};
