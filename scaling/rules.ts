/**
 * Published rules for batch size and learning rate: from N and D, from the loss, or from a run with good values. A plan
 * accepts the power laws directly (`learningRate: stepLaw.learningRate`). A rule can also come from tuning runs
 * (planning/learning-rates.ts). Notebook 08-scaling-laws shows them.
 */
import type { PowerRule } from "./plan.js";

/**
 * Step Law (Li 2025, eq. 1): peak learning rate 1.79·N^−.713·D^.307, batch .58·D^.571 tokens. N is without embeddings;
 * for AdamW with a cosine schedule to a small last rate.
 */
export const stepLaw = {
  learningRate: { factor: 1.79, parameters: -0.713, tokens: 0.307 },
  batchTokens: { factor: 0.58, tokens: 0.571 },
} as const satisfies Readonly<Record<string, PowerRule>>;

/** Exponent of D in nanochat's rule for the batch size (Bergsma 2025, "Power Lines"). */
const nanochatExponent = 0.383;

/** A run with a good batch size and learning rate. */
export interface GoodRun {
  readonly tokens: number;
  readonly batchTokens: number;
  readonly learningRate: number;
}

/**
 * nanochat's rule: batch size B = B0·(D / D0)^.383, learning rate η = η0·√(B / B0), from one good run (B0, η0, D0).
 * @param tokens D
 */
export function nanochatRule(good: GoodRun, tokens: number): GoodRun {
  const growth = (tokens / good.tokens) ** nanochatExponent;
  return { tokens, batchTokens: good.batchTokens * growth, learningRate: good.learningRate * Math.sqrt(growth) };
}

/** Bcrit(L) = 2.0e8·L^(−1/.21) tokens: larger batches waste compute, smaller ones waste time (Kaplan 2020, eq. 5.3). */
export function criticalBatchTokens(loss: number): number {
  return 2.0e8 * loss ** (-1 / 0.21);
}

/**
 * The least compute and the fewest steps for the loss of a run with batch size B: Cmin = C / (1 + B / Bcrit) and
 * Smin = S / (1 + Bcrit / B) (Kaplan 2020, eq. 5.4, 5.5).
 */
export function leastOfBoth(run: {
  readonly flops: number;
  readonly steps: number;
  readonly batchTokens: number;
  readonly loss: number;
}): { flops: number; steps: number } {
  const ratio = run.batchTokens / criticalBatchTokens(run.loss);
  return { flops: run.flops / (1 + ratio), steps: run.steps / (1 + 1 / ratio) };
}
