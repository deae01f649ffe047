/**
 * Simulated studies, the runs that `folio scaling next` chooses for them, and an even grid of the same cost: both are
 * simulated and fitted with the study. Run as a program with a design and a budget, this file does the studies of one.
 */
import { pathToFileURL } from "node:url";
import { typescriptLoader } from "../../lib/host/package.js";
import { uniform } from "../../lib/host/random.js";
import { fitLaw } from "../../scaling/fit.js";
import type { Point } from "../../scaling/points.js";
import { nextRuns, type RunSet } from "../../scaling/questions/next.js";
import { predict } from "../../scaling/questions/predict.js";
import { noiseAt, simulatedStudy } from "../scaling/public-designs.js";
import { hoffmann, isoflopSweep, lossOf, normal, optimumOf } from "../scaling/simulate.js";
import { campaignShare, type Figures, finish, type Proof, rounded } from "./proof.js";

const designs = ["folio", "hoffmann", "porian", "gadre"] as const;
type Design = (typeof designs)[number];
/** Of each design: 200 altogether. */
const studies = Math.max(2, Math.round(50 * campaignShare));
const refits = 200;
/** In units of the study's largest run. */
const budgets = [1, 3] as const;

/** The study, and the standard deviation of ln L of a run with a given share of its largest compute. */
function studyOf(design: Design, seed: number): { points: Point[]; noise: (share: number) => number } {
  if (design === "folio") return { points: isoflopSweep({ noise: 0.01, seed }), noise: () => 0.01 };
  return { points: simulatedStudy(design, seed), noise: noiseAt };
}

/** Half-width of the 80 % interval of ln L at the target, the error of the prediction there, and whether the interval holds the truth. */
interface Judged {
  readonly halfWidth: number;
  readonly error: number;
  readonly held: boolean;
}

interface Outcome {
  readonly before: Judged;
  readonly chosen: Judged;
  readonly even: Judged;
  /** What `next` expected, as shares of the half-width before. */
  readonly expected: { readonly chosen: number; readonly even: number };
}

