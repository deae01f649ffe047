/**
 * L(N, D) = E + A·N^−α + B·D^−β by variable projection (Golub and Pereyra 1973; Kaufman 1975): given α and β, the best E,
 * A and B are a linear least-squares problem, so the search has two dimensions, can be scanned, and has no starts to
 * choose. Residuals are relative, predicted / measured − 1, which are those of the log loss to first order. E, A and B
 * are not negative. Nothing is allocated in its loops.
 */
import type { Data } from "../columns.js";
import { cholesky, choleskySolve } from "./cholesky.js";
import { scaleOf } from "./huber-objective.js";

/** (E, A, B, α, β), and how it was come by. */
export interface Projected {
  readonly E: number;
  readonly A: number;
  readonly B: number;
  readonly alpha: number;
  readonly beta: number;
  /** Σ w·(predicted / measured − 1)². */
  readonly value: number;
  /** Largest component of the gradient by rms of residuals: the cosine-like measure that stops the search. */
  readonly gradient: number;
  readonly converged: boolean;
}

export interface Projection {
  /**
   * The minimum over points of non-zero weight.
   * @param from exponents to start from, instead of a scan
   */
  fit(options?: {
    weights?: Float64Array;
    from?: readonly [alpha: number, beta: number];
    maxIterations?: number;
  }): Projected;
}

// The scan: exponents beyond these are steps and constants as far as points can tell.
const scanned = Float64Array.from({ length: 16 }, (_, k) => 0.02 * 100 ** (k / 15));
const tolerance = 1e-10;
/** The gradient, by the residuals' rms, at which steps are rounding. */
const flat = 1e-7;

/**
 * @param lnX ln N, of E + A·N^−α + B·D^−β, or whatever the loss is a law of
 * @param lnY ln D; without it the law is E + A·X^−α
 */
