/**
 * Chinchilla's objective (Hoffmann 2022, eq. 10 and appendix D.3):
 * Σ w·Huber_δ(r), r = ln(e^(a − α·ln N) + e^(b − β·ln D) + e^e) − ln L, with first and second derivatives.
 *
 * The search uses the coordinates θ = (a − α·mN, b − β·mD, e, α·sN, β·sD), with the mean m and the standard deviation s
 * of ln N and ln D. In these, steps in all directions have a similar effect, so a quasi-Newton method converges in tens
 * of steps. The sum is divided by δ·Σw, which makes it about the mean absolute residual.
 */
import type { Data } from "../columns.js";
import type { Objective } from "./quasi-newton.js";

/** (a, b, e, α, β) as in the paper. */
export type Start = readonly [a: number, b: number, e: number, alpha: number, beta: number];

/** As in Hoffmann and Epoch: residuals beyond a thousandth count linearly, not quadratically. */
export const defaultDelta = 1e-3;

export interface Scale {
  readonly mean: number;
  readonly spread: number;
}

export function scaleOf(column: Float64Array): Scale {
  let mean = 0;
  for (const value of column) mean += value / column.length;
  let square = 0;
  for (const value of column) square += (value - mean) ** 2 / column.length;
  return { mean, spread: Math.sqrt(square) || 1 };
}

/** The objective over the points of nonzero weight; `weigh` sets the weights. */
export interface HuberObjective extends Required<Objective> {
  weigh(weights?: Float64Array): void;
  /** Converts a value of the search to Σ w·Huber_δ(r), without the division. */
  sum(value: number): number;
  /** The paper's coordinates → the search's, and back. */
  inward(start: Start): Float64Array;
  outward(theta: Float64Array): Start;
}

export function huberObjective(data: Data, delta = defaultDelta): HuberObjective {
  return new Huber(data, delta);
}

/** The points of nonzero weight, with their weights, in the coordinates of the search. */
class Huber implements HuberObjective {
  readonly size = 5;
  readonly #data: Data;
  readonly #delta: number;
  readonly #n: Scale;
  readonly #d: Scale;
  readonly #allX: Float64Array;
  readonly #allY: Float64Array;
  readonly #xs: Float64Array;
  readonly #ys: Float64Array;
  readonly #losses: Float64Array;
  readonly #ws: Float64Array;
  readonly #slope = new Float64Array(5);
  #count = 0;
  #scale = 1;

