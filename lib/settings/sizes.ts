/** The settings of `folio sizes`: those of the training run, and the hardware to plan for. */
import { aboveZero, atLeastZero, flag, row, type SettingRow, share, text } from "./rows.js";
import { type Settings, trainRows } from "./train.js";

/** A training run's settings and the hardware for it. */
export interface SizesSettings extends Settings {
  /** Name of a graphics card, such as "A100", whose data sheet's speed and memory are used. */
  hardware: string;
  /** Peak speed of one device, measured or from its data sheet; 0: the hardware's. */
  flops: number;
  /** Memory of one device; 0: the hardware's, or this machine's. */
  memory: number;
  /** What each of several devices sends to the next one while it receives as much. */
  bandwidth: number;
  /** Time until the first byte arrives there. */
  latency: number;
  /** Fraction of the peak speed that training reaches (MFU). */
  utilization: number;
  /** Tokens to train on; 0: those of maxIters steps. */
  tokens: number;
  /** Print the result as JSON. */
  json: boolean;
}

const plan = row("Hardware");

// biome-ignore format: a table reads best as a table
export const sizesRows: { readonly [K in keyof SizesSettings]: SettingRow & { readonly default: SizesSettings[K] } } = {
  hardware: plan(text, "", "", "Name of a graphics card, such as \"A100\", whose data sheet's speed and memory are used."),
  flops: plan(atLeastZero, 0, "FLOP/s", "Peak speed of one device, measured or from its data sheet; 0: the hardware's."),
  memory: plan(atLeastZero, 0, "GB", "Memory of one device; 0: the hardware's, or this machine's."),
  bandwidth: plan(aboveZero, 25, "GB/s", "What each of several devices sends to the next one while it receives as much; 25 is PCIe 4.0 or 200 Gbit/s."),
  latency: plan(atLeastZero, 10, "µs", "Time until the first byte arrives there."),
  utilization: plan(share, 0.3, "fraction", "Fraction of the peak speed that training reaches (MFU)."),
  tokens: plan(atLeastZero, 0, "tokens", "Tokens to train on; 0: those of maxIters steps."),
  json: plan(flag, false, "", "Print the result as JSON."),
  ...trainRows,
};
