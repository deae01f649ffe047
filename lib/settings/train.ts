/**
 * The settings of a training run: type, default, unit and one line of documentation each. Names and defaults are
 * nanoGPT's, in camelCase. Each setting has a line in the interface and a line in the table.
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
  /**
   * Standard deviation of new weights, 0.02 as GPT-2's; 0: 1/√nEmbd, which suits narrow models.
   * A number of at least 0; default 0.02.
   */
  initStd: number;
  /** Folder of the run: settings, log, checkpoints. Default "out". */
  outDir: string;
  /** Folder of the prepared datasets. Default "data". */
  dataDir: string;
  /** Name of the dataset, a folder in dataDir. Default "openwebtext". */
  dataset: string;
  /**
   * New weights (scratch), the run in outDir (resume), GPT-2's (gpt2 …), or those of a run, folder or file.
   * Default "scratch".
   */
  initFrom: InitFrom;
  /**
   * Checkpoint of a run: auto (the best, if there is one), best, last, or the step of one that was kept.
   * Default "auto".
   */
  checkpoint: string;
  /** Replace the run in outDir; false: stop with an error rather than lose it. Default false. */
  overwrite: boolean;
  /** Seed of weights, batches, dropout and evaluation. A whole number from 0 to 4294967295; default 1337. */
  seed: number;
  /** Steps between evaluations; each may save a checkpoint. A whole number of at least 1 (steps); default 2000. */
  evalInterval: number;
  /** Steps between log lines. A whole number of at least 1 (steps); default 1. */
  logInterval: number;
  /** Batches from which a split's loss is estimated. A whole number of at least 1 (batches); default 200. */
  evalIters: number;
  /** Evaluate once, then stop. Default false. */
  evalOnly: boolean;
  /** Save at each evaluation, not only when the validation loss is the best so far. Default true. */
  alwaysSaveCheckpoint: boolean;
  /**
   * Steps between checkpoints that are kept, named by their step; 0: none.
   * A whole number of at least 0 (steps); default 0.
   */
  saveInterval: number;
  /**
   * How many of these checkpoints to keep, the newest; 0: all. A whole number of at least 0 (checkpoints); default 3.
   */
  keepCheckpoints: number;
  /** Log the relative size of each step's update per kind of parameter, ‖Δp‖ / ‖p‖. Default false. */
  logUpdates: boolean;
  /** Write TensorBoard's event files into outDir/tensorboard. Default true. */
  tensorboard: boolean;
  /**
   * Rows at uniformly random offsets, as in nanoGPT, or in epochs: each token once, no row across documents.
   * One of uniform, epochs; default "uniform".
   */
  batchSampling: BatchSampling;
  /**
   * Micro-batches whose gradients are averaged into one step.
   * A whole number of at least 1 (micro-batches); default 40.
   */
  gradientAccumulationSteps: number;
  /** Sequences per micro-batch. A whole number of at least 1 (sequences); default 12. */
  batchSize: number;
  /** Highest learning rate, reached after the warm-up. A number of at least 0; default 0.0006. */
  learningRate: number;
  /** Training steps in all. A whole number of at least 0 (steps); default 600000. */
  maxIters: number;
  /** AdamW's weight decay, on parameters of two or more dimensions. A number of at least 0; default 0.1. */
  weightDecay: number;
  /** AdamW's decay rate of the mean gradient. A number of at least 0 and below 1; default 0.9. */
  beta1: number;
  /** AdamW's decay rate of the mean squared gradient. A number of at least 0 and below 1; default 0.95. */
  beta2: number;
  /** Largest norm of the gradient, over all parameters; 0: no clipping. A number of at least 0 (norm); default 1. */
  gradClip: number;
  /** Follow the schedule; false: learningRate throughout, without warm-up. Default true. */
  decayLr: boolean;
  /**
   * Shape of the learning rate after the warm-up; wsd: constant, then a decay at the end.
   * One of cosine, linear, constant, wsd; default "cosine".
   */
  schedule: Schedule;
  /** Length of the linear warm-up. A whole number of at least 0 (steps); default 2000. */
  warmupIters: number;
  /** Step at which the learning rate reaches minLr. A whole number of at least 1 (steps); default 600000. */
  lrDecayIters: number;
  /** Lowest learning rate; nanoGPT uses a tenth of learningRate. A number of at least 0; default 0.00006. */
  minLr: number;
  /**
   * Fraction of lrDecayIters over which a wsd schedule decays. A number above 0 and at most 1 (fraction); default 0.2.
   */
  decayFraction: number;
  /**
   * Where to compute; auto: NVIDIA's GPU (cuda), else Apple's (mps, which is webgpu there), else cpu.
   * One of auto, cpu, cuda, webgpu, mps; default "auto".
   */
  device: Device;
  /**
   * Number format of the matrix products; auto: bfloat16 where the hardware has it, else float32.
   * One of auto, float32, bfloat16, float16; default "auto".
   */
  dtype: Dtype;
  /**
   * Trace the step into one TensorFlow graph; false: eager, for stepping through. On WebGPU steps are eager.
   * Default true.
   */
  compile: boolean;
  /**
   * Devices that share each step's micro-batches: GPUs, or on a CPU equal parts of its threads.
   * A whole number of at least 1 (devices); default 1.
   */
  devices: number;
  /** Let TensorFlow group operations into clusters that XLA compiles; compiled steps only. Default false. */
  xla: boolean;
  /** Let an NVIDIA GPU round the factors of float32 products to TensorFloat-32. Default true. */
  tf32: boolean;
  /** Continue although this machine rounds differently from the one where the run began. Default false. */
  allowOtherNumerics: boolean;
  /** Log to Weights & Biases, through the package `@wandb/sdk` where it is installed. Default false. */
  wandbLog: boolean;
  /** Project at Weights & Biases. Default "owt". */
  wandbProject: string;
  /** Name of the run at Weights & Biases. Default "gpt2". */
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
  initFrom: run(initFrom, "scratch" as InitFrom, "", "New weights (scratch), the run in outDir (resume), GPT-2's (gpt2 …), or those of a run, folder or file."),
  checkpoint: run(checkpoint, "auto", "", "Checkpoint of a run: auto (the best, if there is one), best, last, or the step of one that was kept."),
  overwrite: run(flag, false, "", "Replace the run in outDir; false: stop with an error rather than lose it."),
  seed: run(seed, 1337, "", "Seed of weights, batches, dropout and evaluation."),

  nLayer: model(count(1, largest.nLayer), 12, "blocks", "Transformer blocks, one after the other."),
  nHead: model(count(1, largest.nHead), 12, "heads", "Attention heads in each block; must divide nEmbd."),
  nEmbd: model(count(1, largest.nEmbd), 768, "features", "Width of the model: features in a token's vector."),
  blockSize: model(count(1, largest.blockSize), 1024, "tokens", "Longest context the model sees."),
  vocabSize: model(count(0, largest.vocabSize), 0, "ids", "Number of token ids; 0: as many as the dataset has."),
  dropout: model(fraction, 0, "fraction", "Fraction of activations set to zero during training."),
  bias: model(flag, false, "", "Biases in linear layers and layer norms, as GPT-2 has."),
  tieHead: model(flag, true, "", "The output head shares the token embedding's weights."),
  gelu: model(choice("erf", "tanh"), "erf" as "erf" | "tanh", "", "Activation of the MLP: erf as in PyTorch and nanoGPT, tanh as in GPT-2 and Hugging Face."),
  initStd: model(atLeastZero, 0.02, "", "Standard deviation of new weights, 0.02 as GPT-2's; 0: 1/√nEmbd, which suits narrow models."),

  evalInterval: evaluation(count(1), 2000, "steps", "Steps between evaluations; each may save a checkpoint."),
  logInterval: evaluation(count(1), 1, "steps", "Steps between log lines."),
  evalIters: evaluation(count(1), 200, "batches", "Batches from which a split's loss is estimated."),
  evalOnly: evaluation(flag, false, "", "Evaluate once, then stop."),
  alwaysSaveCheckpoint: evaluation(flag, true, "", "Save at each evaluation, not only when the validation loss is the best so far."),
  saveInterval: evaluation(count(0), 0, "steps", "Steps between checkpoints that are kept, named by their step; 0: none."),
  keepCheckpoints: evaluation(count(0), 3, "checkpoints", "How many of these checkpoints to keep, the newest; 0: all."),
  logUpdates: evaluation(flag, false, "", "Log the relative size of each step's update per kind of parameter, ‖Δp‖ / ‖p‖."),
  tensorboard: evaluation(flag, true, "", "Write TensorBoard's event files into outDir/tensorboard."),

  batchSampling: batch(choice("uniform", "epochs"), "uniform" as BatchSampling, "", "Rows at uniformly random offsets, as in nanoGPT, or in epochs: each token once, no row across documents."),
  gradientAccumulationSteps: batch(count(1, 1e6), 40, "micro-batches", "Micro-batches whose gradients are averaged into one step."),
  batchSize: batch(count(1, 1e6), 12, "sequences", "Sequences per micro-batch."),

  maxIters: optimizer(count(0), 600_000, "steps", "Training steps in all."),
  weightDecay: optimizer(atLeastZero, 0.1, "", "AdamW's weight decay, on parameters of two or more dimensions."),
  beta1: optimizer(fraction, 0.9, "", "AdamW's decay rate of the mean gradient."),
  beta2: optimizer(fraction, 0.95, "", "AdamW's decay rate of the mean squared gradient."),
  gradClip: optimizer(atLeastZero, 1, "norm", "Largest norm of the gradient, over all parameters; 0: no clipping."),

  learningRate: rate(atLeastZero, 6e-4, "", "Highest learning rate, reached after the warm-up."),
  decayLr: rate(flag, true, "", "Follow the schedule; false: learningRate throughout, without warm-up."),
  schedule: rate(choice("cosine", "linear", "constant", "wsd"), "cosine" as Schedule, "", "Shape of the learning rate after the warm-up; wsd: constant, then a decay at the end."),
  warmupIters: rate(count(0), 2000, "steps", "Length of the linear warm-up."),
  lrDecayIters: rate(count(1), 600_000, "steps", "Step at which the learning rate reaches minLr."),
  minLr: rate(atLeastZero, 6e-5, "", "Lowest learning rate; nanoGPT uses a tenth of learningRate."),
  decayFraction: rate(share, 0.2, "fraction", "Fraction of lrDecayIters over which a wsd schedule decays."),

  device: machine(device, "auto" as Device, "", deviceDoc),
  dtype: machine(dtype, "auto" as Dtype, "", dtypeDoc),
  compile: machine(flag, true, "", "Trace the step into one TensorFlow graph; false: eager, for stepping through. On WebGPU steps are eager."),
  devices: machine(count(1, 1024), 1, "devices", "Devices that share each step's micro-batches: GPUs, or on a CPU equal parts of its threads."),
  xla: machine(flag, false, "", "Let TensorFlow group operations into clusters that XLA compiles; compiled steps only."),
  tf32: machine(flag, true, "", "Let an NVIDIA GPU round the factors of float32 products to TensorFloat-32."),
  allowOtherNumerics: machine(flag, false, "", "Continue although this machine rounds differently from the one where the run began."),

  wandbLog: wandb(flag, false, "", "Log to Weights & Biases, through the package `@wandb/sdk` where it is installed."),
  wandbProject: wandb(text, "owt", "", "Project at Weights & Biases."),
  wandbRunName: wandb(text, "gpt2", "", "Name of the run at Weights & Biases."),
};
