/**
 * The interval of the vertex of one budget's parabola, from the points of this budget only: the delta method for the
 * quadratic regression of the loss on ln N, with Student's t. Charts use it; the intervals of a fit come from refits.
 */
import { inverse } from "../fit/search/cholesky.js";
import { fitParabola } from "../fit/search/line-fit.js";
import { studentQuantile } from "../fit/uncertainty/student-quantile.js";
import type { Interval, Point } from "../points.js";

/** The interval of the optimal N; undefined for fewer than four sizes or without a minimum. */
export function vertexInterval(points: readonly Pick<Point, "n" | "loss">[], level: number): Interval | undefined {
  const freedom = points.length - 3;
  if (freedom < 1 || new Set(points.map(({ n }) => n)).size < 4) return undefined;
  const x = points.map(({ n }) => Math.log(n));
  const y = points.map(({ loss }) => loss);
  const { vertex, height, bend } = fitParabola(x, y);
  if (!(bend > 0)) return undefined;
  const rest = y.reduce((sum, value, i) => sum + (value - height - bend * (x[i]! - vertex) ** 2) ** 2, 0);
  // y = p + q·t + r·t² with t = x − vertex: q is 0 there, and vertex − q / 2r is where the slope is 0.
  const moments = new Float64Array(9);
  for (const value of x) {
    const powers = [1, value - vertex, (value - vertex) ** 2];
    powers.forEach((left, row) => {
      powers.forEach((right, column) => {
        moments[3 * row + column]! += left * right;
      });
    });
  }
  const covariance = inverse(moments, 3);
  if (!covariance) return undefined;
  const error = Math.sqrt((rest / freedom) * covariance[4]!) / (2 * bend);
  const reach = studentQuantile(0.5 + level / 2, freedom) * error;
  return [Math.exp(vertex - reach), Math.exp(vertex + reach)];
}
