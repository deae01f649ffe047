/**
 * The settings of a training run: what each is, its kind, default, unit and one line of doc. Names and defaults are
 * nanoGPT's, in camelCase. A setting is a line in the interface and a line in the table.
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
import type { ModelSettings } from "./model.js";
import {
  atLeastZero,
  checkpoint,
  choice,
  count,
  flag,
  folder,
  fraction,
  largest,
  name,
  row,
  type SettingRow,
  share,
  text,
} from "./rows.js";

export type BatchSampling = "uniform" | "epochs";
export type Schedule = "cosine" | "linear" | "constant" | "wsd";

/** All settings of a training run. */
export interface Settings extends ModelSettings {
  /** Standard deviation of new weights, 0.02 as GPT-2's; 0: 1/√nEmbd, which suits narrow models. */
  initStd: number;
  /** Folder of the run: settings, log, checkpoints. */
  outDir: string;
  /** Folder of the prepared datasets. */
  dataDir: string;
  /** Name of the dataset, a folder in dataDir. */
  dataset: string;
  /** New weights (scratch), the run in outDir (resume), GPT-2's (gpt2 …), or those of a run, folder or ckpt.pt. */
  initFrom: InitFrom;
  /** Which checkpoint of a run: auto (the best where there is one), best, last, or a step that was kept. */
  checkpoint: string;
  /** Replace the run that outDir holds; false: fail rather than lose it. */
  overwrite: boolean;
  /** Seed of weights, batches, dropout and evaluation. */
  seed: number;
  /** Distance between two evaluations, each with a checkpoint. */
  evalInterval: number;
  /** Distance between two log lines. */
  logInterval: number;
  /** Batches that estimate a split's loss. */
  evalIters: number;
  /** Evaluate once, then stop. */
  evalOnly: boolean;
  /** Save at each evaluation, not only when the validation loss is the best so far. */
  alwaysSaveCheckpoint: boolean;
  /** Distance between two checkpoints that are kept by their step; 0: none. */
  saveInterval: number;
  /** How many of those are kept, the newest; 0: all. */
  keepCheckpoints: number;
  /** Log how far each step moves each kind of parameter, ‖Δp‖ / ‖p‖. */
  logUpdates: boolean;
  /** Write TensorBoard's event files into outDir/tensorboard. */
  tensorboard: boolean;
  /** Rows of a batch: at uniform offsets, as nanoGPT, or in epochs, each token once, rows within a document. */
  batchSampling: BatchSampling;
  /** Micro-batches whose gradients are averaged into one step. */
  gradientAccumulationSteps: number;
  /** Sequences in a micro-batch. */
  batchSize: number;
  /** Highest learning rate, reached after the warm-up. */
  learningRate: number;
  /** Training steps in all. */
  maxIters: number;
  /** AdamW's decay, on parameters of two or more dimensions. */
  weightDecay: number;
  /** AdamW's memory of the gradient. */
  beta1: number;
  /** AdamW's memory of the squared gradient. */
  beta2: number;
  /** Largest norm of the whole gradient; 0: no clipping. */
  gradClip: number;
  /** Follow the schedule; false: learningRate throughout, without warm-up. */
  decayLr: boolean;
  /** Shape of the learning rate after the warm-up; wsd: constant, then a decay at the end. */
  schedule: Schedule;
  /** Length of the linear warm-up. */
  warmupIters: number;
  /** Step at which the learning rate has come down to minLr. */
  lrDecayIters: number;
  /** Lowest learning rate; nanoGPT takes a tenth of learningRate. */
  minLr: number;
  /** Share of lrDecayIters in which a wsd schedule decays. */
  decayFraction: number;
  /** Where to compute; auto: NVIDIA's GPU (cuda), else Apple's (mps, which is webgpu there), else cpu. */
  device: Device;
  /** Number format of the matrix products; auto: bfloat16 where the hardware has it, else float32. */
  dtype: Dtype;
  /** Trace the step into one TensorFlow graph; false: eager, for stepping through. On WebGPU steps are eager. */
  compile: boolean;
  /** Let TensorFlow join operations into clusters that XLA compiles; compiled steps only. */
  xla: boolean;
  /** Let an NVIDIA GPU round the factors of float32 products to TensorFloat-32. */
  tf32: boolean;
  /** Go on although this machine rounds differently from where the run began. */
  allowOtherNumerics: boolean;
  /** Log to Weights & Biases, through the package @wandb/sdk where it is installed. */
  wandbLog: boolean;
  /** Project at Weights & Biases. */
  wandbProject: string;
  /** Name of the run at Weights & Biases. */
  wandbRunName: string;
}

const model = row("Model");
const evaluation = row("Evaluation and log");
const batch = row("Batch");
const optimizer = row("Optimizer");
const rate = row("Learning rate");
const wandb = row("Weights & Biases");

