/**
 * The next runs: which trainings within a budget narrow a fitted law's prediction most, beside an even grid of the same
 * cost. The variance that they leave is in prediction-variance.ts; they are found greedily, then by exchanges (Fedorov 1972).
 * `folio scaling next` prints them; the proof scaling-next simulates them.
 */
import { quantile } from "../../lib/host/statistics.js";
import { extrapolationWarning } from "../fit/warnings.js";
import type { Fit, FitWarning, Point } from "../points.js";
import { ask } from "./answer.js";
import { fittedLaw } from "./known-law.js";
import { predict } from "./predict.js";
import { type Place, type PredictionVariance, predictionVariance } from "./prediction-variance.js";

/** The training whose loss is to be predicted, and what the next runs may be. */
export interface NextOptions {
  /** FLOPs of all runs together, counted as in the fit's points. */
  readonly budgetFlops: number;
  /** The optimum of these FLOPs is the target; by default, of 10 times the largest fitted compute. */
  readonly targetFlops?: number;
  /** The target itself, instead. */
  readonly target?: { readonly n: number; readonly d: number };
  /** The most runs; 15 by default. */
  readonly runs?: number;
  /** FLOPs of a single run: at least (by default the smallest fitted compute) and at most (a third of the budget). */
  readonly least?: number;
  readonly most?: number;
  /**
   * Sizes lie between N* / width and N*·width, where N* is the optimum for the run's FLOPs; by default as far from it as
   * nine tenths of the fitted trainings.
   */
  readonly width?: number;
  /** The most tokens of a run. */
  readonly mostTokens?: number;
}

/** A training, and the number of runs of it, which differ by their seeds. */
export interface NextRun extends Place {
  /** By the law. */
  readonly loss: number;
  readonly runs: number;
}

/** Runs, and the half-width of the law's 80 % interval of ln L at the target after them. */
export interface RunSet {
  readonly trainings: readonly NextRun[];
  readonly runs: number;
  readonly flops: number;
  readonly halfWidth: number;
}

export interface NextRuns {
  readonly target: Place & { readonly loss: number };
  /** The half-width without further runs. */
  readonly halfWidth: number;
  readonly chosen: RunSet;
  /**
   * At most as many runs for at most the same cost, evenly spaced: the same number of sizes about the optimum of each of
   * three budgets, or of one, where there is little to spend.
   */
  readonly even: RunSet;
  /** What kept further runs out: the number of runs that is allowed, or the budget. */
  readonly limitedBy: "runs" | "budget";
  /** Sizes were chosen between N* / width and N*·width. */
  readonly width: number;
  /** The source of the interval. */
  readonly from: string;
  readonly warnings: readonly FitWarning[];
}

/** The levels of compute below a tenth of the dearest run, those above it, and the sizes at each, among which runs are chosen. */
const levels = 9;
const sizes = 9;
/** The budgets of the even grid, for at least three sizes each. */
const evenBudgets = 3;

/**
 * The runs within a budget that narrow a prediction most.
 * @throws {RangeError} for a fit without optima, without a law of the loss or without intervals, and if the budget is too
 * small for a single run
 * @example
 * nextRuns(fit, { budgetFlops: 1e20 }).chosen.trainings; // N, D, C and the number of runs of each
 */
