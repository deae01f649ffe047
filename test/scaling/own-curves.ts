/** The curves of Folio's own runs under four schedules, from scaling/results/novels-schedules.csv. */
import { readFileSync } from "node:fs";
import { fromCSV } from "arquero";
import { defaultSettings } from "../../lib/settings/settings.js";
import { type Curve, ratesOf } from "../../scaling/curves.js";

interface Row {
  readonly run: string;
  readonly schedule: "constant" | "cosine" | "wsd" | "linear";
  readonly steps: number;
  readonly warmup_steps: number;
  readonly learning_rate: number;
  readonly min_lr: number;
  readonly decay_fraction: number;
  readonly step: number;
  readonly loss: number;
}

export function ownCurves(): Curve[] {
  const file = new URL("../../scaling/results/novels-schedules.csv", import.meta.url);
  const rows = fromCSV(readFileSync(file, "utf8")).objects() as Row[];
  return [...new Set(rows.map(({ run }) => run))].map((name) => {
    const own = rows.filter(({ run }) => run === name);
    const { schedule, steps, warmup_steps, learning_rate, min_lr, decay_fraction } = own[0]!;
    const rates = ratesOf({
      ...{ ...defaultSettings, schedule, maxIters: steps, lrDecayIters: steps, warmupIters: warmup_steps },
      ...{ learningRate: learning_rate, minLr: min_lr, decayFraction: decay_fraction },
    });
    return { ...rates, name, points: own.map(({ step, loss }) => ({ step, loss })) };
  });
}
