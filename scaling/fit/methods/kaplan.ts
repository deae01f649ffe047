/**
 * Kaplan's L(N, D) = [(Nc / N)^(αN / αD) + Dc / D]^αD (2020, eq. 1.5) by least squares of log loss. Unlike Chinchilla's
 * surface, it has no irreducible loss, and its gain from N grows with D. Comparing the two shows how much a prediction
 * depends on the form of the law.
 */
import { type KaplanLaw, kaplanLoss, surfaceExponents } from "../../laws.js";
import type { Data } from "../columns.js";
import { createLeastSquares, lowestFrom } from "../search/least-squares.js";
import { type Estimate, endOf, type Fitter, type MethodOptions } from "./method.js";

/** Starting values of the exponents; Kaplan's are .076 and .103. */
const exponents = [0.05, 0.15, 0.4];

export function kaplanFitter(data: Data, { maxIterations }: MethodOptions): Fitter {
  // x = (ln of the loss at the mean ln N with unlimited data, αN, the same for D, ln αD).
  const mean = (column: Float64Array) => column.reduce((sum, value) => sum + value, 0) / column.length;
  const [n, d, lnLoss] = [mean(data.lnN), mean(data.lnD), mean(data.lnLoss)];
  const search = createLeastSquares({
    size: data.size,
    parameters: 4,
    weight: data.weight,
    at(i, x, gradient) {
      const alphaD = Math.exp(x[3]!);
      const lnN = data.lnN[i]! - n;
      const u = (x[0]! - x[1]! * lnN) / alphaD;
      const v = x[2]! / alphaD - (data.lnD[i]! - d);
      const ln = Math.max(u, v) + Math.log1p(Math.exp(-Math.abs(u - v)));
      const share = 1 / (1 + Math.exp(v - u));
      gradient[0] = share;
      gradient[1] = -share * lnN;
      gradient[2] = 1 - share;
      gradient[3] = alphaD * (ln - share * u) - (1 - share) * x[2]!;
      return alphaD * ln - data.lnLoss[i]!;
    },
  });

  function lowest(from: readonly Float64Array[], weights?: Float64Array): Estimate {
    const { x, end } = lowestFrom(search, from, { maxIterations, weights });
    const [alphaN, alphaD] = [x[1]!, Math.exp(x[3]!)];
    return {
      params: { Nc: Math.exp(n + x[0]! / alphaN), Dc: Math.exp(d + x[2]! / alphaD), alphaN, alphaD },
      exponents: surfaceExponents({ alpha: alphaN, beta: alphaD }),
      ...endOf(end),
      starts: [[...x]],
    };
  }

  return {
    estimate: () =>
      lowest(
        exponents.flatMap((alphaN) =>
          exponents.map((alphaD) => {
            const term = lnLoss - alphaD * Math.LN2; // the loss is made of two equal terms
            return Float64Array.of(term, alphaN, term, Math.log(alphaD));
          }),
        ),
      ),
    refit: (weights, { starts }) => lowest([Float64Array.from(starts![0]!)], weights),
    predict: (params, at) =>
      at.lnN.map((lnN, i) => Math.log(kaplanLoss(params as unknown as KaplanLaw, Math.exp(lnN), Math.exp(at.lnD[i]!)))),
  };
}
