/**
 * L(x) = E + A·x^−alpha, where x is N, D or C. With the offset E, by variable projection with relative residuals;
 * without it, a straight line through the logarithms (Kaplan 2020, eq. 1.1-1.3, where A = x0^alpha).
 */
import { type Data, lnOver, weighted } from "../columns.js";
import { fitLine } from "../search/line-fit.js";
import { createProjection } from "../search/variable-projection.js";
import { type Estimate, endOf, type Fitter, type MethodOptions } from "./method.js";

type PowerOptions = Pick<MethodOptions, "over" | "offset" | "maxIterations">;

export function powerFitter(data: Data, { over, offset, maxIterations }: PowerOptions): Fitter {
  const lnX = lnOver(data, over);
  const predict: Fitter["predict"] = ({ E = 0, A, alpha }, at) =>
    lnOver(at, over).map((x) => Math.log(E + A! * Math.exp(-alpha! * x)));
  if (!offset) {
    const straight = (weights?: Float64Array): Estimate => {
      const { slope, intercept, sum } = fitLine(lnX, data.lnLoss, weighted(data, weights));
      const converged = Number.isFinite(slope);
      return { params: { A: Math.exp(intercept), alpha: -slope }, objective: sum, converged, warnings: [] };
    };
    return { estimate: () => straight(), refit: (weights) => straight(weights), predict };
  }
  const projection = createProjection(data, lnX);
  const curved = (options: Parameters<typeof projection.fit>[0]): Estimate => {
    const { E, A, alpha, ...end } = projection.fit({ maxIterations, ...options });
    return { params: { E, A, alpha }, ...endOf(end) };
  };
  return {
    estimate: () => curved({}),
    refit: (weights, { params }) => curved({ weights, from: [params.alpha!, 0] }),
    predict,
  };
}
