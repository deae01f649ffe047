/**
 * The tuning of the learning rate for novels.ts: five rates near the optima of a small, a middle and the largest
 * budget, and at a much smaller and a much larger model of the middle budget. Its table is
 * scaling/results/novels-tuning.csv.
 */
import type { PlanOptions } from "../plan.js";
import novels from "./novels.js";

const { grid: _, heldOut: __, ...shared } = novels;

export default {
  ...shared,
  name: "novels-tuning",
  tuning: {
    at: [
      { budgetFlops: 2e11, parameters: 20_000 },
      { budgetFlops: 8e11, parameters: 17_000 },
      { budgetFlops: 8e11, parameters: 42_000 },
      { budgetFlops: 8e11, parameters: 130_000 },
      { budgetFlops: 3.2e12, parameters: 88_000 },
    ],
    learningRates: [1.5e-3, 3e-3, 6e-3, 1.2e-2, 2.4e-2],
  },
} satisfies PlanOptions;
