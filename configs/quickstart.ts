/**
 * What `npm start` trains: the shape of nanoGPT's CPU demo (0.8 million parameters) on the corpus that needs no
 * download, TypeScript's own declarations. About a minute on two cores.
 */
import type { Settings } from "../lib/settings/settings.js";

export default {
  outDir: "out-quickstart",
  dataset: "typescript",
  evalInterval: 250,
  evalIters: 20,
  logInterval: 10,
  alwaysSaveCheckpoint: false,

  gradientAccumulationSteps: 1,
  batchSize: 12,
  blockSize: 64, // characters

  nLayer: 4,
  nHead: 4,
  nEmbd: 128,
  dropout: 0,

  learningRate: 1e-3,
  minLr: 1e-4,
  beta2: 0.99,
  warmupIters: 100,
  maxIters: 1500,
  lrDecayIters: 1500,
} satisfies Partial<Settings>;
