/**
 * Charts of scaling laws, as pure functions of points and fits: each returns a figure, which the library's `toSvg` and
 * `toHtml` draw. Notebook 08-scaling-laws shows each; `folio scaling report` puts all into one page.
 */
export { flopsPerProduct, type Law, lawOf, predictedInterval } from "./figures/common.js";
export {
  type IsoflopCurves,
  isoflopCurves,
  type LossByCompute,
  lossByCompute,
  type ResidualPlot,
  residualPlot,
} from "./figures/runs.js";
export { type LossContour, lossContour } from "./figures/surface.js";
export {
  type BootstrapCloud,
  bootstrapCloud,
  type ExponentIntervals,
  exponentIntervals,
  lossPrediction,
  type NamedFit,
  type NamedValue,
  optimumPrediction,
  type Prediction,
} from "./figures/uncertainty.js";
