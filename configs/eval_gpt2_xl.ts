/**
 * nanoGPT's eval_gpt2_xl: the loss of OpenAI's gpt2-xl (1,558 M parameters) on OpenWebText, without training.
 * nanoGPT's train / validation loss: 2.56 / 2.54.
 */
import type { Settings } from "../lib/settings/settings.js";

export default {
  batchSize: 8,
  evalIters: 500, // more batches for a better estimate
  evalOnly: true,
  wandbLog: false,
  initFrom: "gpt2-xl",
} satisfies Partial<Settings>;