async function outcomeOf(design: Design, times: number, seed: number): Promise<Outcome> {
  const { points, noise } = studyOf(design, seed);
  const largest = points.reduce((most, { n, d }) => Math.max(most, 6 * n * d), 0);
  const c = 10 * largest;
  const n = optimumOf(hoffmann, c);
  const target = { n, d: c / (6 * n), loss: lossOf(hoffmann, n, c / (6 * n)) };
  const fitOf = (all: readonly Point[]) =>
    fitLaw(all, { method: "projection", bootstrap: refits, seed, threads: 1, diagnostics: false });
  const judged = async (all: readonly Point[]): Promise<Judged> => {
    const { law, error } = predict(await fitOf(all), [target]).rows[0]!;
    const [low, high] = law!.ci80;
    return { halfWidth: Math.log(high / low) / 2, error: error!, held: low <= target.loss && target.loss <= high };
  };
  const trained = ({ trainings }: RunSet, name: string): Point[] =>
    trainings.flatMap((run, k) =>
      Array.from({ length: run.runs }, (_, again) => {
        const off = noise((6 * run.n * run.d) / largest) * normal(seed, "next", design, name, k, again);
        return { n: run.n, d: run.d, loss: lossOf(hoffmann, run.n, run.d) * Math.exp(off) };
      }),
    );
  const next = nextRuns(await fitOf(points), { budgetFlops: times * largest });
  const { chosen, even, halfWidth } = next;
  return {
    before: await judged(points),
    chosen: await judged([...points, ...trained(chosen, "chosen")]),
    even: await judged([...points, ...trained(even, "even")]),
    expected: { chosen: chosen.halfWidth / halfWidth, even: even.halfWidth / halfWidth },
  };
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The mean narrowing by the chosen runs, divided by that of the even grid. */
function gainOf(outcomes: readonly Outcome[]): number {
  const narrowing = (of: "chosen" | "even") =>
    1 - mean(outcomes.map((one) => one[of].halfWidth / one.before.halfWidth));
  return narrowing("chosen") / narrowing("even");
}

/** Its 95 % interval, over resampled studies. */
function intervalOf(outcomes: readonly Outcome[]): [number, number] {
  const again = Array.from({ length: 2000 }, (_, r) =>
    gainOf(outcomes.map((__, k) => outcomes[Math.floor(outcomes.length * uniform(1, "studies", r, k))]!)),
  ).sort((one, other) => one - other);
  return [again[50]!, again[1949]!];
}

function figuresOf(outcomes: readonly Outcome[]): Figures {
  const percent = (share: number) => rounded(100 * share, 1);
  const left = (of: "chosen" | "even") =>
    percent(mean(outcomes.map((one) => one[of].halfWidth / one.before.halfWidth)));
  const rms = (of: "before" | "chosen" | "even") =>
    rounded(100 * Math.sqrt(mean(outcomes.map((one) => one[of].error ** 2))), 3);
  const held = (of: "before" | "chosen" | "even") => percent(mean(outcomes.map((one) => Number(one[of].held))));
  const [low, high] = intervalOf(outcomes);
  return {
    ...{
      studies: outcomes.length,
      gain: rounded(gainOf(outcomes), 2),
      "gain, 95 %": `${rounded(low, 2)} to ${rounded(high, 2)}`,
    },
    "width left, %": { chosen: left("chosen"), even: left("even") },
    "width left as expected, %": {
      chosen: percent(mean(outcomes.map(({ expected }) => expected.chosen))),
      even: percent(mean(outcomes.map(({ expected }) => expected.even))),
    },
    "error of the prediction (rms), %": { before: rms("before"), chosen: rms("chosen"), even: rms("even") },
    "intervals that hold the truth, %": { before: held("before"), chosen: held("chosen"), even: held("even") },
  };
}

export const scalingNext: Proof = {
  name: "scaling-next",
  claim:
    "In 200 simulated studies of four designs, the runs that `folio scaling next` chooses for the cost of one more largest run narrow the 80 % interval of the loss at 10 times the compute by at least a quarter more than an even grid of the same cost; also measured for three times this cost",
  inputs: ["test/scaling/simulate.ts", "test/scaling/public-designs.ts"],
  async run({ say }) {
    const jobs = budgets.flatMap((times) => designs.map((design) => ({ design, times })));
    const found = new Map<string, Outcome[]>();
    const lane = async () => {
      for (let job = jobs.shift(); job; job = jobs.shift()) {
        const { design, times } = job;
        const { code, output } = await finish(process.execPath, [
          ...["--import", typescriptLoader(), "test/proofs/scaling-next.ts", design, String(times)],
        ]);
        if (code !== 0) throw new Error(output);
        const outcomes = JSON.parse(output) as Outcome[];
        found.set(`${design} ${times}`, outcomes);
        say(`${design}, ${times} × the largest run: ${JSON.stringify(figuresOf(outcomes))}`);
      }
    };
    // Two at a time: a core each.
    await Promise.all([lane(), lane()]);
    const of = (design: Design, times: number) => found.get(`${design} ${times}`)!;
    const all = (times: number) => designs.flatMap((design) => of(design, times));
    const figures = Object.fromEntries(
      budgets.flatMap((times): [string, Figures][] => [
        [`budget ${times} × the largest run, all designs`, figuresOf(all(times))],
        ...designs.map((design): [string, Figures] => [
          `budget ${times} × the largest run, ${design}`,
          figuresOf(of(design, times)),
        ]),
      ]),
    );
    return { holds: gainOf(all(1)) >= 1.25 && campaignShare === 1, figures: { refits, ...figures } };
  },
};

const [, script, design, times] = process.argv;
if (script !== undefined && import.meta.url === pathToFileURL(script).href) {
  const outcomes: Outcome[] = [];
  for (let seed = 0; seed < studies; seed++) outcomes.push(await outcomeOf(design as Design, Number(times), seed));
  console.log(JSON.stringify(outcomes));
}
