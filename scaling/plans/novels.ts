/**
 * Folio's own sweep: 39.5 million characters of novels, a token each, IsoFLOP over 1.5 decades, and a run beyond it whose
 * loss the fits are to predict. Its tables and how they were made are in scaling/results/. Any text will do for the dataset:
 * folio prepare novels --from=TEXT --tokenizer=char.
 */
import type { PlanOptions } from "../plan.js";

export default {
  name: "novels",
  dataset: "novels",
  tokenizer: "char",
  grid: {
    kind: "isoflop",
    budgets: [1e11, 2e11, 4e11, 8e11, 1.6e12, 3.2e12],
    sizes: 7,
    spacing: 1.45,
    optimum: { budgetFlops: 3e11, parameters: 27_000 },
  },
  heldOut: [{ budgetFlops: 1e13 }],
  // A context of 16: with 64, or with tokens of several characters, models this small have hardly begun to use it, and at some
  // budget their losses stop falling less with each doubling, as a law that ends in an E has it. A long memory of squared gradients:
  // batches are of few tokens. Weights as wide as such narrow models want: with GPT-2's .02 their attention begins late, at a
  // step that differs by the seed.
  settings: { blockSize: 16, initStd: 0, beta2: 0.99, device: "cpu", dtype: "float32" },
  // Sizes that differ in width alone: where a layer is added, the loss jumps by a percent or two, which no law in N describes.
  ladder: { widthStep: 4, nLayer: 2, nHead: 2 },
  // Small batches early in training: 350 tokens for a million, 1,300 for ten million.
  batchTokens: { factor: 0.13, tokens: 0.571, least: 256 },
  // What novels-tuning and `folio scaling tune` find. One rate for all left the smallest models' losses up to 3 % higher.
  learningRate: { factor: 0.507, parameters: -0.5, tokens: 0.0794 },
  warmup: 0.1,
  limits: { epochs: 4, flopsPerRun: 1.01e13 },
  workers: 2,
  threads: 1,
} satisfies PlanOptions;
