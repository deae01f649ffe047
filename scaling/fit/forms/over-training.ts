/**
 * Gadre's law of over-training (2024, eq. 4): L = E + (A·M^eta + B·M^−eta)·C^−eta, with M = D / N tokens per parameter
 * and C = 6·N·D. Models trained on the same M lie on a power law in C; M changes its height, not its exponent. It is
 * Chinchilla's surface with alpha = beta = 2·eta, whose A and B are these divided by 6^eta.
 *
 * Identified by points of several C at one M and at least one point of another M. The authors minimise the sum of squares
 * of the loss itself, which is this method's default.
 */
import type { Data } from "../columns.js";
import { scaleOf } from "../search/huber-objective.js";
import type { Form } from "./form.js";
import { gridOfSurfaces } from "./surface.js";

const ln6 = Math.log(6);

export function overTrainingForm(data: Data): Form {
  // ln C ± ln M, with C = 6ND: the terms are A·(6·N²)^−eta and B·(6·D²)^−eta.
  const x = data.lnN.map((value) => ln6 + 2 * value);
  const y = data.lnD.map((value) => ln6 + 2 * value);
  return {
    names: ["E", "A", "B", "eta"],
    positive: new Set(["E", "A", "B"]),
    pairs: [
      { factor: "A", exponent: "eta", ...scaleOf(x) },
      { factor: "B", exponent: "eta", ...scaleOf(y) },
    ],
    lossAt(i, theta, gradient) {
      const e = Math.exp(theta[0]!);
      const termN = Math.exp(theta[1]! - theta[3]! * x[i]!);
      const termD = Math.exp(theta[2]! - theta[3]! * y[i]!);
      if (gradient) {
        gradient[0] = e;
        gradient[1] = termN;
        gradient[2] = termD;
        gradient[3] = -termN * x[i]! - termD * y[i]!;
      }
      return e + termN + termD;
    },
    starts: () =>
      gridOfSurfaces(data)
        .filter(({ alpha, beta }) => alpha === beta)
        .map(({ E, A, B, alpha }) => ({ E, A: A * 6 ** (alpha / 2), B: B * 6 ** (alpha / 2), eta: alpha / 2 })),
  };
}
