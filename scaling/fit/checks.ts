/** What points must be before anything is fitted to them, with errors that name the point. */
import type { Point } from "../points.js";
import { computeOf, type Data } from "./columns.js";
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
  const needed: (keyof typeof letters)[] =
    options.method === "power" || options.method === "broken" ? [options.over, "loss"] : ["n", "d", "c", "loss"];
  points.forEach((point, index) => {
    for (const name of needed) {
      const value = name === "c" ? computeOf(point) : point[name];
      if (value > 0 && Number.isFinite(value)) continue;
      throw new RangeError(`Cannot fit: ${letters[name]} of point ${index} is ${value}; it must be a number above 0.`);
    }
  });
  const least = parametersOf(options);
  if (kept <= least) {
    throw new RangeError(
      `Cannot fit: there are ${kept} points for ${least} parameters; more points than parameters are needed.`,
    );
  }
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
    if (Math.hypot(...fresh) < 1e-9 * Math.sqrt(x.length)) continue;
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
