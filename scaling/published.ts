/**
 * Published optima as data, and lines through them: Chinchilla's three approaches, nanoGPT's line, and nanochat's sweep
 * counted in three ways. Published laws are in laws.ts. Notebook 08-scaling-laws shows them.
 */
import { fitLine } from "./fit/search/line-fit.js";

/** The optimal N and D of a compute C. */
export interface PublishedOptimum {
  readonly n: number;
  readonly c: number;
  readonly d: number;
}

const sizes = [400e6, 1e9, 10e9, 67e9, 175e9, 1e12];

function optima(flops: readonly number[], tokens: readonly number[]): PublishedOptimum[] {
  return sizes.map((n, k) => ({ n, c: flops[k]!, d: tokens[k]! }));
}

/** Optimal compute and tokens by size, by the three approaches (Hoffmann 2022, tables 3 and A3). */
export const chinchillaOptima: Readonly<Record<"approach1" | "approach2" | "approach3", readonly PublishedOptimum[]>> =
  {
    approach1: optima(
      [1.92e19, 1.21e20, 1.23e22, 5.76e23, 3.85e24, 1.27e26],
      [8e9, 20.2e9, 205.1e9, 1.5e12, 3.7e12, 21.2e12],
    ),
    approach2: optima(
      [1.84e19, 1.2e20, 1.32e22, 6.88e23, 4.54e24, 1.59e26],
      [7.7e9, 20e9, 219.5e9, 1.7e12, 4.3e12, 26.5e12],
    ),
    // The paper prints 1.26e24 at 175B, but 6·175e9·12e12 is 1.26e25.
    approach3: optima(
      [2.21e19, 1.62e20, 2.46e22, 1.71e24, 1.26e25, 5.65e26],
      [9.2e9, 27.1e9, 410.1e9, 4.1e12, 12e12, 94.1e12],
    ),
  };

/** All nine points (N, D) of approach 2 (Hoffmann 2022, tables 3 and A3), to which nanoGPT fits its line. */
export const approach2Points: readonly { readonly n: number; readonly d: number }[] = [
  { n: 400e6, d: 7.7e9 },
  { n: 1e9, d: 20e9 },
  { n: 10e9, d: 219.5e9 },
  { n: 67e9, d: 1.7e12 },
  { n: 175e9, d: 4.3e12 },
  { n: 280e9, d: 7.1e12 },
  { n: 520e9, d: 13.4e12 },
  { n: 1e12, d: 26.5e12 },
  { n: 10e12, d: 292e12 },
];

/**
 * log10 D = slope·log10 N + intercept through points, by least squares (nanoGPT's scaling_laws: 1.0409573, .9353887).
 */
export function tokensLine(points: readonly { readonly n: number; readonly d: number }[] = approach2Points) {
  const { slope, intercept } = fitLine(
    points.map(({ n }) => Math.log10(n)),
    points.map(({ d }) => Math.log10(d)),
  );
  return { slope, intercept, tokensFor: (n: number): number => 10 ** (slope * Math.log10(n) + intercept) };
}

const sweepFlops = [0, 1, 2, 3].map((third) => 10 ** (18 + third / 3)); // 1e18, 2.15e18, 4.64e18, 1e19

function sweep(parameters: readonly number[], tokens: readonly number[]): PublishedOptimum[] {
  return sweepFlops.map((c, k) => ({ c, n: parameters[k]!, d: tokens[k]! }));
}

/**
 * The optima of a single sweep, with parameters counted in three ways (nanochat's log of 27 January 2026, IsoFLOP
 * parabolas): N ∝ C^.536 for blocks and head, C^.375 for all parameters with their many embeddings, C^.696 for
 * blocks only.
 */
export const nanochatSweep: Readonly<Record<"blocks-head" | "total" | "blocks", readonly PublishedOptimum[]>> = {
  "blocks-head": sweep(
    [110_678_115, 167_797_457, 250_650_865, 381_758_347],
    [1_241_505_403, 1_785_336_422, 2_642_234_152, 3_806_871_243],
  ),
  total: sweep(
    [416_320_605, 560_239_841, 741_495_903, 988_644_331],
    [1_232_157_011, 1_763_669_281, 2_629_909_368, 3_884_841_895],
  ),
  blocks: sweep(
    [80_259_665, 131_488_566, 220_985_474, 401_213_504],
    [1_315_639_547, 1_864_134_141, 2_595_328_843, 3_328_704_512],
  ),
};

/** The exponents of N* ∝ C^a and D* ∝ C^b through optima, by least squares on logarithms. */
export function exponentsOf(points: readonly PublishedOptimum[]): { a: number; b: number } {
  const lnC = points.map(({ c }) => Math.log(c));
  const slope = (of: "n" | "d") =>
    fitLine(
      lnC,
      points.map((point) => Math.log(point[of])),
    ).slope;
  return { a: slope("n"), b: slope("d") };
}
