/**
 * Muennighoff's law of repeated data (2023, eq. 5 and appendix A): L = E + A·N^−α + B·D'^−β, where repeated tokens lose
 * value, D' = U + U·R*(1 − e^(−R/R*)), R = D/U − 1, and U is the number of unique tokens. R* is `rStar`, the number of
 * repetitions after which the next one is worth 1/e of new tokens. The analogous discount of excess parameters is not
 * fitted: this would need models much too large for their data.
 */
import { surfaceExponents } from "../../laws.js";
import type { Data } from "../columns.js";
import { createLeastSquares, lowestFrom } from "../search/least-squares.js";
import { createProjection } from "../search/variable-projection.js";
import { type Estimate, endOf, type Fitter, type MethodOptions } from "./method.js";

/** Starting values of R* (Muennighoff's is 15.4): from worthless repetition to repetition as good as new tokens. */
const starts = [1, 5, 15, 60];

/** ln D', the value of D tokens of which U are unique, and its derivative with respect to ln R*. */
function lnWorth(lnD: number, lnU: number, rStar: number): { ln: number; slope: number } {
  const repeats = Math.expm1(lnD - lnU);
  if (repeats <= 0) return { ln: lnD, slope: 0 };
  const gone = Math.exp(-repeats / rStar);
  const times = 1 + rStar * (1 - gone);
  return { ln: lnU + Math.log(times), slope: (rStar * (1 - gone) - repeats * gone) / times };
}

export function repeatedFitter(data: Data, { maxIterations }: MethodOptions): Fitter {
  // x = (ln E, ln A', ln B', α, β, ln R*), with A' and B' at the mean of ln N and ln D.
  const mean = (column: Float64Array) => column.reduce((sum, value) => sum + value, 0) / column.length;
  const [n, d] = [mean(data.lnN), mean(data.lnD)];
  const search = createLeastSquares({
    size: data.size,
    parameters: 6,
    weight: data.weight,
    at(i, x, gradient) {
      const { ln, slope } = lnWorth(data.lnD[i]!, data.lnUnique[i]!, Math.exp(x[5]!));
      const e = Math.exp(x[0]!);
      const termN = Math.exp(x[1]! - x[3]! * (data.lnN[i]! - n));
      const termD = Math.exp(x[2]! - x[4]! * (ln - d));
      const sum = e + termN + termD;
      gradient[0] = e / sum;
      gradient[1] = termN / sum;
      gradient[2] = termD / sum;
      gradient[3] = (-termN * (data.lnN[i]! - n)) / sum;
      gradient[4] = (-termD * (ln - d)) / sum;
      gradient[5] = (-termD * x[4]! * slope) / sum;
      return Math.log(sum) - data.lnLoss[i]!;
    },
  });

  /** The lowest result of searches from several R*; for a given R*, the other parameters follow by projection. */
  function lowest(weights: Float64Array | undefined, from: readonly Float64Array[]): Estimate {
    const { x, end } = lowestFrom(search, from, { maxIterations, weights });
    const [alpha, beta] = [x[3]!, x[4]!];
    return {
      params: {
        E: Math.exp(x[0]!),
        A: Math.exp(x[1]! + alpha * n),
        B: Math.exp(x[2]! + beta * d),
        alpha,
        beta,
        rStar: Math.exp(x[5]!),
      },
      exponents: surfaceExponents({ alpha, beta }),
      ...endOf(end),
      starts: [[...x]],
    };
  }

  return {
    estimate() {
      const from = starts.map((rStar) => {
        const worth = data.lnD.map((lnD, i) => lnWorth(lnD, data.lnUnique[i]!, rStar).ln);
        const { E, A, B, alpha, beta } = createProjection(data, data.lnN, worth).fit();
        const ln = (value: number) => Math.log(Math.max(value, 1e-9));
        return Float64Array.of(ln(E), ln(A) - alpha * n, ln(B) - beta * d, alpha, beta, Math.log(rStar));
      });
      return lowest(undefined, from);
    },
    refit: (weights, { starts: ended }) => lowest(weights, [Float64Array.from(ended![0]!)]),
    predict: ({ E, A, B, alpha, beta, rStar }, at) =>
      at.lnN.map((lnN, i) => {
        const { ln } = lnWorth(at.lnD[i]!, at.lnUnique[i]!, rStar!);
        return Math.log(E! + A! * Math.exp(-alpha! * lnN) + B! * Math.exp(-beta! * ln));
      }),
  };
}
