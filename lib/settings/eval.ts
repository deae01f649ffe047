/** The settings of an evaluation: what each is, its kind, default, unit and one line of doc. */
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
  /** Evaluate the run in outDir (resume), GPT-2's weights (gpt2 …), or those of a run, folder or ckpt.pt. */
  initFrom: InitFrom;
  /** Which checkpoint of a run: auto (the best where there is one), best, last, or a step that was kept. */
  checkpoint: string;
  /** Folder of the prepared datasets; none: the run's. */
  dataDir: string;
  /** Name of the dataset; none: the run's. */
  dataset: string;
  /** Which part of the dataset. */
  split: "val" | "train" | "both";
  /** A text file to evaluate on, in place of a dataset. */
  file: string;
  /** Random batches that estimate the loss; 0: every token once. */
  evalIters: number;
  /** Distance between two windows of the whole; 0: blockSize, so that they do not overlap. */
  stride: number;
  /** Sequences in a batch; 0: as many as the run has. */
  batchSize: number;
  /** Seed of random batches; the run's gives those of its own evaluations. */
  seed: number;
  /** Print everything as JSON, for programs. */
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
  initFrom: run(initFrom, "resume" as InitFrom, "", "Evaluate the run in outDir (resume), GPT-2's weights (gpt2 …), or those of a run, folder or ckpt.pt."),
  checkpoint: run(checkpoint, "auto", "", "Which checkpoint of a run: auto (the best where there is one), best, last, or a step that was kept."),
  dataDir: run(text, "", "", "Folder of the prepared datasets; none: the run's."),
  dataset: run(text, "", "", "Name of the dataset; none: the run's."),

  split: evaluation(choice("val", "train", "both"), "val" as "val" | "train" | "both", "", "Which part of the dataset."),
  file: evaluation(text, "", "", "A text file to evaluate on, in place of a dataset."),
  evalIters: evaluation(count(0), 0, "batches", "Random batches that estimate the loss; 0: every token once."),
  stride: evaluation(count(0), 0, "tokens", "Distance between two windows of the whole; 0: blockSize, so that they do not overlap."),
  batchSize: evaluation(count(0, 1e6), 0, "sequences", "Sequences in a batch; 0: as many as the run has."),
  seed: evaluation(seed, 1337, "", "Seed of random batches; the run's gives those of its own evaluations."),
  json: evaluation(flag, false, "", "Print everything as JSON, for programs."),

  device: machine(device, "auto" as Device, "", deviceDoc),
  dtype: machine(dtype, "auto" as Dtype, "", "Number format of the matrix products; auto: as the run was trained."),
  compile: machine(flag, true, "", "Trace the step into one TensorFlow graph; false: eager."),
};
