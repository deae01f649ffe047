/** Loss curves of Folio's own runs under four schedules, each predicted by laws fitted to two or three of the others. */
import { type CurveLaw, curveErrors, curveLaws, fitCurves } from "../../scaling/curves.js";
import { ownCurves } from "../scaling/own-curves.js";
import { type Figures, type Proof, rounded } from "./proof.js";

/** Evaluates the committed curves, without training. */
export const scalingCurves: Proof = {
  name: "scaling-curves",
  claim:
    "The multi-power law, fitted to Folio's own runs under three learning-rate schedules, predicts the whole loss curve under the fourth within .5 % on average, whichever this is; also measured: from two schedules, and by the annealing law",
  inputs: ["scaling/results/novels-schedules.csv"],
  async run({ say }) {
    const curves = ownCurves();
    const sets = curves.flatMap((_, k) => {
      const others = curves.filter((__, index) => index !== k);
      return [others, ...others.map((___, pair) => others.filter((____, index) => index !== pair))];
    });
    const named = new Map(sets.map((set) => [set.map(({ name }) => name).join(", "), set]));
    const figures: Record<string, Figures> = {};
    const fromThree: number[] = [];
    for (const law of Object.keys(curveLaws) as CurveLaw[]) {
      for (const [name, set] of named) {
        const fit = fitCurves(set, law);
        const unseen = curves.filter((curve) => !set.includes(curve)).map((curve) => curveErrors(fit, curve));
        if (law === "multi-power" && set.length === 3) fromThree.push(...unseen.map(({ mean }) => mean));
        const errors = unseen.map(({ name: of, mean, end }) => [
          of,
          `${rounded(100 * mean, 2)} %, at the end ${rounded(100 * end, 2)} %`,
        ]);
        figures[`${law}, fitted to ${name}`] = { converged: fit.converged, ...Object.fromEntries(errors) };
        say(`${law}, ${name}: ${JSON.stringify(figures[`${law}, fitted to ${name}`])}`);
      }
    }
    return { holds: fromThree.length === 4 && fromThree.every((mean) => mean <= 0.005), figures };
  },
};
