/**
 * Questions to fitted laws: the losses of new trainings, which form of law the runs support, and which runs to make next.
 * `folio scaling predict`, `compare` and `next` print the answers. Notebook 22-which-form-which-next-run shows them.
 */
export { type Compared, type Comparison, compareForms, type FormName, forms } from "./questions/compare.js";
export { type NextOptions, type NextRun, type NextRuns, nextRuns, type RunSet } from "./questions/next.js";
export { type Prediction, type Predictions, predict } from "./questions/predict.js";
