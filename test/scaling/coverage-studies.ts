/** Simulated studies from known laws, for each method of `folio scaling fit`: how often do intervals hold the truth? */

import type { FitOptions } from "../../scaling/fit/options.js";
import {
  type BrokenLaw,
  brokenLoss,
  effectiveTokens,
  type KaplanLaw,
  kaplanLoss,
  kaplanSurface,
  type OverTraining,
  overTrainingLoss,
  repeatedLoss,
  surfaceExponents,
  surfaceLoss,
} from "../../scaling/laws.js";
import type { Point } from "../../scaling/points.js";
import { noiseAt, type PublicDesign, simulatedStudy } from "./public-designs.js";
import { hoffmann, isoflopSweep, normal, runsSweep } from "./simulate.js";

/** One method on one design. */
export interface CoverageStudy {
  readonly options: FitOptions;
  readonly points: (seed: number) => Point[];
  /** The true values, by the names of the fit's intervals. */
  readonly truth: Readonly<Record<string, number>>;
  /** Whether the law is Hoffmann's surface, whose predictions are judged as well. */
  readonly surface?: boolean;
}

const publicDesigns: readonly PublicDesign[] = ["hoffmann", "porian", "gadre"];

const surfaceTruth = { ...hoffmann, ...surfaceExponents(hoffmann) };

/** Folio's design of 60 trainings on 6 budgets; 25 runs of 5 points with mostly shared errors; those of the public studies. */
const surfaceDesigns: Readonly<Record<string, (seed: number) => Point[]>> = {
  independent: (seed) => isoflopSweep({ noise: 0.01, seed }),
  runs: (seed) => runsSweep({ runs: 25, seed }),
  ...Object.fromEntries(publicDesigns.map((design) => [design, (seed: number) => simulatedStudy(design, seed)])),
};

/** Those with budgets: of Hoffmann's trainings the ones that lie on them. */
const budgetDesigns: Readonly<Record<string, (seed: number) => Point[]>> = {
  independent: surfaceDesigns.independent!,
  hoffmann: (seed) => simulatedStudy("hoffmann-budgets", seed),
  porian: surfaceDesigns.porian!,
};

/** The points, with the standard deviation of each loss, which Akima's interpolation must be told. */
function withErrors(points: readonly Point[], even: boolean): Point[] {
  const most = points.reduce((high, { n, d }) => Math.max(high, n * d), 0);
  return points.map((point) => ({
    ...point,
    error: point.loss * (even ? 0.01 : noiseAt((point.n * point.d) / most)),
  }));
}

const kaplan: KaplanLaw = { Nc: 6.4e13, Dc: 1.8e13, alphaN: 0.076, alphaD: 0.103 };
const overTraining: OverTraining = { E: 1.84, a: 212, b: -0.272, c: 367 };
const repetition = { tokens: 15.4, parameters: 5.3 };

/** Laws in C, by the smallest and the largest compute of a design: at the smallest, the loss is 3 nats above E. */
const powerOver = ([least]: Extent) => ({ E: 1.7, A: 3 * least ** 0.2, alpha: 0.2 });
const brokenOver = ([least]: Extent, d: number): BrokenLaw => ({
  ...{ a: 1.7, b: 3 * least ** 0.2, c0: 0.2 },
  breaks: [{ c: 0.15, d, f: 0.3 }],
});

type Extent = readonly [least: number, most: number];

function computeOf(design: PublicDesign): Extent {
  const all = simulatedStudy(design, 0).map(({ n, d }) => 6 * n * d);
  return [Math.min(...all), Math.max(...all)];
}

/** Each text is seen so many times, in turn. */
const epochs = [1, 1, 2, 4, 8, 16, 32] as const;
const uniqueOf = (d: number, k: number) => d / epochs[k % epochs.length]!;

/** A public design whose tokens are repeated, and whose losses follow Muennighoff's law. */
function repeatedStudy(design: PublicDesign, seed: number, excess: boolean): Point[] {
  const places = simulatedStudy(design, seed, () => 1);
  return places.map(({ n, d, loss }, k) => {
    const unique = uniqueOf(d, k);
    const truth = excess
      ? repeatedLoss(hoffmann, { N: n, D: d, U: unique }, repetition)
      : surfaceLoss(hoffmann, n, effectiveTokens(d, unique, repetition));
    return { n, d, unique, loss: loss * truth };
  });
}

