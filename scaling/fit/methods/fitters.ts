/** The methods by name. */

import type { Data } from "../columns.js";
import { brokenFitter } from "./broken.js";
import { envelopeFitter } from "./envelope.js";
import { isoflopFitter } from "./isoflop.js";
import { kaplanFitter } from "./kaplan.js";
import type { Fitter, MethodOptions } from "./method.js";
import { parametricFitter } from "./parametric.js";
import { powerFitter } from "./power.js";
import { projectionFitter } from "./projection.js";
import { repeatedFitter } from "./repeated.js";

export function createFitter(data: Data, options: MethodOptions): Fitter {
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
  }
}
