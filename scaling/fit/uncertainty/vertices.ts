/**
 * What approach 2 says about single budgets: the intervals of each vertex, and the power law of the lowest losses through
 * all vertices, L*(C) = E + A·C^−alpha.
 */
import type { BudgetOptimum, Fit, Interval, OptimalLoss, Point } from "../../points.js";
import { toData } from "../columns.js";
import { powerFitter } from "../methods/power.js";
import { inverse } from "../search/cholesky.js";
import { fitParabola } from "../search/line-fit.js";
import { sandwich, standardErrors } from "./covariance.js";
import { tIntervals } from "./intervals.js";
import { normalQuantile, studentQuantile } from "./student-quantile.js";

type Measured = Pick<Point, "n" | "loss" | "weight">;

/** The interval of the optimal N; undefined for fewer than four sizes or without a minimum. */
export function vertexInterval(points: readonly Measured[], level: number): Interval | undefined {
  return vertexIntervals(points, level)?.n;
}

/**
 * The intervals of a parabola's vertex from the points of its budget only: the delta method for the quadratic regression
 * of the loss on ln N, with Student's t. Undefined for fewer than four sizes or without a minimum.
 */
export function vertexIntervals(
  points: readonly Measured[],
  level: number,
): Readonly<Record<"n" | "loss", Interval>> | undefined {
  const freedom = points.length - 3;
  if (freedom < 1 || new Set(points.map(({ n }) => n)).size < 4) return undefined;
  const x = points.map(({ n }) => Math.log(n));
  const y = points.map(({ loss }) => loss);
  const weights = points.map(({ weight = 1 }) => weight);
  const { vertex, height, bend } = fitParabola(x, y, weights);
  if (!(bend > 0)) return undefined;
  const rest = y.reduce((sum, value, i) => sum + weights[i]! * (value - height - bend * (x[i]! - vertex) ** 2) ** 2, 0);
  // y = p + q·t + r·t² with t = x − vertex: q is 0 there, and vertex − q / 2r is where the slope is 0.
  const moments = new Float64Array(9);
  x.forEach((value, i) => {
    const powers = [1, value - vertex, (value - vertex) ** 2];
    powers.forEach((left, row) => {
      powers.forEach((right, column) => {
        moments[3 * row + column]! += weights[i]! * left * right;
      });
    });
  });
  const covariance = inverse(moments, 3);
  if (!covariance) return undefined;
  const t = studentQuantile(0.5 + level / 2, freedom) * Math.sqrt(rest / freedom);
  const [reach, up] = [(t * Math.sqrt(covariance[4]!)) / (2 * bend), t * Math.sqrt(covariance[0]!)];
  return { n: [Math.exp(vertex - reach), Math.exp(vertex + reach)], loss: [height - up, height + up] };
}

/** The bias of a vertex on a surface without noise. */
export interface VertexBias {
  readonly c: number;
  readonly lnN: number;
  readonly loss: number;
}

/** The interval of an estimate and that of the estimate without its bias, together. */
const including = ([low, high]: Interval, bias: number): Interval => [
  low - Math.max(0, bias),
  high - Math.min(0, bias),
];

/** Vertices with intervals: their own if they have any, else from the scatter about the parabola; with the bias inside. */
export function withIntervals(
  optima: readonly BudgetOptimum[],
  pointsOf: (optimum: BudgetOptimum) => readonly Measured[],
  biases: readonly VertexBias[] = [],
): BudgetOptimum[] {
  return optima.map((optimum) => {
    const bias = biases.find(({ c }) => Math.abs(Math.log(c / optimum.c)) < 1e-9);
    const at = (level: number, own: BudgetOptimum["ci80"]) => {
      const found = own ?? vertexIntervals(pointsOf(optimum), level);
      if (!found || !bias) return found;
      const [n, loss] = [found.n.map(Math.log) as unknown as Interval, found.loss];
      return { n: including(n, bias.lnN).map(Math.exp) as unknown as Interval, loss: including(loss, bias.loss) };
    };
    const [ci80, ci95] = [at(0.8, optimum.ci80), at(0.95, optimum.ci95)];
    return { ...optimum, ...(ci80 && ci95 && { ci80, ci95 }) };
  });
}

/** The fewest vertices for a law of three constants. */
const fewest = 4;

/** L*(C) through the vertices; those with an interval weigh by it. Undefined for too few, or if they do not fall. */
export function optimalLoss(optima: readonly BudgetOptimum[], weighted: boolean): OptimalLoss | undefined {
  if (optima.length < fewest) return undefined;
  const reach = 2 * normalQuantile(0.9);
  const data = toData(
    optima.map(({ c, n, d, loss, ci80 }) => {
      const error = weighted && ci80 ? (ci80.loss[1] - ci80.loss[0]) / reach : 0;
      return { c, n, d, loss, ...(error > 0 && { error }) };
    }),
  );
  const fitter = powerFitter(data, { over: "c", offset: true, maxIterations: 300 });
  const estimate = fitter.estimate();
  const { params, converged } = estimate;
  if (!(params.alpha! > 0) || !(params.A! > 0)) return undefined;
  const covariance = sandwich(fitter, data, estimate);
  const se: Fit["se"] = covariance ? standardErrors(covariance) : {};
  const freedom = optima.length - 3;
  const at = (level: number) => tIntervals(params, se, level, freedom);
  return { params, se, ci80: at(0.8), ci95: at(0.95), converged };
}