/** Points of a law in C alone, at the computes of a public design. */
const overCompute = (design: PublicDesign, seed: number, loss: (c: number) => number): Point[] =>
  simulatedStudy(design, seed, (n, d) => loss(6 * n * d));

function brokenStudy(design: PublicDesign, d: number): CoverageStudy {
  const law = brokenOver(computeOf(design), d);
  const { c, f } = law.breaks[0]!;
  return {
    options: { method: "broken", over: "c" },
    points: (seed) => overCompute(design, seed, (compute) => brokenLoss(law, compute)),
    truth: { a: law.a, b: law.b, c0: law.c0, c1: c, d1: d, f1: f },
  };
}

type Named = readonly [name: string, study: CoverageStudy];

const onPublic = (method: string, of: (design: PublicDesign) => CoverageStudy): Named[] =>
  publicDesigns.map((design) => [`${method}, ${design}`, of(design)]);

/** By "method, design". */
export const coverageStudies: Readonly<Record<string, CoverageStudy>> = Object.fromEntries<CoverageStudy>([
  ...(["parametric", "projection"] as const).flatMap((method) =>
    Object.entries(surfaceDesigns).map(([design, points]): Named => {
      // One start, checked by the projection; 4,500 per study would take a day.
      const starts = [[6, 6, 0.5, 0.34, 0.28]] as const;
      return [`${method}, ${design}`, { options: { method, starts }, points, truth: surfaceTruth, surface: true }];
    }),
  ),
  ...Object.entries(budgetDesigns).map(
    ([design, points]): Named => [
      `isoflop, ${design}`,
      { options: { method: "isoflop" }, points, truth: surfaceTruth },
    ],
  ),
  ...Object.entries(budgetDesigns).map(
    ([design, points]): Named => [
      `isoflop akima, ${design}`,
      {
        options: { method: "isoflop", curve: "akima" },
        points: (seed) => withErrors(points(seed), design === "independent"),
        truth: surfaceTruth,
      },
    ],
  ),
  ...onPublic("kaplan", (design) => ({
    options: { method: "kaplan" },
    points: (seed) => simulatedStudy(design, seed, (n, d) => kaplanLoss(kaplan, n, d)),
    truth: { ...kaplan, ...surfaceExponents(kaplanSurface(kaplan)) },
  })),
  ...onPublic("gadre", (design) => ({
    options: { method: "gadre" },
    points: (seed) => simulatedStudy(design, seed, (n, d) => overTrainingLoss(overTraining, n, d / n)),
    truth: { E: overTraining.E, eta: -overTraining.b / 2 },
  })),
  ...onPublic("repeated", (design) => ({
    options: { method: "repeated" },
    points: (seed) => repeatedStudy(design, seed, false),
    truth: { ...surfaceTruth, rStar: repetition.tokens },
  })),
  ...onPublic("muennighoff", (design) => ({
    options: { method: "muennighoff" },
    points: (seed) => repeatedStudy(design, seed, true),
    truth: { ...surfaceTruth, rStar: repetition.tokens, rStarN: repetition.parameters },
  })),
  ...onPublic("power", (design) => {
    const law = powerOver(computeOf(design));
    return {
      options: { method: "power", over: "c" },
      points: (seed) => overCompute(design, seed, (c) => law.E + law.A * c ** -law.alpha),
      truth: law,
    };
  }),
  // A break in the middle, and one that only the last few trainings have passed.
  ...onPublic("broken", (design) => {
    const [least, most] = computeOf(design);
    return brokenStudy(design, Math.sqrt(least * most));
  }),
  ["broken beyond, porian", brokenStudy("porian", computeOf("porian")[1])],
]);

/** ln of the loss of a new run is off by this, at a share of the design's largest compute. */
export function newRunNoise(design: string, share: number, seed: number): number {
  if (design === "independent") return 0.01 * normal(seed, "new run");
  if (design === "runs") return Math.hypot(0.009, 0.004) * normal(seed, "new run");
  return noiseAt(share) * normal(seed, "new run");
}
