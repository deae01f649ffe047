/**
 * A smaller train_shakespeare_char, with 3.98 million parameters, for the GPU of a laptop, for instance an Apple one.
 * Others report a validation loss of about 1.60 for this shape.
 */
import type { Settings } from "../lib/settings/settings.js";
import shakespeareChar from "./train_shakespeare_char.js";

export default {
  ...shakespeareChar,
  outDir: "out-apple-demo",
  wandbRunName: "apple-demo",
  evalIters: 20, // faster, but noisier

  blockSize: 128,
  batchSize: 32,

  nLayer: 5,
  nHead: 4,
  nEmbd: 256,
  dropout: 0, // too few passes over the text to overfit

  maxIters: 2000,
  lrDecayIters: 2000,
} satisfies Partial<Settings>;
