/**
 * Approach 2 (Hoffmann 2022, section 3.2): at each budget, a parabola of the loss in ln N, whose vertex is the optimum;
 * then N* = nScale·C^a and D* = dScale·C^b through the vertices. A budget whose vertex lies outside its points gives no
 * optimum.
 */
import { surfaceExponents, surfaceLoss } from "../../laws.js";
import type { BudgetOptimum, FitWarning, ParabolaBias } from "../../points.js";
import type { Data } from "../columns.js";
import { fitParabola } from "../search/line-fit.js";
import type { Draws, Estimate, Fitter, MethodOptions } from "./method.js";
import { predictSurface } from "./parametric.js";
import {
  type Budget,
  budgetsOf,
  nearLowest,
  type ProfileOptions,
  throughOptima,
  type Vertex,
  vertexOf,
} from "./profiles.js";
import { disturbedVertices, noiseOf, type SeedNoise, vertexUnderNoise, weightsOfVertices } from "./seed-noise.js";

/** The fewest vertices; a line through fewer has no residuals. */
const fewest = 3;

/** A power law through the optima of the budgets, and the reasons why some have none. */
interface ThroughVertices {
  readonly estimate?: Estimate;
  readonly refused: readonly FitWarning[];
}

function throughVertices(budgets: readonly Budget[], vertices: readonly Vertex[]): ThroughVertices {
  const optima = vertices.filter((vertex): vertex is BudgetOptimum => !("kind" in vertex));
  const refused = vertices.flatMap((vertex, index) => ("kind" in vertex ? [refusal(budgets[index]!, vertex)] : []));
  if (optima.length < fewest) return { refused };
  const { n, d } = throughOptima(optima, weightsOfVertices(optima));
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

/** The first budget of each reason, and how many more have it. */
function byReason(refused: readonly FitWarning[]): string {
  const kinds = new Set(refused.map(({ kind }) => kind));
  const sentences = [...kinds].map((wanted) => {
    const [first, ...more] = refused.filter(({ kind }) => kind === wanted);
    const like = more.length === 0 ? "" : ` ${more.length} more ${more.length === 1 ? "is" : "are"} like this one.`;
    return `${first!.message}${like} `;
  });
  return sentences.join("");
}

/** The parabola of a budget and the scatter of its points. */
export interface Profile {
  readonly indices: readonly number[];
  /** Losses on the parabola. */
  readonly smooth: readonly number[];
  /** Weighted sum of squared residuals, with its degrees of freedom. */
  readonly sum: number;
  readonly freedom: number;
}

export function profilesOf(data: Pick<Data, "lnN" | "loss" | "weight">, budgets: readonly Budget[]): Profile[] {
  return budgets.flatMap(({ indices }) => {
    const x = indices.map((i) => data.lnN[i]!);
    const y = indices.map((i) => data.loss[i]!);
    const weights = indices.map((i) => data.weight[i]!);
    if (new Set(x).size < 3) return [];
    const { vertex, height, bend } = fitParabola(x, y, weights);
    const smooth = x.map((value) => height + bend * (value - vertex) ** 2);
    const sum = y.reduce((total, value, k) => total + weights[k]! * (value - smooth[k]!) ** 2, 0);
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
  data: Pick<Data, "loss" | "cluster" | "weight">,
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
      loss[i] = profile.smooth[k]! + Math.sqrt(variance / data.weight[i]!) * draws.normal("noise", data.cluster[i]!);
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

const parabolas: ProfileOptions = { curve: "parabola" };

/** @throws {RangeError} for an interpolation without the noise between seeds, or a window that is not above 1 */
export function isoflopFitter(data: Data, options: MethodOptions): Fitter {
  const { profile = parabolas } = options;
  const noise = noiseOf(data.error, data.size, profile.seedNoise);
  checkProfile(profile, noise);
  const budgets = budgetsOf(data, options.budgetTolerance);
  const ones = new Float64Array(data.size).fill(1);
  let own: readonly Vertex[] | undefined;

  const vertexAt = (budget: Budget, drawn?: Float64Array) =>
    noise ? vertexUnderNoise(data, budget, { noise, options: profile, drawn }) : vertexOf(data, budget, profile, drawn);
  const ownVertices = () => {
    own ??= budgets.map((budget) => vertexAt(budget));
    return own;
  };

  /** Windows hold fewer points than a profile, so the scatter about a windowed parabola is that of its points. */
  const near = windowedBudgets(data, options);
  let profiles: Profile[] | undefined;

  return {
    estimate() {
      const { estimate, refused } = throughVertices(budgets, ownVertices());
      if (estimate) return estimate;
      const left = budgets.length - refused.length;
      const what = profile.curve === "akima" ? "interpolated profiles" : "IsoFLOP parabolas";
      throw new RangeError(
        `Cannot fit by ${what}: ${left} of ${budgets.length} budgets give an optimum, and a power law through them needs ${fewest}. ${byReason(refused)}A law of N and D needs no budgets; fit by parametric or projection.`,
      );
    },
    refit(weights) {
      // A budget of which no point was left out keeps its vertex under noise, which takes long to find.
      const vertices = budgets.map((budget, k) =>
        noise && budget.indices.every((i) => weights[i] === 1) ? ownVertices()[k]! : vertexAt(budget, weights),
      );
      return throughVertices(budgets, vertices).estimate;
    },
    redraw(draws, { optima = [] }) {
      if (noise) {
        const vertices = disturbedVertices(data, near, { noise, curve: profile.curve, draws, optima });
        return throughVertices(budgets, vertices).estimate;
      }
      profiles ??= profilesOf(data, near);
      const loss = redrawnLosses(data, profiles, draws);
      const vertices = near.map((budget) => vertexOf({ ...data, loss }, budget, parabolas, ones));
      return throughVertices(budgets, vertices).estimate;
    },
  };
}

/** The budgets with only the points that their parabolas are fitted to. */
export function windowedBudgets(
  data: Data,
  { budgetTolerance, profile = parabolas }: Pick<MethodOptions, "budgetTolerance" | "profile">,
): Budget[] {
  return budgetsOf(data, budgetTolerance).map(({ c, indices }) => ({
    ...{ c, indices: nearLowest(data, indices, profile.window) },
  }));
}

function checkProfile({ curve, window, seedNoise }: ProfileOptions, noise: SeedNoise | undefined): void {
  if (window !== undefined && !(window > 1)) {
    throw new RangeError(`Cannot fit by IsoFLOP profiles: the window is ${window}; it is a factor of N above 1.`);
  }
  if (seedNoise !== undefined && !(seedNoise > 0 && Number.isFinite(seedNoise))) {
    throw new RangeError(`Cannot fit by IsoFLOP profiles: the seed noise is ${seedNoise}; it is a loss above 0.`);
  }
  if (curve === "parabola" || noise) return;
  throw new RangeError(
    "Cannot fit by interpolated profiles: an interpolation goes through every point, so it shows no noise; give the standard deviation of the loss between seeds (--seed_noise), or a column of standard errors (--errors).",
  );
}

/** A surface's five constants. */
export type Surface = Readonly<Record<"E" | "A" | "B" | "alpha" | "beta", number>>;

/** The bias of parabolas on a surface without noise: of the optimum, and of the parameters of the line. */
export interface SurfaceBias {
  readonly optimum: ParabolaBias;
  /** Bias of the exponents a and b, and of ln nScale and ln dScale. */
  readonly line: Readonly<Record<"a" | "b" | "nScale" | "dScale", number>>;
  /** Of each vertex: of ln N*, and of the loss. */
  readonly vertices: readonly { readonly c: number; readonly lnN: number; readonly loss: number }[];
}

/**
 * The bias of approach 2 on a surface without noise, at the N and D of these points: the differences of its optimum at
 * the largest budget, and of its line, from those of the surface.
 */
export function biasOnSurface(
  surface: Surface,
  data: Data,
  tolerance: number,
  profile: ProfileOptions = parabolas,
): SurfaceBias | undefined {
  const lnLoss = predictSurface(surface, data);
  const smooth: Data = { ...data, lnLoss, loss: lnLoss.map(Math.exp) };
  const optima = budgetsOf(smooth, tolerance)
    .map((budget) => vertexOf(smooth, budget, profile, new Float64Array(data.size).fill(1)))
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
  const vertices = optima.map((vertex) => {
    const lnN = own.n + a * Math.log(vertex.c);
    const best = surfaceLoss(surface, Math.exp(lnN), (vertex.n * vertex.d) / Math.exp(lnN));
    return { c: vertex.c, lnN: Math.log(vertex.n) - lnN, loss: vertex.loss - best };
  });
  return {
    ...{ line, vertices },
    optimum: {
      n: Math.expm1(line.nScale + line.a * lnC),
      d: Math.expm1(line.dScale + line.b * lnC),
      a: line.a,
      b: line.b,
    },
  };
}
