/** Checks of the points before a fit, with errors that name the point. */
import { quantile } from "../../lib/host/statistics.js";
import type { Point } from "../points.js";
import { computeOf, type Data, extent, lnOver } from "./columns.js";
import type { MethodOptions } from "./methods/method.js";
import { scaleOf } from "./search/huber-objective.js";

const letters = { n: "N", d: "D", c: "C", loss: "the loss" } as const;

/** The number of parameters that a fit estimates: those of the method, less those that are fixed or tied to others. */
function parametersOf(options: MethodOptions): number {
  const { fix = {}, tie = [] } = options.constraints ?? {};
  const bound = Object.keys(fix).length + tie.reduce((sum, group) => sum + group.length - 1, 0);
  return ownParameters(options) - bound;
}

function ownParameters({ method, offset, breaks }: MethodOptions): number {
  switch (method) {
    case "muennighoff":
      return 7;
    case "parametric":
    case "projection":
      return 5;
    case "kaplan":
    case "gadre":
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

/** @throws {RangeError} naming the first point whose numbers cannot belong to a training */
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
  if (options.method === "repeated" || options.method === "muennighoff") checkRepeated(points);
  checkWeights(points, options);
  const least = parametersOf(options);
  if (kept <= least) {
    throw new RangeError(
      `Cannot fit: there ${kept === 1 ? "is 1 point" : `are ${kept} points`} for ${least} parameters; a fit needs more points than parameters.`,
    );
  }
}

/** The smallest numbers of parameters and tokens that a training can have. */
const leastSize = 100;
/**
 * C / (N·D) is 6 by most conventions; for sparse models, or tiny ones under other conventions, it may differ this much.
 */
const fewestFlops = 0.02;
const mostFlops = 1000;
/** ln 160,000, in nats: a higher loss is worse than guessing among all tokens of a large vocabulary. */
const guessing = 12;

/** @throws {RangeError} if the units cannot be parameters, tokens, FLOPs and nats per token */
function checkUnits(points: readonly Point[]): void {
  points.forEach((point, index) => {
    for (const name of ["n", "d"] as const) {
      if (point[name] >= leastSize) continue;
      throw new RangeError(
        `Cannot fit: ${letters[name]} of point ${index} is ${point[name]}, which is too small for a training; if the column is in millions, in billions or a logarithm, write the full numbers (12e6 or 12M).`,
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
    `Cannot fit: the median loss is ${middle.toPrecision(3)}, too high for nats per token; if these are perplexities, take their logarithms (--loss_unit=ppl); percentages cannot be fitted.`,
  );
}

/** @throws {RangeError} for weights and errors that are not numbers above 0, or that the method does not use */
function checkWeights(points: readonly Point[], { method }: MethodOptions): void {
  for (const name of ["weight", "error"] as const) {
    const given = points.filter((point) => point[name] !== undefined).length;
    if (given === 0) continue;
    const what = name === "weight" ? "weight" : "standard error";
    if (method === "envelope") {
      throw new RangeError(
        `Cannot fit the envelope with a ${what} for each point: it uses only the lowest losses; leave out --${name}s, or use another method.`,
      );
    }
    points.forEach((point, index) => {
      const value = point[name];
      if (value !== undefined && value > 0 && Number.isFinite(value)) return;
      throw new RangeError(
        `Cannot fit: the ${what} of point ${index} is ${value ?? "missing"}; it must be a number above 0.`,
      );
    });
  }
}

function checkSpread(points: readonly Point[]): void {
  const [low, high] = extent(points.map(({ loss }) => loss));
  if (points.length === 0 || high > low) return;
  throw new RangeError(`Cannot fit: the loss of every point is ${low}; a fit needs losses that differ.`);
}

function checkRepeated(points: readonly Point[]): void {
  if (points.some(({ unique }) => unique === undefined)) {
    throw new RangeError(
      "Cannot fit the law of repeated data: the points lack the number of unique tokens; name that column (--unique).",
    );
  }
  if (points.some(({ d, unique }) => d > 1.01 * unique!)) return;
  throw new RangeError(
    "Cannot fit the law of repeated data: no run has repeated its tokens; fit by parametric or projection.",
  );
}

/** The largest numbers of refits and threads. */
const mostRefits = 100_000;
const mostThreads = 1024;

/** @throws {RangeError} for an invalid number of refits or threads */
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

/** The largest number of breaks: each additional break multiplies the number of starts. */
const mostBreaks = 4;

function checkBreaks({ method, breaks }: MethodOptions): void {
  if (method !== "broken" || (Number.isInteger(breaks) && breaks >= 1 && breaks <= mostBreaks)) return;
  throw new RangeError(
    `Cannot fit the broken law: breaks is ${breaks}; it must be a whole number from 1 to ${mostBreaks}.`,
  );
}

/** The least standard deviation of ln D given ln N: below it, N^−α and D^−β cannot be distinguished. */
const leastScatter = 0.1;

/** @throws {RangeError} if the design of the points does not identify the law's parameters */
export function checkIdentifiable(data: Data, options: MethodOptions): void {
  if (options.method === "power" || options.method === "broken") {
    const { spread } = scaleOf(lnOver(data, options.over));
    const same = data.size > 0 && new Set(lnOver(data, options.over)).size < parametersOf(options);
    if (!same && spread > 1e-9) return;
    const letter = letters[options.over];
    const values = new Set(lnOver(data, options.over)).size;
    throw new RangeError(
      `Cannot fit: there ${values === 1 ? "is 1 value" : `are ${values} values`} of ${letter} for a law with ${parametersOf(options)} parameters; train at more values of ${letter}.`,
    );
  }
  if (options.method === "isoflop" || options.method === "envelope") return;
  // With a constant of one term given, the other term can be identified by itself.
  if (["A", "B", "alpha", "beta"].some((name) => options.constraints?.fix?.[name] !== undefined)) return;
  const scatter = Math.min(scatterGiven(data.lnN, data.lnD), scatterGiven(data.lnD, data.lnN));
  if (scatter >= leastScatter) return;
  for (const [letter, column] of [
    ["N", data.lnN],
    ["D", data.lnD],
  ] as const) {
    if (new Set(column).size > 1) continue;
    const message = `Cannot fit L(N, D): all points have the same ${letter}, so its effect on the loss is unknown; train at more values of ${letter}, or fit a law of the other quantity alone (--method power).`;
    throw new RangeError(message);
  }
  throw new RangeError(
    `Cannot fit L(N, D): there is only one D per N (given N, D varies by ${(100 * scatter).toPrecision(2)} %), so the terms of N and D cannot be distinguished; train some sizes on more and on fewer tokens.`,
  );
}

/** The standard deviation of y about its least-squares parabola in x. */
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

/** x minus its projection on y. */
function without(x: Float64Array, y: Float64Array): Float64Array {
  let [xy, yy] = [0, 0];
  for (let i = 0; i < x.length; i++) {
    xy += x[i]! * y[i]!;
    yy += y[i]! * y[i]!;
  }
  return x.map((value, i) => value - (xy / yy) * y[i]!);
}
