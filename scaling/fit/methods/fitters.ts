/** The methods by name. */

import type { Data } from "../columns.js";
import { isFree } from "../forms/constraints.js";
import { formFitter } from "../forms/fit-form.js";
import type { FormOf } from "../forms/form.js";
import { muennighoffForm } from "../forms/muennighoff.js";
import { overTrainingForm } from "../forms/over-training.js";
import { powerForm } from "../forms/power.js";
import { surfaceForm } from "../forms/surface.js";
import type { ResidualLoss } from "../search/residual-loss.js";
import { brokenFitter } from "./broken.js";
import { envelopeFitter } from "./envelope.js";
import { isoflopFitter } from "./isoflop.js";
import { kaplanFitter } from "./kaplan.js";
import type { Fitter, MethodOptions } from "./method.js";
import { parametricFitter } from "./parametric.js";
import { powerFitter } from "./power.js";
import { projectionFitter } from "./projection.js";
import { repeatedFitter } from "./repeated.js";

type Own = Omit<ResidualLoss, "delta">;

const huber: Own = { loss: "huber", scale: "log", asymmetry: 0.5 };
const squared: Own = { loss: "squared", scale: "log", asymmetry: 0.5 };

/** The laws that can be fitted under any objective and with constraints, and their own objectives. */
const forms: Partial<
  Record<MethodOptions["method"], { readonly own: Own; readonly form: (options: MethodOptions) => FormOf }>
> = {
  parametric: { own: huber, form: () => surfaceForm },
  projection: { own: squared, form: () => surfaceForm },
  power: {
    own: squared,
    form:
      ({ over }) =>
      (data) =>
        powerForm(data, over),
  },
  muennighoff: { own: huber, form: () => muennighoffForm },
  gadre: { own: { ...squared, scale: "linear" }, form: () => overTrainingForm },
};

/** Whether a fit has constants fixed or tied, or an objective other than its method's. */
export const isAdapted = ({ constraints = {}, residual = {}, from }: MethodOptions): boolean =>
  !isFree(constraints) || Object.keys(residual).length > 0 || from !== undefined;

/** What a method minimises; undefined for methods that are not fits of one law. */
export function residualOf(options: MethodOptions): ResidualLoss | undefined {
  const found = forms[options.method];
  return found && { ...found.own, ...options.residual, delta: options.delta };
}

/**
 * The fitter of a method.
 * @throws {RangeError} for constraints or an objective that the method cannot have
 */
export function createFitter(data: Data, options: MethodOptions): Fitter {
  const residual = residualOf(options);
  const form = forms[options.method];
  if (form && residual && (isAdapted(options) || options.method === "muennighoff" || options.method === "gadre")) {
    const { loss, scale, asymmetry } = residual;
    if (options.method === "power" && !options.offset) throw new RangeError(withoutOffset);
    if (!(asymmetry > 0 && asymmetry < 1)) {
      throw new RangeError(`Cannot fit: the asymmetry is ${asymmetry}; it must be between 0 and 1.`);
    }
    return formFitter(data, form.form(options), {
      ...options,
      residual: { loss, scale, asymmetry, delta: options.delta },
    });
  }
  if (isAdapted(options)) {
    const able = Object.keys(forms).join(", ");
    throw new RangeError(
      `Cannot fix or tie constants, or choose an objective, for the method ${options.method}: it is not a fit of one law under any objective; use one of ${able}.`,
    );
  }
  return plainFitter(data, options);
}

const withoutOffset =
  "Cannot fix or tie constants of a power law without an offset: it is a straight line in logarithms; leave out --offset false.";

function plainFitter(data: Data, options: MethodOptions): Fitter {
  switch (options.method) {
    case "parametric":
      return parametricFitter(data, options);
    case "projection":
      return projectionFitter(data, options);
    case "isoflop":
      return isoflopFitter(data, options);
    case "envelope":
      return envelopeFitter(data);
    case "kaplan":
      return kaplanFitter(data, options);
    case "power":
      return powerFitter(data, options);
    case "repeated":
      return repeatedFitter(data, options);
    case "broken":
      return brokenFitter(data, options);
    case "muennighoff":
    case "gadre":
      throw new Error(`${options.method} is fitted by its form`);
  }
}
