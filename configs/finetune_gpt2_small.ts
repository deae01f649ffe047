/**
 * Finetunes the smallest GPT-2 (124 M parameters) on Shakespeare in GPT-2's tokens: finetune_shakespeare for a machine
 * without a large GPU. 4 sequences × 256 tokens = 1,024 tokens per step; 1,000 steps are about three and a half passes
 * over the 301,966 tokens. The loss before finetuning is about 4.03.
 */
import type { Settings } from "../lib/settings/settings.js";

export default {
  outDir: "out-shakespeare-gpt2",
  evalInterval: 100,
  evalIters: 40,
  logInterval: 10,
  alwaysSaveCheckpoint: false, // only when the validation loss is the best so far
  wandbLog: false,

  dataset: "shakespeare",
  initFrom: "gpt2",

  blockSize: 256, // of GPT-2's 1024 positions
  batchSize: 4,
  gradientAccumulationSteps: 1,
  maxIters: 1000,

  learningRate: 1e-4, // constant
  decayLr: false,
} satisfies Partial<Settings>;
