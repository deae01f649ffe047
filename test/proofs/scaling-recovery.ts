import { fitLawNow } from "../../scaling/fit.js";
import { hoffmann, isoflopSweep, type Law, strewnSweep } from "../scaling/simulate.js";
import type { Proof } from "./proof.js";

const epoch: Law = { E: 1.8172, A: 482.01, B: 2085.43, alpha: 0.3478, beta: 0.3658 };

/** The largest relative error of the five constants. */
function errorOf(law: Law, params: Readonly<Record<string, number>>): number {
  return Math.max(...Object.entries(law).map(([name, value]) => Math.abs(params[name]! / value - 1)));
}

export const scalingRecovery: Proof = {
  name: "scaling-recovery",
  claim:
    "Noise-free Chinchilla data: projection recovers all five constants to 1e-8 relative, the grid of starts to 1e-5",
  inputs: ["test/scaling/simulate.ts"],
  async run() {
    let [projection, grid] = [0, 0];
    for (const law of [hoffmann, epoch]) {
      for (const points of [strewnSweep({ law }), isoflopSweep({ law }), isoflopSweep({ law, width: 16, sizes: 15 })]) {
        projection = Math.max(projection, errorOf(law, fitLawNow(points, { method: "projection" }).params));
        grid = Math.max(grid, errorOf(law, fitLawNow(points).params));
      }
    }
    const figures = { projection: projection.toExponential(1), grid: grid.toExponential(1), surfaces: 2, designs: 3 };
    return { holds: projection <= 1e-8 && grid <= 1e-5, figures };
  },
};
