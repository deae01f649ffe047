/** For `folio bench`: nanoGPT's train_shakespeare_char, 10.6 M parameters. Matrix products take most of the time. */
import type { Settings } from "../lib/settings/settings.js";

export default {
  dataset: "shakespeare_char",
  nLayer: 6,
  nHead: 6,
  nEmbd: 384,
  blockSize: 256,
  batchSize: 16,
  vocabSize: 65,
  gradientAccumulationSteps: 1,
} satisfies Partial<Settings>;
