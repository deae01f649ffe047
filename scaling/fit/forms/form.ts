/**
 * The interface of the laws that fit-form.ts can fit under any objective, with constants fixed or tied: each law is one
 * file with its formula, gradient, starting points and what identifies it.
 */
import type { Data } from "../columns.js";

/** A law L(N, D, U) with named constants. Positive constants are searched by their logarithms, the others as they are. */
export interface Form {
  readonly names: readonly string[];
  /** The names that are searched by logarithm. */
  readonly positive: ReadonlySet<string>;
  /**
   * Pairs of a factor and its exponent, A·x^−alpha, with the mean and standard deviation of ln x: the search moves along
   * A·exp(−alpha·mean) and alpha·spread, which hardly depend on each other.
   */
  readonly pairs: readonly Pair[];
  /**
   * The loss at point i of the data that the form was made for.
   * @param theta the coordinates, in the order of `names`
   * @param gradient receives ∂L / ∂theta, if it is given
   */
  lossAt(i: number, theta: Float64Array, gradient?: Float64Array): number;
  /** Starting points, by name. */
  starts(): readonly Readonly<Record<string, number>>[];
  /** Exponents of the optimum, for laws whose optimum is a power of the compute. */
  exponents?(params: Readonly<Record<string, number>>): { readonly a: number; readonly b: number };
}

export interface Pair {
  readonly factor: string;
  readonly exponent: string;
  readonly mean: number;
  readonly spread: number;
}

/** Makes the form for the points of `data`. */
export type FormOf = (data: Data) => Form;

/** Constants → coordinates. */
export function inward({ names, positive }: Form, params: Readonly<Record<string, number>>): Float64Array {
  // A term at its bound of 0 has no logarithm; e^−20 times the others is small enough.
  return Float64Array.from(names, (name) =>
    positive.has(name) ? Math.log(Math.max(params[name]!, 1e-9)) : params[name]!,
  );
}

/** Coordinates → constants. */
export function outward({ names, positive }: Form, theta: Float64Array): Record<string, number> {
  return Object.fromEntries(names.map((name, k) => [name, positive.has(name) ? Math.exp(theta[k]!) : theta[k]!]));
}
