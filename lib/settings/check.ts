/** The settings of the checks (`folio check gpu | gpt2 | mac`): type, default, unit and one line of documentation each. */
import { type Device, device, deviceDoc, machine, run } from "./common.js";
import { choice, count, flag, folder, type Kind, name, row, type SettingRow, text } from "./rows.js";

/** All settings of the check of a GPU. */
export interface CheckGpuSettings {
  /** Where the checked steps are computed; cpu: a stand-in, to try the check itself. */
  device: "cuda" | "cpu";
  /** A Python with PyTorch, in which the same steps are timed too, eager and with torch.compile. */
  peer: string;
  /** Timed steps of each number format. */
  steps: number;
  /** Sequences per timed step; 0: 12 on a GPU, 1 on a processor. */
  batchSize: number;
  /** Tokens per sequence of a timed step; 0: 1,024 on a GPU, 256 on a processor. */
  blockSize: number;
  /** Layers of the timed model; 12: GPT-2 124M. */
  nLayer: number;
  /** Its heads per layer. */
  nHead: number;
  /** Its width. */
  nEmbd: number;
  /** Print the result as JSON. */
  json: boolean;
}

/** All settings of the check of GPT-2's published weights. */
export interface CheckGpt2Settings {
  /** Sizes to check, separated by commas: gpt2, gpt2-medium, gpt2-large, gpt2-xl; or all. */
  sizes: string;
  /** Tokens of OpenWebText that the loss is the mean over. */
  slice: number;
  /** Updates of the finetuning of the first size; 0: none. */
  finetuneSteps: number;
  /** Dataset to finetune on, in GPT-2's tokens; shakespeare is prepared if it is missing. */
  dataset: string;
  /** Folder of the prepared datasets. */
  dataDir: string;
  /** JSON file of what other weights of these names should give, to try the check itself; empty: what is published. */
  expect: string;
  /** Where to compute; auto: NVIDIA's GPU (cuda), else Apple's (mps, which is webgpu there), else cpu. */
  device: Device;
  /** Print the result as JSON. */
  json: boolean;
}

/** All settings of the check of a Mac. */
export interface CheckMacSettings {
  /** Updates of the demo; its loss is checked at 2,000. */
  maxIters: number;
  /** Timed steps of each device. */
  steps: number;
  /** Folder of the prepared datasets; shakespeare_char is prepared if it is missing. */
  dataDir: string;
  /** Print the result as JSON. */
  json: boolean;
}

const timed = row("Timed model");
const check = row("Check");

const sizes: Kind = {
  type: "text",
  wanted: "all, or one or more of gpt2, gpt2-medium, gpt2-large, gpt2-xl, separated by commas",
  accepts: (value) =>
    typeof value === "string" &&
    /^(all|gpt2(-(medium|large|xl))?( *, *gpt2(-(medium|large|xl))?)*)$/.test(value.trim()),
};
const jsonDoc = "Print the result as JSON.";

// biome-ignore format: a table reads best as a table
export const checkGpuRows: { readonly [K in keyof CheckGpuSettings]: SettingRow & { readonly default: CheckGpuSettings[K] } } = {
  device: machine(choice("cuda", "cpu"), "cuda" as "cuda" | "cpu", "", "Where the checked steps are computed; cpu: a stand-in, to try the check itself."),
  peer: check(text, "", "", "A Python with PyTorch, in which the same steps are timed too, eager and with torch.compile."),
  steps: check(count(1, 1e6), 20, "steps", "Timed steps of each number format."),
  batchSize: timed(count(0, 1e6), 0, "sequences", "Sequences per timed step; 0: 12 on a GPU, 1 on a processor."),
  blockSize: timed(count(0, 1e6), 0, "tokens", "Tokens per sequence of a timed step; 0: 1,024 on a GPU, 256 on a processor."),
  nLayer: timed(count(1, 1e4), 12, "layers", "Layers of the timed model; 12: GPT-2 124M."),
  nHead: timed(count(1, 1e5), 12, "heads", "Its heads per layer."),
  nEmbd: timed(count(1, 1e6), 768, "features", "Its width."),
  json: check(flag, false, "", jsonDoc),
};

// biome-ignore format: a table reads best as a table
export const checkGpt2Rows: { readonly [K in keyof CheckGpt2Settings]: SettingRow & { readonly default: CheckGpt2Settings[K] } } = {
  sizes: check(sizes, "gpt2", "", "Sizes to check, separated by commas: gpt2, gpt2-medium, gpt2-large, gpt2-xl; or all."),
  slice: check(count(2), 131_072, "tokens", "Tokens of OpenWebText that the loss is the mean over."),
  finetuneSteps: check(count(0, 1e6), 20, "updates", "Updates of the finetuning of the first size; 0: none."),
  dataset: run(name, "shakespeare", "", "Dataset to finetune on, in GPT-2's tokens; shakespeare is prepared if it is missing."),
  dataDir: run(folder, "data", "", "Folder of the prepared datasets."),
  expect: check(text, "", "", "JSON file of what other weights of these names should give, to try the check itself; empty: what is published."),
  device: machine(device, "auto" as Device, "", deviceDoc),
  json: check(flag, false, "", jsonDoc),
};

// biome-ignore format: a table reads best as a table
export const checkMacRows: { readonly [K in keyof CheckMacSettings]: SettingRow & { readonly default: CheckMacSettings[K] } } = {
  maxIters: check(count(1), 2000, "updates", "Updates of the demo; its loss is checked at 2,000."),
  steps: check(count(1, 1e6), 20, "steps", "Timed steps of each device."),
  dataDir: run(folder, "data", "", "Folder of the prepared datasets; shakespeare_char is prepared if it is missing."),
  json: check(flag, false, "", jsonDoc),
};
