/**
 * L(x) = E + A·x^−alpha, where x is N, D or C, for any objective and with constants fixed or tied.
 *
 * Identified by at least as many values of x as there are free constants; E only by the curvature of ln L in ln x.
 */
import { type Data, lnOver, type Over } from "../columns.js";
import { scaleOf } from "../search/huber-objective.js";
import { createProjection } from "../search/variable-projection.js";
import type { Form } from "./form.js";

export function powerForm(data: Data, over: Over): Form {
  const lnX = lnOver(data, over);
  const x = scaleOf(lnX);
  return {
    names: ["E", "A", "alpha"],
    positive: new Set(["E", "A"]),
    pairs: [{ factor: "A", exponent: "alpha", ...x }],
    lossAt(i, theta, gradient) {
      const e = Math.exp(theta[0]!);
      const term = Math.exp(theta[1]! - theta[2]! * lnX[i]!);
      if (gradient) {
        gradient[0] = e;
        gradient[1] = term;
        gradient[2] = -term * lnX[i]!;
      }
      return e + term;
    },
    starts() {
      const { E, A, alpha } = createProjection(data, lnX).fit();
      const lowest = data.loss.reduce((low, value) => Math.min(low, value), Number.POSITIVE_INFINITY);
      const middle = Math.exp(scaleOf(data.lnLoss).mean);
      const others = [0.1, 0.6, 0.9].flatMap((share) =>
        [0.05, 0.2, 0.5].map((slope) => ({
          E: share * lowest,
          A: (middle - share * lowest) * Math.exp(slope * x.mean),
          alpha: slope,
        })),
      );
      return [{ E, A, alpha }, ...others];
    },
  };
}
