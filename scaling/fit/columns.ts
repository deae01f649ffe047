/**
 * Points as columns of numbers, for the inner loops and for worker threads. checks.ts checks them.
 */
import type { Point } from "../points.js";

/** Columns of the fitted points, as natural logarithms. */
export interface Data {
  readonly size: number;
  readonly lnN: Float64Array;
  readonly lnD: Float64Array;
  readonly lnC: Float64Array;
  readonly loss: Float64Array;
  readonly lnLoss: Float64Array;
  /** ln of the number of unique tokens. */
  readonly lnUnique: Float64Array;
  /** The cluster of each point, 0 … clusters − 1. The bootstrap draws the points of a cluster together. */
  readonly cluster: Int32Array;
  readonly clusters: number;
  /** The run whose curve each point belongs to, 0 …; −1 for a single point. */
  readonly grouped: boolean;
}

export function toData(points: readonly Point[]): Data {
  const column = (of: (point: Point) => number) => Float64Array.from(points, of);
  const grouped = points.some(({ group }) => group !== undefined);
  const numbers = new Map<string, number>();
  const cluster = Int32Array.from(points, ({ group }, index) => {
    const name = group === undefined ? `\0${index}` : group;
    if (!numbers.has(name)) numbers.set(name, numbers.size);
    return numbers.get(name)!;
  });
  return {
    size: points.length,
    lnN: column(({ n }) => Math.log(n)),
    lnD: column(({ d }) => Math.log(d)),
    lnC: column((point) => Math.log(computeOf(point))),
    loss: column(({ loss }) => loss),
    lnLoss: column(({ loss }) => Math.log(loss)),
    lnUnique: column(({ d, unique }) => Math.log(Math.min(unique ?? d, d))),
    cluster,
    clusters: numbers.size,
    grouped,
  };
}

/** C of a point: as given, else 6ND. */
export function computeOf({ n, d, c }: Point): number {
  return c ?? 6 * n * d;
}

/** The smallest and the largest. Math.min(...values) would fail for very many values. */
export function extent(values: Iterable<number>): [low: number, high: number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}
