/**
 * nanoGPT's eval_gpt2: the loss of OpenAI's gpt2 (124 M parameters) on OpenWebText, without training.
 * nanoGPT's train / validation loss: 3.11 / 3.12.
 */
import type { Settings } from "../lib/settings/settings.js";

export default {
  batchSize: 8,
  evalIters: 500, // more batches for a better estimate
  evalOnly: true,
  wandbLog: false,
  initFrom: "gpt2",
} satisfies Partial<Settings>;
