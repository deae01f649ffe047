/** The settings of `folio sizes`: those of the training run, and the hardware to plan for. */
import { atLeastZero, count, flag, row, type SettingRow, share, text } from "./rows.js";
import { type Settings, trainRows } from "./train.js";

/** A training run's settings and the hardware for it. */
export interface SizesSettings extends Settings {
  /** Name of a graphics card, such as "A100", whose data sheet's speed and memory are used. */
  hardware: string;
  /** Peak speed of one device, measured or from its data sheet; 0: the hardware's. */
  flops: number;
  /** Memory of one device; 0: the hardware's, or this machine's. */
  memory: number;
  /** Devices that share the work. */
  devices: number;
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
  devices: plan(count(1, 1e6), 1, "devices", "Devices that share the work."),
  utilization: plan(share, 0.3, "fraction", "Fraction of the peak speed that training reaches (MFU)."),
  tokens: plan(atLeastZero, 0, "tokens", "Tokens to train on; 0: those of maxIters steps."),
  json: plan(flag, false, "", "Print the result as JSON."),
  ...trainRows,
};
