/**
 * nanoGPT's eval_gpt2_large: the loss of OpenAI's gpt2-large (774 M parameters) on OpenWebText, without training.
 * nanoGPT's train / validation loss: 2.66 / 2.67.
 */
import type { Settings } from "../lib/settings/settings.js";

export default {
  batchSize: 8,
  evalIters: 500, // more batches for a better estimate
  evalOnly: true,
  wandbLog: false,
  initFrom: "gpt2-large",
} satisfies Partial<Settings>;
