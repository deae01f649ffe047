/** The coverage of 80 % intervals in simulated studies. Run as a program with a study's name, this file does them. */
import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { typescriptLoader } from "../../lib/host/package.js";
import { fitLaw } from "../../scaling/fit.js";
import type { Fit, Interval } from "../../scaling/points.js";
import { predict } from "../../scaling/questions/predict.js";
import { type CoverageStudy, coverageStudies, newRunNoise } from "../scaling/coverage-studies.js";
import { hoffmann, lossOf, optimumOf } from "../scaling/simulate.js";
import { campaignShare, type Figures, finish, noteSitting, type Proof, root, rounded, sittingsOf } from "./proof.js";

/** How many, of a design: the largest has 245 trainings, which take their time. A share of 80 % is known to ± 6. */
const studiesOf = (name: string) => Math.max(4, Math.round((name.endsWith("hoffmann") ? 150 : 200) * campaignShare));
const refits = 200;

/** A share with its own 95 % interval (Wilson 1927), in %. */
interface Cell {
  readonly share: number;
  readonly low: number;
  readonly high: number;
  /** The share of studies with a warning of narrow or wide intervals, in %. */
  readonly warned: number;
}

/** How often intervals held the truth, of how many. */
interface Count {
  held: number;
  of: number;
}

function cellOf({ held, of }: Count, warned: number): Cell {
  const [z, p] = [1.96, held / of];
  const middle = (p + z ** 2 / (2 * of)) / (1 + z ** 2 / of);
  const half = (z * Math.sqrt((p * (1 - p)) / of + z ** 2 / (4 * of ** 2))) / (1 + z ** 2 / of);
  const percent = (share: number) => rounded(100 * share, 1);
  return { share: percent(p), low: percent(middle - half), high: percent(middle + half), warned: percent(warned) };
}

/** Whether an interval holds the truth, by the name of what is estimated. */
type Held = readonly (readonly [name: string, held: boolean])[];

const holds = ([low, high]: Interval, value: number) => low <= value && value <= high;

function constantsHeld({ ci80 }: Fit, truth: CoverageStudy["truth"]): Held {
  return Object.entries(truth).flatMap(([name, value]) => {
    const interval = ci80[name];
    return interval ? [[name, holds(interval, value)] as const] : [];
  });
}

/** The law at the optimum of 1, 10 and 100 times the largest compute, and a new run at shares of it. */
function predictionsHeld(fit: Fit, design: string, seed: number): Held {
  const largest = fit.range.c[1];
  const at = (times: number) => {
    const n = optimumOf(hoffmann, times * largest);
    const d = (times * largest) / (6 * n);
    const { law, run } = predict(fit, [{ n, d, loss: Number.NaN }]).rows[0]!;
    const truth = lossOf(hoffmann, n, d);
    const off = newRunNoise(design, times, seed);
    return { law: holds(law!.ci80, truth), run: holds(run!.ci80, truth * Math.exp(off)) };
  };
  return [
    ...[1, 10, 100].map((times) => [`law at ${times} C`, at(times).law] as const),
    ...[0.01, 0.1, 1].map((times) => [`run at ${times} C`, at(times).run] as const),
  ];
}

/** N* of each budget, and L*(C) = E + A·C^−alpha on Hoffmann's surface, where alpha is alpha·beta / (alpha + beta). */
function optimaHeld({ optima = [], optimalLoss }: Fit): Held {
  const { alpha, beta } = hoffmann;
  const exponent = (alpha * beta) / (alpha + beta);
  return [
    ...optima.flatMap(({ c, ci80 }) => (ci80 ? [["vertex", holds(ci80.n, optimumOf(hoffmann, c))] as const] : [])),
    ...(optimalLoss?.ci80.E ? [["E of L*(C)", holds(optimalLoss.ci80.E, hoffmann.E)] as const] : []),
    ...(optimalLoss?.ci80.alpha ? [["alpha of L*(C)", holds(optimalLoss.ci80.alpha, exponent)] as const] : []),
  ];
}

/** Constants are what the claim is of; predictions and optima are told. */
interface Coverage {
  readonly constants: Readonly<Record<string, Cell>>;
  readonly others: Readonly<Record<string, Cell>>;
  /** Studies whose fit did not reach a minimum, and said so. */
  readonly notConverged: number;
}

