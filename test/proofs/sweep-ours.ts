import path from "node:path";
import { predictedInterval } from "../../scaling/figures.js";
import { fitLaw } from "../../scaling/fit.js";
import { type Surface, surfaceLoss } from "../../scaling/laws.js";
import { readTable, toStudy } from "../../scaling/read-points.js";
import { type Figures, type Proof, root, rounded } from "./proof.js";

/**
 * Evaluates the committed table of Folio's own sweep, without training. All grid runs of both plans, novels and
 * novels-again, count, as was decided before they ran.
 */
export const sweepOurs: Proof = {
  name: "sweep-ours",
  claim:
    "The parametric fit of Folio's own sweep, at least 40 runs over 1.5 decades, predicts the loss of a run with 3 times the largest compute within 2 %",
  inputs: ["scaling/results"],
  async run() {
    const table = await readTable(path.join(root, "scaling", "results", "novels.csv"));
    const columns = { n: "n", d: "d", c: "c", loss: "loss", group: "run" };
    const study = toStudy(table, columns);
    const [grid, heldOut] = [study.points, study.heldOut.points];
    const compute = grid.map(({ c }) => c!);
    const decades = Math.log10(Math.max(...compute) / Math.min(...compute));
    const far = Math.min(...heldOut.map(({ c }) => c!)) / Math.max(...compute);
    const fit = await fitLaw(grid, { method: "parametric", bootstrap: 1000 });
    const law = fit.params as unknown as Surface;
    const errors = heldOut.map(({ n, d, loss }) => surfaceLoss(law, n, d) / loss - 1);
    const worst = Math.max(...errors.map(Math.abs));
    const { n, d } = heldOut[0]!;
    const interval = predictedInterval(fit, grid, ({ loss }) => loss!(n, d), 0.95)!;
    const digits = (values: Record<string, number>): Figures =>
      Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value.toPrecision(4))]));
    const epochs = Math.max(...Array.from(table.array("epochs") as ArrayLike<unknown>, Number));
    const figures = {
      ...{ runs: grid.length, decades: rounded(decades, 2), heldOutOverLargest: rounded(far, 2) },
      ...{ mostEpochs: rounded(epochs, 2), mostFlops: Math.max(...compute, ...heldOut.map(({ c }) => c!)) },
      params: digits(fit.params),
      exponents: digits({ ...fit.exponents }),
      ...{ converged: fit.converged, heldOutLoss: rounded(heldOut[0]!.loss, 4) },
      predictionErrorPercent: rounded(100 * errors[0]!, 2),
      predictionInterval95: interval.map((end) => end.toFixed(3)).join(" to "),
      warnings: fit.warnings.map(({ kind }) => kind).join(" "),
    };
    const holds = worst <= 0.02 && grid.length >= 40 && decades >= 1.5 && far >= 3 && epochs <= 4;
    return { holds, figures };
  },
};
