/**
 * The bias of approach 2 without noise: IsoFLOP grids of a given width around the true optimum of a known surface,
 * parabolas, a line through their vertices, and its value at a larger budget (Czech 2026). fit.ts warns of the same
 * bias for the points of a study. Notebook 08-scaling-laws shows it.
 */
import { fitLawNow } from "../fit.js";
import { type Surface, surfaceLoss } from "../laws.js";
import { optimumOfBudget } from "../optimum.js";

export interface IsoFlopStudy {
  readonly budgetsFlops: readonly number[];
  /** Sizes go from N* / width to N*·width, evenly spaced in ln N. */
  readonly width: number;
  /** Sizes per budget; 15 by default. */
  readonly sizes?: number;
}

/**
 * The relative error of approach 2's N and D at a budget, compared with the optimum of the surface; −.01 is 1 % too
 * low.
 * @example
 * // Hoffmann's printed surface, budgets 1e17 … 1e21, sizes ±2×: D at 1e24 is .327 % too small
 * approach2Bias(laws.hoffmann.surface, { budgetsFlops: [1e17, 1e18, 1e19, 1e20, 1e21], width: 2 }, 1e24).d;
 */
export function approach2Bias(surface: Surface, study: IsoFlopStudy, atFlops: number): { n: number; d: number } {
  const { budgetsFlops, width, sizes = 15 } = study;
  const points = budgetsFlops.flatMap((budget) => {
    const best = optimumOfBudget(surface, budget);
    return Array.from({ length: sizes }, (_, k) => {
      const n = best.n * width ** ((2 * k) / (sizes - 1) - 1);
      const d = budget / (6 * n);
      return { n, d, loss: surfaceLoss(surface, n, d) };
    });
  });
  const { params, exponents } = fitLawNow(points, { method: "isoflop" });
  const truth = optimumOfBudget(surface, atFlops);
  return {
    n: (params.nScale! * atFlops ** exponents!.a) / truth.n - 1,
    d: (params.dScale! * atFlops ** exponents!.b) / truth.d - 1,
  };
}
