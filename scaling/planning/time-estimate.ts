/**
 * The time of a sweep, estimated: steps interpolated over their FLOPs from measured ones (measure.ts), and runs handed out
 * longest first. The proof sweep-plan compares the estimate with the truth.
 */

import { flopsPerToken, tokensPerStep } from "../../lib/model/sizing.js";
import type { Settings } from "../../lib/settings/settings.js";

/** What was measured. */
export interface Speed {
  /** Of a run, all but its steps and its evaluation: Node, TensorFlow, tracing, checkpoints, its row, the process' end. */
  readonly startSeconds: number;
  /** By FLOPs a step, ascending. */
  readonly steps: readonly { readonly flops: number; readonly seconds: number }[];
}

export const stepFlops = (settings: Settings): number => flopsPerToken(settings) * tokensPerStep(settings);

/** Seconds of a step: a line between measured ones in logarithms, and beyond them the FLOP/s of the nearest. */
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

/** Seconds of a whole run: its start, its steps, and the evaluation at the end, whose forward pass is a third of a step. */
export function runSeconds(
  settings: Settings,
  { validationTokens, speed }: { validationTokens: number; speed: Speed },
): number {
  const step = stepSeconds(settings, speed);
  const evaluation = (validationTokens / tokensPerStep(settings)) * (step / 3);
  return speed.startSeconds + settings.maxIters * step + evaluation;
}

/** Seconds until all are done when each of `workers` takes the longest that is left. */
export function sweepSeconds(runs: readonly number[], workers: number): number {
  const free = Array.from({ length: workers }, () => 0);
  for (const seconds of [...runs].sort((a, b) => b - a)) {
    const next = free.indexOf(Math.min(...free));
    free[next] = free[next]! + seconds;
  }
  return Math.max(...free);
}
