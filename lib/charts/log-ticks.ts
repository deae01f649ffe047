/**
 * The ticks of a logarithmic axis: a small number of round values, and their texts, such as 10¹⁸ or 200 M. Used by
 * charts and by the tables of scaling laws.
 */

/** The smallest and the largest value that an axis can show; 1 and 10 where there is none. */
export function extentOf(values: readonly (number | null)[], log: boolean): [low: number, high: number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    if (value === null || !Number.isFinite(value) || (log && value <= 0)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low <= high ? [low, high] : [1, 10];
}

/**
 * About `most` numbers, or fewer, from `low` to `high`: powers of ten; only every second or third if there are many;
 * with 2 and 5, or 3, between them if there are few; over a smaller range, equal steps.
 */
export function logTicks(low: number, high: number, most: number): number[] {
  const decades = Math.log10(high / low);
  if (decades < 0.6) return linearTicks(low, high, most);
  const steps = decades * 3 <= most + 1 ? [1, 2, 5] : decades * 2 <= most + 1 ? [1, 3] : [1];
  const every = Math.max(1, Math.ceil(decades / most));
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    if (steps.length === 1 && power % every !== 0) continue;
    for (const step of steps) ticks.push(Number(`${step}e${power}`));
  }
  const within = ticks.filter((tick) => tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9));
  return within.length >= 2 ? within : linearTicks(low, high, most);
}

function linearTicks(low: number, high: number, most: number): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? rough;
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(6)));
}

/** 0.01, 500, 10⁶, 2·10¹⁷: as a power of ten if the number is too long for a tick. */
export function powerTick(value: number): string {
  if (value < 1e5 && value > 1e-4) return String(Number(value.toPrecision(3)));
  const power = Math.floor(Math.log10(value) + 1e-9);
  const factor = Number((value / 10 ** power).toPrecision(3));
  const raised = String(power).replace(/./g, (digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]!));
  return `${factor === 1 ? "" : `${factor}·`}10${raised}`;
}

/** 950, 12.5 k, 200 M, 1.4 B, 3 T. */
export function letterTick(value: number): string {
  const [size, letter] = (
    [
      [1e12, " T"],
      [1e9, " B"],
      [1e6, " M"],
      [1e3, " k"],
    ] as const
  ).find(([unit]) => value >= unit * 0.9995) ?? [1, ""];
  return `${Number((value / size).toPrecision(3))}${letter}`;
}
