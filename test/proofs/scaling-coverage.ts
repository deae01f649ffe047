/** The coverage of 80 % intervals in simulated sweeps. Run as a program with a kind, this file does the sweeps. */
import { pathToFileURL } from "node:url";
import { fitLaw } from "../../scaling/fit.js";
import type { FitMethod } from "../../scaling/points.js";
import { type PublicDesign, simulatedStudy } from "../scaling/public-designs.js";
import { hoffmann, isoflopSweep, runsSweep } from "../scaling/simulate.js";
import { type Figures, finish, type Proof, rounded } from "./proof.js";

/** How many, of a design: the largest has 245 trainings, which take their time. */
const sweepsOf = (kind: Kind) => (kind === "hoffmann" ? 300 : 400);
const refits = 200;
const kinds = ["independent", "runs", "hoffmann", "porian", "gadre"] as const;
type Kind = (typeof kinds)[number];
const fitted: readonly FitMethod[] = ["parametric", "projection", "isoflop"];
/** Gadre's study has no budgets, nor do runs with several points. */
const isoflopKinds: readonly Kind[] = ["independent", "hoffmann", "porian"];
/** Those of Hoffmann's trainings that lie on its budgets. */
const placesOf = (kind: "hoffmann" | "porian" | "gadre", method: FitMethod): PublicDesign =>
  kind === "hoffmann" && method === "isoflop" ? "hoffmann-budgets" : kind;
const truth: Readonly<Record<string, number>> = {
  ...hoffmann,
  a: hoffmann.beta / (hoffmann.alpha + hoffmann.beta),
  b: hoffmann.alpha / (hoffmann.alpha + hoffmann.beta),
};

/** Designs: 60 points on 6 budgets; 25 runs of 5 points with mostly shared errors; those of published studies. */
function sweepOf(kind: Kind, method: FitMethod, seed: number) {
  if (kind === "runs") return runsSweep({ runs: 25, seed });
  return kind === "independent" ? isoflopSweep({ noise: 0.01, seed }) : simulatedStudy(placesOf(kind, method), seed);
}

/** A share with its own 95 % interval (Wilson 1927), in %. */
interface Cell {
  readonly share: number;
  readonly low: number;
  readonly high: number;
  /** The share of sweeps with a warning of narrow or wide intervals, in %. */
  readonly warned: number;
}

function cellOf(held: number, warned: number, of: number): Cell {
  const [z, p] = [1.96, held / of];
  const middle = (p + z ** 2 / (2 * of)) / (1 + z ** 2 / of);
  const half = (z * Math.sqrt((p * (1 - p)) / of + z ** 2 / (4 * of ** 2))) / (1 + z ** 2 / of);
  const percent = (share: number) => rounded(100 * share, 1);
  return { share: percent(p), low: percent(middle - half), high: percent(middle + half), warned: percent(warned / of) };
}

/** How often the 80 % interval of each number contains the true value. */
async function coverage(kind: Kind, method: FitMethod, count = sweepsOf(kind)): Promise<Record<string, Cell>> {
  const held: Record<string, number> = {};
  let [done, warned] = [0, 0];
  for (let seed = 0; seed < count; seed++) {
    // One start, checked by the projection; 4,500 per sweep would take a day.
    const starts = [[6, 6, 0.5, 0.34, 0.28]] as const;
    const fit = await fitLaw(sweepOf(kind, method, seed), { method, bootstrap: refits, seed, threads: 1, starts });
    if (!fit.converged) throw new Error(`sweep ${seed} did not converge`);
    done++;
    if (fit.warnings.some((warning) => warning.kind.endsWith("-intervals"))) warned++;
    for (const [name, [low, high]] of Object.entries(fit.ci80)) {
      const value = truth[name];
      if (value !== undefined) held[name] = (held[name] ?? 0) + Number(low <= value && value <= high);
    }
  }
  return Object.fromEntries(Object.entries(held).map(([name, times]) => [name, cellOf(times, warned, done)]));
}

/** There must be a warning for a share clearly outside 75 to 85 %, and for no other. */
function honest({ low, high, warned }: Cell): boolean {
  const outside = high < 75 || low > 85;
  return outside ? warned > 95 : warned < 5;
}

export const scalingCoverage: Proof = {
  name: "scaling-coverage",
  claim: `80 % intervals contain the true value in 75 to 85 % of 300 and more simulated sweeps, on Folio's designs and those of three published studies, within the 95 % interval of each share; if they do not, the fit gives a warning, and only then`,
  inputs: ["test/scaling/simulate.ts", "test/scaling/public-designs.ts", "scaling/fit/uncertainty/bootstrap-worker.ts"],
  async run({ say }) {
    const jobs = fitted.flatMap((method) =>
      (method === "isoflop" ? isoflopKinds : kinds).map((kind) => ({ kind, method })),
    );
    const cells: Cell[] = [];
    const figures: Record<string, Figures> = {};
    const lane = async () => {
      for (let job = jobs.shift(); job; job = jobs.shift()) {
        const { kind, method } = job;
        const { code, output } = await finish(process.execPath, [
          ...["--import", "jiti/register", "test/proofs/scaling-coverage.ts", kind, method],
        ]);
        if (code !== 0) throw new Error(output);
        const found = JSON.parse(output) as Record<string, Cell>;
        const name = `${method}, ${kind}`;
        say(`${name}: ${output.trim()}`);
        cells.push(...Object.values(found));
        const entries = Object.entries(found);
        figures[name] = Object.fromEntries(entries.map(([which, { share }]) => [which, share]));
        figures[`${name}, 95 %`] = Object.fromEntries(
          entries.map(([which, { low, high }]) => [which, `${low} to ${high}`]),
        );
      }
    };
    // Two at a time: a core each.
    await Promise.all([lane(), lane()]);
    return { holds: cells.every(honest), figures: { sweeps: "300 to 400", refits, ...figures } };
  },
};

const [, script, kind, method, count] = process.argv;
if (script !== undefined && import.meta.url === pathToFileURL(script).href) {
  const found = await coverage(kind as Kind, method as FitMethod, count === undefined ? undefined : Number(count));
  console.log(JSON.stringify(found));
}
