/**
 * nanoGPT's train_gpt2: GPT-2 124M on OpenWebText, 12 sequences × 1024 tokens × 40 micro-batches = 491,520 tokens per
 * step, about 300 billion in all. nanoGPT reaches a validation loss of 2.85 in four days on eight A100s.
 */
import type { Settings } from "../lib/settings/settings.js";

export default {
  wandbLog: false, // true in nanoGPT; it needs an account
  wandbProject: "owt",
  wandbRunName: "gpt2-124M",

  vocabSize: 50_304, // GPT-2's 50,257, rounded up to a multiple of 64, as in nanoGPT
  batchSize: 12,
  blockSize: 1024,
  gradientAccumulationSteps: 5 * 8, // in nanoGPT, 5 on each of eight GPUs

  maxIters: 600_000, // 300 billion tokens
  lrDecayIters: 600_000,

  evalInterval: 1000,
  evalIters: 200,
  logInterval: 10,

  weightDecay: 0.1,
} satisfies Partial<Settings>;