// biome-ignore format: a table reads best as a table
export const trainRows: { readonly [K in keyof Settings]: SettingRow & { readonly default: Settings[K] } } = {
  outDir: run(folder, "out", "", "Folder of the run: settings, log, checkpoints."),
  dataDir: run(folder, "data", "", "Folder of the prepared datasets."),
  dataset: run(name, "openwebtext", "", "Name of the dataset, a folder in dataDir."),
  initFrom: run(initFrom, "scratch" as InitFrom, "", "New weights (scratch), the run in outDir (resume), GPT-2's (gpt2 …), or those of a run, folder or ckpt.pt."),
  checkpoint: run(checkpoint, "auto", "", "Which checkpoint of a run: auto (the best where there is one), best, last, or a step that was kept."),
  overwrite: run(flag, false, "", "Replace the run that outDir holds; false: fail rather than lose it."),
  seed: run(seed, 1337, "", "Seed of weights, batches, dropout and evaluation."),

  nLayer: model(count(1, largest.nLayer), 12, "blocks", "Transformer blocks, one after the other."),
  nHead: model(count(1, largest.nHead), 12, "heads", "Attention heads in each block; must divide nEmbd."),
  nEmbd: model(count(1, largest.nEmbd), 768, "features", "Width of the model: features of a token's vector."),
  blockSize: model(count(1, largest.blockSize), 1024, "tokens", "Longest context the model sees."),
  vocabSize: model(count(0, largest.vocabSize), 0, "ids", "Ids the model knows; 0: as many as the dataset has."),
  dropout: model(fraction, 0, "share", "Share of activations set to zero while training."),
  bias: model(flag, false, "", "Biases in linear layers and layer norms, as GPT-2 has."),
  tieHead: model(flag, true, "", "The output head shares the token embedding's weights."),
  gelu: model(choice("erf", "tanh"), "erf" as "erf" | "tanh", "", "Activation of the MLP: erf as in PyTorch and nanoGPT, tanh as in GPT-2 and Hugging Face."),
  initStd: model(atLeastZero, 0.02, "", "Standard deviation of new weights, 0.02 as GPT-2's; 0: 1/√nEmbd, which suits narrow models."),

  evalInterval: evaluation(count(1), 2000, "steps", "Distance between two evaluations, each with a checkpoint."),
  logInterval: evaluation(count(1), 1, "steps", "Distance between two log lines."),
  evalIters: evaluation(count(1), 200, "batches", "Batches that estimate a split's loss."),
  evalOnly: evaluation(flag, false, "", "Evaluate once, then stop."),
  alwaysSaveCheckpoint: evaluation(flag, true, "", "Save at each evaluation, not only when the validation loss is the best so far."),
  saveInterval: evaluation(count(0), 0, "steps", "Distance between two checkpoints that are kept by their step; 0: none."),
  keepCheckpoints: evaluation(count(0), 3, "checkpoints", "How many of those are kept, the newest; 0: all."),
  logUpdates: evaluation(flag, false, "", "Log how far each step moves each kind of parameter, ‖Δp‖ / ‖p‖."),
  tensorboard: evaluation(flag, true, "", "Write TensorBoard's event files into outDir/tensorboard."),

  batchSampling: batch(choice("uniform", "epochs"), "uniform" as BatchSampling, "", "Rows of a batch: at uniform offsets, as nanoGPT, or in epochs, each token once, rows within a document."),
  gradientAccumulationSteps: batch(count(1, 1e6), 40, "micro-batches", "Micro-batches whose gradients are averaged into one step."),
  batchSize: batch(count(1, 1e6), 12, "sequences", "Sequences in a micro-batch."),

  maxIters: optimizer(count(0), 600_000, "steps", "Training steps in all."),
  weightDecay: optimizer(atLeastZero, 0.1, "", "AdamW's decay, on parameters of two or more dimensions."),
  beta1: optimizer(fraction, 0.9, "", "AdamW's memory of the gradient."),
  beta2: optimizer(fraction, 0.95, "", "AdamW's memory of the squared gradient."),
  gradClip: optimizer(atLeastZero, 1, "norm", "Largest norm of the whole gradient; 0: no clipping."),

  learningRate: rate(atLeastZero, 6e-4, "", "Highest learning rate, reached after the warm-up."),
  decayLr: rate(flag, true, "", "Follow the schedule; false: learningRate throughout, without warm-up."),
  schedule: rate(choice("cosine", "linear", "constant", "wsd"), "cosine" as Schedule, "", "Shape of the learning rate after the warm-up; wsd: constant, then a decay at the end."),
  warmupIters: rate(count(0), 2000, "steps", "Length of the linear warm-up."),
  lrDecayIters: rate(count(1), 600_000, "steps", "Step at which the learning rate has come down to minLr."),
  minLr: rate(atLeastZero, 6e-5, "", "Lowest learning rate; nanoGPT takes a tenth of learningRate."),
  decayFraction: rate(share, 0.2, "share", "Share of lrDecayIters in which a wsd schedule decays."),

  device: machine(device, "auto" as Device, "", deviceDoc),
  dtype: machine(dtype, "auto" as Dtype, "", dtypeDoc),
  compile: machine(flag, true, "", "Trace the step into one TensorFlow graph; false: eager, for stepping through. On WebGPU steps are eager."),
  xla: machine(flag, false, "", "Let TensorFlow join operations into clusters that XLA compiles; compiled steps only."),
  tf32: machine(flag, true, "", "Let an NVIDIA GPU round the factors of float32 products to TensorFloat-32."),
  allowOtherNumerics: machine(flag, false, "", "Go on although this machine rounds differently from where the run began."),

  wandbLog: wandb(flag, false, "", "Log to Weights & Biases, through the package @wandb/sdk where it is installed."),
  wandbProject: wandb(text, "owt", "", "Project at Weights & Biases."),
  wandbRunName: wandb(text, "gpt2", "", "Name of the run at Weights & Biases."),
};
