/**
 * The multi-power law of a loss curve (Luo 2025): L(s) = L0 + A·S(s)^−alpha − LD(s), where S is the sum of the learning
 * rates so far, warm-up included, and every fall of the rate lowers the loss by a power law of the sum since then:
 *
 *   LD(s) = B·Σ_k (η_{k−1} − η_k)·G(η_k^−gamma·S_k(s)),  G(x) = 1 − (C·x + 1)^−beta,  S_k(s) = η_k + … + η_{s−1}.
 *
 * The constant here is K = B·beta instead of B: many curves are fitted best by beta near 0, where B would be infinite,
 * while K·G / beta becomes K·ln(C·x + 1).
 *
 * Identified by curves under schedules whose rates fall differently, to different rates; B, C, beta and gamma not at all
 * by constant rates.
 */
import type { Form } from "../forms/form.js";
import { scaleOf } from "../search/huber-objective.js";
import type { CurveData } from "./curve-data.js";
import { between, fallsOf, sumsOf } from "./schedule.js";

/** Starting values. */
const exponents = [0.3, 0.8];
const shares = [0.6, 0.9];
const beta = 0.6;
const gammas = [0.2, 0.7];
/** C·x at half of the sums. */
const halfway = [0.5, 5];

export function multiPowerForm({ schedules, curve, step, loss }: CurveData): Form {
  const sums = schedules.map(sumsOf);
  const sum = Float64Array.from(step, (s, i) => between(sums[curve[i]!]!, s));
  const lnSum = sum.map(Math.log);
  const falls = schedules.map((schedule, k) =>
    fallsOf(schedule)
      .filter(({ rate }) => rate > 0)
      .map((fall) => ({ ...fall, lnRate: Math.log(fall.rate), before: between(sums[k]!, fall.step) })),
  );
  const slopes = new Float64Array(3);
  let [at, powers] = [Number.NaN, [] as Float64Array[]];
  /** η^−gamma of each fall. */
  const powersFor = (gamma: number) => {
    if (gamma !== at)
      [at, powers] = [gamma, falls.map((each) => Float64Array.from(each, ({ lnRate }) => Math.exp(-gamma * lnRate)))];
    return powers;
  };

  /** LD / K at point i; `slopes` receives its derivatives in ln C, beta and gamma. */
  function fallenAt(i: number, { c, beta, gamma }: { c: number; beta: number; gamma: number }): number {
    slopes.fill(0);
    let total = 0;
    const own = falls[curve[i]!]!;
    const power = powersFor(gamma)[curve[i]!]!;
    for (let k = 0; k < own.length; k++) {
      const { step: from, by, lnRate, before } = own[k]!;
      if (from >= step[i]!) break;
      const x = power[k]! * (sum[i]! - before);
      const ln = Math.log1p(c * x);
      const t = beta * ln;
      const left = Math.exp(-t);
      const saturated = Math.abs(t) < 1e-4 ? ln * (1 - t / 2 + (t * t) / 6) : -Math.expm1(-t) / beta;
      total += by * saturated;
      const ofX = (by * c * x * left) / (1 + c * x); // ∂ / ∂ ln x, and so ∂ / ∂ ln C
      slopes[0]! += ofX;
      slopes[1]! += by * (Math.abs(t) < 1e-4 ? ln * ln * (-1 / 2 + t / 3) : (ln * left - saturated) / beta);
      slopes[2]! -= ofX * lnRate;
    }
    return total;
  }

  return {
    names: ["L0", "A", "alpha", "K", "C", "beta", "gamma"],
    positive: new Set(["L0", "A", "K", "C"]),
    pairs: [
      { factor: "A", exponent: "alpha", ...scaleOf(lnSum) },
      { factor: "C", exponent: "gamma", ...scaleOf(Float64Array.from(falls.flat(), ({ lnRate }) => lnRate)) },
    ],
    lossAt(i, theta, gradient) {
      const [floor, k, c] = [Math.exp(theta[0]!), Math.exp(theta[3]!), Math.exp(theta[4]!)];
      const term = Math.exp(theta[1]! - theta[2]! * lnSum[i]!);
      const fallen = k * fallenAt(i, { c, beta: theta[5]!, gamma: theta[6]! });
      if (gradient) {
        gradient[0] = floor;
        gradient[1] = term;
        gradient[2] = -term * lnSum[i]!;
        gradient[3] = -fallen;
        gradient[4] = -k * slopes[0]!;
        gradient[5] = -k * slopes[1]!;
        gradient[6] = -k * slopes[2]!;
      }
      return floor + term - fallen;
    },
    starts() {
      const { mean } = scaleOf(lnSum);
      const [low, high] = [loss.reduce((a, b) => Math.min(a, b)), loss.reduce((a, b) => Math.max(a, b))];
      const middle = loss.reduce((all, value) => all + value, 0) / loss.length;
      const most = falls.flat().reduce((largest, { rate, by }) => Math.max(largest, rate + by), 0);
      const half = Math.exp(mean) / 2;
      return exponents.flatMap((alpha) =>
        shares.flatMap((part) =>
          gammas.flatMap((gamma) =>
            halfway.map((x) => {
              const A = (middle - part * low) * Math.exp(alpha * mean);
              const C = x / (half * most ** -gamma);
              return { L0: part * low, A, alpha, K: (0.2 * beta * (high - low)) / most, C, beta, gamma };
            }),
          ),
        ),
      );
    },
  };
}
