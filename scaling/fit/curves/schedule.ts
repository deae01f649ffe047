/** A learning-rate schedule as the laws of loss curves see it: sums of rates, and where the rate falls. */

/** The rates of a training, and its steps of warm-up. */
export interface Rates {
  /** The learning rate of each update, from step 0. */
  readonly rates: ArrayLike<number>;
  /** The updates of the warm-up, whose rises are no annealing. */
  readonly warmup: number;
}

/** A fall of the rate between two updates (or of several, put together). */
export interface Fall {
  /** The update that was the first at the lower rate; the mean, if several are put together. */
  readonly step: number;
  /** How far the rate fell; negative for a rise. */
  readonly by: number;
  /** The lower rate. */
  readonly rate: number;
}

/** Sums before each step: sums[s] = Σ rates of the updates 0 … s − 1. */
export function sumsOf({ rates }: Rates): Float64Array {
  const sums = new Float64Array(rates.length + 1);
  for (let i = 0; i < rates.length; i++) sums[i + 1] = sums[i]! + rates[i]!;
  return sums;
}

/** The value at a step between two whole ones. */
export function between(values: Float64Array, step: number): number {
  const low = Math.min(values.length - 1, Math.max(0, Math.floor(step)));
  const high = Math.min(values.length - 1, low + 1);
  return values[low]! + (step - low) * (values[high]! - values[low]!);
}

/** The most falls that are kept apart; a smooth decay of many thousand steps is put together in blocks, an error below 1e-4. */
const mostFalls = 300;

/** The falls after the warm-up. */
export function fallsOf({ rates, warmup }: Rates): Fall[] {
  const all: Fall[] = [];
  for (let k = Math.max(1, warmup + 1); k < rates.length; k++) {
    const by = rates[k - 1]! - rates[k]!;
    if (by !== 0) all.push({ step: k, by, rate: rates[k]! });
  }
  const block = Math.ceil(all.length / mostFalls);
  if (block <= 1) return all;
  return Array.from({ length: Math.ceil(all.length / block) }, (_, b) =>
    together(all.slice(b * block, (b + 1) * block)),
  );
}

function together(falls: readonly Fall[]): Fall {
  const by = falls.reduce((sum, fall) => sum + fall.by, 0);
  const mean = (of: (fall: Fall) => number) => falls.reduce((sum, fall) => sum + of(fall), 0) / falls.length;
  return { step: mean(({ step }) => step), by, rate: mean(({ rate }) => rate) };
}
