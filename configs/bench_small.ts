/**
 * For `folio bench`: nanoGPT's demo for a CPU, 0.8 M parameters. The overhead of each call matters in its short steps.
 */
import type { Settings } from "../lib/settings/settings.js";

export default {
  dataset: "shakespeare_char",
  nLayer: 4,
  nHead: 4,
  nEmbd: 128,
  blockSize: 64,
  batchSize: 12,
  vocabSize: 65,
  gradientAccumulationSteps: 1,
} satisfies Partial<Settings>;
