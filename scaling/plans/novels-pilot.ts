/**
 * A quarter of novels.ts, with which its design was compared with others: four budgets, and a run with four times the
 * largest, whose loss the fit of the other runs is to predict. scaling/results/README.md has the comparison.
 */
import type { PlanOptions } from "../plan.js";
import novels from "./novels.js";

export default {
  ...novels,
  name: "novels-pilot",
  grid: { ...novels.grid, budgets: novels.grid.budgets.slice(0, 4) },
  heldOut: [{ budgetFlops: 3.2e12 }],
  // The rule of the previous sweep; that of novels.ts was tuned for the chosen design.
  learningRate: { factor: 13.5, parameters: -0.554, tokens: -0.107 },
} satisfies PlanOptions;
