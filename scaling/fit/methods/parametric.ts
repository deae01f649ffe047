/**
 * Approach 3 as in the Chinchilla paper: the objective of huber-objective.ts, minimised from a grid of 4,500 starts by
 * BFGS and then by Newton's method. The result is compared with that of the projection, which needs no starts, to
 * detect a search that missed the minimum (as Besiroglu 2024 did for Hoffmann's fit).
 */
import { surfaceExponents } from "../../laws.js";
import type { FitWarning } from "../../points.js";
import type { Data } from "../columns.js";
import { chinchillaStarts, searchFrom } from "../search/chinchilla-starts.js";
import { type HuberObjective, huberObjective, type Start } from "../search/huber-objective.js";
import { createMinimizer, type Minimum } from "../search/quasi-newton.js";
import type { ResidualLoss } from "../search/residual-loss.js";
import { createProjection, type Projected } from "../search/variable-projection.js";
import type { Estimate, Fitter, MethodOptions } from "./method.js";

/** Of the scaled gradient, where the rounding of residuals is about 1e-13. */
const tolerance = 1e-9;
/** Minima with values this close are the same. */
const same = 1e-7;

export function parametricFitter(data: Data, options: MethodOptions): Fitter {
  const objective = huberObjective(data, options.delta);
  const minimizer = createMinimizer(5);
  const projection = createProjection(data, data.lnN, data.lnD);

  /** BFGS, then Newton, with at most `maxIterations` iterations. */
  function finish(theta: Float64Array, maxIterations: number): Minimum {
    const rough = minimizer.descend(objective, theta, { tolerance: 1e-5, maxIterations });
    if (rough.gradient > 1e-5 && rough.iterations >= maxIterations) return rough;
    const fine = minimizer.polish(objective, theta, { tolerance, maxIterations: 100 });
    return { ...fine, iterations: rough.iterations + fine.iterations };
  }

  function lowestOf(thetas: readonly Float64Array[], maxIterations: number): { theta: Float64Array; found: Minimum } {
    let best: { theta: Float64Array; found: Minimum } | undefined;
    for (const theta of thetas) {
      const found = finish(theta, maxIterations);
      if (!best || found.value < best.found.value) best = { theta, found };
    }
    return best!;
  }

  function estimate(): Estimate {
    objective.weigh(sampleOf(data.size));
    const { maxIterations } = options;
    const searched = searchFrom(options.starts ?? chinchillaStarts(), objective, minimizer, maxIterations);
    objective.weigh();
    if (searched.length === 0) throw new RangeError(nowhere);
    const lowest = searched[0]!;
    // Newton steps after a search that was cut short would hide this fact.
    const thetas = lowest.stopped ? [] : searched.map(({ theta }) => theta);
    const { theta, found } = thetas.length > 0 ? lowestOf(thetas, 500) : { theta: lowest.theta, found: lowest.end };
    const check = lowestOf([inward(objective, projection.fit())], 500);
    const missed = check.found.value < found.value * (1 - same) - 1e-12;
    const early = !(found.gradient <= tolerance) && !atRounding(found);
    return toEstimate(objective, theta, found, {
      converged: !missed && !early,
      warnings: [...(early ? [stoppedEarly(found)] : []), ...(missed ? [missedMinimum(objective, found, check)] : [])],
      others: searched.slice(1).map((other) => other.theta),
    });
  }

  function refit(weights: Float64Array, from: Estimate): Estimate | undefined {
    objective.weigh(weights);
    const projected = projection.fit({ weights, from: [from.params.alpha!, from.params.beta!] });
    const starts = from.starts!.map((start) => Float64Array.from(start));
    const { theta, found } = lowestOf([...starts.slice(0, 1), inward(objective, projected)], 200);
    const made = toEstimate(objective, theta, found, { converged: found.gradient <= 1e-6, warnings: [], others: [] });
    return made;
  }

  return { estimate, refit, predict: predictSurface, residual: chinchillaLoss(options.delta) };
}

/** Hoffmann's objective. */
export const chinchillaLoss = (delta: number): ResidualLoss => ({
  loss: "huber",
  scale: "log",
  delta,
  asymmetry: 0.5,
});

/** The most points that the search from all starts uses, an even selection of them; later steps use all points. */
const mostSearched = 5000;

function sampleOf(size: number): Float64Array | undefined {
  if (size <= mostSearched) return undefined;
  const stride = Math.ceil(size / mostSearched);
  return Float64Array.from({ length: size }, (_, i) => (i % stride === 0 ? 1 : 0));
}

const nowhere = "Cannot fit: the objective is not a number at any start; check the columns for extreme values.";

/** Data without noise have their minimum at 0, where values and gradients are only rounding errors. */
function atRounding({ value, gradient }: Minimum): boolean {
  return value < 1e-9 && gradient < 1e-6;
}

function inward(objective: HuberObjective, { E, A, B, alpha, beta }: Projected): Float64Array {
  // A term at its bound of 0 has no logarithm; e^−20 times the others is small enough.
  const ln = (value: number) => Math.log(Math.max(value, 1e-9));
  return objective.inward([ln(A), ln(B), ln(E), alpha, beta]);
}

function toEstimate(
  objective: HuberObjective,
  theta: Float64Array,
  found: Minimum,
  { converged, warnings, others }: { converged: boolean; warnings: FitWarning[]; others: Float64Array[] },
): Estimate {
  const [a, b, e, alpha, beta]: Start = objective.outward(theta);
  return {
    params: { E: Math.exp(e), A: Math.exp(a), B: Math.exp(b), alpha, beta },
    exponents: surfaceExponents({ alpha, beta }),
    objective: objective.sum(found.value),
    gradient: found.gradient,
    converged,
    warnings,
    starts: [theta, ...others].map((start) => [...start]),
  };
}

function stoppedEarly({ iterations, gradient }: Minimum): FitWarning {
  return {
    kind: "stopped-early",
    message:
      `The optimizer stopped after ${iterations} iterations with a gradient of ${gradient.toExponential(1)} where ` +
      `${tolerance} is the limit for a minimum, so these are not estimates. Raise maxIterations.`,
  };
}

function missedMinimum(
  objective: HuberObjective,
  found: Minimum,
  check: { theta: Float64Array; found: Minimum },
): FitWarning {
  const [, , e, alpha, beta] = objective.outward(check.theta);
  return {
    kind: "missed-minimum",
    message:
      `The search from the starts ended at an objective of ${objective.sum(found.value).toPrecision(6)}, but ` +
      `${objective.sum(check.found.value).toPrecision(6)} is reached at E ${Math.exp(e).toPrecision(4)}, ` +
      `alpha ${alpha.toPrecision(4)}, beta ${beta.toPrecision(4)}: use the full grid of starts.`,
  };
}

/** ln(E + A·N^−α + B·D^−β). */
export function predictSurface(params: Readonly<Record<string, number>>, at: Data): Float64Array {
  const { E, A, B, alpha, beta } = params as { E: number; A: number; B: number; alpha: number; beta: number };
  return at.lnN.map((lnN, i) => Math.log(E + A * Math.exp(-alpha * lnN) + B * Math.exp(-beta * at.lnD[i]!)));
}