export function nextRuns(fit: Fit, options: NextOptions): NextRuns {
  if (options.width !== undefined && !(options.width >= 1)) {
    throw new RangeError(
      `Cannot plan runs: the width is ${options.width}; it is a factor of N, 1 or more (--width=2: from half of the optimum to twice as much).`,
    );
  }
  const { refits: _, ...law } = fittedLaw(fit);
  const { targetFlops = 10 * fit.range.c[1], target: given } = options;
  const optimum = (budgetFlops: number) => ask(law, { budgetFlops });
  const product = law.flopsPerProduct;
  const target = given ? { ...given, c: product * given.n * given.d } : optimum(targetFlops);
  const { rows, from } = predict(fit, [{ ...target, loss: Number.NaN }]);
  const interval = rows[0]?.law?.ci80;
  if (!rows[0] || !interval || !fit.trainings) throw new RangeError(withoutIntervals);
  const halfWidth = Math.log(interval[1] / interval[0]) / 2;
  const width = options.width ?? widthOf(fit.trainings, product, (c) => optimum(c).n);
  const region: Region = { ...limitsOf(fit, options), runs: options.runs ?? 15, width, product };
  const { mostTokens = Number.POSITIVE_INFINITY } = options;
  const even = evenGrid(region, (c) => optimum(c).n).filter(({ d }) => d <= mostTokens);
  const candidates = candidatesOf(region, (c) => optimum(c).n, mostTokens);
  const places = [...even, ...candidates];
  const variance = predictionVariance(fit, fit.trainings, { target, places });
  const chosen = choose(variance, { ...region, places, from: even.length });
  const losses = predict(
    fit,
    places.map((place) => ({ ...place, loss: Number.NaN })),
  ).rows.map(({ loss }) => loss);
  const setOf = (at: readonly number[]): RunSet => {
    const trainings = counted(at).map(([place, runs]) => ({ ...places[place]!, loss: losses[place]!, runs }));
    const flops = trainings.reduce((sum, { c, runs }) => sum + c * runs, 0);
    return { trainings, runs: at.length, flops, halfWidth: halfWidth * variance.after(at).left };
  };
  const far = extrapolationWarning(fit, target.c) ?? belowWarning(fit, target.c);
  const best = setOf(chosen);
  const affordable = options.budgetFlops - best.flops >= region.least;
  return {
    target: { n: target.n, d: target.d, c: target.c, loss: rows[0].loss },
    halfWidth,
    chosen: best,
    even: setOf(even.map((_, k) => k)),
    limitedBy: best.runs >= region.runs && affordable ? "runs" : "budget",
    ...{ width, from },
    warnings: [...fit.warnings, ...(far ? [far] : [])],
  };
}

const withoutIntervals =
  "Cannot plan runs by this fit: it lacks the trainings that it was fitted to, or the intervals of its predictions; `folio scaling fit … --json FILE` writes both.";

/** A target this many times below all fitted runs is another question than most people ask. */
const farBelow = 10;

function belowWarning({ range }: Fit, c: number): FitWarning | undefined {
  if (!(c * farBelow < range.c[0])) return undefined;
  const message = `The target of ${c.toPrecision(3)} FLOPs is far below all fitted runs, of which the smallest has ${range.c[0].toPrecision(3)}: a law is hardly tested there, and larger runs narrow it little. Is a larger --target meant?`;
  return { kind: "extrapolation", message };
}

/** Where runs may lie. */
interface Region {
  readonly budgetFlops: number;
  readonly least: number;
  readonly most: number;
  readonly runs: number;
  readonly width: number;
  /** C / (N·D). */
  readonly product: number;
}

function limitsOf(
  { range }: Fit,
  { budgetFlops, least = range.c[0], most = Math.max(least, budgetFlops / 3) }: NextOptions,
) {
  if (most <= budgetFlops && least <= most) return { budgetFlops, least, most };
  throw new RangeError(
    `Cannot plan runs of ${least.toPrecision(3)} to ${most.toPrecision(3)} FLOPs with ${budgetFlops.toPrecision(3)} FLOPs: the smallest run must cost no more than the largest, and this no more than the budget; raise --budget, or lower --least or --most.`,
  );
}

/** How far from the optimum nine tenths of the trainings are, as a factor of N; at least 2. */
function widthOf(trainings: readonly Omit<Point, "loss">[], product: number, optimum: SizeOf): number {
  const off = trainings.map(({ n, d, c = product * n * d }) => Math.abs(Math.log(n / optimum(c))));
  return Math.max(2, Math.exp(quantile(off, 0.9)));
}

/** Evenly spaced in logarithms. */
const spaced = (low: number, high: number, count: number) =>
  count === 1 ? [high] : Array.from({ length: count }, (_, k) => low * (high / low) ** (k / (count - 1)));

type SizeOf = (c: number) => number;

/** Sizes about the optimum of a compute. */
function profile(c: number, count: number, { width, product }: Region, optimum: SizeOf): Place[] {
  const best = optimum(c);
  const across = count === 1 ? [best] : spaced(best / width, best * width, count);
  return across.map((n) => ({ n, d: c / (product * n), c }));
}

