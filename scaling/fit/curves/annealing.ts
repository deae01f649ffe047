/**
 * The annealing law of a loss curve (Tissue 2024): L(s) = L0 + A·S1^−alpha − C·S2. S1 = Σ η is the sum of the learning
 * rates so far. S2 = Σ m, mᵢ = λ·mᵢ₋₁ + (ηᵢ₋₁ − ηᵢ), is the area of the annealing: every fall of the rate lowers the loss
 * more with each step, by a momentum that fades within `memory` = −1 / ln λ steps.
 *
 * Identified by curves under schedules whose rates fall differently; C and the memory not at all by constant rates.
 */
import type { Form } from "../forms/form.js";
import { scaleOf } from "../search/huber-objective.js";
import type { CurveData } from "./curve-data.js";
import { between, type Rates, sumsOf } from "./schedule.js";

/** S2 before each step, and its derivative in λ. */
function annealed({ rates, warmup }: Rates, lambda: number): { area: Float64Array; slope: Float64Array } {
  const [area, slope] = [new Float64Array(rates.length + 1), new Float64Array(rates.length + 1)];
  let [momentum, ofLambda] = [0, 0];
  for (let i = 0; i < rates.length; i++) {
    ofLambda = momentum + lambda * ofLambda;
    momentum = lambda * momentum + (i > warmup ? rates[i - 1]! - rates[i]! : 0);
    area[i + 1] = area[i]! + momentum;
    slope[i + 1] = slope[i]! + ofLambda;
  }
  return { area, slope };
}

/** Starting values: memory in steps, as shares of the longest curve; the exponent; L0 as a share of the lowest loss. */
const memories = [0.003, 0.03, 0.3];
const exponents = [0.3, 0.7, 1.2];
const shares = [0.6, 0.9];

export function annealingForm({ schedules, curve, step, loss }: CurveData): Form {
  const sums = schedules.map(sumsOf);
  const lnSum = Float64Array.from(step, (s, i) => Math.log(between(sums[curve[i]!]!, s)));
  let [at, areas] = [Number.NaN, [] as ReturnType<typeof annealed>[]];
  const areasFor = (lambda: number) => {
    if (lambda !== at) [at, areas] = [lambda, schedules.map((schedule) => annealed(schedule, lambda))];
    return areas;
  };
  return {
    names: ["L0", "A", "alpha", "C", "memory"],
    positive: new Set(["L0", "A", "C", "memory"]),
    pairs: [{ factor: "A", exponent: "alpha", ...scaleOf(lnSum) }],
    lossAt(i, theta, gradient) {
      const memory = Math.exp(theta[4]!);
      const lambda = Math.exp(-1 / memory);
      const { area, slope } = areasFor(lambda)[curve[i]!]!;
      const floor = Math.exp(theta[0]!);
      const term = Math.exp(theta[1]! - theta[2]! * lnSum[i]!);
      const c = Math.exp(theta[3]!);
      const fallen = c * between(area, step[i]!);
      if (gradient) {
        gradient[0] = floor;
        gradient[1] = term;
        gradient[2] = -term * lnSum[i]!;
        gradient[3] = -fallen;
        gradient[4] = (-c * between(slope, step[i]!) * lambda) / memory;
      }
      return floor + term - fallen;
    },
    starts() {
      const { mean } = scaleOf(lnSum);
      const [low, high] = [loss.reduce((a, b) => Math.min(a, b)), loss.reduce((a, b) => Math.max(a, b))];
      const middle = loss.reduce((sum, value) => sum + value, 0) / loss.length;
      const longest = schedules.reduce((most, { rates }) => Math.max(most, rates.length), 0);
      return memories.flatMap((share) =>
        exponents.flatMap((alpha) =>
          shares.map((part) => {
            const memory = Math.max(1, share * longest);
            const most = areasFor(Math.exp(-1 / memory)).reduce(
              (m, { area }) => Math.max(m, Math.abs(area.at(-1)!)),
              0,
            );
            const A = (middle - part * low) * Math.exp(alpha * mean);
            return { L0: part * low, A, alpha, C: (0.1 * (high - low)) / (most || 1), memory };
          }),
        ),
      );
    },
  };
}
