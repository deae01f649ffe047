/**
 * L(N, D) = E + A·N^−α + B·D^−β by variable projection (Golub and Pereyra 1973; Kaufman 1975): given α and β, the best
 * E, A and B solve a linear least-squares problem, so the search has two dimensions and starts from a scan instead of
 * chosen points. Residuals are relative, predicted / measured − 1, and equal those of the log loss to first order. E, A
 * and B are nonnegative. The loops allocate nothing.
 */
import type { Data } from "../columns.js";
import { cholesky, choleskySolve } from "./cholesky.js";
import { type Scale, scaleOf } from "./huber-objective.js";

/** (E, A, B, α, β), with the end of the search. */
export interface Projected {
  readonly E: number;
  readonly A: number;
  readonly B: number;
  readonly alpha: number;
  readonly beta: number;
  /** Σ w·(predicted / measured − 1)². */
  readonly value: number;
  /** The largest component of the gradient, relative to the rms of the residuals; the search stops by it. */
  readonly gradient: number;
  readonly converged: boolean;
}

export interface Projection {
  /**
   * The minimum over the points of nonzero weight.
   * @param from starting exponents, instead of a scan
   */
  fit(options?: {
    weights?: Float64Array;
    from?: readonly [alpha: number, beta: number];
    maxIterations?: number;
  }): Projected;
}

// The scan. For the points, exponents beyond these look like steps or constants.
const scanned = Float64Array.from({ length: 16 }, (_, k) => 0.02 * 100 ** (k / 15));
const tolerance = 1e-10;
/** The gradient, relative to the rms of the residuals, below which steps are only rounding errors. */
const flat = 1e-7;

/**
 * @param lnX ln N in E + A·N^−α + B·D^−β, or the logarithm of another quantity
 * @param lnY ln D; without it, the law is E + A·X^−α
 */
export function createProjection(data: Weighted, lnX: Float64Array, lnY?: Float64Array): Projection {
  return new Projector(data, lnX, lnY);
}

/** Losses, and the weight of each point. */
type Weighted = Pick<Data, "loss" | "size" | "weight">;

const square = 5;

/** The state of a search: the columns of the linear problem, its solution and residuals, and the step in α and β. */
class Projector implements Projection {
  readonly #size: number;
  readonly #n: Scale;
  readonly #d: Scale;
  readonly #x: Float64Array;
  readonly #y: Float64Array;
  readonly #both: boolean;
  readonly #u: Float64Array;
  readonly #v: Float64Array;
  readonly #z: Float64Array;
  readonly #w: Float64Array;
  readonly #residual: Float64Array;
  readonly #own: Float64Array;
  /** E, A, B, in the coordinates of x and y. */
  readonly #linear = new Float64Array(3);
  readonly #normal = new Float64Array(9);
  readonly #small = new Float64Array(9);
  readonly #right = new Float64Array(3);
  readonly #part = new Float64Array(3);
  readonly #correction = new Float64Array(3);
  readonly #row = new Float64Array(square);
  readonly #full = new Float64Array(square * square);
  readonly #reduced = new Float64Array(square * square);
  readonly #step = new Float64Array(square);
  #total: number;

