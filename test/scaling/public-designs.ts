/** N and D of three published studies, for simulations of the coverage of intervals. */
import type { Point } from "../../scaling/points.js";
import { hoffmann, lossOf, normal } from "./simulate.js";

type Place = Pick<Point, "n" | "d">;

/**
 * Hoffmann 2022, figure 4: millions of parameters (sizes of its table A9), and units of 1e18 FLOPs, 6ND, of each training, as
 * Besiroglu 2024 read them off the figure (svg_extracted_data.csv of github.com/Besiroglu/data, 245 trainings).
 */
const hoffmannRuns: readonly (readonly [millions: number, flops: readonly number[]])[] = [
  [57, [5.8]],
  [74, [1.397, 2.891, 5.266, 5.77, 11.15]],
  [90, [1.766, 3.52, 6.83]],
  [106, [2.056, 4.745, 8.304, 8.703]],
  [117, [2.867, 5.446, 10.8]],
  [140, [3.41, 5.402, 6.837, 9.075, 13.73, 24.77, 26.76]],
  [163, [3.934, 7.998, 32.0]],
  [175, [5.151, 5.616, 9.352, 9.987, 19.11, 28.06, 40.59]],
  [196, [5.397, 11.54, 22.43, 44.43]],
  [217, [5.394, 6.372, 8.996, 23.97, 25.38, 51.13]],
  [251, [8.136, 15.75, 64.75]],
  [278, [5.507, 9.16, 9.295, 18.3, 25.32, 35.76, 52.47, 68.3]],
  [306, [5.131, 9.064, 10.2, 20.33, 27.2, 37.44, 80.32]],
  [425, [5.597, 9.395, 26.78, 30.98, 56.7, 59.14, 89.38, 283.8]],
  [489, [16.88, 36.5, 70.22, 138.2]],
  [509, [20.62, 40.84]],
  [552, [5.484, 9.219, 19.39, 27.62, 41.19, 53.47, 82.54, 84.6]],
  [587, [9.31, 24.04, 28.24, 47.28, 87.75, 89.56, 183.0, 270.4]],
  [632, [9.387, 27.84, 27.84, 57.15, 57.6, 89.26, 109.3, 544.6]],
  [664, [27.38, 54.79, 219.2]],
  [724, [32.75, 62.91, 126.8]],
  [816, [9.292, 28.24, 36.82, 55.82, 73.79, 94.15, 136.1, 280.9, 295.3, 549.7]],
  [893, [43.87, 83.46, 175.2]],
  [1018, [9.618, 28.91, 47.22, 53.62, 96.39, 99.96, 199.9]],
  [1143, [9.559, 28.71, 52.07, 57.24, 92.4, 112.3, 224.8, 278.7, 408.3, 547.3]],
  [1266, [9.39, 29.23, 58.56, 74.62, 97.79, 148.0, 148.5, 287.5, 553.2, 974.0]],
  [1424, [173.2, 189.8, 380.8]],
  [1429, [9.72, 29.04, 58.13, 168.3, 168.4, 285.5, 336.7, 576.5, 963.7]],
  [1593, [92.72, 170.0, 185.8, 740.9]],
  [1609, [9.746, 28.49, 58.62, 106.9, 212.9, 214.9, 430.0, 855.3, 977.5]],
  [1731, [9.086, 98.13, 170.1, 324.0, 657.2, 984.6, 1297]],
  [1794, [8.811, 28.93, 97.26, 119.0, 228.3, 239.7, 278.1, 471.7, 583.8, 952.8, 958.9]],
  [2007, [9.772, 96.93, 195.8, 293.0, 393.5, 587.0, 978.6, 1499]],
  [2283, [9.623, 224.0, 275.1, 448.7, 880.9, 972.9, 1795]],
  [2298, [240.4, 472.2]],
  [2639, [9.753, 98.36, 580.0, 976.9, 2308, 2956]],
  [2980, [9.228, 96.91, 293.4, 326.3, 558.8, 591.7, 964.8, 1293, 2621, 2945]],
  [4516, [298.8, 562.6, 989.8, 994.7, 1987, 2989]],
  [6796, [9.994, 299.1, 602.8, 928.3, 1580, 2877, 3221, 12956]],
  [9293, [1012, 2442, 2876, 5031]],
  [11452, [1015, 3019]],
  [12569, [608.2, 1014, 2974]],
  [16183, [2929]],
];

