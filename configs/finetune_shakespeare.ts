/**
 * nanoGPT's finetune_shakespeare: finetunes GPT-2 XL on Shakespeare in GPT-2's tokens. One sequence × 32 micro-batches
 * × 1024 tokens = 32,768 tokens per step; Shakespeare has 301,966, so 20 steps are about two passes. The weights alone
 * take 6.2 GB; finetune_gpt2_small.ts runs on a laptop.
 */
import type { Settings } from "../lib/settings/settings.js";

export default {
  outDir: "out-shakespeare",
  evalInterval: 5,
  evalIters: 40,
  wandbLog: false,

  dataset: "shakespeare",
  initFrom: "gpt2-xl", // the largest
  alwaysSaveCheckpoint: false, // only when the validation loss is the best so far

  batchSize: 1,
  gradientAccumulationSteps: 32,
  maxIters: 20,

  learningRate: 3e-5, // constant
  decayLr: false,
} satisfies Partial<Settings>;
