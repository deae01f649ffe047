/** What points must be before anything is fitted to them, with errors that name the point. */
import { quantile } from "../../lib/host/statistics.js";
import type { Point } from "../points.js";
import { computeOf, type Data, extent } from "./columns.js";
import type { MethodOptions } from "./methods/method.js";
import { lnOver } from "./methods/power.js";
import { scaleOf } from "./search/huber-objective.js";

const letters = { n: "N", d: "D", c: "C", loss: "the loss" } as const;

/** How many parameters each method estimates from the points, at least. */
function parametersOf({ method, offset, breaks }: MethodOptions): number {
  switch (method) {
    case "parametric":
    case "projection":
      return 5;
    case "kaplan":
      return 4;
    case "repeated":
      return 6;
    case "power":
      return offset ? 3 : 2;
    case "broken":
      return 3 + 3 * breaks;
    default:
      return 3;
  }
}

/** @throws {RangeError} naming the first point whose numbers cannot be a training's */
export function checkPoints(points: readonly Point[], options: MethodOptions, kept = points.length): void {
  checkBreaks(options);
  const needed: (keyof typeof letters)[] =
    options.method === "power" || options.method === "broken" ? [options.over, "loss"] : ["n", "d", "c", "loss"];
  points.forEach((point, index) => {
    for (const name of needed) {
      const value = name === "c" ? computeOf(point) : point[name];
      if (value > 0 && Number.isFinite(value)) continue;
      throw new RangeError(`Cannot fit: ${letters[name]} of point ${index} is ${value}; it must be a number above 0.`);
    }
  });
  if (needed.includes("n") && needed.includes("d")) {
    checkUnits(points);
    checkSpread(points);
  }
  if (options.method === "repeated") checkRepeated(points);
  const least = parametersOf(options);
  if (kept <= least) {
    throw new RangeError(
      `Cannot fit: there are ${kept} points for ${least} parameters; more points than parameters are needed.`,
    );
  }
}

/** No training has fewer parameters or tokens. */
const leastSize = 100;
/** C / (N·D) is 6 by most conventions; of sparse models or of tiny ones by another count it may be this far from it. */
const fewestFlops = 0.02;
const mostFlops = 1000;
/** ln of 160,000: above it, in nats, the usual run would be worse than guessing among all tokens of a large vocabulary. */
const guessing = 12;

/** @throws {RangeError} where numbers are of another unit than parameters, tokens, FLOPs and nats per token */
function checkUnits(points: readonly Point[]): void {
  points.forEach((point, index) => {
    for (const name of ["n", "d"] as const) {
      if (point[name] >= leastSize) continue;
      throw new RangeError(
        `Cannot fit: ${letters[name]} of point ${index} is ${point[name]}, which no training has; if the column is in millions, in billions or a logarithm, write the numbers out (12e6 or 12M).`,
      );
    }
    const each = computeOf(point) / (point.n * point.d);
    if (each >= fewestFlops && each <= mostFlops) return;
    throw new RangeError(
      `Cannot fit: point ${index} has ${each.toPrecision(2)} FLOPs per parameter and token, where about 6 are usual; C must be in FLOPs (1 PFLOP is 1e15, a PF-day 8.64e19), N in parameters, D in tokens.`,
    );
  });
  const middle = quantile(
    points.map(({ loss }) => loss),
    0.5,
  );
  if (middle <= guessing) return;
  throw new RangeError(
    `Cannot fit: the loss is ${middle.toPrecision(3)} in the median, where nats per token are wanted; of perplexities take the logarithm, percentages are none.`,
  );
}

function checkSpread(points: readonly Point[]): void {
  const [low, high] = extent(points.map(({ loss }) => loss));
  if (points.length === 0 || high > low) return;
  throw new RangeError(`Cannot fit: the loss of every point is ${low}; losses that do not differ tell no law.`);
}

function checkRepeated(points: readonly Point[]): void {
  if (points.some(({ unique }) => unique === undefined)) {
    throw new RangeError(
      "Cannot fit the law of repeated data: the points do not say how many of their tokens differ; name that column (--unique).",
    );
  }
  if (points.some(({ d, unique }) => d > 1.01 * unique!)) return;
  throw new RangeError(
    "Cannot fit the law of repeated data: no point has seen its tokens more than once; fit by parametric or projection.",
  );
}