async function coverage(name: string): Promise<Coverage> {
  const { options, points, truth, surface } = coverageStudies[name]!;
  const design = name.split(", ")[1]!;
  const count = studiesOf(name);
  const counts = { constants: new Map<string, Count>(), others: new Map<string, Count>() };
  const add = (to: Map<string, Count>, held: Held) => {
    for (const [which, yes] of held) {
      const { held: before, of } = to.get(which) ?? { held: 0, of: 0 };
      to.set(which, { held: before + Number(yes), of: of + 1 });
    }
  };
  let [done, warned] = [0, 0];
  for (let seed = 0; seed < count; seed++) {
    const fit = await fitLaw(points(seed), { ...options, bootstrap: refits, seed, threads: 1 });
    if (!fit.converged) continue;
    done++;
    if (fit.warnings.some(({ kind }) => kind.endsWith("-intervals"))) warned++;
    add(counts.constants, constantsHeld(fit, truth));
    add(counts.others, [...(surface ? predictionsHeld(fit, design, seed) : []), ...optimaHeld(fit)]);
  }
  const cells = (of: Map<string, Count>) =>
    Object.fromEntries([...of].map(([which, times]) => [which, cellOf(times, warned / done)]));
  return { constants: cells(counts.constants), others: cells(counts.others), notConverged: count - done };
}

/** Results stay here, so that an interrupted sitting can go on. Delete the folder after a change of the fits. */
const kept = path.join(root, ".cache", `scaling-coverage-${campaignShare}`);

/** In a process of its own, unless it is known from a sitting before. */
async function coverageOf(name: string): Promise<Coverage> {
  const file = path.join(kept, `${name.replaceAll(/\W+/g, "-")}.json`);
  if (!fs.existsSync(file)) {
    noteSitting(kept);
    const loader = ["--import", typescriptLoader()];
    const { code, output } = await finish(process.execPath, [...loader, "test/proofs/scaling-coverage.ts", name]);
    if (code !== 0) throw new Error(output);
    fs.writeFileSync(`${file}.partial`, output);
    fs.renameSync(`${file}.partial`, file);
  }
  return JSON.parse(fs.readFileSync(file, "utf8"));
}

/** A fit warns of its intervals as a whole: it must if the share of any constant is clearly outside 75 to 85 %, and else must not. */
function honest(constants: Coverage["constants"]): boolean {
  const cells = Object.values(constants);
  const outside = cells.some(({ low, high }) => high < 75 || low > 85);
  return cells.every(({ warned }) => (outside ? warned > 95 : warned < 5));
}

const shown = (cells: Coverage["constants"]): Figures =>
  Object.fromEntries(
    Object.entries(cells).map(([which, { share, low, high, warned }]) => [
      which,
      `${share} (${low} to ${high})${warned >= 5 ? `, warned of in ${warned} %` : ""}`,
    ]),
  );

export const scalingCoverage: Proof = {
  name: "scaling-coverage",
  claim: `80 % intervals of each method's constants contain the true value in 75 to 85 % of 150 to 200 simulated studies, on Folio's designs and those of three published studies, within the 95 % interval of each share; if they do not, the fit gives a warning, and only then`,
  inputs: ["test/scaling/simulate.ts", "test/scaling/public-designs.ts", "scaling/fit/uncertainty/bootstrap-worker.ts"],
  async run({ say }) {
    const names = Object.keys(coverageStudies).reverse();
    fs.mkdirSync(kept, { recursive: true });
    const dishonest: string[] = [];
    let cells = 0;
    const figures: Record<string, Figures> = {};
    const lane = async () => {
      for (let name = names.shift(); name; name = names.shift()) {
        const { constants, others, notConverged } = await coverageOf(name);
        say(`${name}: ${JSON.stringify({ constants, others, notConverged })}`);
        cells += Object.keys(constants).length;
        if (!honest(constants)) dishonest.push(name);
        figures[name] = { ...shown(constants), ...shown(others), ...(notConverged > 0 && { notConverged }) };
      }
    };
    // Two at a time: a core each.
    await Promise.all([lane(), lane()]);
    return {
      holds: dishonest.length === 0,
      figures: { refits, cells, dishonest: dishonest.join("; ") || "none", measuredAt: sittingsOf(kept), ...figures },
    };
  },
};

const [, script, name] = process.argv;
if (script !== undefined && import.meta.url === pathToFileURL(script).href) {
  console.log(JSON.stringify(await coverage(name!)));
}
