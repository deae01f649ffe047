/**
 * The records that the parts of scaling/ exchange: points (finished trainings), fits and warnings. sweep.ts makes
 * points of runs, fit.ts makes fits of points, figures.ts draws both. Notebook 08-scaling-laws shows them.
 */

/** A finished training: one point of L(N, D), with the conventions (conventions.ts) of its N and C. */
export interface Point {
  /** Parameters, N. */
  readonly n: number;
  /** Training tokens, D. */
  readonly d: number;
  /** Loss, nats per token. */
  readonly loss: number;
  /** Training FLOPs, C; 6ND if missing. */
  readonly c?: number;
  /** The run of the point. Points of one run are correlated, so the bootstrap draws them together. */
  readonly group?: string;
  /** The weight of the point in a fit, relative to the others; 1 if missing. */
  readonly weight?: number;
  /** The standard error of the loss, in nats: the point weighs 1 / error². */
  readonly error?: number;
  /** Unique tokens, each seen D / unique times; D if missing. */
  readonly unique?: number;
  /** The conventions of N and C (names in conventions.ts). A fit gives a warning if points differ. */
  readonly nConvention?: string;
  readonly flopsConvention?: string;
  /** The share of the steps with warm-up. */
  readonly warmupShare?: number;
  /** The last learning rate divided by the highest: 0 if it decayed to 0. */
  readonly finalLrRatio?: number;
}

export type Interval = readonly [low: number, high: number];

/** The units of a loss: per token, or the perplexity e^loss. */
export type LossUnit = "nats" | "bits" | "ppl";

/** A warning about a fit. */
export interface FitWarning {
  /** For programs, in kebab case, such as `one-d-per-n`. */
  readonly kind: string;
  /** For people: what was found and what to do. */
  readonly message: string;
}

/** The optimum of a budget: a vertex (approach 2) or a point of the envelope (approach 1). */
export interface BudgetOptimum {
  readonly c: number;
  readonly n: number;
  readonly d: number;
  readonly loss: number;
  /** The standard error of ln N*, where the noise between seeds is known. */
  readonly nError?: number;
  /** Intervals of N* and of the loss there. */
  readonly ci80?: Readonly<Record<"n" | "loss", Interval>>;
  readonly ci95?: Readonly<Record<"n" | "loss", Interval>>;
}

/**
 * parametric: approach 3, Huber on log loss; projection: approach 3, least squares by variable projection; isoflop:
 * approach 2; envelope: approach 1; kaplan: Kaplan's L(N, D); power: y = E + A·x^−α; repeated: Muennighoff's law of
 * repeated tokens;
 * muennighoff: the same law with the discount of excess parameters; gadre: Gadre's law of over-training; broken:
 * Caballero's.
 */
export const fitMethods = [
  "parametric",
  "projection",
  "isoflop",
  "envelope",
  "kaplan",
  "power",
  "repeated",
  "muennighoff",
  "gadre",
  "broken",
] as const;
export type FitMethod = (typeof fitMethods)[number];

/** How well the law, fitted without the largest budget, predicts that budget. */
export interface Holdout {
  /** Number of held-out points. */
  readonly points: number;
  /** The largest held-out compute divided by the largest fitted one. */
  readonly factor: number;
  /** Of ln(predicted / measured loss): root mean square, mean, and largest absolute value. */
  readonly rms: number;
  readonly bias: number;
  readonly largest: number;
}

/** The bias of approach 2 due to the width of the grid, on the surface fitted to the same points (.01 is 1 %). */
export interface ParabolaBias {
  /** Of the optimal N and D at the largest budget. */
  readonly n: number;
  readonly d: number;
  /** Of the exponents, as absolute differences. */
  readonly a: number;
  readonly b: number;
}

/** The covariance of the estimates; rows and columns are in the order of `names`. */
export interface Covariance {
  readonly names: readonly string[];
  readonly matrix: readonly (readonly number[])[];
}

/** L*(C) = E + A·C^−alpha through the vertices of the budgets. */
export interface OptimalLoss extends Pick<Fit, "params" | "se" | "ci80" | "ci95" | "converged"> {}

