/** For `folio bench`: GPT-2 124M on short rows. The weights and the 50,304 logits per token take most of the memory. */
import type { Settings } from "../lib/settings/settings.js";

export default {
  nLayer: 12,
  nHead: 12,
  nEmbd: 768,
  blockSize: 256,
  batchSize: 1,
  vocabSize: 50_304, // GPT-2's 50,257, rounded up to a multiple of 64
  gradientAccumulationSteps: 1,
} satisfies Partial<Settings>;
