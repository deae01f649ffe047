/** The learning rate of each step: warm-up and schedules, as functions of numbers. Notebook 01-train plots them. */
import type { Settings } from "../../settings/settings.js";

/**
 * Learning rate of step `step` = 0, 1, …: a linear warm-up `η (step + 1) / (warmupIters + 1)`, then the schedule, and
 * `minLr` after `lrDecayIters`. With progress p from 0 to 1 between the two:
 * cosine `minLr + (η − minLr) (1 + cos πp) / 2` (nanoGPT's), linear `η − (η − minLr) p`, constant `η`, and wsd
 * (Hu 2024): `η` until the last `decayFraction` of lrDecayIters, then linear.
 */
export function learningRate(
  step: number,
  settings: Pick<
    Settings,
    "learningRate" | "minLr" | "warmupIters" | "lrDecayIters" | "decayLr" | "schedule" | "decayFraction"
  >,
): number {
  const { learningRate: peak, minLr, warmupIters, lrDecayIters, decayLr, schedule, decayFraction } = settings;
  if (!decayLr) return peak;
  if (step < warmupIters) return (peak * (step + 1)) / (warmupIters + 1);
  if (schedule === "constant") return peak;
  if (step > lrDecayIters) return minLr;
  const start = schedule === "wsd" ? Math.max(warmupIters, lrDecayIters * (1 - decayFraction)) : warmupIters;
  const p = lrDecayIters > start ? Math.max(0, (step - start) / (lrDecayIters - start)) : 1;
  if (schedule === "cosine") return minLr + 0.5 * (1 + Math.cos(Math.PI * p)) * (peak - minLr);
  return peak - (peak - minLr) * p;
}
