/**
 * The fitter of a form under any objective, with constants fixed or tied: BFGS from every start, then Newton's method
 * with second derivatives from differences of the exact gradient. It has converged if the predicted further improvement
 * is negligible, and no lower minimum was found from the form's own starts.
 */
import type { FitWarning } from "../../points.js";
import type { Data } from "../columns.js";
import type { Estimate, Fitter, MethodOptions } from "../methods/method.js";
import { cholesky, choleskySolve, dot } from "../search/cholesky.js";
import { scaleOf } from "../search/huber-objective.js";
import { createMinimizer, type Objective } from "../search/quasi-newton.js";
import { type ResidualLoss, rho, rhoSlope } from "../search/residual-loss.js";
import { checkConstraints, type FreeMap, freeMap, groupsOf } from "./constraints.js";
import { type Form, type FormOf, inward, outward } from "./form.js";

/** Ends of rough searches that are refined, and the iterations of each rough search. */
const refined = 4;
const roughIterations = 60;
/** The predicted further improvement, as a share of the objective, below which the search is at a minimum. */
const negligible = 1e-9;
/** Minima with values this close are the same. */
const same = 1e-7;
/** The step of the differences of gradients, in coordinates in which a step of 1 changes losses by their own size. */
const step = 1e-5;

/** The objective in the free coordinates, divided by a constant that makes its values about 1 for a bad fit. */
interface FreeObjective extends Required<Objective> {
  weigh(weights?: Float64Array): void;
  /** Undoes the division. */
  sum(value: number): number;
}

function objectiveOf(data: Data, form: Form, map: FreeMap, residual: ResidualLoss): FreeObjective {
  const theta = new Float64Array(form.names.length);
  const ofTheta = new Float64Array(form.names.length);
  const total = new Float64Array(form.names.length);
  const [high, low] = [new Float64Array(map.size), new Float64Array(map.size)];
  const { spread } = scaleOf(residual.scale === "log" ? data.lnLoss : data.loss);
  const unit = residual.loss === "huber" ? residual.delta : spread ** 2;
  let weights = data.weight;
  let scale = 1;

  function evaluate(x: Float64Array, gradient: Float64Array): number {
    map.expand(x, theta);
    total.fill(0);
    let value = 0;
    for (let i = 0; i < data.size; i++) {
      const w = weights[i]!;
      if (w === 0) continue;
      const loss = form.lossAt(i, theta, ofTheta);
      const log = residual.scale === "log";
      const r = log ? Math.log(loss) - data.lnLoss[i]! : loss - data.loss[i]!;
      value += w * rho(r, residual);
      const pull = (w * rhoSlope(r, residual)) / (log ? loss : 1);
      for (let k = 0; k < total.length; k++) total[k]! += pull * ofTheta[k]!;
    }
    for (let k = 0; k < total.length; k++) total[k]! *= scale;
    map.contract(total, gradient);
    return value * scale;
  }

  return {
    size: map.size,
    weigh(drawn) {
      weights = drawn ? data.weight.map((weight, i) => weight * drawn[i]!) : data.weight;
      scale = 1 / (unit * weights.reduce((sum, weight) => sum + weight, 0));
    },
    sum: (value) => value / scale,
    evaluate,
    evaluateSecond(x, gradient, hessian) {
      for (let j = 0; j < map.size; j++) {
        const at = x[j]!;
        x[j] = at + step;
        evaluate(x, high);
        x[j] = at - step;
        evaluate(x, low);
        x[j] = at;
        for (let k = 0; k < map.size; k++) hessian[j * map.size + k] = (high[k]! - low[k]!) / (2 * step);
      }
      for (let j = 0; j < map.size; j++) {
        for (let k = 0; k < j; k++) {
          const mean = (hessian[j * map.size + k]! + hessian[k * map.size + j]!) / 2;
          hessian[j * map.size + k] = mean;
          hessian[k * map.size + j] = mean;
        }
      }
      return evaluate(x, gradient);
    },
  };
}

interface End {
  readonly x: Float64Array;
  readonly value: number;
  /** The predicted further improvement divided by the value; Infinity if this is not a minimum. */
  readonly left: number;
}

/** The options of a fit by form. */
export interface FormOptions extends Pick<MethodOptions, "maxIterations" | "constraints" | "from"> {
  readonly residual: ResidualLoss;
}

/**
 * @throws {RangeError} for constraints that the law cannot have
 */
