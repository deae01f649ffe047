/**
 * Muennighoff's law of repeated data, whole (2023, eq. 5 to 7): L = E + A·N'^−alpha + B·D'^−beta. Repeated tokens and
 * parameters in excess of what the unique tokens U deserve lose value exponentially:
 *
 *   D' = U + U·rStar·(1 − e^(−R / rStar)),        R = D / U − 1,
 *   N' = U_N + U_N·rStarN·(1 − e^(−R_N / rStarN)), R_N = N / U_N − 1,  U_N = min(N, G·(G·U)^(beta / alpha)),
 *
 * where G·(G·U)^(beta / alpha) is the compute-optimal N for U tokens, G = (alpha·A / (beta·B))^(1 / (alpha + beta)).
 *
 * rStar is identified by runs of several numbers of epochs, rStarN by models much larger than U_N; the five constants of
 * the surface by runs without repetition. The authors fix these five (`--fix`) and fit the other two.
 */
import { surfaceExponents } from "../../laws.js";
import type { Data } from "../columns.js";
import { scaleOf } from "../search/huber-objective.js";
import { createProjection } from "../search/variable-projection.js";
import type { Form } from "./form.js";

/** Starting values of rStar and rStarN; Muennighoff's are 15.4 and 5.3. */
const startsOfTokens = [1, 5, 15, 60];
const startsOfParameters = [0.5, 2, 6, 20];

/** ln x' and its derivatives with respect to ln U and to ln R*, for ln x and ln U. */
interface Worth {
  readonly ln: number;
  readonly ofUnique: number;
  readonly ofStar: number;
}

/** x' = U + U·R*·(1 − e^(−R / R*)), R = x / U − 1; x itself where x ≤ U. */
function worth(lnX: number, lnU: number, star: number): Worth {
  const repeats = Math.expm1(lnX - lnU);
  if (repeats <= 0) return { ln: lnX, ofUnique: 0, ofStar: 0 };
  const gone = Math.exp(-repeats / star);
  const times = 1 - star * Math.expm1(-repeats / star);
  return {
    ln: lnU + Math.log(times),
    // The number of repetitions falls as U grows: ∂R / ∂ ln U = −(R + 1).
    ofUnique: 1 - (gone * (repeats + 1)) / times,
    ofStar: (times - 1 - repeats * gone) / times,
  };
}

export function muennighoffForm(data: Data): Form {
  return {
    names: ["E", "A", "B", "alpha", "beta", "rStar", "rStarN"],
    positive: new Set(["E", "A", "B", "rStar", "rStarN"]),
    pairs: [
      { factor: "A", exponent: "alpha", ...scaleOf(data.lnN) },
      { factor: "B", exponent: "beta", ...scaleOf(data.lnD) },
    ],
    lossAt(i, theta, gradient) {
      const [a, b, alpha, beta] = [theta[1]!, theta[2]!, theta[3]!, theta[4]!];
      const lnU = data.lnUnique[i]!;
      const lnG = (Math.log(alpha / beta) + a - b) / (alpha + beta);
      const enough = lnG + (beta / alpha) * (lnU + lnG);
      const ofN = worth(data.lnN[i]!, enough, Math.exp(theta[6]!));
      const ofD = worth(data.lnD[i]!, lnU, Math.exp(theta[5]!));
      const e = Math.exp(theta[0]!);
      const termN = Math.exp(a - alpha * ofN.ln);
      const termD = Math.exp(b - beta * ofD.ln);
      if (gradient) {
        // ∂ ln N' / ∂ ln U_N, times ∂ ln U_N / ∂ ln G = 1 + beta / alpha.
        const pull = -termN * alpha * ofN.ofUnique;
        const ofG = pull * (1 + beta / alpha);
        gradient[0] = e;
        gradient[1] = termN + ofG / (alpha + beta);
        gradient[2] = termD - ofG / (alpha + beta);
        gradient[3] =
          -termN * ofN.ln + (ofG * (1 / alpha - lnG)) / (alpha + beta) - (pull * beta * (lnU + lnG)) / alpha ** 2;
        gradient[4] = -termD * ofD.ln + (ofG * (-1 / beta - lnG)) / (alpha + beta) + (pull * (lnU + lnG)) / alpha;
        gradient[5] = -termD * beta * ofD.ofStar;
        gradient[6] = -termN * alpha * ofN.ofStar;
      }
      return e + termN + termD;
    },
    starts: () =>
      startsOfTokens.flatMap((rStar) => {
        const lnWorth = data.lnD.map((lnD, i) => worth(lnD, data.lnUnique[i]!, rStar).ln);
        const { E, A, B, alpha, beta } = createProjection(data, data.lnN, lnWorth).fit();
        const surface = { E, A, B, alpha: Math.max(alpha, 0.05), beta: Math.max(beta, 0.05) };
        return startsOfParameters.map((rStarN) => ({ ...surface, rStar, rStarN }));
      }),
    exponents: (params) => surfaceExponents(params as { alpha: number; beta: number }),
  };
}
