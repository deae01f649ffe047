/**
 * Polynomials of two variables by least squares, their stationary point, and its standard errors by the delta method.
 * Used for the loss over ln rate and ln batch (surface.ts). The variables should be centred and of size 1.
 */
import { fitLinear, type LinearFit } from "../fit/search/linear-fit.js";

/** A value at (x, y). */
export interface Place {
  readonly x: number;
  readonly y: number;
  readonly value: number;
}

export interface Polynomial extends LinearFit {
  readonly freedom: number;
}

/** A minimum. */
export interface Minimum {
  readonly x: number;
  readonly y: number;
  readonly value: number;
  readonly xError: number;
  readonly yError: number;
}

/** The exponents of x and y in each term: a quadratic has the first six, a cubic all ten. */
const exponents = [
  ...[[0, 0] as const, [1, 0] as const, [0, 1] as const, [2, 0] as const, [1, 1] as const, [0, 2] as const],
  ...[[3, 0] as const, [2, 1] as const, [1, 2] as const, [0, 3] as const],
];
export const terms = { quadratic: 6, cubic: 10 } as const;

const power = (base: number, exponent: number) => (exponent < 0 ? 0 : base ** exponent);

/** The derivative of term k at (x, y), of order i in x and j in y. */
function term(k: number, { x, y }: { readonly x: number; readonly y: number }, i = 0, j = 0): number {
  const [a, b] = exponents[k]!;
  const falling = (exponent: number, order: number) =>
    order === 0 ? 1 : order === 1 ? exponent : exponent * (exponent - 1);
  return falling(a, i) * falling(b, j) * power(x, a - i) * power(y, b - j);
}

/** Variances that are larger by this factor than those of uncorrelated terms: the places do not determine the terms. */
const mostInflation = 1e8;

/** The least-squares polynomial; undefined if the places do not determine it, with a degree of freedom to spare. */
export function fitPolynomial(places: readonly Place[], degree: keyof typeof terms): Polynomial | undefined {
  const count = terms[degree];
  const freedom = places.length - count;
  if (freedom < 1) return undefined;
  const rows = places.map((place) => Float64Array.from({ length: count }, (_, k) => term(k, place)));
  const found = fitLinear(
    rows,
    places.map(({ value }) => value),
    { mostInflation },
  );
  return found && { ...found, freedom };
}

/** The derivative of a polynomial. */
function derivative({ coefficients }: Polynomial, at: { x: number; y: number }, i: number, j: number): number {
  return coefficients.reduce((sum, value, k) => sum + value * term(k, at, i, j), 0);
}

/** The inverse of the Hessian, in the order xx, xy, yy; undefined if it is not positive definite. */
function inverseHessian(of: Polynomial, at: { x: number; y: number }): readonly [number, number, number] | undefined {
  const [xx, xy, yy] = [derivative(of, at, 2, 0), derivative(of, at, 1, 1), derivative(of, at, 0, 2)];
  const determinant = xx * yy - xy * xy;
  return xx > 0 && determinant > 0 ? [yy / determinant, -xy / determinant, xx / determinant] : undefined;
}

/**
 * The minimum that Newton's method reaches from (0, 0), with the standard errors that come from the scatter about the
 * polynomial; undefined if the Hessian is not positive definite on the way, or there is none within `reach`.
 */
export function minimumOf(of: Polynomial, reach = Number.POSITIVE_INFINITY): Minimum | undefined {
  let at = { x: 0, y: 0 };
  for (let round = 0; round < 50; round++) {
    const h = inverseHessian(of, at);
    if (!h) return undefined;
    const [gx, gy] = [derivative(of, at, 1, 0), derivative(of, at, 0, 1)];
    const step = { x: -h[0] * gx - h[1] * gy, y: -h[1] * gx - h[2] * gy };
    at = { x: at.x + step.x, y: at.y + step.y };
    if (Math.max(Math.abs(at.x), Math.abs(at.y)) > reach) return undefined;
    const size = 1 + Math.abs(at.x) + Math.abs(at.y);
    if (Math.abs(step.x) + Math.abs(step.y) < 1e-13 * size) break;
  }
  return { ...at, value: derivative(of, at, 0, 0), ...errorsAt(of, at) };
}

function errorsAt(of: Polynomial, at: { x: number; y: number }): { xError: number; yError: number } {
  const h = inverseHessian(of, at);
  if (!h) return { xError: Number.NaN, yError: Number.NaN };
  const count = of.coefficients.length;
  // ∂(x, y) / ∂ coefficients = −H⁻¹ · ∂ gradient / ∂ coefficients.
  const gradient = of.coefficients.map((_, k) => term(k, at, 1, 0));
  const other = of.coefficients.map((_, k) => term(k, at, 0, 1));
  const errorOf = (first: number, second: number) => {
    const slope = gradient.map((value, k) => first * value + second * other[k]!);
    let variance = 0;
    for (let j = 0; j < count; j++)
      for (let k = 0; k < count; k++) variance += slope[j]! * of.inverse[j * count + k]! * slope[k]!;
    return Math.sqrt(Math.max(0, variance) * (of.sum / of.freedom));
  };
  return { xError: errorOf(h[0], h[1]), yError: errorOf(h[1], h[2]) };
}
