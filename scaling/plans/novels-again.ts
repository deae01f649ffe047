/**
 * The runs of the three smallest budgets of novels.ts with a second seed. With few steps, the loss of a run varies by a
 * percent or more with its seed; the mean of two runs is less noisy.
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
