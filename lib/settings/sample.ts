/** The settings of sampling: what each is, its kind, default, unit and one line of doc. Names and defaults are nanoGPT's. */
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
  /** Sample from the run in outDir (resume), or from GPT-2 by name, a Hugging Face folder, a ckpt.pt, another run. */
  initFrom: InitFrom;
  /** Which checkpoint of a run: auto (the best where there is one), best, last, or a step that was kept. */
  checkpoint: string;
  /** Folder of the prepared datasets: a ckpt.pt names the one whose tokenizer it has. */
  dataDir: string;
  /** Prompt; FILE:path reads it from a file, - or FILE:- from standard input; <|endoftext|> is one token. */
  start: string;
  /** Samples to write. */
  numSamples: number;
  /** Length of a sample. */
  maxNewTokens: number;
  /** Below 1: more careful, above 1: more daring. */
  temperature: number;
  /** Only the k likeliest tokens are drawn; 0: all. */
  topK: number;
  /** Of those, the fewest likeliest that have this share of probability together; 1: all. */
  topP: number;
  /** Logits of tokens that stand in the text already are divided by it; 1: nothing changes. */
  repetitionPenalty: number;
  /** Text at which a sample ends; empty: none. */
  stop: string;
  /** End a sample at the end-of-text token. */
  stopAtEnd: boolean;
  /** Past blockSize: read the last half again (half, fast), or slide the window by one token, as nanoGPT does. */
  context: "half" | "slide";
  /** Show the probability of each token instead of text alone. */
  probabilities: boolean;
  /** Seed of the draws. */
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
  initFrom: run(initFrom, "resume" as InitFrom, "", "Sample from the run in outDir (resume), or from GPT-2 by name, a Hugging Face folder, a ckpt.pt, another run."),
  checkpoint: run(checkpoint, "auto", "", "Which checkpoint of a run: auto (the best where there is one), best, last, or a step that was kept."),
  dataDir: run(folder, "data", "", "Folder of the prepared datasets: a ckpt.pt names the one whose tokenizer it has."),

  start: samples(text, "\n", "", "Prompt; FILE:path reads it from a file, - or FILE:- from standard input; <|endoftext|> is one token."),
  numSamples: samples(count(1, 10_000), 10, "samples", "Samples to write."),
  maxNewTokens: samples(count(1), 500, "tokens", "Length of a sample."),
  temperature: samples(aboveZero, 0.8, "", "Below 1: more careful, above 1: more daring."),
  topK: samples(count(0), 200, "tokens", "Only the k likeliest tokens are drawn; 0: all."),
  topP: samples(share, 1, "share", "Of those, the fewest likeliest that have this share of probability together; 1: all."),
  repetitionPenalty: samples(aboveZero, 1, "", "Logits of tokens that stand in the text already are divided by it; 1: nothing changes."),
  stop: samples(text, "", "", "Text at which a sample ends; empty: none."),
  stopAtEnd: samples(flag, false, "", "End a sample at the end-of-text token."),
  context: samples(choice("half", "slide"), "half" as "half" | "slide", "", "Past blockSize: read the last half again (half, fast), or slide the window by one token, as nanoGPT does."),
  probabilities: samples(flag, false, "", "Show the probability of each token instead of text alone."),
  seed: samples(seed, 1337, "", "Seed of the draws."),

  device: machine(device, "auto" as Device, "", deviceDoc),
  dtype: machine(dtype, "auto" as Dtype, "", dtypeDoc),
  compile: machine(flag, true, "", "Trace the step into one TensorFlow graph; false: eager."),
};