const hoffmannPlaces = hoffmannRuns.flatMap(([millions, flops]) =>
  flops.map((c) => ({ n: millions * 1e6, d: (c * 1e18) / (6 * millions * 1e6) })),
);

/** Of its figure 3. */
const hoffmannBudgets = [6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21];

/** Those of the trainings that lie on one of its budgets, within what reading a figure leaves open. */
const hoffmannProfiles = hoffmannPlaces.flatMap(({ n, d }) => {
  const budget = hoffmannBudgets.find((c) => Math.abs(Math.log((6 * n * d) / c)) < 0.11);
  return budget === undefined ? [] : [{ n, d: budget / (6 * n) }];
});

/** Gadre 2024, on RefinedWeb: exp_data/models of github.com/mlfoundations/scaling; tokens are 20·N times a multiplier. */
const gadre = [
  ...[10_569_312, 78_914_048, 153_677_376, 411_616_256].flatMap((n) =>
    [0.25, 0.5, 1, 2, 4, 8, 16, 32].map((times) => ({ n, d: 20 * times * n })),
  ),
  ...[1, 16].map((times) => ({ n: 1_439_795_200, d: 20 * times * 1_439_795_200 })),
  { n: 6_889_410_560, d: 20 * 6_889_410_560 },
];

/** Porian 2024: N, the head counted and no embedding (data/summary_df of github.com/formll/resolving-scaling-law-discrepancies). */
const porianSizes = [
  ...[5_173_248, 7_503_872, 9_809_920, 15_597_568, 22_487_040, 28_672_000, 37_060_608, 57_384_960, 84_787_200],
  ...[108_462_080, 149_045_248, 220_872_704, 347_078_656, 455_311_360, 611_958_784, 901_726_208],
];

/**
 * Which of them, counted from 0, were trained to each of its budgets, 1.25e16 · 2^k, on RefinedWeb with a cosine that ends
 * there: a training for each.
 */
const porianGrid: readonly (readonly number[])[] = [
  [0, 1, 2, 3, 4, 5, 6, 7],
  [1, 2, 3, 4, 5, 6, 7, 8],
  [2, 3, 4, 5, 6, 7, 8, 9],
  [3, 4, 5, 6, 7, 8, 9, 10],
  [4, 5, 6, 7, 8, 9, 10, 11],
  [5, 6, 7, 8, 9, 10, 11],
  [6, 7, 8, 9, 10, 11, 13],
  [7, 8, 9, 10, 11, 12, 13, 14],
  [8, 9, 10, 11, 12, 13, 14, 15],
  [9, 10, 11, 12, 13, 14, 15],
  [10, 11, 12, 13, 14, 15],
  [11, 12, 13, 14, 15],
];
const porian = porianGrid.flatMap((sizes, k) =>
  sizes.map((size) => {
    const n = porianSizes[size]!;
    return { n, d: (1.25e16 * 2 ** k) / (6 * n) };
  }),
);

const designs = { hoffmann: hoffmannPlaces, "hoffmann-budgets": hoffmannProfiles, porian, gadre };

/** "hoffmann-budgets" has the trainings that lie on budgets, for approach 2. */
export type PublicDesign = keyof typeof designs;

/** The standard deviation of ln L at a share of the largest compute: .2 % there, and up to 1 % for small runs. */
export const noiseAt = (share: number) => Math.min(0.01, 0.002 * share ** -0.2);

/**
 * A simulated study with this design and the noise of `noiseAt`.
 * @param loss the true law; by default Hoffmann's
 */
export function simulatedStudy(
  design: PublicDesign,
  seed: number,
  loss: (n: number, d: number) => number = (n, d) => lossOf(hoffmann, n, d),
): Point[] {
  const places: readonly Place[] = designs[design];
  const most = places.reduce((high, { n, d }) => Math.max(high, n * d), 0);
  return places.map(({ n, d }, k) => {
    const noise = noiseAt((n * d) / most);
    return { n, d, loss: loss(n, d) * Math.exp(noise * normal(seed, design, k)) };
  });
}