  constructor(data: Data, delta: number) {
    this.#data = data;
    this.#delta = delta;
    [this.#n, this.#d] = [scaleOf(data.lnN), scaleOf(data.lnD)];
    this.#allX = data.lnN.map((value) => (value - this.#n.mean) / this.#n.spread);
    this.#allY = data.lnD.map((value) => (value - this.#d.mean) / this.#d.spread);
    [this.#xs, this.#ys] = [this.#allX.slice(), this.#allY.slice()];
    [this.#losses, this.#ws] = [data.lnLoss.slice(), new Float64Array(data.size)];
    this.weigh();
  }

  weigh(weights?: Float64Array): void {
    this.#count = 0;
    let total = 0;
    for (let i = 0; i < this.#data.size; i++) {
      const weight = (weights ? weights[i]! : 1) * this.#data.weight[i]!;
      if (weight === 0) continue;
      this.#xs[this.#count] = this.#allX[i]!;
      this.#ys[this.#count] = this.#allY[i]!;
      this.#losses[this.#count] = this.#data.lnLoss[i]!;
      this.#ws[this.#count++] = weight;
      total += weight;
    }
    this.#scale = 1 / (this.#delta * total);
  }

  evaluate(theta: Float64Array, gradient: Float64Array): number {
    const [a, b, e] = [theta[0]!, theta[1]!, Math.exp(theta[2]!)];
    const [alpha, beta] = [theta[3]!, theta[4]!];
    const [xs, ys, losses, ws, delta, count, scale] = this.#parts();
    let [value, ga, gb, ge, gAlpha, gBeta] = [0, 0, 0, 0, 0, 0];
    for (let i = 0; i < count; i++) {
      const x = xs[i]!;
      const y = ys[i]!;
      const termN = Math.exp(a - alpha * x);
      const termD = Math.exp(b - beta * y);
      const sum = termN + termD + e;
      const r = Math.log(sum) - losses[i]!;
      const size = r < 0 ? -r : r;
      const w = ws[i]!;
      let psi = r;
      if (size <= delta) value += w * 0.5 * r * r;
      else {
        value += w * delta * (size - 0.5 * delta);
        psi = r < 0 ? -delta : delta;
      }
      const pull = (w * psi) / sum;
      const pN = pull * termN;
      const pD = pull * termD;
      ga += pN;
      gb += pD;
      ge += pull;
      gAlpha -= pN * x;
      gBeta -= pD * y;
    }
    gradient[0] = ga * scale;
    gradient[1] = gb * scale;
    gradient[2] = ge * e * scale;
    gradient[3] = gAlpha * scale;
    gradient[4] = gBeta * scale;
    return value * scale;
  }

  evaluateSecond(theta: Float64Array, gradient: Float64Array, hessian: Float64Array): number {
    const value = this.evaluate(theta, gradient);
    const e = Math.exp(theta[2]!);
    const [xs, ys, losses, ws, delta, count, scale] = this.#parts();
    const slope = this.#slope;
    hessian.fill(0);
    for (let i = 0; i < count; i++) {
      const [x, y] = [xs[i]!, ys[i]!];
      const termN = Math.exp(theta[0]! - theta[3]! * x);
      const termD = Math.exp(theta[1]! - theta[4]! * y);
      const sum = termN + termD + e;
      const r = Math.log(sum) - losses[i]!;
      const w = ws[i]! * scale;
      const inside = Math.abs(r) <= delta;
      const bend = w * (inside ? r : r < 0 ? -delta : delta);
      const [pN, pD, pE] = [termN / sum, termD / sum, e / sum];
      slope[0] = pN;
      slope[1] = pD;
      slope[2] = pE;
      slope[3] = -pN * x;
      slope[4] = -pD * y;
      // ∇²LSE = Σ p·zzᵀ − ∇LSE·∇LSEᵀ, with z the gradient of a term's exponent.
      const outer = (inside ? w : 0) - bend;
      for (let j = 0; j < 5; j++) for (let k = 0; k <= j; k++) hessian[j * 5 + k]! += outer * slope[j]! * slope[k]!;
      hessian[0]! += bend * pN;
      hessian[6]! += bend * pD;
      hessian[12]! += bend * pE;
      hessian[15]! -= bend * pN * x;
      hessian[21]! -= bend * pD * y;
      hessian[18]! += bend * pN * x * x;
      hessian[24]! += bend * pD * y * y;
    }
    for (let j = 0; j < 5; j++) for (let k = 0; k < j; k++) hessian[k * 5 + j] = hessian[j * 5 + k]!;
    return value;
  }

  /** The arrays that the loops over points read, as local variables for speed. */
  #parts() {
    return [this.#xs, this.#ys, this.#losses, this.#ws, this.#delta, this.#count, this.#scale] as const;
  }

  sum(value: number): number {
    return value / this.#scale;
  }

  inward([a, b, e, alpha, beta]: Start): Float64Array {
    const [n, d] = [this.#n, this.#d];
    return Float64Array.of(a - alpha * n.mean, b - beta * d.mean, e, alpha * n.spread, beta * d.spread);
  }

  outward(theta: Float64Array): Start {
    const [n, d] = [this.#n, this.#d];
    const [alpha, beta] = [theta[3]! / n.spread, theta[4]! / d.spread];
    return [theta[0]! + alpha * n.mean, theta[1]! + beta * d.mean, theta[2]!, alpha, beta];
  }
}
