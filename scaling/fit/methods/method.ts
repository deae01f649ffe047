/**
 * The interface of all fitting methods: a careful first estimate, and fast refits with other weights of the points, as
 * needed by the bootstrap, the deletion of points and the held-out error.
 */
import type { BudgetOptimum, FitMethod, FitWarning } from "../../points.js";
import type { Data, Over } from "../columns.js";
import type { Constraints } from "../forms/constraints.js";
import type { Start } from "../search/huber-objective.js";
import type { ResidualLoss } from "../search/residual-loss.js";
import type { ProfileOptions } from "./profiles.js";

/** Options of the methods; plain data, because they are sent to worker threads. */
export interface MethodOptions {
  readonly method: FitMethod;
  /** parametric: Huber's δ, of log loss. */
  readonly delta: number;
  /** parametric: starting points of the search, instead of the 4,500. */
  readonly starts?: readonly Start[];
  readonly maxIterations: number;
  /** power, broken: the quantity that the loss depends on. */
  readonly over: Over;
  /** power: whether the law has an offset E. */
  readonly offset: boolean;
  /** broken: number of breaks. */
  readonly breaks: number;
  /** isoflop: runs whose compute differs by less than this share belong to the same budget. */
  readonly budgetTolerance: number;
  /** Constants fixed or tied. */
  readonly constraints?: Constraints;
  /** What is minimised, as far as it differs from the method's own. */
  readonly residual?: Partial<Omit<ResidualLoss, "delta">>;
  /** isoflop: how a budget's lowest point is found; by default, a parabola through all its sizes. */
  readonly profile?: ProfileOptions;
  /** Starting points by name, instead of the law's own, for laws of forms/. */
  readonly from?: readonly Readonly<Record<string, number>>[];
}

/** An estimate, by the names of the parameters. */
export interface Estimate {
  readonly params: Readonly<Record<string, number>>;
  readonly exponents?: { readonly a: number; readonly b: number };
  readonly objective: number;
  readonly converged: boolean;
  readonly gradient?: number;
  readonly optima?: readonly BudgetOptimum[];
  readonly warnings: readonly FitWarning[];
  /** The starting point of refits; its meaning depends on the method. */
  readonly starts?: readonly (readonly number[])[];
  /** Standard errors, if the method has them without a gradient. */
  readonly se?: Readonly<Record<string, number>>;
  /** The degrees of freedom of these errors. */
  readonly freedom?: number;
}

/** The random numbers of one refit: the same for the same key, in any thread. */
export interface Draws {
  /** Standard normal. */
  normal(what: string, index: number): number;
}

/** A method applied to data. */
export interface Fitter {
  /** From all starting points. @throws {RangeError} if the data do not identify the parameters */
  estimate(): Estimate;
  /**
   * With weights (0: left out), starting from an estimate; undefined if these points do not identify the parameters.
   */
  refit(weights: Float64Array, from: Estimate): Estimate | undefined;
  /**
   * With losses drawn anew about the fit: the bootstrap of methods whose curves would lack essential points if points
   * were resampled.
   */
  redraw?(draws: Draws, from: Estimate): Estimate | undefined;
  /** ln of the predicted loss at each point of `at`, for methods that predict losses. */
  predict?(params: Readonly<Record<string, number>>, at: Data): Float64Array;
  /** What is minimised; without it, a sum of squares of ln L. */
  readonly residual?: ResidualLoss;
  /** The free constants, those that are tied together in one group; without it, each is free by itself. */
  readonly free?: readonly (readonly string[])[];
}

/** The numbers of an estimate with intervals: parameters and exponents (isoflop and envelope have a and b as both). */
export function named(estimate: Pick<Estimate, "params" | "exponents">): Record<string, number> {
  return { ...estimate.params, ...estimate.exponents };
}

/** A warning if the search of the exponents ended before the minimum. */
export function endOf({ value, gradient, converged }: { value: number; gradient: number; converged: boolean }) {
  const stopped: FitWarning = {
    kind: "stopped-early",
    message: `The search of the exponents stopped with a gradient of ${gradient.toExponential(1)} before the minimum, so these are not estimates. Raise maxIterations.`,
  };
  return { objective: value, gradient, converged, warnings: converged ? [] : [stopped] };
}
