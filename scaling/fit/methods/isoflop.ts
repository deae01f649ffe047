/**
 * Approach 2 (Hoffmann 2022, section 3.2): at each budget, a parabola of the loss in ln N, whose vertex is the optimum;
 * then N* = nScale·C^a and D* = dScale·C^b through the vertices. A budget whose vertex lies outside its points gives no
 * optimum.
 */
import { surfaceExponents } from "../../laws.js";
import type { BudgetOptimum, FitWarning, ParabolaBias } from "../../points.js";
import { type Data, extent } from "../columns.js";
import { fitLine, fitParabola, type Line } from "../search/line-fit.js";
import type { Draws, Estimate, Fitter, MethodOptions } from "./method.js";
import { predictSurface } from "./parametric.js";

/** The fewest vertices; a line through fewer has no residuals. */
const fewest = 3;

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

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The optimum of a budget, or the reason why it has none. */
type Vertex = BudgetOptimum | { readonly kind: string; readonly why: string };

function vertexOf(data: Pick<Data, "lnN" | "lnD" | "loss">, { c, indices }: Budget, weights?: Float64Array): Vertex {
  const used = weights ? indices.filter((i) => weights[i]! > 0) : indices;
  const x = used.map((i) => data.lnN[i]!);
  const y = used.map((i) => data.loss[i]!);
  const sizes = new Set(x).size;
  if (sizes < 3)
    return { kind: "few-sizes", why: `it has ${sizes} model size${sizes === 1 ? "" : "s"}, and a parabola needs 3` };
  const parabola = fitParabola(x, y, weights && used.map((i) => weights[i]!));
  if (!(parabola.bend > 0))
    return { kind: "concave-profile", why: "its losses do not curve upwards, so they have no minimum" };
  const [low, high] = extent(x);
  const lowest = x[y.indexOf(extent(y)[0])]!;
  const outside = parabola.vertex <= low || parabola.vertex >= high;
  // In a resampled budget, the points at one end may be missing.
  const atEdge = !weights && (lowest === low || lowest === high);
  if (outside || atEdge) {
    const size = Math.exp(outside ? parabola.vertex : lowest).toPrecision(3);
    const where = outside ? "lies outside" : "is at the edge of";
    return {
      kind: "edge-minimum",
      why: `its minimum, N = ${size}, ${where} the sizes tried: add ${parabola.vertex > (low + high) / 2 ? "larger" : "smaller"} ones`,
    };
  }
  // N·D is the same along a budget by every convention of C.
  const product = mean(used.map((i) => data.lnN[i]! + data.lnD[i]!));
  return { c, n: Math.exp(parabola.vertex), d: Math.exp(product - parabola.vertex), loss: parabola.height };
}

/** Power laws N*(C) and D*(C) through optima. */
export function throughOptima(optima: readonly BudgetOptimum[], weights?: readonly number[]): { n: Line; d: Line } {
  const column = (of: keyof BudgetOptimum) => optima.map((optimum) => Math.log(optimum[of]));
  return { n: fitLine(column("c"), column("n"), weights), d: fitLine(column("c"), column("d"), weights) };
}

/** A power law through the optima of the budgets, and the reasons why some have none. */
interface ThroughVertices {
  readonly estimate?: Estimate;
  readonly refused: readonly FitWarning[];
}

function throughVertices(
  budgets: readonly Budget[],
  at: Pick<Data, "lnN" | "lnD" | "loss">,
  weights?: Float64Array,
): ThroughVertices {
  const vertices = budgets.map((budget) => vertexOf(at, budget, weights));
  const optima = vertices.filter((vertex): vertex is BudgetOptimum => !("kind" in vertex));
  const refused = vertices.flatMap((vertex, index) => ("kind" in vertex ? [refusal(budgets[index]!, vertex)] : []));
  if (optima.length < fewest) return { refused };
  const { n, d } = throughOptima(optima);
  if (!Number.isFinite(n.slope)) return { refused };
  const estimate: Estimate = {
    params: { nScale: Math.exp(n.intercept), dScale: Math.exp(d.intercept) },
    exponents: { a: n.slope, b: d.slope },
    objective: n.sum,
    converged: true,
    optima,
    warnings: refused,
    se: {
      nScale: Math.exp(n.intercept) * n.interceptError,
      dScale: Math.exp(d.intercept) * d.interceptError,
      a: n.slopeError,
      b: d.slopeError,
    },
    freedom: optima.length - 2,
  };
  return { estimate, refused };
}

function refusal({ c }: Budget, { kind, why }: { readonly kind: string; readonly why: string }): FitWarning {
  return { kind, message: `The budget ${c.toExponential(2)} gives no optimum: ${why}.` };
}

/** The parabola of a budget and the scatter of its points. */
export interface Profile {
  readonly indices: readonly number[];
  /** Losses on the parabola. */
  readonly smooth: readonly number[];
  /** Sum of squared residuals, with its degrees of freedom. */
  readonly sum: number;
  readonly freedom: number;
}

