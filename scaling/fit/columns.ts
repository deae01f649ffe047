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
  /** The weight of each point in the fit; 1 on average. */
  readonly weight: Float64Array;
  /** The standard error of each loss, if all are known. */
  readonly error?: Float64Array;
  /** The cluster of each point, 0 … clusters − 1. The bootstrap draws the points of a cluster together. */
  readonly cluster: Int32Array;
  readonly clusters: number;
  /** The run whose curve each point belongs to, 0 …; −1 for a single point. */
  readonly grouped: boolean;
}

/** @param scale of the residuals: it decides what a standard error of the loss is worth */
export function toData(points: readonly Point[], scale: "log" | "linear" = "log"): Data {
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
    weight: weightsOf(points, scale),
    ...(points.length > 0 && points.every(({ error }) => error !== undefined) && { error: column((p) => p.error!) }),
    cluster,
    clusters: numbers.size,
    grouped,
  };
}

/** Weights as given, or 1 / error² in the scale of the residuals; divided by their mean. */
function weightsOf(points: readonly Point[], scale: "log" | "linear"): Float64Array {
  const given = Float64Array.from(points, ({ weight = 1, error, loss }) =>
    error === undefined ? weight : weight * ((scale === "log" ? loss : 1) / error) ** 2,
  );
  const mean = given.reduce((sum, weight) => sum + weight, 0) / given.length;
  return given.every((weight) => weight === given[0]) ? given.fill(1) : given.map((weight) => weight / mean);
}

/** The weights of a refit times those of the points; undefined if both are 1 everywhere. */
export function weighted({ weight }: Pick<Data, "weight">, drawn?: Float64Array): Float64Array | undefined {
  if (drawn) return drawn.map((value, i) => value * weight[i]!);
  return weight.every((value) => value === 1) ? undefined : weight;
}

/** The quantity that a law of one variable depends on. */
export type Over = "n" | "d" | "c";

/** ln of that quantity. */
export function lnOver(data: Data, over: Over): Float64Array {
  return over === "n" ? data.lnN : over === "d" ? data.lnD : data.lnC;
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
