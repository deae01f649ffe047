/**
 * A quarter of novels.ts, by which its design was chosen among others: four budgets, and a run of four times the largest, whose
 * loss the fit of the rest is to predict. What was compared is in scaling/results/README.md.
 */
import type { PlanOptions } from "../plan.js";
import novels from "./novels.js";

export default {
  ...novels,
  name: "novels-pilot",
  grid: { ...novels.grid, budgets: novels.grid.budgets.slice(0, 4) },
  heldOut: [{ budgetFlops: 3.2e12 }],
  // Of the sweep before: that of novels.ts was tuned for the design that was chosen.
  learningRate: { factor: 13.5, parameters: -0.554, tokens: -0.107 },
} satisfies PlanOptions;
