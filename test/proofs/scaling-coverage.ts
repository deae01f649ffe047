/** How often 80 % intervals hold the truth, in simulated sweeps. Run by itself with a kind, this file does the sweeps. */
import { pathToFileURL } from "node:url";
import { fitLaw } from "../../scaling/fit.js";
import type { FitMethod } from "../../scaling/points.js";
import { hoffmann, isoflopSweep, runsSweep } from "../scaling/simulate.js";
import { type Figures, finish, type Proof, rounded } from "./proof.js";

const sweeps = 500;
const refits = 200;
const kinds = ["independent", "runs"] as const;
const fitted: readonly FitMethod[] = ["parametric", "projection"];
const truth: Readonly<Record<string, number>> = {
  ...hoffmann,
  a: hoffmann.beta / (hoffmann.alpha + hoffmann.beta),
  b: hoffmann.alpha / (hoffmann.alpha + hoffmann.beta),
};

/** 60 points on 6 budgets, or 25 runs of 5 points whose errors are nearly the run's. */
function sweepOf(kind: (typeof kinds)[number], seed: number) {
  return kind === "runs" ? runsSweep({ runs: 25, seed }) : isoflopSweep({ noise: 0.01, seed });
}

/** The share of sweeps, in %, whose 80 % interval holds the truth, by number. */
async function coverage(kind: (typeof kinds)[number], method: FitMethod): Promise<Record<string, number>> {
  const held: Record<string, number> = Object.fromEntries(Object.keys(truth).map((name) => [name, 0]));
  for (let seed = 0; seed < sweeps; seed++) {
    // One start, which the projection checks: 4,500 a sweep would take the day.
    const starts = [[6, 6, 0.5, 0.34, 0.28]] as const;
    const { ci80, converged } = await fitLaw(sweepOf(kind, seed), {
      method,
      bootstrap: refits,
      seed,
      threads: 1,
      starts,
    });
    if (!converged) throw new Error(`sweep ${seed} did not converge`);
    for (const [name, value] of Object.entries(truth)) {
      const [low, high] = ci80[name]!;
      if (low <= value && value <= high) held[name]!++;
    }
  }
  return Object.fromEntries(Object.entries(held).map(([name, count]) => [name, rounded((100 * count) / sweeps, 1)]));
}

export const scalingCoverage: Proof = {
  name: "scaling-coverage",
  claim: `80 % intervals hold the truth in 75 to 85 % of ${sweeps} simulated sweeps; also where points share runs`,
  inputs: ["test/scaling/simulate.ts", "scaling/fit/uncertainty/bootstrap-worker.ts"],
  async run({ say }) {
    const jobs = fitted.flatMap((method) => kinds.map((kind) => ({ kind, method })));
    const figures: Record<string, Figures> = {};
    // Two at a time: a core each.
    for (let k = 0; k < jobs.length; k += 2) {
      const done = await Promise.all(
        jobs.slice(k, k + 2).map(async ({ kind, method }) => {
          const { code, output } = await finish(process.execPath, [
            ...["--import", "jiti/register", "test/proofs/scaling-coverage.ts", kind, method],
          ]);
          if (code !== 0) throw new Error(output);
          return { name: `${method}, ${kind}`, found: JSON.parse(output) as Record<string, number> };
        }),
      );
      for (const { name, found } of done) {
        say(`${name}: ${JSON.stringify(found)}`);
        figures[name] = found;
      }
    }
    const shares = Object.values(figures).flatMap((found) => Object.values(found) as number[]);
    return { holds: shares.every((share) => share >= 75 && share <= 85), figures: { sweeps, refits, ...figures } };
  },
};

const [, script, kind, method] = process.argv;
if (script !== undefined && import.meta.url === pathToFileURL(script).href) {
  const found = await coverage(kind as (typeof kinds)[number], method as FitMethod);
  console.log(JSON.stringify(found));
}
