/**
 * Folio's own sweep: characters of 39.5 million characters of novels, IsoFLOP over 1.5 decades, and a run beyond it whose
 * loss the fits are to predict. Its tables and how they were made are in scaling/results/.
 */
import type { PlanOptions } from "../plan.js";

export default {
  name: "novels",
  dataset: "novels",
  grid: {
    kind: "isoflop",
    budgets: [1e11, 2e11, 4e11, 8e11, 1.6e12, 3.2e12],
    sizes: 7,
    spacing: 1.45,
    optimum: { budgetFlops: 3e11, parameters: 27_000 },
  },
  heldOut: [{ budgetFlops: 9.9e12 }],
  settings: { blockSize: 64, device: "cpu", dtype: "float32" },
  ladder: { widthStep: 4 },
  // Small batches early in training: 5 sequences for a million tokens, 19 for ten million.
  batchTokens: { factor: 0.13, tokens: 0.571, least: 256 },
  // What novels-tuning says: the vertices at 22,484 and 82,600 parameters (test/scaling/novels.test.ts).
  learningRate: { factor: 0.02007, parameters: -0.04339 },
  limits: { epochs: 4, flopsPerRun: 1e13 },
  workers: 2,
  threads: 1,
} satisfies PlanOptions;
