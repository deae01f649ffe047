/** The settings of an evaluation: type, default, unit and one line of documentation each. */
import {
  type Device,
  type Dtype,
  device,
  deviceDoc,
  dtype,
  type InitFrom,
  initFrom,
  machine,
  run,
  seed,
} from "./common.js";
import { checkpoint, choice, count, flag, folder, row, type SettingRow, text } from "./rows.js";

/** All settings of an evaluation. */
export interface EvalSettings {
  /** Folder of the run to evaluate. */
  outDir: string;
  /** Evaluate the run in outDir (resume), GPT-2's weights (gpt2 …), or those of a run, folder or file. */
  initFrom: InitFrom;
  /** Checkpoint of a run: auto (the best, if there is one), best, last, or the step of one that was kept. */
  checkpoint: string;
  /** Folder of the prepared datasets; empty: the run's. */
  dataDir: string;
  /** Name of the dataset; empty: the run's. */
  dataset: string;
  /** Split of the dataset to evaluate on. */
  split: "val" | "train" | "both";
  /** Text file to evaluate on instead of a dataset. */
  file: string;
  /** Number of random batches to estimate the loss from; 0: every token once. */
  evalIters: number;
  /** Distance between successive windows over the whole split; 0: blockSize, so that they do not overlap. */
  stride: number;
  /** Sequences per batch; 0: as many as the run has. */
  batchSize: number;
  /** Seed of the random batches; the run's own seed gives the batches of its own evaluations. */
  seed: number;
  /** Print the result as JSON. */
  json: boolean;
  /** Where to compute; auto: NVIDIA's GPU (cuda), else Apple's (mps, which is webgpu there), else cpu. */
  device: Device;
  /** Number format of the matrix products; auto: as the run was trained. */
  dtype: Dtype;
  /** Trace the step into one TensorFlow graph; false: eager. */
  compile: boolean;
}

const evaluation = row("Evaluation");

// biome-ignore format: a table reads best as a table
export const evalRows: { readonly [K in keyof EvalSettings]: SettingRow & { readonly default: EvalSettings[K] } } = {
  outDir: run(folder, "out", "", "Folder of the run to evaluate."),
  initFrom: run(initFrom, "resume" as InitFrom, "", "Evaluate the run in outDir (resume), GPT-2's weights (gpt2 …), or those of a run, folder or file."),
  checkpoint: run(checkpoint, "auto", "", "Checkpoint of a run: auto (the best, if there is one), best, last, or the step of one that was kept."),
  dataDir: run(text, "", "", "Folder of the prepared datasets; empty: the run's."),
  dataset: run(text, "", "", "Name of the dataset; empty: the run's."),

  split: evaluation(choice("val", "train", "both"), "val" as "val" | "train" | "both", "", "Split of the dataset to evaluate on."),
  file: evaluation(text, "", "", "Text file to evaluate on instead of a dataset."),
  evalIters: evaluation(count(0), 0, "batches", "Number of random batches to estimate the loss from; 0: every token once."),
  stride: evaluation(count(0), 0, "tokens", "Distance between successive windows over the whole split; 0: blockSize, so that they do not overlap."),
  batchSize: evaluation(count(0, 1e6), 0, "sequences", "Sequences per batch; 0: as many as the run has."),
  seed: evaluation(seed, 1337, "", "Seed of the random batches; the run's own seed gives the batches of its own evaluations."),
  json: evaluation(flag, false, "", "Print the result as JSON."),

  device: machine(device, "auto" as Device, "", deviceDoc),
  dtype: machine(dtype, "auto" as Dtype, "", "Number format of the matrix products; auto: as the run was trained."),
  compile: machine(flag, true, "", "Trace the step into one TensorFlow graph; false: eager."),
};
