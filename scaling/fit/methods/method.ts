/**
 * What every method of fitting is to the rest: it estimates once with all care, and again, quickly, with other weights of
 * the points, which is all that the bootstrap, the deletion of a point and the held-out error ask for.
 */
import type { BudgetOptimum, FitMethod, FitWarning } from "../../points.js";
import type { Data } from "../columns.js";
import type { Start } from "../search/huber-objective.js";

/** What a method may be told; records of numbers only, for they go to worker threads. */
export interface MethodOptions {
  readonly method: FitMethod;
  /** parametric: Huber's δ, of log loss. */
  readonly delta: number;
  /** parametric: where its search starts, instead of the 4,500. */
  readonly starts?: readonly Start[];
  readonly maxIterations: number;
  /** power, broken: what the loss is a law of. */
  readonly over: "n" | "d" | "c";
  /** power: with E. */
  readonly offset: boolean;
  /** broken: how many breaks. */
  readonly breaks: number;
  /** isoflop: budgets whose compute differs by less than this share are one. */
  readonly budgetTolerance: number;
}

/** An estimate, by parameter's name. */
export interface Estimate {
  readonly params: Readonly<Record<string, number>>;
  readonly exponents?: { readonly a: number; readonly b: number };
  readonly objective: number;
  readonly converged: boolean;
  readonly gradient?: number;
  readonly optima?: readonly BudgetOptimum[];
  readonly warnings: readonly FitWarning[];
  /** Where refits start from; each method's own. */
  readonly starts?: readonly (readonly number[])[];
  /** Standard errors that the method knows without its gradient. */
  readonly se?: Readonly<Record<string, number>>;
  /** Degrees of freedom of those. */
  readonly freedom?: number;
}

/** The random numbers of one refit: the same for the same words, whichever thread asks. */
export interface Draws {
  /** Standard normal. */
  normal(what: string, index: number): number;
}

/** A method at work on some data. */
export interface Fitter {
  /** With all its starts. @throws {RangeError} where the data cannot identify what is asked for */
  estimate(): Estimate;
  /** With weights (0: left out), from where an estimate ended; undefined where these points do not do. */
  refit(weights: Float64Array, from: Estimate): Estimate | undefined;
  /**
   * With losses redrawn about the fit: the bootstrap of methods for which a resampled budget would lack the points that its
   * curve hangs on.
   */
  redraw?(draws: Draws, from: Estimate): Estimate | undefined;
  /** ln of the predicted loss at each point of `at`; of methods that predict it. */
  predict?(params: Readonly<Record<string, number>>, at: Data): Float64Array;
  /** parametric: Huber's δ; the others' objective is a sum of squares. */
  readonly delta?: number;
}

/** Estimate's numbers that have intervals: parameters, then exponents, which isoflop and envelope have among both. */
export function named(estimate: Pick<Estimate, "params" | "exponents">): Record<string, number> {
  return { ...estimate.params, ...estimate.exponents };
}

/** What an estimate says of the end of its search of the exponents. */
export function endOf({ value, gradient, converged }: { value: number; gradient: number; converged: boolean }) {
  const stopped: FitWarning = {
    kind: "stopped-early",
    message: `The search of the exponents stopped with a gradient of ${gradient.toExponential(1)} before its minimum: these are no estimates. Raise maxIterations.`,
  };
  return { objective: value, gradient, converged, warnings: converged ? [] : [stopped] };
}
