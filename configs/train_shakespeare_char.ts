/**
 * nanoGPT's train_shakespeare_char: a character model of Shakespeare, for a quick look and for debugging.
 * nanoGPT reaches a validation loss of 1.4697 on a GPU near step 2,000 and then overfits.
 */
import type { Settings } from "../lib/settings/settings.js";

export default {
  outDir: "out-shakespeare-char",
  evalInterval: 250, // often, because it overfits
  evalIters: 200,
  logInterval: 10,
  alwaysSaveCheckpoint: false, // only when the validation loss is the best so far

  wandbLog: false,
  wandbProject: "shakespeare-char",
  wandbRunName: "mini-gpt",

  dataset: "shakespeare_char",
  gradientAccumulationSteps: 1,
  batchSize: 64,
  blockSize: 256, // context of up to 256 characters

  nLayer: 6, // a baby GPT
  nHead: 6,
  nEmbd: 384,
  dropout: 0.2,

  learningRate: 1e-3, // small networks allow a higher rate
  maxIters: 5000,
  lrDecayIters: 5000, // usually equal to maxIters
  minLr: 1e-4, // a tenth of learningRate
  beta2: 0.99, // higher than the default, because a step has few tokens
  warmupIters: 100, // probably not necessary
} satisfies Partial<Settings>;
