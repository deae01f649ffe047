/**
 * The small model that comes with Folio (`openModel("induction")`): two layers in which induction heads appear, on text and repeated
 * random sequences by characters. A few minutes on two cores. data/induction/README.md has the whole recipe.
 */
import type { Settings } from "../lib/settings/settings.js";

export default {
  outDir: "out-induction",
  dataset: "induction",
  evalInterval: 500,
  evalIters: 20,
  logInterval: 10,

  gradientAccumulationSteps: 1,
  batchSize: 32,
  blockSize: 64, // characters

  nLayer: 2,
  nHead: 4,
  nEmbd: 128,
  bias: true,
  tieHead: false,
  initStd: 0, // 1/√nEmbd

  learningRate: 3e-3,
  minLr: 1e-4,
  schedule: "wsd",
  warmupIters: 100,
  maxIters: 2500,
  lrDecayIters: 2500,
  beta2: 0.99,
  weightDecay: 0.01,
} satisfies Partial<Settings>;
