/**
 * The minimum of a smooth function of a few variables: BFGS with a line search for the strong Wolfe conditions (Nocedal
 * and Wright 2006, algorithms 3.5, 3.6 and 6.1), then, if second derivatives are available, damped Newton steps to the
 * last digit. The search allocates nothing.
 */
import { cholesky, choleskySolve, dot, largest } from "./cholesky.js";

/** A function to be minimised. */
export interface Objective {
  readonly size: number;
  /** The value at x; the gradient is written to `gradient`. */
  evaluate(x: Float64Array, gradient: Float64Array): number;
  /** Also writes the second derivatives [size × size]. */
  evaluateSecond?(x: Float64Array, gradient: Float64Array, hessian: Float64Array): number;
}

export interface StopRule {
  /** The search stops when no component of the gradient exceeds this. */
  readonly tolerance: number;
  readonly maxIterations: number;
}

export interface Minimum {
  value: number;
  /** The largest component of the gradient, in absolute value. */
  gradient: number;
  iterations: number;
}

/** Whether to end a search early. `within`: the improvement that the quadratic model still predicts. */
export type Enough = (x: Float64Array, value: number, within: number) => boolean;

/** A minimiser with preallocated memory, for many searches. */
export interface Minimizer {
  /** BFGS from x; the result is written to x. */
  descend(objective: Objective, x: Float64Array, stop: StopRule, enough?: Enough): Minimum;
  /** Newton steps from x, a point near a minimum; the result is written to x. */
  polish(objective: Objective, x: Float64Array, stop: StopRule): Minimum;
}

// Constants for quasi-Newton directions (Nocedal and Wright).
const sufficientDecrease = 1e-4;
const curvature = 0.9;
/** Iterations after which the quadratic model is reliable. */
const learnt = 6;

export function createMinimizer(size: number): Minimizer {
  return new QuasiNewton(size);
}

/** The state of a search: the current point, the trial point, and the approximate inverse Hessian. */
class QuasiNewton implements Minimizer {
  readonly #size: number;
  readonly #inverseHessian: Float64Array;
  readonly #hessian: Float64Array;
  readonly #factor: Float64Array;
  readonly #gradient: Float64Array;
  readonly #trial: Float64Array;
  readonly #trialGradient: Float64Array;
  readonly #direction: Float64Array;
  readonly #change: Float64Array;
  readonly #product: Float64Array;
  #slopeAt = 0;

