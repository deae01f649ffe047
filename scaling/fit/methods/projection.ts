/** Approach 3 by variable projection, as a method. */
import { surfaceExponents } from "../../laws.js";
import type { Data } from "../columns.js";
import { createProjection, type Projected } from "../search/variable-projection.js";
import { type Estimate, endOf, type Fitter, type MethodOptions } from "./method.js";
import { predictSurface } from "./parametric.js";

export function projectionFitter(data: Data, { maxIterations }: MethodOptions): Fitter {
  const projection = createProjection(data, data.lnN, data.lnD);
  return {
    estimate: () => toEstimate(projection.fit({ maxIterations })),
    refit: (weights, { params }) =>
      toEstimate(projection.fit({ weights, from: [params.alpha!, params.beta!], maxIterations })),
    predict: predictSurface,
  };
}

function toEstimate({ value, gradient, converged, ...params }: Projected): Estimate {
  return { params, exponents: surfaceExponents(params), ...endOf({ value, gradient, converged }) };
}
