/**
 * Approach 1 (Hoffmann 2022, section 3.1): the lowest loss of any run at each compute, and power laws through the sizes
 * that reach it. A run with several points is a curve; the final points of runs of the same size are joined to a curve
 * by straight lines in ln C and ln L. If hardly any size has two points, the envelope is the lower hull of the points.
 * Segments of the smallest and the largest size are left out, since a size beyond them might be better.
 */
import type { BudgetOptimum, FitWarning } from "../../points.js";
import { type Data, extent } from "../columns.js";
import type { Estimate, Fitter } from "./method.js";
import { throughOptima } from "./profiles.js";

const steps = 200;
const fewest = 3;
/** A curve also counts this far in ln C beyond its ends, since runs of one budget differ in compute by whole steps. */
const reach = 0.01;

/** The points of a curve by ascending compute; a single run is a curve of one point. */
type Curve = readonly number[];

/** An optimum of the envelope, and the length in ln C of its segment. */
interface Stretch {
  readonly optimum: BudgetOptimum;
  readonly weight: number;
}

function curvesOf(data: Data, weights?: Float64Array): Curve[] {
  const curves = new Map<number, number[]>();
  for (let i = 0; i < data.size; i++) {
    if (weights?.[i] === 0) continue;
    const key = data.grouped ? data.cluster[i]! : data.lnN[i]!;
    const curve = curves.get(key);
    if (curve) curve.push(i);
    else curves.set(key, [i]);
  }
  for (const curve of curves.values())
    curve.sort((i, j) => data.lnC[i]! - data.lnC[j]! || data.lnLoss[i]! - data.lnLoss[j]!);
  return [...curves.values()];
}

function stretchesOf(data: Data, weights?: Float64Array): Stretch[] {
  const curves = curvesOf(data, weights);
  const long = curves.filter((curve) => data.lnC[curve.at(-1)!]! > data.lnC[curve[0]!]!);
  const found = long.length >= fewest ? alongCurves(data, curves) : lowerHull(data, curves.flat());
  const [smallest, largest] = extent(
    (weights ? curves.flat() : [...data.lnN.keys()]).map((i) => Math.exp(data.lnN[i]!)),
  );
  return found.filter(({ optimum: { n } }) => n > smallest * (1 + 1e-9) && n < largest * (1 - 1e-9));
}

/** The segments of the envelope: consecutive values of C with the same lowest curve. */
function alongCurves(data: Data, curves: readonly Curve[]): Stretch[] {
  const places = computesOf(data, curves);
  const held: { curve: Curve; first: number; last: number }[] = [];
  places.forEach((lnC, place) => {
    const best = lowestAt(data, curves, lnC);
    if (!best) return;
    const last = held.at(-1);
    if (last?.curve === best) last.last = place;
    else held.push({ curve: best, first: place, last: place });
  });
  const border = (place: number, other: number) => (places[place]! + (places[other] ?? places[place]!)) / 2;
  return held.map(({ curve, first, last }) => {
    const lnC = (places[first]! + places[last]!) / 2;
    return { optimum: optimumOn(data, curve, lnC), weight: border(last, last + 1) - border(first, first - 1) };
  });
}

/** Values of ln C where curves are compared: an even grid, and all points, so that no point is below the envelope. */
function computesOf(data: Data, curves: readonly Curve[]): number[] {
  const own = curves.flat().map((i) => data.lnC[i]!);
  const [low, high] = extent(own);
  const even = Array.from({ length: steps + 1 }, (_, step) => low + ((high - low) * step) / steps);
  return [...new Set([...even, ...own])].sort((x, y) => x - y);
}

function lowestAt(data: Data, curves: readonly Curve[], lnC: number): Curve | undefined {
  let best: { curve: Curve; lnLoss: number } | undefined;
  for (const curve of curves) {
    const lnLoss = between(data, curve, lnC, data.lnLoss);
    if (lnLoss !== undefined && (!best || lnLoss < best.lnLoss)) best = { curve, lnLoss };
  }
  return best?.curve;
}

function optimumOn(data: Data, curve: Curve, lnC: number): BudgetOptimum {
  const at = (column: Float64Array) => Math.exp(between(data, curve, lnC, column)!);
  return { c: Math.exp(lnC), n: at(data.lnN), d: at(data.lnD), loss: at(data.lnLoss) };
}

