/**
 * Complete settings to start from: `train({ ...presets.toy, dataset: "poems" })`. On the command line, use configs/.
 */
import { parseSettings, type Settings } from "./settings.js";

/** A model of characters, on a dataset that needs no download. */
const characters: Partial<Settings> = {
  gradientAccumulationSteps: 1,
  batchSize: 12,
  blockSize: 64,
  beta2: 0.99,
  tensorboard: false,
};

export const presets = {
  /** 0.1 million parameters, on TypeScript's declarations: trains in about 15 seconds on two cores. */
  toy: parseSettings({
    ...characters,
    outDir: "out-toy",
    dataset: "typescript",
    nLayer: 2,
    nHead: 4,
    nEmbd: 64,
    learningRate: 2e-3,
    minLr: 2e-4,
    warmupIters: 50,
    maxIters: 500,
    lrDecayIters: 500,
    evalInterval: 100,
    evalIters: 10,
  }),
  /** nanoGPT's demo for a CPU: 0.8 million parameters on Shakespeare by characters, about a minute on two cores. */
  cpuDemo: parseSettings({
    ...characters,
    outDir: "out-cpu-demo",
    dataset: "shakespeare_char",
    nLayer: 4,
    nHead: 4,
    nEmbd: 128,
    learningRate: 1e-3,
    minLr: 1e-4,
    warmupIters: 100,
    maxIters: 2000,
    lrDecayIters: 2000,
    evalInterval: 250,
    evalIters: 20,
    alwaysSaveCheckpoint: false,
  }),
} as const satisfies Record<string, Readonly<Settings>>;
