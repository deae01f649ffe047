/**
 * nanoGPT's demo for a CPU: its train_shakespeare_char with the flags from its README, in one file. It takes a few
 * minutes. nanoGPT ends at 1.898 on the whole validation split.
 */
import type { Settings } from "../lib/settings/settings.js";
import shakespeareChar from "./train_shakespeare_char.js";

export default {
  ...shakespeareChar,
  device: "cpu",
  compile: true, // nanoGPT's README has --compile=False; Folio traces its graph in a second, with the same results
  evalIters: 20, // faster, but noisier
  logInterval: 1,
  blockSize: 64,
  batchSize: 12,

  nLayer: 4,
  nHead: 4,
  nEmbd: 128,
  dropout: 0,

  maxIters: 2000,
  lrDecayIters: 2000,
} satisfies Partial<Settings>;