/** Refits and threads that a machine can hold. */
const mostRefits = 100_000;
const mostThreads = 1024;

/** @throws {RangeError} for a number of refits or threads that is none, or more than a machine holds */
export function checkResampling({
  bootstrap,
  threads,
}: {
  readonly bootstrap: number;
  readonly threads: number;
}): void {
  const check = (name: string, value: number, least: number, most: number) => {
    if (Number.isInteger(value) && value >= least && value <= most) return;
    throw new RangeError(`Cannot fit: ${name} is ${value}; it must be a whole number from ${least} to ${most}.`);
  };
  check("bootstrap", bootstrap, 0, mostRefits);
  check("threads", threads, 1, mostThreads);
}

/** Breaks that a search can place: each more multiplies its starts. */
const mostBreaks = 4;

function checkBreaks({ method, breaks }: MethodOptions): void {
  if (method !== "broken" || (Number.isInteger(breaks) && breaks >= 1 && breaks <= mostBreaks)) return;
  throw new RangeError(
    `Cannot fit the broken law: breaks is ${breaks}; it must be a whole number from 1 to ${mostBreaks}.`,
  );
}

/** Of ln D given ln N: with less to go by, N^−α and D^−β cannot be told apart. */
const leastScatter = 0.1;

/** @throws {RangeError} where the points lie so that the law's parameters cannot be told apart */
export function checkIdentifiable(data: Data, options: MethodOptions): void {
  if (options.method === "power" || options.method === "broken") {
    const { spread } = scaleOf(lnOver(data, options.over));
    const same = data.size > 0 && new Set(lnOver(data, options.over)).size < parametersOf(options);
    if (!same && spread > 1e-9) return;
    const letter = letters[options.over];
    throw new RangeError(
      `Cannot fit: there are ${new Set(lnOver(data, options.over)).size} values of ${letter}, and the law has ${parametersOf(options)} parameters; train at more values of ${letter}.`,
    );
  }
  if (options.method === "isoflop" || options.method === "envelope") return;
  const scatter = Math.min(scatterGiven(data.lnN, data.lnD), scatterGiven(data.lnD, data.lnN));
  if (scatter >= leastScatter) return;
  for (const [letter, column] of [
    ["N", data.lnN],
    ["D", data.lnD],
  ] as const) {
    if (new Set(column).size > 1) continue;
    const message = `Cannot fit L(N, D): all points have one ${letter}, so that nothing tells how the loss goes with it; train at more values of ${letter}, or fit a law of the other alone (--method power).`;
    throw new RangeError(message);
  }
  throw new RangeError(
    `Cannot fit L(N, D): there is one D per N (given N, D varies by ${(100 * scatter).toPrecision(2)} %), so that the terms of N and of D cannot be told apart; train some sizes on more and on fewer tokens.`,
  );
}

/** The standard deviation of y about its best parabola in x. */
function scatterGiven(x: Float64Array, y: Float64Array): number {
  const { mean, spread } = scaleOf(x);
  const basis = [y.map(() => 1), x.map((value) => (value - mean) / spread)];
  basis.push(basis[1]!.map((value) => value * value));
  let left: Float64Array = y.slice();
  const orthogonal: Float64Array[] = [];
  for (const column of basis) {
    let fresh: Float64Array = column;
    for (const other of orthogonal) fresh = without(fresh, other);
    if (Math.sqrt(fresh.reduce((sum, value) => sum + value * value, 0)) < 1e-9 * Math.sqrt(x.length)) continue;
    orthogonal.push(fresh);
    left = without(left, fresh);
  }
  return Math.sqrt(left.reduce((sum, value) => sum + value * value, 0) / y.length);
}

/** x less its part along y. */
function without(x: Float64Array, y: Float64Array): Float64Array {
  let [xy, yy] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    xy += x[i]! * y[i]!;
    yy += y[i]! * y[i]!;
  }
  return x.map((value, i) => value - (xy / yy) * y[i]!);
}