  constructor({ loss, size, weight }: Weighted, lnX: Float64Array, lnY?: Float64Array) {
    this.#size = size;
    this.#own = weight;
    this.#n = scaleOf(lnX);
    this.#d = lnY ? scaleOf(lnY) : { mean: 0, spread: 1 };
    this.#x = lnX.map((value) => (value - this.#n.mean) / this.#n.spread);
    this.#y = lnY ? lnY.map((value) => (value - this.#d.mean) / this.#d.spread) : new Float64Array(size);
    this.#both = lnY !== undefined;
    this.#u = loss.map((value) => 1 / value);
    [this.#v, this.#z, this.#w, this.#residual] = [this.#u.slice(), this.#u.slice(), this.#u.slice(), this.#u.slice()];
    this.#total = size;
  }

  fit({ weights, from, maxIterations = 200 }: Parameters<Projection["fit"]>[0] = {}): Projected {
    this.#total = 0;
    for (let i = 0; i < this.#size; i++) {
      this.#total += this.#w[i] = this.#own[i]! * (weights ? weights[i]! : 1);
    }
    const start: [number, number] = from ? [from[0] * this.#n.spread, from[1] * this.#d.spread] : this.#scan();
    return this.#refine(start, maxIterations);
  }

  #columns(alpha: number, beta: number): void {
    const [u, v, z, x, y] = [this.#u, this.#v, this.#z, this.#x, this.#y];
    for (let i = 0; i < this.#size; i++) {
      v[i] = u[i]! * Math.exp(-alpha * x[i]!);
      z[i] = u[i]! * Math.exp(-beta * y[i]!);
    }
  }

  /** The sums of products of the columns, and of the columns with `target` (1 everywhere, or the residuals). */
  #sums(matrix: boolean, target?: Float64Array): void {
    const [u, v, z, w, normal, right] = [this.#u, this.#v, this.#z, this.#w, this.#normal, this.#right];
    if (matrix) normal.fill(0);
    right.fill(0);
    for (let i = 0; i < this.#size; i++) {
      const weight = w[i]!;
      if (weight === 0) continue;
      const [ui, vi, zi] = [u[i]!, v[i]!, z[i]!];
      if (matrix) {
        normal[0]! += weight * ui * ui;
        normal[3]! += weight * ui * vi;
        normal[4]! += weight * vi * vi;
        normal[6]! += weight * ui * zi;
        normal[7]! += weight * vi * zi;
        normal[8]! += weight * zi * zi;
      }
      const aim = weight * (target ? target[i]! : 1);
      right[0]! += aim * ui;
      right[1]! += aim * vi;
      right[2]! += aim * zi;
    }
  }

  /** Solves for the linear parameters in `mask` (bits 0, 1, 2); the others are 0. @returns the reduction of Σ w */
  #solve(mask: number, result: Float64Array): number {
    let count = 0;
    for (let j = 0; j < 3; j++) {
      if (!((mask >> j) & 1)) continue;
      let at = 0;
      for (let k = 0; k <= j; k++) if ((mask >> k) & 1) this.#small[count * 3 + at++] = this.#normal[j * 3 + k]!;
      this.#part[count++] = this.#right[j]!;
    }
    // cholesky() needs a square matrix without gaps.
    for (let j = 1; j < count; j++) for (let k = 0; k <= j; k++) this.#small[j * count + k] = this.#small[j * 3 + k]!;
    result.fill(0);
    if (!cholesky(this.#small, count)) return Number.NaN;
    choleskySolve(this.#small, count, this.#part);
    let gain = 0;
    for (let j = 0, at = 0; j < 3; j++) {
      if (!((mask >> j) & 1)) continue;
      result[j] = this.#part[at++]!;
      gain += result[j]! * this.#right[j]!;
    }
    return gain;
  }

  /** The best nonnegative linear parameters for the current columns. @returns the mask of those > 0 */
  #nonNegative(): number {
    const [every, linear] = [this.#both ? 7 : 3, this.#linear];
    const allowed = () => linear[0]! >= 0 && linear[1]! >= 0 && linear[2]! >= 0;
    if (!Number.isNaN(this.#solve(every, linear)) && allowed()) return every;
    let [best, most] = [0, 0];
    for (let mask = 1; mask < every; mask++) {
      const gain = this.#solve(mask, linear);
      if (gain > most && allowed()) [best, most] = [mask, gain];
    }
    if (best > 0) this.#solve(best, this.#linear);
    return best;
  }

  /** The linear parameters to full precision, and the residuals. @returns Σ w·residual² */
  #project(alpha: number, beta: number): { value: number; mask: number } {
    this.#columns(alpha, beta);
    this.#sums(true);
    const mask = this.#nonNegative();
    let value = this.#leftOver();
    // The normal equations square the condition number; one refinement step on the residuals restores the lost digits.
    for (let refined = 0; refined < 2 && mask > 0; refined++) {
      this.#sums(false, this.#residual);
      this.#solve(mask, this.#correction);
      for (let k = 0; k < 3; k++) this.#linear[k]! -= this.#correction[k]!;
      value = this.#leftOver();
    }
    return { value, mask };
  }

  #leftOver(): number {
    const [u, v, z, w, residual, linear] = [this.#u, this.#v, this.#z, this.#w, this.#residual, this.#linear];
    let value = 0;
    for (let i = 0; i < this.#size; i++) {
      const r = linear[0]! * u[i]! + linear[1]! * v[i]! + linear[2]! * z[i]! - 1;
      residual[i] = r;
      value += w[i]! * r * r;
    }
    return value;
  }

  /** The Gauss-Newton step in α and β with all five parameters; the linear ones are then solved for. */
  #gaussNewton(mask: number, damping: number): number {
    const [row, full, step, linear, residual] = [this.#row, this.#full, this.#step, this.#linear, this.#residual];
    full.fill(0);
    step.fill(0);
    for (let i = 0; i < this.#size; i++) {
      const weight = this.#w[i]!;
      if (weight === 0) continue;
      row[0] = this.#u[i]!;
      row[1] = this.#v[i]!;
      row[2] = this.#z[i]!;
      row[3] = -linear[1]! * this.#v[i]! * this.#x[i]!;
      row[4] = -linear[2]! * this.#z[i]! * this.#y[i]!;
      for (let j = 0; j < 5; j++) {
        step[j]! -= weight * row[j]! * residual[i]!;
        for (let k = 0; k <= j; k++) full[j * 5 + k]! += weight * row[j]! * row[k]!;
      }
    }
    let steepest = 0;
    for (let j = 3; j < 5; j++) steepest = Math.max(steepest, Math.abs(step[j]!) / this.#total);
    for (let j = 0; j < 5; j++) {
      const free = (mask >> (j % 3 === 0 && j === 3 ? 1 : j === 4 ? 2 : j)) & 1;
      full[j * 6]! *= j > 2 ? 1 + damping : 1;
      if (free) continue;
      // A parameter at its bound, and an exponent whose term is 0, do not change.
      for (let k = 0; k < 5; k++) full[Math.max(j, k) * 5 + Math.min(j, k)] = 0;
      full[j * 6] = 1;
      step[j] = 0;
    }
    this.#reduced.set(this.#full);
    if (!cholesky(this.#reduced, 5)) return Number.NaN;
    choleskySolve(this.#reduced, 5, this.#step);
    return steepest;
  }

  #refine(start: readonly [number, number], maxIterations: number): Projected {
    let [alpha, beta] = start;
    let { value, mask } = this.#project(alpha, beta);
    let [damping, gradient, converged] = [0, Number.POSITIVE_INFINITY, false];
    for (let iteration = 0; iteration < maxIterations && damping < 1e10; iteration++) {
      const steepest = this.#gaussNewton(mask, damping);
      if (Number.isNaN(steepest)) {
        damping = Math.max(1e-6, 10 * damping);
        continue;
      }
      const rms = Math.sqrt(value / this.#total);
      gradient = steepest / Math.max(rms, 1e-300);
      if (rms < 1e-14 || (damping === 0 && Math.max(Math.abs(this.#step[3]!), Math.abs(this.#step[4]!)) < tolerance)) {
        converged = true;
        break;
      }
      const [nextAlpha, nextBeta] = [alpha + this.#step[3]!, beta + this.#step[4]!];
      const next = this.#project(nextAlpha, nextBeta);
      if (next.value < value * (1 + 1e-14)) {
        // From here on, differences are only rounding errors.
        const still = next.value > value * (1 - 1e-13) && damping === 0;
        [alpha, beta, value, mask] = [nextAlpha, nextBeta, next.value, next.mask];
        damping = damping < 1e-8 ? 0 : damping / 10;
        if (still && Math.abs(this.#step[3]!) + Math.abs(this.#step[4]!) < 1e-6) {
          converged = true;
          break;
        }
      } else {
        damping = Math.max(1e-4, 10 * damping);
        this.#project(alpha, beta);
      }
    }
    return this.#outward(alpha, beta, value, gradient, converged || gradient < flat);
  }

  #outward(alpha: number, beta: number, value: number, gradient: number, converged: boolean): Projected {
    this.#project(alpha, beta);
    const [rawAlpha, rawBeta] = [alpha / this.#n.spread, beta / this.#d.spread];
    return {
      E: this.#linear[0]!,
      A: this.#linear[1]! * Math.exp(rawAlpha * this.#n.mean),
      B: this.#linear[2]! * Math.exp(rawBeta * this.#d.mean),
      alpha: rawAlpha,
      beta: rawBeta,
      value,
      gradient,
      converged,
    };
  }

  /** The lowest cell of the scan, in the coordinates of x and y. */
  #scan(): [number, number] {
    let [best, at] = [Number.POSITIVE_INFINITY, [0, 0] as [number, number]];
    for (const alpha of scanned) {
      for (const beta of this.#both ? scanned : [0]) {
        const { value } = this.#project(alpha * this.#n.spread, beta * this.#d.spread);
        if (value < best) [best, at] = [value, [alpha * this.#n.spread, beta * this.#d.spread]];
      }
    }
    return at;
  }
}
