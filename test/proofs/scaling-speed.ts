import { fitLaw } from "../../scaling/fit.js";
import { strewnSweep } from "../scaling/simulate.js";
import { type Proof, rounded } from "./proof.js";

const refits = 4000;

export const scalingSpeed: Proof = {
  name: "scaling-speed",
  claim: "240 points: the fit from 4,500 starts takes less than 3 s, 4,000 bootstrap refits less than 20 s on 2 cores",
  inputs: ["scaling/fit/uncertainty/bootstrap-worker.ts", "test/scaling/simulate.ts"],
  async run() {
    const points = strewnSweep({ noise: 0.01 });
    const seconds = async (bootstrap: number) => {
      const begun = performance.now();
      const { converged } = await fitLaw(points, { bootstrap, threads: 2 });
      if (!converged) throw new Error("the fit did not converge");
      return (performance.now() - begun) / 1000;
    };
    await fitLaw(points, { starts: [[5, 5, 0.5, 0.5, 0.5]] }); // the compiler's warm-up
    const fit = await seconds(0);
    const all = await seconds(refits);
    const figures = {
      points: 240,
      starts: 4500,
      fitSeconds: rounded(fit, 2),
      refits,
      refitSeconds: rounded(all - fit, 2),
    };
    return { holds: fit < 3 && all - fit < 20, figures };
  },
};