/** How far ln L of single runs is from a law. */
export interface Scatter {
  /** The slope of ln of the scatter in ln C; 0 if it does not change significantly. */
  readonly slope: number;
  /** The mean of ln C of the fitted points, and its range, beyond which the scatter does not change. */
  readonly center?: number;
  readonly ends?: Interval;
  /** The half-widths that hold 80 and 95 % of the runs, at the centre. */
  readonly ci80: number;
  readonly ci95: number;
}

/** The conventions of a fit's points. */
export interface Counting {
  /** Names in conventions.ts, if the points have them and agree. */
  readonly parameters?: string;
  readonly flops?: string;
  /** The median C / (N·D) of the points: 6 if C is 6ND. Budgets of optima are counted in the same way. */
  readonly flopsPerProduct: number;
}

/** A fit by any method. Intervals are keyed by the names of the parameters and of the exponents a and b. */
export interface Fit {
  readonly method: FitMethod;
  readonly params: Readonly<Record<string, number>>;
  /** Exponents of the optimum, N ∝ C^a and D ∝ C^b, for methods that have one. */
  readonly exponents?: { readonly a: number; readonly b: number };
  /** The objective at the minimum: Σ Huber of log loss, or the method's sum of squares. */
  readonly huberSum: number;
  /** Whether the optimizer reached a minimum and no lower one is known. */
  readonly converged: boolean;
  /** Standard errors: the basis of the intervals, or, if these come from refits, the errors corresponding to ci80. */
  readonly se: Readonly<Record<string, number>>;
  readonly ci80: Readonly<Record<string, Interval>>;
  readonly ci95: Readonly<Record<string, Interval>>;
  /** Number of fitted points. */
  readonly points: number;
  /** Points left out, as indices of the input. */
  readonly dropped: readonly number[];
  /**
   * For each fitted point: the change of exponent a (or of the law's exponent) without it, in standard errors; empty
   * for more than 5,000 points.
   */
  readonly influence: readonly number[];
  readonly warnings: readonly FitWarning[];
  /** One per budget, for isoflop and envelope. */
  readonly optima?: readonly BudgetOptimum[];
  /** isoflop: the law of the lowest losses, through the vertices. */
  readonly optimalLoss?: OptimalLoss;
  /** The source of the intervals: refits of resampled points, or the covariance and Student's t. */
  readonly intervals: "bootstrap" | "covariance";
  /** The sandwich covariance, by clusters if points share a run. */
  readonly covariance?: Covariance;
  /** The largest component of the objective's gradient at the end of the search, in scaled coordinates. */
  readonly gradient?: number;
  /** ln(predicted / measured loss) for each fitted point, for methods that predict losses. */
  readonly residuals?: readonly number[];
  /** The scatter of single runs about the law, for methods that predict losses. */
  readonly scatter?: Scatter;
  /** The unit in which a table's losses were read; all numbers of the fit are in nats. */
  readonly lossUnit?: LossUnit;
  /** The range of the fitted points; beyond it, a law extrapolates. */
  readonly range: { readonly n: Interval; readonly d: Interval; readonly c: Interval };
  readonly counting?: Counting;
  /** N, D and C of each fitted point, with its unique tokens and its weight, if it has any. */
  readonly trainings?: readonly Omit<Point, "loss">[];
  /** power, broken: the quantity that the loss depends on. */
  readonly over?: "n" | "d" | "c";
  /** Constants that were fixed or tied. */
  readonly constraints?: {
    readonly fix?: Readonly<Record<string, number>>;
    readonly tie?: readonly (readonly string[])[];
  };
  /** isoflop: how the lowest points were found, if not by parabolas through all sizes. */
  readonly profile?: { readonly curve: "parabola" | "akima"; readonly window?: number; readonly seedNoise?: number };
  /** What was minimised, if this is not the method's own on ln L. */
  readonly objective?: {
    readonly loss: "huber" | "squared";
    readonly scale: "log" | "linear";
    readonly delta: number;
    readonly asymmetry: number;
  };
  readonly holdout?: Holdout;
  /** For isoflop. */
  readonly bias?: ParabolaBias;
  /** Parameters and exponents of each bootstrap refit; for isoflop, corrected for the bias of the parabolas. */
  readonly bootstrap?: readonly Readonly<Record<string, number>>[];
}
