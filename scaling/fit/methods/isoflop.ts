/**
 * Approach 2 (Hoffmann 2022, section 3.2): at each budget a parabola of the loss in ln N, whose vertex is the budget's
 * optimum; then N* = nScale·C^a and D* = dScale·C^b through the vertices. A budget whose vertex the points do not enclose
 * gives no number.
 */
import { surfaceExponents } from "../../laws.js";
import type { BudgetOptimum, FitWarning, ParabolaBias } from "../../points.js";
import type { Data } from "../columns.js";
import { fitLine, fitParabola, type Line } from "../search/line-fit.js";
import type { Estimate, Fitter, MethodOptions } from "./method.js";
import { predictSurface } from "./parametric.js";

/** Fewer vertices than these leave a line nothing to be wrong by. */
const fewest = 3;

/** Points of about the same compute. */
interface Budget {
  readonly c: number;
  readonly indices: readonly number[];
}

/** The points by budget, rising. */
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

/** The optimum of a budget, or why there is none. */
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
  const [low, high] = [Math.min(...x), Math.max(...x)];
  const lowest = x[y.indexOf(Math.min(...y))]!;
  const outside = parabola.vertex <= low || parabola.vertex >= high;
  // A resampled profile may lack the end that encloses its minimum.
  const atEdge = !weights && (lowest === low || lowest === high);
  if (outside || atEdge) {
    const size = Math.exp(outside ? parabola.vertex : lowest).toPrecision(3);
    const where = outside ? "lies outside" : "is at the edge of";
    return {
      kind: "edge-minimum",
      why: `its minimum, N = ${size}, ${where} the sizes tried: add ${parabola.vertex > (low + high) / 2 ? "larger" : "smaller"} ones`,
    };
  }
  // N·D is the same along a budget, however C is counted.
  const product = mean(used.map((i) => data.lnN[i]! + data.lnD[i]!));
  return { c, n: Math.exp(parabola.vertex), d: Math.exp(product - parabola.vertex), loss: parabola.height };
}

/** Power laws N*(C) and D*(C) through optima. */
export function throughOptima(optima: readonly BudgetOptimum[], weights?: readonly number[]): { n: Line; d: Line } {
  const column = (of: keyof BudgetOptimum) => optima.map((optimum) => Math.log(optimum[of]));
  return { n: fitLine(column("c"), column("n"), weights), d: fitLine(column("c"), column("d"), weights) };
}

export function isoflopFitter(data: Data, options: MethodOptions): Fitter {
  const budgets = budgetsOf(data, options.budgetTolerance);

  /** Losses on the parabolas, and how far each point is from its own, widened to what it was before the fit drew it near. */
  function residuals(): { smooth: Float64Array; off: Float64Array } {
    const [smooth, off] = [data.loss.slice(), new Float64Array(data.size)];
    for (const { indices } of budgets) {
      const x = indices.map((i) => data.lnN[i]!);
      if (new Set(x).size < 3) continue;
      const { vertex, height, bend } = fitParabola(
        x,
        indices.map((i) => data.loss[i]!),
      );
      const widened = Math.sqrt(indices.length / Math.max(1, indices.length - 3));
      for (const i of indices) {
        smooth[i] = height + bend * (data.lnN[i]! - vertex) ** 2;
        off[i] = widened * (data.loss[i]! - smooth[i]!);
      }
    }
    return { smooth, off };
  }
  let parts: ReturnType<typeof residuals> | undefined;
  const ones = new Float64Array(data.size).fill(1);

  function through(
    weights?: Float64Array,
    at: Pick<Data, "lnN" | "lnD" | "loss"> = data,
  ): { estimate?: Estimate; refused: FitWarning[] } {
    const vertices = budgets.map((budget) => vertexOf(at, budget, weights));
    const optima = vertices.filter((vertex): vertex is BudgetOptimum => !("kind" in vertex));
    const refused = vertices.flatMap((vertex, index) =>
      "kind" in vertex
        ? [
            {
              kind: vertex.kind,
              message: `The budget ${budgets[index]!.c.toExponential(2)} gives no optimum: ${vertex.why}.`,
            },
          ]
        : [],
    );
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

  return {
    estimate() {
      const { estimate, refused } = through();
      if (estimate) return estimate;
      const left = budgets.length - refused.length;
      throw new RangeError(
        `Cannot fit by IsoFLOP parabolas: ${left} of ${budgets.length} budgets give an optimum, and a power law through them needs ${fewest}. ${refused.map(({ message }) => message).join(" ")}`.trim(),
      );
    },
    refit: (weights) => through(weights).estimate,
    perturb(signs) {
      parts ??= residuals();
      const { smooth, off } = parts;
      return through(ones, { ...data, loss: smooth.map((value, i) => value + signs[i]! * off[i]!) }).estimate;
    },
  };
}

/** A surface's five constants. */
export type Surface = Readonly<Record<"E" | "A" | "B" | "alpha" | "beta", number>>;

/**
 * What approach 2 makes of a surface without noise at these points' N and D: how far its optimum at the largest budget,
 * and its exponents, are from the surface's own.
 */
export function biasOnSurface(surface: Surface, data: Data, tolerance: number): ParabolaBias | undefined {
  const lnLoss = predictSurface(surface, data);
  const smooth: Data = { ...data, lnLoss, loss: lnLoss.map(Math.exp) };
  const optima = budgetsOf(smooth, tolerance)
    .map((budget) => vertexOf(smooth, budget, new Float64Array(data.size).fill(1)))
    .filter((vertex): vertex is BudgetOptimum => !("kind" in vertex));
  if (optima.length < 2) return undefined;
  const { n, d } = throughOptima(optima);
  const { a, b } = surfaceExponents(surface);
  const last = optima.at(-1)!;
  const g = ((surface.alpha * surface.A) / (surface.beta * surface.B)) ** (1 / (surface.alpha + surface.beta));
  const product = last.n * last.d;
  const at = Math.log(last.c);
  return {
    n: Math.exp(n.intercept + n.slope * at) / (g * product ** a) - 1,
    d: Math.exp(d.intercept + d.slope * at) / (product ** b / g) - 1,
    a: n.slope - a,
    b: d.slope - b,
  };
}
