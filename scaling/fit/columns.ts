/**
 * Points as columns of numbers, which is what the inner loops read and what a worker thread is sent. What this file is
 * not: it judges nothing (checks.ts does).
 */
import type { Point } from "../points.js";

/** Columns of the points that are fitted; natural logarithms. */
export interface Data {
  readonly size: number;
  readonly lnN: Float64Array;
  readonly lnD: Float64Array;
  readonly lnC: Float64Array;
  readonly loss: Float64Array;
  readonly lnLoss: Float64Array;
  /** ln of the tokens that differ. */
  readonly lnUnique: Float64Array;
  /** Which cluster each point is in, 0 … clusters − 1: points that are drawn together. */
  readonly cluster: Int32Array;
  readonly clusters: number;
  /** Points of one run, 0 …, −1 for a point by itself: cluster, except that single points have no curve. */
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

/** C of a point: as counted, or 6ND. */
export function computeOf({ n, d, c }: Point): number {
  return c ?? 6 * n * d;
}

/** The smallest and the largest. A call of Math.min with every value as an argument ends where there are many. */
export function extent(values: Iterable<number>): [low: number, high: number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}