export function createProjection(data: Pick<Data, "loss" | "size">, lnX: Float64Array, lnY?: Float64Array): Projection {
  const { size } = data;
  const n = scaleOf(lnX);
  const d = lnY ? scaleOf(lnY) : { mean: 0, spread: 1 };
  const x = lnX.map((value) => (value - n.mean) / n.spread);
  const y = lnY ? lnY.map((value) => (value - d.mean) / d.spread) : new Float64Array(size);
  const every = lnY ? 7 : 3;
  const u = data.loss.map((loss) => 1 / loss);
  const [v, z, w, residual] = [u.slice(), u.slice(), u.slice(), u.slice()];
  const linear = new Float64Array(3); // E, A, B, in the coordinates of x and y
  const normal = new Float64Array(9);
  const small = new Float64Array(9);
  const right = new Float64Array(3);
  const part = new Float64Array(3);
  const correction = new Float64Array(3);
  const row = new Float64Array(5);
  const full = new Float64Array(25);
  const reduced = new Float64Array(25);
  const step = new Float64Array(5);
  let total = size;

  function columns(alpha: number, beta: number): void {
    for (let i = 0; i < size; i++) {
      v[i] = u[i]! * Math.exp(-alpha * x[i]!);
      z[i] = u[i]! * Math.exp(-beta * y[i]!);
    }
  }

  /** Sums of products of the columns, and of the columns with `target` (1 everywhere, or what is left over). */
  function sums(matrix: boolean, target?: Float64Array): void {
    if (matrix) normal.fill(0);
    right.fill(0);
    for (let i = 0; i < size; i++) {
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

  /** Solves for the linear parameters in `mask` (bits 0, 1, 2); the others are 0. @returns what it takes off Σ w */
  function solve(mask: number, result: Float64Array): number {
    let count = 0;
    for (let j = 0; j < 3; j++) {
      if (!((mask >> j) & 1)) continue;
      let at = 0;
      for (let k = 0; k <= j; k++) if ((mask >> k) & 1) small[count * 3 + at++] = normal[j * 3 + k]!;
      part[count++] = right[j]!;
    }
    // cholesky() wants rows as long as there are of them.
    for (let j = 1; j < count; j++) for (let k = 0; k <= j; k++) small[j * count + k] = small[j * 3 + k]!;
    result.fill(0);
    if (!cholesky(small, count)) return Number.NaN;
    choleskySolve(small, count, part);
    let gain = 0;
    for (let j = 0, at = 0; j < 3; j++) {
      if (!((mask >> j) & 1)) continue;
      result[j] = part[at++]!;
      gain += result[j]! * right[j]!;
    }
    return gain;
  }

  /** The best linear parameters that are not negative, for the columns as they stand. @returns the mask of those > 0 */
  function nonNegative(): number {
    if (!Number.isNaN(solve(every, linear)) && linear[0]! >= 0 && linear[1]! >= 0 && linear[2]! >= 0) return every;
    let [best, most] = [0, 0];
    for (let mask = 1; mask < every; mask++) {
      const gain = solve(mask, linear);
      if (gain > most && linear[0]! >= 0 && linear[1]! >= 0 && linear[2]! >= 0) [best, most] = [mask, gain];
    }
    if (best > 0) solve(best, linear);
    return best;
  }

  /** Linear parameters to the last digit, and the residuals. @returns Σ w·residual² */
  function project(alpha: number, beta: number): { value: number; mask: number } {
    columns(alpha, beta);
    sums(true);
    const mask = nonNegative();
    let value = leftOver();
    // The normal equations square the condition; one step on the residuals gives back what that loses.
    for (let refined = 0; refined < 2 && mask > 0; refined++) {
      sums(false, residual);
      solve(mask, correction);
      for (let k = 0; k < 3; k++) linear[k]! -= correction[k]!;
      value = leftOver();
    }
    return { value, mask };
  }

  function leftOver(): number {
    let value = 0;
    for (let i = 0; i < size; i++) {
      const r = linear[0]! * u[i]! + linear[1]! * v[i]! + linear[2]! * z[i]! - 1;
      residual[i] = r;
      value += w[i]! * r * r;
    }
    return value;
  }

  /** The step of α and β by Gauss and Newton with all five parameters; the linear ones follow by themselves. */
  function gaussNewton(mask: number, damping: number): number {
    full.fill(0);
    step.fill(0);
    for (let i = 0; i < size; i++) {
      const weight = w[i]!;
      if (weight === 0) continue;
      row[0] = u[i]!;
      row[1] = v[i]!;
      row[2] = z[i]!;
      row[3] = -linear[1]! * v[i]! * x[i]!;
      row[4] = -linear[2]! * z[i]! * y[i]!;
      for (let j = 0; j < 5; j++) {
        step[j]! -= weight * row[j]! * residual[i]!;
        for (let k = 0; k <= j; k++) full[j * 5 + k]! += weight * row[j]! * row[k]!;
      }
    }
    let steepest = 0;
    for (let j = 3; j < 5; j++) steepest = Math.max(steepest, Math.abs(step[j]!) / total);
    for (let j = 0; j < 5; j++) {
      const free = (mask >> (j % 3 === 0 && j === 3 ? 1 : j === 4 ? 2 : j)) & 1;
      full[j * 6]! *= j > 2 ? 1 + damping : 1;
      if (free) continue;
      // A parameter at its bound, and an exponent whose term is gone, stay where they are.
      for (let k = 0; k < 5; k++) full[Math.max(j, k) * 5 + Math.min(j, k)] = 0;
      full[j * 6] = 1;
      step[j] = 0;
    }
    reduced.set(full);
    if (!cholesky(reduced, 5)) return Number.NaN;
    choleskySolve(reduced, 5, step);
    return steepest;
  }

  function refine(start: readonly [number, number], maxIterations: number): Projected {
    let [alpha, beta] = start;
    let { value, mask } = project(alpha, beta);
    let [damping, gradient, converged] = [0, Number.POSITIVE_INFINITY, false];
    for (let iteration = 0; iteration < maxIterations && damping < 1e10; iteration++) {
      const steepest = gaussNewton(mask, damping);
      if (Number.isNaN(steepest)) {
        damping = Math.max(1e-6, 10 * damping);
        continue;
      }
      const rms = Math.sqrt(value / total);
      gradient = steepest / Math.max(rms, 1e-300);
      if (rms < 1e-14 || (damping === 0 && Math.max(Math.abs(step[3]!), Math.abs(step[4]!)) < tolerance)) {
        converged = true;
        break;
      }
      const [nextAlpha, nextBeta] = [alpha + step[3]!, beta + step[4]!];
      const next = project(nextAlpha, nextBeta);
      if (next.value < value * (1 + 1e-14)) {
        // Rounding, not the way down, decides from here on.
        const still = next.value > value * (1 - 1e-13) && damping === 0;
        [alpha, beta, value, mask] = [nextAlpha, nextBeta, next.value, next.mask];
        damping = damping < 1e-8 ? 0 : damping / 10;
        if (still && Math.abs(step[3]!) + Math.abs(step[4]!) < 1e-6) {
          converged = true;
          break;
        }
      } else {
        damping = Math.max(1e-4, 10 * damping);
        project(alpha, beta);
      }
    }
    return outward(alpha, beta, value, gradient, converged || gradient < flat);
  }

  function outward(alpha: number, beta: number, value: number, gradient: number, converged: boolean): Projected {
    project(alpha, beta);
    const [rawAlpha, rawBeta] = [alpha / n.spread, beta / d.spread];
    return {
      E: linear[0]!,
      A: linear[1]! * Math.exp(rawAlpha * n.mean),
      B: linear[2]! * Math.exp(rawBeta * d.mean),
      alpha: rawAlpha,
      beta: rawBeta,
      value,
      gradient,
      converged,
    };
  }

  /** The lowest cell of the scan, in the coordinates of x and y. */
  function scan(): [number, number] {
    let [best, at] = [Number.POSITIVE_INFINITY, [0, 0] as [number, number]];
    for (const alpha of scanned) {
      for (const beta of lnY ? scanned : [0]) {
        const { value } = project(alpha * n.spread, beta * d.spread);
        if (value < best) [best, at] = [value, [alpha * n.spread, beta * d.spread]];
      }
    }
    return at;
  }

  return {
    fit({ weights, from, maxIterations = 200 } = {}) {
      total = 0;
      for (let i = 0; i < size; i++) total += w[i] = weights ? weights[i]! : 1;
      const start: [number, number] = from ? [from[0] * n.spread, from[1] * d.spread] : scan();
      return refine(start, maxIterations);
    },
  };
}
