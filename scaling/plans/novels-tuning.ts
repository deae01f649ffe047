/**
 * Learning rates for novels.ts: five rates at each of two sizes, near the optimum of a small and of a large budget. Its
 * table is scaling/results/novels-tuning.csv.
 */
import type { PlanOptions } from "../plan.js";
import novels from "./novels.js";

const { grid: _, heldOut: __, ...shared } = novels;

export default {
  ...shared,
  name: "novels-tuning",
  // As it was run, before novels.ts had a longer memory and warm-up.
  settings: { ...novels.settings, beta2: 0.95 },
  warmup: 0.05,
  tuning: {
    at: [
      { budgetFlops: 2e11, parameters: 20_000 },
      { budgetFlops: 2e12, parameters: 80_000 },
    ],
    learningRates: [2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2],
  },
} satisfies PlanOptions;