/** A column along a curve, interpolated linearly in ln C. */
function between(data: Data, curve: Curve, lnC: number, column: Float64Array): number | undefined {
  if (lnC < data.lnC[curve[0]!]! - reach || lnC > data.lnC[curve.at(-1)!]! + reach) return undefined;
  if (curve.length === 1) return column[curve[0]!]!;
  const after = Math.max(
    1,
    curve.findIndex((i) => data.lnC[i]! >= lnC),
  );
  const [i, j] = [curve[after - 1]!, curve[after]!];
  const width = data.lnC[j]! - data.lnC[i]!;
  const share = width > 0 ? Math.min(1, Math.max(0, (lnC - data.lnC[i]!) / width)) : 0;
  return column[i]! + share * (column[j]! - column[i]!);
}

/** The points of the lower convex hull of (ln C, ln L), as far as the loss falls. */
function lowerHull(data: Data, points: readonly number[]): Stretch[] {
  const order = [...points].sort((i, j) => data.lnC[i]! - data.lnC[j]! || data.lnLoss[i]! - data.lnLoss[j]!);
  const hull: number[] = [];
  for (const i of order) {
    if (hull.length > 0 && data.lnC[i] === data.lnC[hull.at(-1)!]) continue;
    while (hull.length >= 2 && turn(data, hull.at(-2)!, hull.at(-1)!, i) <= 0) hull.pop();
    hull.push(i);
  }
  const falling = hull.filter((i, k) => k === 0 || data.lnLoss[i]! < data.lnLoss[hull[k - 1]!]!);
  return falling.map((i) => ({
    optimum: {
      c: Math.exp(data.lnC[i]!),
      n: Math.exp(data.lnN[i]!),
      d: Math.exp(data.lnD[i]!),
      loss: data.loss[i]!,
    },
    weight: 1,
  }));
}

function turn(data: Data, i: number, j: number, k: number): number {
  const [x, y] = [data.lnC, data.lnLoss];
  return (x[j]! - x[i]!) * (y[k]! - y[i]!) - (y[j]! - y[i]!) * (x[k]! - x[i]!);
}

/** The warning if most optima are at the edge of the sizes that were trained at their compute: one beyond might be better. */
function warnOfEdges(data: Data, optima: readonly BudgetOptimum[]): FitWarning[] {
  const curves = curvesOf(data);
  const trained = ({ c }: BudgetOptimum, isBeyond: (lnN: number) => boolean) =>
    curves.some((curve) => {
      const lnN = between(data, curve, Math.log(c), data.lnN);
      return lnN !== undefined && isBeyond(lnN);
    });
  const alone = (sign: 1 | -1) =>
    optima.filter((optimum) => !trained(optimum, (lnN) => sign * (lnN - Math.log(optimum.n)) > 1e-9)).length;
  const [larger, smaller] = [alone(1), alone(-1)];
  if (2 * Math.max(larger, smaller) <= optima.length) return [];
  const [count, size, wrong, remedy] =
    larger >= smaller
      ? ([larger, "larger", "small", "larger sizes on fewer tokens"] as const)
      : ([smaller, "smaller", "large", "smaller sizes on more tokens"] as const);
  const message = `At ${count} of ${optima.length} optima no ${size} size was trained with this compute, so N* may be too ${wrong}, and its exponent wrong. Train ${remedy}, give the points of whole loss curves (--group), or fit by projection.`;
  return [{ kind: "edge-of-sizes", message }];
}

export function envelopeFitter(data: Data): Fitter {
  function through(weights?: Float64Array): Estimate | undefined {
    const stretches = stretchesOf(data, weights);
    if (new Set(stretches.map(({ optimum }) => optimum.n)).size < fewest) return undefined;
    const optima = stretches.map(({ optimum }) => optimum);
    const { n, d } = throughOptima(
      optima,
      stretches.map(({ weight }) => weight),
    );
    if (!Number.isFinite(n.slope)) return undefined;
    return {
      params: { nScale: Math.exp(n.intercept), dScale: Math.exp(d.intercept) },
      exponents: { a: n.slope, b: d.slope },
      objective: n.sum,
      converged: true,
      optima,
      warnings: [],
    };
  }
  return {
    estimate() {
      const estimate = through();
      if (estimate) return { ...estimate, warnings: warnOfEdges(data, estimate.optima!) };
      throw new RangeError(
        `Cannot fit the envelope: fewer than ${fewest} sizes between the smallest and the largest are best at some compute; train more sizes, closer to each other, or longer runs.`,
      );
    },
    refit: (weights) => through(weights),
  };
}
