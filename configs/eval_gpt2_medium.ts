/**
 * nanoGPT's eval_gpt2_medium: the loss of OpenAI's gpt2-medium (350 M parameters) on OpenWebText, without training.
 * nanoGPT's train / validation loss: 2.85 / 2.84.
 */
import type { Settings } from "../lib/settings/settings.js";

export default {
  batchSize: 8,
  evalIters: 500, // more batches for a better estimate
  evalOnly: true,
  wandbLog: false,
  initFrom: "gpt2-medium",
} satisfies Partial<Settings>;
