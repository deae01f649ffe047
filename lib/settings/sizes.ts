/** The settings of `folio sizes`: those of training, whose sizes they are, and the hardware to plan for. */
import { atLeastZero, count, flag, row, type SettingRow, share, text } from "./rows.js";
import { type Settings, trainRows } from "./train.js";

/** A training run's settings and the hardware that it is to run on. */
export interface SizesSettings extends Settings {
  /** A graphics card by its name, as "A100": its data sheet's speed and memory. */
  hardware: string;
  /** The most that one device can do, measured or promised; 0: the hardware's. */
  flops: number;
  /** Memory of one device; 0: the hardware's, or this machine's. */
  memory: number;
  /** Devices that share the work. */
  devices: number;
  /** Share of the peak that training reaches (MFU). */
  utilization: number;
  /** Tokens to train on; 0: those of maxIters steps. */
  tokens: number;
  /** Print everything as JSON, for programs. */
  json: boolean;
}

const plan = row("Hardware");

// biome-ignore format: a table reads best as a table
export const sizesRows: { readonly [K in keyof SizesSettings]: SettingRow & { readonly default: SizesSettings[K] } } = {
  hardware: plan(text, "", "", "A graphics card by its name, as \"A100\": its data sheet's speed and memory."),
  flops: plan(atLeastZero, 0, "FLOP/s", "The most that one device can do, measured or promised; 0: the hardware's."),
  memory: plan(atLeastZero, 0, "GB", "Memory of one device; 0: the hardware's, or this machine's."),
  devices: plan(count(1, 1e6), 1, "devices", "Devices that share the work."),
  utilization: plan(share, 0.3, "share", "Share of the peak that training reaches (MFU)."),
  tokens: plan(atLeastZero, 0, "tokens", "Tokens to train on; 0: those of maxIters steps."),
  json: plan(flag, false, "", "Print everything as JSON, for programs."),
  ...trainRows,
};
