/** The options of a fit, and their defaults. */
import type { FitMethod } from "../points.js";
import type { MethodOptions } from "./methods/method.js";
import { defaultDelta, type Start } from "./search/huber-objective.js";

/** Options of a fit; each has a default. */
export interface FitOptions {
  /** Default: parametric. */
  readonly method?: FitMethod;
  /** Leaves out this many points of the highest loss (Besiroglu 2024 leaves out 5 of 245). */
  readonly dropHighest?: number;
  /** Number of bootstrap refits; with 0, the default, intervals come from the covariance. */
  readonly bootstrap?: number;
  /** Seed of the resampling; default 1337. */
  readonly seed?: number;
  /** Worker threads of the bootstrap; default: one per core. */
  readonly threads?: number;
  /** Called now and then while a long bootstrap runs, with the number of refits that are done. */
  readonly onProgress?: (done: number, refits: number) => void;
  /** parametric: δ of Huber's loss; default 1e-3. 1e-6 gives the figures of Besiroglu, who scale δ by the noise. */
  readonly delta?: number;
  /** parametric: starting points of the search, instead of Chinchilla's 4,500. */
  readonly starts?: readonly Start[];
  /** Per search; default 300. If there are too few, `converged` is false. */
  readonly maxIterations?: number;
  /** power, broken: the quantity that the loss depends on; default c. */
  readonly over?: "n" | "d" | "c";
  /** power: whether the law has an offset E; default true. */
  readonly offset?: boolean;
  /** broken: number of breaks; default 1. */
  readonly breaks?: number;
  /** isoflop: runs whose compute differs by less than this share belong to the same budget; default .1. */
  readonly budgetTolerance?: number;
  /** Constants with a given value, by name, such as { E: 1.7 }. For the laws that are fitted under any objective. */
  readonly fix?: Readonly<Record<string, number>>;
  /** Groups of constants with one common value, such as [["alpha", "beta"]]. */
  readonly tie?: readonly (readonly string[])[];
  /** What is minimised; by default the method's own: Huber's loss for parametric and muennighoff, else squares. */
  readonly objective?: "huber" | "squared";
  /** Residuals of ln L (log) or of L (linear); by default the method's own: linear for gadre, else log. */
  readonly scale?: "log" | "linear";
  /** The expectile τ that the law is to follow, between 0 and 1; ½, the default, is symmetric. */
  readonly asymmetry?: number;
  /** Starting points by name, instead of the law's own, for laws fitted under any objective. */
  readonly from?: readonly Readonly<Record<string, number>>[];
  /** isoflop: parabolas (the default), or Akima's interpolation, which needs `seedNoise` or errors of the points. */
  readonly curve?: "parabola" | "akima";
  /** isoflop: only sizes between N / window and N·window are used, where N has a budget's lowest loss. */
  readonly window?: number;
  /** isoflop: the standard deviation of the loss between seeds, in nats. */
  readonly seedNoise?: number;
  /** With false, the influence of points and the error on the largest budget are not computed; true by default. */
  readonly diagnostics?: boolean;
  /** The compute that the fit will be used for: if it is far beyond the points, there is a warning. */
  readonly budgetFlops?: number;
}

/** The options of the method, with defaults. */
export function complete(options: FitOptions): MethodOptions {
  const { method = "parametric", delta = defaultDelta, maxIterations = 300, starts } = options;
  const { over = "c", offset = true, breaks = 1, budgetTolerance = 0.1 } = options;
  const { fix, tie, objective, scale, asymmetry, from, curve = "parabola", window, seedNoise } = options;
  const residual = {
    ...(objective !== undefined && { loss: objective }),
    ...(scale !== undefined && { scale }),
    ...(asymmetry !== undefined && { asymmetry }),
  };
  return {
    ...{ method, delta, maxIterations, over, offset, breaks, budgetTolerance, residual },
    profile: { curve, ...(window !== undefined && { window }), ...(seedNoise !== undefined && { seedNoise }) },
    constraints: { ...(fix && { fix }), ...(tie && { tie }) },
    ...(starts && { starts }),
    ...(from && { from }),
  };
}