export function formFitter(data: Data, formOf: FormOf, options: FormOptions): Fitter {
  const { residual, maxIterations, constraints = {}, from } = options;
  const form = formOf(data);
  checkConstraints(form, constraints);
  const map = freeMap(form, constraints);
  const objective = objectiveOf(data, form, map, residual);
  const minimizer = createMinimizer(map.size);

  /** From x to the minimum: BFGS, then Newton. */
  function descend(start: Float64Array): End {
    const x = start.slice();
    minimizer.descend(objective, x, { tolerance: 1e-7, maxIterations });
    const { value } = minimizer.polish(objective, x, { tolerance: 1e-13, maxIterations: Math.min(100, maxIterations) });
    return { x, value, left: improvement(objective, x, value) };
  }

  function roughly(starts: readonly Float64Array[]): Float64Array[] {
    const ends = starts.flatMap((start) => {
      const x = start.slice();
      const { value } = minimizer.descend(objective, x, {
        tolerance: 1e-5,
        maxIterations: Math.min(roughIterations, maxIterations),
      });
      return Number.isFinite(value) ? [{ x, value }] : [];
    });
    ends.sort((one, other) => one.value - other.value);
    return ends.slice(0, refined).map(({ x }) => x);
  }

  function lowest(starts: readonly Float64Array[]): End | undefined {
    const ends = roughly(starts)
      .map(descend)
      .filter(({ value }) => Number.isFinite(value));
    return ends.reduce<End | undefined>((best, end) => (best && best.value <= end.value ? best : end), undefined);
  }

  const startsOf = (params: readonly Readonly<Record<string, number>>[]) =>
    params.map((start) => map.inward(inward(form, start)));

  function toEstimate({ x, value, left }: End, missed?: End): Estimate {
    const theta = new Float64Array(form.names.length);
    map.expand(x, theta);
    const params = { ...outward(form, theta), ...constraints.fix };
    const converged = (left < negligible || objective.sum(value) < 1e-20 * data.size) && missed === undefined;
    const exponents = form.exponents?.(params);
    return {
      params,
      ...(exponents ? { exponents } : {}),
      objective: objective.sum(value),
      gradient: left,
      converged,
      warnings: missed ? [missedMinimum(objective, value, missed)] : converged ? [] : [stoppedEarly(left)],
      starts: [[...x]],
    };
  }

  return {
    estimate() {
      objective.weigh();
      const own = lowest(startsOf(form.starts()));
      if (!own) throw new RangeError(nowhere);
      if (!from) return toEstimate(own);
      const given = lowest(startsOf(from));
      if (!given) throw new RangeError(nowhere);
      return toEstimate(given, own.value < given.value * (1 - same) - 1e-20 ? own : undefined);
    },
    refit(weights, { starts }) {
      objective.weigh(weights);
      const end = descend(Float64Array.from(starts![0]!));
      return Number.isFinite(end.value) ? toEstimate(end) : undefined;
    },
    predict(params, at) {
      const there = at === data ? form : formOf(at);
      const theta = inwardExactly(there, params);
      return Float64Array.from(at.lnN, (_, i) => Math.log(there.lossAt(i, theta)));
    },
    residual,
    free: groupsOf(form.names, constraints),
  };
}

const nowhere = "Cannot fit: the objective is not a number at any start; check the columns for extreme values.";

/** Coordinates for predictions, where constants may also be 0. */
function inwardExactly({ names, positive }: Form, params: Readonly<Record<string, number>>): Float64Array {
  return Float64Array.from(names, (name) => (positive.has(name) ? Math.log(params[name]!) : params[name]!));
}

/** ½·gᵀH⁻¹g, what a Newton step would still gain, divided by the value; Infinity if H has no minimum there. */
function improvement(objective: FreeObjective, x: Float64Array, value: number): number {
  const { size } = objective;
  const [gradient, hessian] = [new Float64Array(size), new Float64Array(size * size)];
  objective.evaluateSecond(x, gradient, hessian);
  // A term at its bound of 0 has no curvature.
  const most = hessian.reduce((high, entry) => Math.max(high, Math.abs(entry)), 0);
  for (let k = 0; k < size; k++) hessian[k * (size + 1)]! += 1e-11 * most;
  if (!cholesky(hessian, size)) return Number.POSITIVE_INFINITY;
  const solved = gradient.slice();
  choleskySolve(hessian, size, solved);
  return (0.5 * dot(gradient, solved)) / Math.max(value, 1e-300);
}

function stoppedEarly(left: number): FitWarning {
  const found = Number.isFinite(left)
    ? `a further step would still lower the objective by ${(100 * left).toPrecision(2)} %`
    : "the objective is not curved upwards there";
  return {
    kind: "stopped-early",
    message: `The search ended before the minimum (${found}), so these are not estimates. Raise maxIterations, or fix or tie constants that the points do not determine.`,
  };
}

function missedMinimum(objective: FreeObjective, value: number, { value: lower }: End): FitWarning {
  return {
    kind: "missed-minimum",
    message: `The search from the given starts ended at an objective of ${objective.sum(value).toPrecision(6)}, but ${objective.sum(lower).toPrecision(6)} is reached from the law's own starts: leave out the starts.`,
  };
}
