/**
 * Folio's own sweep on 39.5 million characters of novels: IsoFLOP grids over 1.5 decades, and a held-out run whose loss
 * the fits are to predict. scaling/results/ has its tables and how they were made. Any text can serve as the dataset:
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
  // A context of 16: with 64, or with tokens of several characters, models this small have hardly begun to use the
  // context, and from some budget on, their losses fall by a constant amount per doubling, unlike in a law with an
  // irreducible loss. The high beta2 suits batches of few tokens. As for initStd: with GPT-2's .02, attention in such
  // narrow models begins to learn late, at a step that depends on the seed.
  settings: { blockSize: 16, initStd: 0, beta2: 0.99, device: "cpu", dtype: "float32" },
  // Only the width varies: an added layer changes the loss abruptly by a percent or two, which no law in N describes.
  ladder: { widthStep: 4, nLayer: 2, nHead: 2 },
  // 350 tokens per step for a training on a million tokens, 1,300 for ten million.
  batchTokens: { factor: 0.13, tokens: 0.571, least: 256 },
  // From novels-tuning and `folio scaling tune`. With one rate for all, losses of small models were up to 3 % higher.
  learningRate: { factor: 0.507, parameters: -0.5, tokens: 0.0794 },
  warmup: 0.1,
  limits: { epochs: 4, flopsPerRun: 1.01e13 },
  workers: 2,
  threads: 1,
} satisfies PlanOptions;
