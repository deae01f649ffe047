/** N and D of three published studies, for simulations of the coverage of intervals. */
import type { Point } from "../../scaling/points.js";
import { hoffmann, lossOf, normal, optimumOf } from "./simulate.js";

type Place = Pick<Point, "n" | "d">;

/** Sizes within a factor of each budget's optimum on the simulated law; D follows from the budget. */
function alongBudgets(budgets: readonly number[], sizes: readonly number[], factor: number): Place[] {
  return budgets.flatMap((c) =>
    sizes
      .filter((n) => n > optimumOf(hoffmann, c) / factor && n < optimumOf(hoffmann, c) * factor)
      .map((n) => ({ n, d: c / (6 * n) })),
  );
}

/** Millions of parameters: Hoffmann 2022, table A9. Budgets: its figure 3. */
const hoffmannSizes = [
  ...[44, 57, 74, 90, 106, 117, 140, 163, 175, 196, 217, 251, 278, 306, 425, 489, 509, 552, 587, 632, 664, 724, 816],
  ...[893, 1018, 1143, 1266, 1424, 1429, 1593, 1609, 1731, 1794, 2007, 2283, 2298, 2639, 2980, 3530, 3802, 4084, 4516],
  ...[6796, 9293, 11452, 12295, 12569, 13735, 14940, 16183],
].map((millions) => millions * 1e6);
const hoffmannBudgets = [6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21];

/** Porian 2024: budgets 1e17·2^k for k of −3 to 8, 16 sizes from 5 M to 901 M, about evenly spaced in ln N. */
const porianBudgets = Array.from({ length: 12 }, (_, k) => 1e17 * 2 ** (k - 3));
const porianSizes = Array.from({ length: 16 }, (_, k) => 5e6 * (901 / 5) ** (k / 15));

/** Gadre 2024, section 3: 11 M, 79 M, 154 M and 411 M, each on 20 tokens per parameter times .25 to 32. */
const gadre = [11e6, 79e6, 154e6, 411e6].flatMap((n) =>
  [0.25, 0.5, 1, 2, 4, 8, 16, 32].map((times) => ({ n, d: 20 * times * n })),
);

const publicDesigns: Readonly<Record<"hoffmann" | "porian" | "gadre", readonly Place[]>> = {
  hoffmann: alongBudgets(hoffmannBudgets, hoffmannSizes, 4),
  porian: alongBudgets(porianBudgets, porianSizes, 5),
  gadre,
};

/**
 * A simulated study with this design. The noise of ln L is .2 % at the largest compute and up to 1 % for small runs.
 */
export function simulatedStudy(design: keyof typeof publicDesigns, seed: number): Point[] {
  const places = publicDesigns[design];
  const most = places.reduce((high, { n, d }) => Math.max(high, n * d), 0);
  return places.map(({ n, d }, k) => {
    const noise = Math.min(0.01, 0.002 * (most / (n * d)) ** 0.2);
    return { n, d, loss: lossOf(hoffmann, n, d) * Math.exp(noise * normal(seed, design, k)) };
  });
}