function candidatesOf(region: Region, optimum: SizeOf, mostTokens: number): Place[] {
  const { least, most } = region;
  const near = Math.max(least, most / 10);
  const costs = new Set([...spaced(least, near, levels), ...spaced(near, most, levels)]);
  const found = [...costs].flatMap((c) => profile(c, sizes, region, optimum)).filter(({ d }) => d <= mostTokens);
  if (found.length > 0) return found;
  throw new RangeError(
    `Cannot plan runs: none of ${least.toPrecision(3)} FLOPs and more has at most ${mostTokens.toPrecision(3)} tokens; raise --most_tokens or --width, or lower --least.`,
  );
}

/** Budgets from the least compute of a run to such a one that the grid costs the whole budget. */
function evenGrid(region: Region, optimum: SizeOf): Place[] {
  const { budgetFlops, least, most, runs } = region;
  const budgets = runs >= 3 * evenBudgets && budgetFlops >= evenBudgets * least ? evenBudgets : 1;
  const each = Math.min(Math.floor(runs / budgets), Math.max(1, Math.floor(budgetFlops / (budgets * least))));
  const costOf = (largest: number) => spaced(least, largest, budgets).reduce((sum, c) => sum + each * c, 0);
  let [low, high] = [least, most];
  for (let halving = 0; halving < 60; halving++) {
    const middle = Math.sqrt(low * high);
    if (costOf(middle) <= budgetFlops) low = middle;
    else high = middle;
  }
  return spaced(least, low, budgets).flatMap((c) => profile(c, each, region, optimum));
}

/** How many times every run may be exchanged. */
const rounds = 20;
/** The searches start from greedy choices whose dearest run costs the most, or this many times less. */
const caps = [1, 1.7, 3, 5.5, 10, 30];

interface Choice extends Region {
  readonly places: readonly Place[];
  /** The first place that may be chosen. */
  readonly from: number;
}

/** Indices of the places, with repetitions, that leave the least variance at the target. */
function choose(variance: PredictionVariance, { places, from, budgetFlops, runs, most }: Choice): number[] {
  const cost = (at: number) => places[at]!.c;

  /** The place with the highest value of its gain, among those that the rest of the budget allows. */
  function best(kept: readonly number[], value: (gain: number, at: number) => number, cap = most): number | undefined {
    const rest = budgetFlops * (1 + 1e-9) - kept.reduce((sum, at) => sum + cost(at), 0);
    const { left, and } = variance.after(kept);
    let [found, highest]: [number | undefined, number] = [undefined, 0];
    for (let at = from; at < places.length; at++) {
      if (cost(at) > rest || cost(at) > cap * (1 + 1e-9)) continue;
      const worth = value(left - and(at), at);
      if (worth > highest) [found, highest] = [at, worth];
    }
    return found;
  }

  function greedy(value: (gain: number, at: number) => number, cap?: number): number[] {
    const chosen: number[] = [];
    while (chosen.length < runs) {
      const next = best(chosen, value, cap);
      if (next === undefined) break;
      chosen.push(next);
    }
    return chosen;
  }

  function exchanged(start: readonly number[]): { chosen: number[]; left: number } {
    let chosen = [...start];
    let { left } = variance.after(chosen);
    for (let round = 0; round < rounds; round++) {
      for (let k = chosen.length - 1; k >= 0; k--) {
        const others = chosen.filter((_, index) => index !== k);
        const instead = best(others, (gain) => gain);
        if (instead !== undefined) chosen = [...others.slice(0, k), instead, ...others.slice(k)];
      }
      const more = chosen.length < runs ? best(chosen, (gain) => gain) : undefined;
      if (more !== undefined) chosen.push(more);
      const now = variance.after(chosen).left;
      if (!(now < left * (1 - 1e-6))) break;
      left = now;
    }
    return { chosen, left };
  }

  const starts = [greedy((gain, at) => gain / cost(at)), ...caps.map((times) => greedy((gain) => gain, most / times))];
  return starts.map(exchanged).reduce((lowest, other) => (other.left < lowest.left ? other : lowest)).chosen;
}

/** Indices and how often each occurs, in ascending order. */
function counted(at: readonly number[]): [index: number, times: number][] {
  const counts = new Map<number, number>();
  for (const index of at) counts.set(index, (counts.get(index) ?? 0) + 1);
  return [...counts].sort(([one], [other]) => one - other);
}
