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
  /** Loss, nats per token. */
  readonly loss: number;
  /** Training FLOPs, C; 6ND where it is missing. */
  readonly c?: number;
  /** The run that the point is of: points of one run are correlated, and are drawn together by the bootstrap. */
  readonly group?: string;
  /** Tokens that the training had, each seen D / unique times; D where it is missing. */
  readonly unique?: number;
  /** How N was counted, and how C: names of conventions.ts. A fit warns where points do not agree. */
  readonly nConvention?: string;
  readonly flopsConvention?: string;
  /** The share of the steps in which the learning rate still rose. */
  readonly warmupShare?: number;
  /** The last learning rate by the highest: 0 where it decayed to the end. */
  readonly finalLrRatio?: number;
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

/**
 * parametric: approach 3, Huber on log loss; projection: approach 3, least squares by variable projection; isoflop:
 * approach 2; envelope: approach 1; kaplan: Kaplan's L(N, D); power: y = E + A·x^−α; repeated: Muennighoff's law; broken: Caballero's.
 */
export type FitMethod =
  | "parametric"
  | "projection"
  | "isoflop"
  | "envelope"
  | "kaplan"
  | "power"
  | "repeated"
  | "broken";

/** How well the law that the smaller budgets give predicts the largest ones, which it has not seen. */
export interface Holdout {
  /** How many points were held out. */
  readonly points: number;
  /** The largest compute held out by the largest fitted. */
  readonly factor: number;
  /** Of ln(predicted / measured loss): root mean square, mean, and the largest in absolute value. */
  readonly rms: number;
  readonly bias: number;
  readonly largest: number;
}

/** What a grid's width does to approach 2 without any noise, on the surface fitted to the same points; shares (.01 = 1 %). */
export interface ParabolaBias {
  /** Of the optimal N and D at the largest budget. */
  readonly n: number;
  readonly d: number;
  /** Of the exponents, absolute. */
  readonly a: number;
  readonly b: number;
}

/** Estimates' covariance, rows and columns in the order of `names`. */
export interface Covariance {
  readonly names: readonly string[];
  readonly matrix: readonly (readonly number[])[];
}

/** How the points of a fit counted. */
export interface Counting {
  /** Names of conventions.ts, where the points say them and agree. */
  readonly parameters?: string;
  readonly flops?: string;
  /** C / (N·D), the points' median: 6 where C is 6ND. Optima at a budget are of a C that is counted like this. */
  readonly flopsPerProduct: number;
}

/** A fit of any method. Intervals are by parameter's name; exponents' names are `a` (N ∝ C^a) and `b` (D ∝ C^b). */
export interface Fit {
  readonly method: FitMethod;
  readonly params: Readonly<Record<string, number>>;
  /** Of the optimum: N ∝ C^a, D ∝ C^b; of methods that have one. */
  readonly exponents?: { readonly a: number; readonly b: number };
  /** The objective at the minimum: Σ Huber of log loss, or the method's sum of squares. */
  readonly huberSum: number;
  /** The optimizer reached a minimum, and none lower is known. */
  readonly converged: boolean;
  /** Standard errors: what the intervals are made of, or, where refits make them, the error that goes with ci80. */
  readonly se: Readonly<Record<string, number>>;
  readonly ci80: Readonly<Record<string, Interval>>;
  readonly ci95: Readonly<Record<string, Interval>>;
  /** How many points were fitted. */
  readonly points: number;
  /** Points left out, as indices of the input. */
  readonly dropped: readonly number[];
  /** For each fitted point: how far leaving it out moves exponent a (or the law's exponent), in standard errors; empty of more than 5,000 points. */
  readonly influence: readonly number[];
  readonly warnings: readonly FitWarning[];
  /** A row per budget, of isoflop and envelope. */
  readonly optima?: readonly BudgetOptimum[];
  /** Where the intervals are from: refits of resampled points, or the covariance and Student's t. */
  readonly intervals: "bootstrap" | "covariance";
  /** The sandwich, by clusters where points share a run. */
  readonly covariance?: Covariance;
  /** The largest component of the objective's gradient at the end, in the scaled coordinates of the search. */
  readonly gradient?: number;
  /** ln(predicted / measured loss), for each fitted point; of methods that predict losses. */
  readonly residuals?: readonly number[];
  /** Smallest and largest of the fitted points: beyond them a law extrapolates. */
  readonly range: { readonly n: Interval; readonly d: Interval; readonly c: Interval };
  readonly counting?: Counting;
  readonly holdout?: Holdout;
  /** Of isoflop. */
  readonly bias?: ParabolaBias;
  /** Each bootstrap refit's parameters and exponents; of isoflop without the parabola's bias. */
  readonly bootstrap?: readonly Readonly<Record<string, number>>[];
}