  constructor(size: number) {
    const [vector, matrix] = [() => new Float64Array(size), () => new Float64Array(size * size)];
    this.#size = size;
    [this.#inverseHessian, this.#hessian, this.#factor] = [matrix(), matrix(), matrix()];
    [this.#gradient, this.#trial, this.#trialGradient] = [vector(), vector(), vector()];
    [this.#direction, this.#change, this.#product] = [vector(), vector(), vector()];
  }

  /** φ(t) = f(x + t·direction); writes point, gradient and slope to trial, trialGradient and slopeAt. */
  #along(objective: Objective, x: Float64Array, t: number): number {
    for (let k = 0; k < this.#size; k++) this.#trial[k] = x[k]! + t * this.#direction[k]!;
    const value = objective.evaluate(this.#trial, this.#trialGradient);
    this.#slopeAt = dot(this.#trialGradient, this.#direction);
    return Number.isFinite(value) && Number.isFinite(this.#slopeAt) ? value : Number.POSITIVE_INFINITY;
  }

  /**
   * A step that meets the strong Wolfe conditions, written to trial and trialGradient.
   * @returns its value, or NaN if there is none
   */
  #search(objective: Objective, x: Float64Array, value: number, slope: number, first: number): number {
    let [low, lowValue, lowSlope] = [0, value, slope];
    let [high, highValue, highSlope] = [Number.NaN, 0, 0];
    let t = first;
    for (let tries = 0; tries < 40; tries++) {
      const found = this.#along(objective, x, t);
      const foundSlope = this.#slopeAt;
      if (found > value + sufficientDecrease * t * slope || found >= lowValue) {
        [high, highValue, highSlope] = [t, found, foundSlope];
      } else if (Math.abs(foundSlope) <= -curvature * slope) {
        return found;
      } else {
        // The lowest point so far becomes one end of the bracket; the minimum is on its downhill side.
        if (foundSlope * (Number.isNaN(high) ? 1 : high - low) >= 0)
          [high, highValue, highSlope] = [low, lowValue, lowSlope];
        [low, lowValue, lowSlope] = [t, found, foundSlope];
      }
      if (Number.isNaN(high)) t *= 4;
      else {
        const width = high - low;
        if (Math.abs(width) < 1e-14 * Math.max(1, low)) break;
        t = low + width * cubicMinimum(lowValue, lowSlope * width, highValue, highSlope * width);
      }
    }
    // The remaining descent is below rounding: take the best point so far if it is lower.
    if (low === 0) return Number.NaN;
    return this.#along(objective, x, low);
  }

  descend(objective: Objective, x: Float64Array, stop: StopRule, enough?: Enough): Minimum {
    let value = objective.evaluate(x, this.#gradient);
    let fresh = true;
    let iterations = 0;
    for (; iterations < stop.maxIterations; iterations++) {
      const steepest = largest(this.#gradient);
      if (!(steepest > stop.tolerance)) break;
      if (fresh) {
        this.#inverseHessian.fill(0);
        for (let k = 0; k < this.#size; k++) this.#inverseHessian[k * this.#size + k] = 1;
      }
      this.#multiply(this.#inverseHessian, this.#gradient, this.#direction, -1);
      let slope = dot(this.#gradient, this.#direction);
      if (enough && iterations >= learnt && enough(x, value, -slope / 2)) break;
      if (!(slope < 0)) {
        if (fresh) break;
        fresh = true;
        continue;
      }
      const next = this.#search(objective, x, value, slope, fresh ? Math.min(1, 1 / steepest) : 1);
      if (Number.isNaN(next)) {
        if (fresh) break;
        fresh = true;
        continue;
      }
      for (let k = 0; k < this.#size; k++) {
        this.#change[k] = this.#trial[k]! - x[k]!;
        x[k] = this.#trial[k]!;
        slope = this.#trialGradient[k]! - this.#gradient[k]!;
        this.#gradient[k] = this.#trialGradient[k]!;
        this.#trialGradient[k] = slope; // now y, the change of the gradient
      }
      value = next;
      this.#update(fresh);
      fresh = false;
    }
    return { value, gradient: largest(this.#gradient), iterations };
  }

  /** H ← (I − ρsyᵀ)H(I − ρysᵀ) + ρssᵀ, with s = change, y = trialGradient; the first H is scaled to sᵀy/yᵀy. */
  #update(first: boolean): void {
    const sy = dot(this.#change, this.#trialGradient);
    const yy = dot(this.#trialGradient, this.#trialGradient);
    if (!(sy > 1e-14 * yy)) return;
    if (first) for (let k = 0; k < this.#size; k++) this.#inverseHessian[k * this.#size + k] = sy / yy;
    this.#multiply(this.#inverseHessian, this.#trialGradient, this.#product, 1);
    const scale = (1 + dot(this.#trialGradient, this.#product) / sy) / sy;
    for (let i = 0; i < this.#size; i++) {
      for (let j = 0; j < this.#size; j++) {
        this.#inverseHessian[i * this.#size + j]! +=
          scale * this.#change[i]! * this.#change[j]! -
          (this.#product[i]! * this.#change[j]! + this.#change[i]! * this.#product[j]!) / sy;
      }
    }
  }

  #multiply(matrix: Float64Array, x: Float64Array, result: Float64Array, sign: number): void {
    for (let i = 0; i < this.#size; i++) {
      let sum = 0;
      for (let j = 0; j < this.#size; j++) sum += matrix[i * this.#size + j]! * x[j]!;
      result[i] = sign * sum;
    }
  }

  polish(objective: Objective, x: Float64Array, stop: StopRule): Minimum {
    let value = objective.evaluateSecond!(x, this.#gradient, this.#hessian);
    let damping = 0;
    let iterations = 0;
    for (; iterations < stop.maxIterations && largest(this.#gradient) > stop.tolerance; iterations++) {
      this.#factor.set(this.#hessian);
      for (let k = 0; k < this.#size; k++)
        this.#factor[k * this.#size + k]! += damping * (Math.abs(this.#hessian[k * this.#size + k]!) + 1e-12);
      for (let k = 0; k < this.#size; k++) this.#direction[k] = -this.#gradient[k]!;
      if (!cholesky(this.#factor, this.#size)) {
        damping = Math.max(1e-6, damping * 10);
        if (damping > 1e12) break;
        continue;
      }
      choleskySolve(this.#factor, this.#size, this.#direction);
      const before = largest(this.#gradient);
      const next = this.#along(objective, x, 1);
      // Near the minimum, values differ only by rounding, so compare gradients.
      const level = Math.abs(next - value) <= 1e-13 * Math.abs(value) + 1e-300 && largest(this.#trialGradient) < before;
      if (next < value || level) {
        x.set(this.#trial);
        value = objective.evaluateSecond!(x, this.#gradient, this.#hessian);
        damping = damping > 1e-9 ? damping / 10 : 0;
      } else {
        damping = Math.max(1e-6, damping * 10);
        if (damping > 1e12) break;
      }
    }
    return { value, gradient: largest(this.#gradient), iterations };
  }
}

/** The minimum on [0, 1] of the cubic with these end values and slopes, kept away from the ends. */
function cubicMinimum(value0: number, slope0: number, value1: number, slope1: number): number {
  if (!Number.isFinite(value1) || !Number.isFinite(slope1)) return 0.1;
  const theta = 3 * (value0 - value1) + slope0 + slope1;
  const inside = theta * theta - slope0 * slope1;
  const gamma = inside > 0 ? Math.sqrt(inside) : 0;
  const t = 1 - (slope1 + gamma - theta) / (slope1 - slope0 + 2 * gamma);
  return t > 0.1 && t < 0.9 ? t : t >= 0.9 ? 0.9 : t <= 0.1 ? 0.1 : 0.5;
}