export function profilesOf(data: Pick<Data, "lnN" | "loss">, budgets: readonly Budget[]): Profile[] {
  return budgets.flatMap(({ indices }) => {
    const x = indices.map((i) => data.lnN[i]!);
    const y = indices.map((i) => data.loss[i]!);
    if (new Set(x).size < 3) return [];
    const { vertex, height, bend } = fitParabola(x, y);
    const smooth = x.map((value) => height + bend * (value - vertex) ** 2);
    const sum = y.reduce((total, value, k) => total + (value - smooth[k]!) ** 2, 0);
    return [{ indices, smooth, sum, freedom: Math.max(0, y.length - 3) }];
  });
}

/** With fewer degrees of freedom, the scatter of all budgets is used instead of the budget's own. */
const leastFreedom = 2;

/**
 * Losses of a simulated other sweep: on the parabolas, plus noise of each budget's own variance, since runs of different
 * compute may scatter differently. A common factor is drawn, too, for the uncertainty of those variances (ν / χ², ν the
 * degrees of freedom of all budgets). With a factor per budget, 80 % intervals through a dozen budgets covered 90 %.
 * Flipping the signs of the residuals instead moved the vertices a fifth too little, because a parabola follows the points
 * at its ends most closely, so their residuals are small.
 */
export function redrawnLosses(
  data: Pick<Data, "loss" | "cluster">,
  profiles: readonly Profile[],
  draws: Draws,
): Float64Array {
  const loss = data.loss.slice();
  const all = { sum: total(profiles, "sum"), freedom: total(profiles, "freedom") };
  if (all.freedom === 0) return loss;
  const open = all.freedom / chiSquare(all.freedom, (k) => draws.normal("variance", k));
  for (const profile of profiles) {
    const { sum, freedom } = profile.freedom < leastFreedom ? all : profile;
    const variance = (open * sum) / freedom;
    profile.indices.forEach((i, k) => {
      loss[i] = profile.smooth[k]! + Math.sqrt(variance) * draws.normal("noise", data.cluster[i]!);
    });
  }
  return loss;
}

function total(profiles: readonly Profile[], what: "sum" | "freedom"): number {
  return profiles.reduce((sum, profile) => sum + profile[what], 0);
}

function chiSquare(freedom: number, normal: (k: number) => number): number {
  let sum = 0;
  for (let k = 0; k < freedom; k++) sum += normal(k) ** 2;
  return sum;
}

export function isoflopFitter(data: Data, options: MethodOptions): Fitter {
  const budgets = budgetsOf(data, options.budgetTolerance);
  let profiles: Profile[] | undefined;
  const ones = new Float64Array(data.size).fill(1);
  return {
    estimate() {
      const { estimate, refused } = throughVertices(budgets, data);
      if (estimate) return estimate;
      const left = budgets.length - refused.length;
      throw new RangeError(
        `Cannot fit by IsoFLOP parabolas: ${left} of ${budgets.length} budgets give an optimum, and a power law through them needs ${fewest}. ${refused.map(({ message }) => message).join(" ")}`.trim(),
      );
    },
    refit: (weights) => throughVertices(budgets, data, weights).estimate,
    redraw(draws) {
      profiles ??= profilesOf(data, budgets);
      return throughVertices(budgets, { ...data, loss: redrawnLosses(data, profiles, draws) }, ones).estimate;
    },
  };
}

/** A surface's five constants. */
export type Surface = Readonly<Record<"E" | "A" | "B" | "alpha" | "beta", number>>;

/** The bias of parabolas on a surface without noise: of the optimum, and of the parameters of the line. */
export interface SurfaceBias {
  readonly optimum: ParabolaBias;
  /** Bias of the exponents a and b, and of ln nScale and ln dScale. */
  readonly line: Readonly<Record<"a" | "b" | "nScale" | "dScale", number>>;
}

/**
 * The bias of approach 2 on a surface without noise, at the N and D of these points: the differences of its optimum at
 * the largest budget, and of its line, from those of the surface.
 */
export function biasOnSurface(surface: Surface, data: Data, tolerance: number): SurfaceBias | undefined {
  const lnLoss = predictSurface(surface, data);
  const smooth: Data = { ...data, lnLoss, loss: lnLoss.map(Math.exp) };
  const optima = budgetsOf(smooth, tolerance)
    .map((budget) => vertexOf(smooth, budget, new Float64Array(data.size).fill(1)))
    .filter((vertex): vertex is BudgetOptimum => !("kind" in vertex));
  if (optima.length < 2) return undefined;
  const { n, d } = throughOptima(optima);
  const { a, b } = surfaceExponents(surface);
  const last = optima.at(-1)!;
  const lnG = Math.log((surface.alpha * surface.A) / (surface.beta * surface.B)) / (surface.alpha + surface.beta);
  const [lnC, lnProduct] = [Math.log(last.c), Math.log(last.n * last.d)];
  // The line of the surface: ln N* = ln G + a·ln(N·D), where N·D is C divided by the points' FLOPs per product.
  const own = { n: lnG + a * (lnProduct - lnC), d: -lnG + b * (lnProduct - lnC) };
  const line = { a: n.slope - a, b: d.slope - b, nScale: n.intercept - own.n, dScale: d.intercept - own.d };
  return {
    line,
    optimum: {
      n: Math.expm1(line.nScale + line.a * lnC),
      d: Math.expm1(line.dScale + line.b * lnC),
      a: line.a,
      b: line.b,
    },
  };
}
