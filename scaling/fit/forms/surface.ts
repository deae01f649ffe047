/**
 * Chinchilla's surface L(N, D) = E + A·N^−alpha + B·D^−beta (Hoffmann 2022, eq. 2), for any objective and with constants
 * fixed or tied.
 *
 * Identified by points whose N and D vary independently: with one D for each N, the two terms are one. E is the limit of
 * large N and D, so it is determined only as well as the curvature of the loss is.
 */
import { surfaceExponents } from "../../laws.js";
import type { Data } from "../columns.js";
import { scaleOf } from "../search/huber-objective.js";
import { createProjection } from "../search/variable-projection.js";
import type { Form } from "./form.js";

/** Starting exponents and shares of E in the lowest loss, in addition to the least-squares solution. */
const exponents = [0.15, 0.35, 0.8];
const shares = [0.3, 0.6, 0.9];

/** E, A, B, alpha and beta for which the terms of N and D are equal at the means, for each exponent and share. */
export function gridOfSurfaces(data: Data): Record<"E" | "A" | "B" | "alpha" | "beta", number>[] {
  const [n, d] = [scaleOf(data.lnN).mean, scaleOf(data.lnD).mean];
  const lowest = data.loss.reduce((low, value) => Math.min(low, value), Number.POSITIVE_INFINITY);
  const middle = Math.exp(scaleOf(data.lnLoss).mean);
  return exponents.flatMap((alpha) =>
    exponents.flatMap((beta) =>
      shares.map((share) => {
        const term = (middle - share * lowest) / 2;
        return { E: share * lowest, A: term * Math.exp(alpha * n), B: term * Math.exp(beta * d), alpha, beta };
      }),
    ),
  );
}

export function surfaceForm(data: Data): Form {
  const [n, d] = [scaleOf(data.lnN), scaleOf(data.lnD)];
  return {
    names: ["E", "A", "B", "alpha", "beta"],
    positive: new Set(["E", "A", "B"]),
    pairs: [
      { factor: "A", exponent: "alpha", ...n },
      { factor: "B", exponent: "beta", ...d },
    ],
    lossAt(i, theta, gradient) {
      const [lnN, lnD] = [data.lnN[i]!, data.lnD[i]!];
      const e = Math.exp(theta[0]!);
      const termN = Math.exp(theta[1]! - theta[3]! * lnN);
      const termD = Math.exp(theta[2]! - theta[4]! * lnD);
      if (gradient) {
        gradient[0] = e;
        gradient[1] = termN;
        gradient[2] = termD;
        gradient[3] = -termN * lnN;
        gradient[4] = -termD * lnD;
      }
      return e + termN + termD;
    },
    starts() {
      const { E, A, B, alpha, beta } = createProjection(data, data.lnN, data.lnD).fit();
      return [{ E, A, B, alpha, beta }, ...gridOfSurfaces(data)];
    },
    exponents: (params) => surfaceExponents(params as { alpha: number; beta: number }),
  };
}
