/**
 * The runs of novels.ts once more with another seed, of the three smallest budgets: at few steps the loss of a run depends on
 * its seed by a percent and more, and two are less noisy than one.
 */
import type { PlanOptions } from "../plan.js";
import novels from "./novels.js";

const { heldOut: _, ...shared } = novels;

export default {
  ...shared,
  name: "novels-again",
  grid: { ...novels.grid, budgets: novels.grid.budgets.slice(0, 3) },
  seeds: [1],
} satisfies PlanOptions;
