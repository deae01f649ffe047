/**
 * What the laboratory's parts hand to each other: a point (a finished training as a law sees it), a fit, its warnings.
 * Plain records only: laws.ts has the formulas, fit.ts makes fits of points, sweep.ts makes points of runs, figures.ts
 * draws both. Notebook 08-scaling-laws shows them.
 */

/** A finished training: one point of L(N, D). How N and C are counted is a convention (conventions.ts) named beside it. */
export interface Point {
  /** Parameters, N. */
  readonly n: number;
  /** Training tokens, D. */
  readonly d: number;
  /** Loss, nats a token. */
  readonly loss: number;
  /** Training FLOPs, C; 6ND where it is missing. */
  readonly c?: number;
  /** The run that the point is of: points of one run are correlated, and are drawn together by the bootstrap. */
  readonly group?: string;
}

export type Interval = readonly [low: number, high: number];

/** Something that a reader of a fit must know before using it. */
export interface FitWarning {
  /** For programs: kebab-case, `one-d-per-n`. */
  readonly kind: string;
  /** For people: what was found, and what to do. */
  readonly message: string;
}

/** Where one budget's optimum lies: a vertex of approach 2, a point of approach 1's envelope. */
export interface BudgetOptimum {
  readonly c: number;
  readonly n: number;
  readonly d: number;
  readonly loss: number;
}

export type FitMethod = "parametric" | "projection" | "isoflop" | "envelope" | "power";

/** A fit of any method. Intervals are by parameter's name; exponents' names are `a` (N ∝ C^a) and `b` (D ∝ C^b). */
export interface Fit {
  readonly method: FitMethod;
  readonly params: Readonly<Record<string, number>>;
  /** Of the optimum: N ∝ C^a, D ∝ C^b; of methods that have one. */
  readonly exponents?: { readonly a: number; readonly b: number };
  /** The objective at the minimum: Σ Huber of log loss, or the method's sum of squares. */
  readonly huberSum: number;
  readonly converged: boolean;
  readonly se: Readonly<Record<string, number>>;
  readonly ci80: Readonly<Record<string, Interval>>;
  readonly ci95: Readonly<Record<string, Interval>>;
  /** How many points were fitted. */
  readonly points: number;
  /** Points left out, as indices of the input. */
  readonly dropped: readonly number[];
  /** For each fitted point: how far leaving it out moves exponent a (or the law's exponent), in standard errors. */
  readonly influence: readonly number[];
  readonly warnings: readonly FitWarning[];
  /** A row a budget, of isoflop and envelope. */
  readonly optima?: readonly BudgetOptimum[];
  /** Each bootstrap refit's parameters and exponents. */
  readonly bootstrap?: readonly Readonly<Record<string, number>>[];
}
