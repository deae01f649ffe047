/**
 * IsoFLOP profiles: the points of one budget, a curve of their losses in ln N, and its lowest point. The curve is a
 * parabola (Hoffmann 2022, section 3.2), optionally through the sizes near the lowest loss only, or Akima's interpolation
 * of ln L (Porian 2024).
 */
import type { BudgetOptimum } from "../../points.js";
import { type Data, extent } from "../columns.js";
import { akimaMinimum } from "../search/akima.js";
import { fitLine, fitParabola, type Line } from "../search/line-fit.js";

/** How a budget's lowest point is found. */
export interface ProfileOptions {
  readonly curve: "parabola" | "akima";
  /** Only sizes between N / window and N·window are used, where N has the lowest loss; without it, all. */
  readonly window?: number;
  /** The standard deviation of the loss of runs that differ only by their seed, in nats. */
  readonly seedNoise?: number;
}

/** Points with about the same compute. */
export interface Budget {
  readonly c: number;
  readonly indices: readonly number[];
}

/** The points by budget, ascending. */
export function budgetsOf(data: Data, tolerance: number): Budget[] {
  const order = Array.from(data.lnC.keys()).sort((i, j) => data.lnC[i]! - data.lnC[j]!);
  const groups: number[][] = [];
  for (const index of order) {
    const group = groups.at(-1);
    if (group && data.lnC[index]! - data.lnC[group[0]!]! <= Math.log1p(tolerance)) group.push(index);
    else groups.push([index]);
  }
  return groups.map((indices) => ({ c: Math.exp(mean(indices.map((i) => data.lnC[i]!))), indices }));
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The optimum of a budget, or the reason why it has none. */
export type Vertex = BudgetOptimum | { readonly kind: string; readonly why: string };

/** The columns that a profile reads. */
export type ProfileData = Pick<Data, "lnN" | "lnD" | "loss" | "weight">;

/** @param drawn how often each point was drawn; if given, a lowest point may be at the edge of the sizes */
export function vertexOf(data: ProfileData, budget: Budget, options: ProfileOptions, drawn?: Float64Array): Vertex {
  const all = drawn ? budget.indices.filter((i) => drawn[i]! > 0) : budget.indices;
  const used = nearLowest(data, all, options.window);
  const sizes = new Set(used.map((i) => data.lnN[i]!)).size;
  if (sizes < 3) {
    const near = used.length < all.length ? ` within the window` : "";
    const what = options.curve === "akima" ? "an interpolation" : "a parabola";
    return {
      kind: "few-sizes",
      why: `it has ${sizes} model size${sizes === 1 ? "" : "s"}${near}, and ${what} needs 3`,
    };
  }
  const weights = used.map((i) => data.weight[i]! * (drawn ? drawn[i]! : 1));
  const found = options.curve === "akima" ? lowestOfAkima(data, used, weights) : lowestOfParabola(data, used, weights);
  if ("kind" in found) return found;
  const [low, high] = extent(all.map((i) => data.lnN[i]!));
  const lowest = lowestOf(data, all);
  const outside = found.lnN <= low || found.lnN >= high;
  // In a resampled budget, the points at one end may be missing.
  const atEdge = !drawn && (lowest === low || lowest === high);
  if (outside || atEdge) {
    const x = outside ? found.lnN : lowest;
    const size = Math.exp(x).toPrecision(3);
    const where = outside ? "lies outside" : "is at the edge of";
    return {
      kind: "edge-minimum",
      why: `its minimum, N = ${size}, ${where} the sizes tried: add ${x > (low + high) / 2 ? "larger" : "smaller"} ones`,
    };
  }
  // N·D is the same along a budget; nearly the same, if C counts attention or N leaves out embeddings.
  const product = mean(used.map((i) => data.lnN[i]! + data.lnD[i]!));
  return { c: budget.c, n: Math.exp(found.lnN), d: Math.exp(product - found.lnN), loss: found.loss };
}

function lowestOf({ lnN, loss }: ProfileData, indices: readonly number[]): number {
  return lnN[indices.reduce((best, i) => (loss[i]! < loss[best]! ? i : best))]!;
}

/** The points whose N is within the window about the one of lowest loss. */
export function nearLowest(
  data: ProfileData,
  indices: readonly number[],
  window: number | undefined,
): readonly number[] {
  if (window === undefined || indices.length === 0) return indices;
  const lowest = lowestOf(data, indices);
  const reach = Math.log(window) * (1 + 1e-9);
  return indices.filter((i) => Math.abs(data.lnN[i]! - lowest) <= reach);
}

type LowestPoint = { readonly lnN: number; readonly loss: number } | { readonly kind: string; readonly why: string };

function lowestOfParabola(data: ProfileData, used: readonly number[], weights: readonly number[]): LowestPoint {
  const { vertex, height, bend } = fitParabola(
    used.map((i) => data.lnN[i]!),
    used.map((i) => data.loss[i]!),
    weights,
  );
  if (bend > 0) return { lnN: vertex, loss: height };
  return { kind: "concave-profile", why: "its losses do not curve upwards, so they have no minimum" };
}

/** Runs of the same size are averaged, since an interpolation has one loss at each size. */
function lowestOfAkima(data: ProfileData, used: readonly number[], weights: readonly number[]): LowestPoint {
  const bySize = new Map<number, { sum: number; weight: number }>();
  used.forEach((i, k) => {
    const at = bySize.get(data.lnN[i]!) ?? { sum: 0, weight: 0 };
    bySize.set(data.lnN[i]!, { sum: at.sum + weights[k]! * data.loss[i]!, weight: at.weight + weights[k]! });
  });
  const x = [...bySize.keys()].sort((one, other) => one - other);
  const y = x.map((lnN) => Math.log(bySize.get(lnN)!.sum / bySize.get(lnN)!.weight));
  const found = akimaMinimum(x, y);
  if (found) return { lnN: found.x, loss: Math.exp(found.y) };
  const end = y[0]! < y.at(-1)! ? x[0]! : x.at(-1)!;
  return { lnN: end, loss: Math.exp(Math.min(y[0]!, y.at(-1)!)) };
}

/** Power laws N*(C) and D*(C) through optima. */
export function throughOptima(optima: readonly BudgetOptimum[], weights?: readonly number[]): { n: Line; d: Line } {
  const column = (of: "c" | "n" | "d") => optima.map((optimum) => Math.log(optimum[of]));
  return { n: fitLine(column("c"), column("n"), weights), d: fitLine(column("c"), column("d"), weights) };
}
