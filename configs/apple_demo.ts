/**
 * A model of 3.98 million parameters for a laptop's GPU, an Apple one for instance: train_shakespeare_char, smaller.
 * A validation loss of about 1.60 is what others report for this shape.
 */
import type { Settings } from "../lib/settings/settings.js";
import shakespeareChar from "./train_shakespeare_char.js";

export default {
  ...shakespeareChar,
  outDir: "out-apple-demo",
  wandbRunName: "apple-demo",
  evalIters: 20, // noisier, faster

  blockSize: 128,
  batchSize: 32,

  nLayer: 5,
  nHead: 4,
  nEmbd: 256,
  dropout: 0, // few passes over the text: nothing to forget yet

  maxIters: 2000,
  lrDecayIters: 2000,
} satisfies Partial<Settings>;
