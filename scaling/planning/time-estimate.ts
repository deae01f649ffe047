/**
 * Estimates the time of a sweep: step times are interpolated over FLOPs from measured ones (sweep/measure-speed.ts),
 * and runs start in descending order of time. The proof sweep-plan compares estimates with real times.
 */

import { flopsPerToken, tokensPerStep } from "../../lib/model/sizing.js";
import type { Settings } from "../../lib/settings/settings.js";

/** The measurements. */
export interface Speed {
  /** Seconds of a run besides steps and evaluation: starting, tracing, checkpoints, writing its row, ending. */
  readonly startSeconds: number;
  /** In ascending order of FLOPs per step. */
  readonly steps: readonly { readonly flops: number; readonly seconds: number }[];
}

export const stepFlops = (settings: Settings): number => flopsPerToken(settings) * tokensPerStep(settings);

/** Seconds per step: interpolated in logarithms; outside the measured range, the FLOP/s of the nearest measurement. */
function stepSeconds(settings: Settings, { steps }: Speed): number {
  const flops = stepFlops(settings);
  const above = steps.findIndex((step) => step.flops >= flops);
  if (above <= 0) {
    const nearest = above === 0 ? steps[0]! : steps.at(-1)!;
    return above === 0 ? nearest.seconds : (nearest.seconds * flops) / nearest.flops;
  }
  const [low, high] = [steps[above - 1]!, steps[above]!];
  const part = Math.log(flops / low.flops) / Math.log(high.flops / low.flops);
  return low.seconds * (high.seconds / low.seconds) ** part;
}

/** Seconds of a whole run: start, steps, and the final evaluation, whose forward pass takes a third of a step. */
export function runSeconds(
  settings: Settings,
  { validationTokens, speed }: { validationTokens: number; speed: Speed },
): number {
  const step = stepSeconds(settings, speed);
  const evaluation = (validationTokens / tokensPerStep(settings)) * (step / 3);
  return speed.startSeconds + settings.maxIters * step + evaluation;
}

/** Seconds until all runs are done, if each of `workers` processes always takes the longest remaining run. */
export function sweepSeconds(runs: readonly number[], workers: number): number {
  const free = Array.from({ length: workers }, () => 0);
  for (const seconds of [...runs].sort((a, b) => b - a)) {
    const next = free.indexOf(Math.min(...free));
    free[next] = free[next]! + seconds;
  }
  return Math.max(...free);
}
