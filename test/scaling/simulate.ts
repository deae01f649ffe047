/** Simulated sweeps from a known law, for tests and proofs of fits. */
import { uniform } from "../../lib/host/random.js";
import type { Point } from "../../scaling/points.js";

/** Hoffmann's constants, unrounded (reference: the TeX source of Hoffmann 2022). */
export const hoffmann = { E: 1.69337, A: 406.401, B: 410.723, alpha: 0.33917, beta: 0.28491 } as const;

export type Law = Readonly<Record<keyof typeof hoffmann, number>>;

export function lossOf({ E, A, B, alpha, beta }: Law, n: number, d: number): number {
  return E + A * n ** -alpha + B * d ** -beta;
}

/** The optimal N at C = 6ND. */
export function optimumOf({ A, B, alpha, beta }: Law, c: number): number {
  return ((alpha * A) / (beta * B)) ** (1 / (alpha + beta)) * (c / 6) ** (beta / (alpha + beta));
}

/** A standard normal number from a seed and a path (Box and Muller). */
export function normal(seed: number, ...path: (number | string)[]): number {
  const radius = Math.sqrt(-2 * Math.log(1 - uniform(seed, ...path, "radius")));
  return radius * Math.cos(2 * Math.PI * uniform(seed, ...path, "angle"));
}

export interface IsoflopOptions {
  readonly law?: Law;
  readonly budgets?: readonly number[];
  /** Sizes per budget, from optimum / width to optimum × width. */
  readonly sizes?: number;
  readonly width?: number;
  /** Standard deviation of ln L. */
  readonly noise?: number;
  readonly seed?: number;
}

/** Budgets with sizes evenly spaced in ln N around the optimum of each. */
export function isoflopSweep(options: IsoflopOptions = {}): Point[] {
  const { law = hoffmann, budgets = [1e18, 4e18, 1.6e19, 6.4e19, 2.6e20, 1e21] } = options;
  const { sizes = 10, width = 6, noise = 0, seed = 1 } = options;
  return budgets.flatMap((c, budget) =>
    Array.from({ length: sizes }, (_, k) => {
      const n = optimumOf(law, c) * width ** ((2 * k) / (sizes - 1) - 1);
      const d = c / (6 * n);
      const off = noise === 0 ? 0 : noise * normal(seed, budget, k);
      return { n, d, c, loss: lossOf(law, n, d) * Math.exp(off) };
    }),
  );
}

export interface RunsOptions {
  readonly law?: Law;
  readonly runs?: number;
  readonly pointsPerRun?: number;
  /** Standard deviations of ln L: the error that a run's points share, and that of each point. */
  readonly shared?: number;
  readonly own?: number;
  readonly seed?: number;
}

/** Runs of various sizes and lengths, with several points that share an error. */
export function runsSweep(options: RunsOptions = {}): Point[] {
  const { law = hoffmann, runs = 40, pointsPerRun = 5, shared = 0.009, own = 0.004, seed = 1 } = options;
  return Array.from({ length: runs }).flatMap((_, run) => {
    // Steps like those of the golden ratio fill a plane evenly.
    const n = 10 ** (7.3 + 2.7 * ((run * 0.618034) % 1));
    const longest = 20 * n * Math.exp(1.5 * (2 * ((run * 0.7548777) % 1) - 1));
    const together = shared * normal(seed, "run", run);
    return Array.from({ length: pointsPerRun }, (_, k) => {
      const d = longest / 2 ** k;
      const loss = lossOf(law, n, d) * Math.exp(together + own * normal(seed, "point", run, k));
      return { n, d, loss, group: `run ${run}` };
    });
  });
}

/** Scattered sizes and budgets as in the figure that Besiroglu (2024) reconstructed, all different. */
export function strewnSweep(options: { points?: number; noise?: number; seed?: number; law?: Law } = {}): Point[] {
  const { points = 240, noise = 0, seed = 1, law = hoffmann } = options;
  return Array.from({ length: points }, (_, k) => {
    const n = 10 ** (7.5 + 2.5 * uniform(seed, "n", k));
    const d = 10 ** (18 + 3.5 * uniform(seed, "c", k)) / (6 * n);
    return { n, d, loss: lossOf(law, n, d) * Math.exp(noise === 0 ? 0 : noise * normal(seed, "loss", k)) };
  });
}
