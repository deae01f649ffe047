/**
 * What a reader of a fit must know before using it, each found by a rule that is stated here. What a fit refuses outright
 * is in checks.ts and isoflop.ts.
 */
import { quantile } from "../../lib/host/statistics.js";
import { surfaceExponents } from "../laws.js";
import type { Fit, FitWarning, Interval, ParabolaBias, Point } from "../points.js";
import { type Data, extent } from "./columns.js";
import type { Deletion } from "./uncertainty/leave-out.js";

const percent = (share: number) => `${(100 * share).toPrecision(2)} %`;

/** Points of a study that are not alike in what is counted or how they were trained. */
export function warnOfPoints(points: readonly Point[]): FitWarning[] {
  return [
    mixed(points, "nConvention", "parameters"),
    mixed(points, "flopsConvention", "FLOPs"),
    longWarmup(points),
    undecayed(points),
    exchanged(points),
    copies(points),
  ].flat();
}

/** N and D change places without a trace: the law has the same form in both. */
function exchanged(points: readonly Point[]): FitWarning[] {
  const ratios = points.map(({ n, d }) => d / n).filter(Number.isFinite);
  const middle = quantile(ratios, 0.5);
  if (!(middle < 1)) return [];
  const message = `Most points have fewer tokens than parameters (D / N is ${middle.toPrecision(2)} in the median): if N and D are exchanged, so are alpha and beta, a and b; see which column is which.`;
  return [{ kind: "exchanged-columns", message }];
}

/** Two trainings do not agree in all digits: a row that is there twice is a copy. */
function copies(points: readonly Point[]): FitWarning[] {
  const seen = new Set(points.map(({ n, d, c, loss }) => `${n} ${d} ${c} ${loss}`));
  const twice = points.length - seen.size;
  if (twice === 0) return [];
  const message = `${twice} of ${points.length} points are copies of others in N, D and loss: they count as runs of their own, so that intervals are too narrow and the fit leans towards them; take them out.`;
  return [{ kind: "copied-points", message }];
}

function mixed(points: readonly Point[], key: "nConvention" | "flopsConvention", what: string): FitWarning[] {
  const names = [...new Set(points.map((point) => point[key] ?? "not said"))];
  if (names.length < 2) return [];
  const message = `The points do not count ${what} alike (${names.join(", ")}): exponents are of one convention only; count all by one.`;
  return [{ kind: "mixed-conventions", message }];
}

// Porian 2024: Kaplan's fixed warm-up was most of what small models trained, and moved his exponent from .5 to .7.
const longestWarmup = 0.15;

function longWarmup(points: readonly Point[]): FitWarning[] {
  const long = points.filter(({ warmupShare = 0 }) => warmupShare > longestWarmup);
  if (long.length === 0) return [];
  const [, most] = extent(long.map(({ warmupShare }) => warmupShare!));
  const message = `${long.length} of ${points.length} runs warmed up for more than ${percent(longestWarmup)} of their steps (up to ${percent(most)}): short runs then look worse than they are, which tilts the exponents; let the warm-up shrink with the run.`;
  return [{ kind: "long-warmup", message }];
}

// Hoffmann 2022, section 3: the cosine must end where the run does, at a tenth of its height or below.
const highestEnd = 0.15;

function undecayed(points: readonly Point[]): FitWarning[] {
  const high = points.filter(({ finalLrRatio = 0 }) => finalLrRatio > highestEnd);
  if (high.length === 0) return [];
  const [, most] = extent(high.map(({ finalLrRatio }) => finalLrRatio!));
  const message = `${high.length} of ${points.length} points end with a learning rate above ${percent(highestEnd)} of its highest (up to ${percent(most)}): their loss would still fall; decay to the end of each run.`;
  return [{ kind: "undecayed-learning-rate", message }];
}

/** Times the residuals' own scale that a point must be off the fit without it, … */
const outlying = 5;
/** … and standard errors by which it must move the exponent. */
const moving = 0.5;

export function warnOfOutliers(deleted: readonly Deletion[], error: number, indices: readonly number[]): FitWarning[] {
  const sizes = deleted.map(({ residual }) => Math.abs(residual)).sort((a, b) => a - b);
  // The median absolute deviation, as a standard deviation.
  const scale = 1.4826 * sizes[Math.floor(sizes.length / 2)]!;
  const found = deleted
    .map(({ shift, residual }, k) => ({
      index: indices[k]!,
      moves: Math.abs(shift) / error,
      off: Math.abs(residual) / scale,
    }))
    .filter(({ moves, off }) => moves > moving && off > outlying && scale > 1e-9)
    .sort((one, other) => other.moves - one.moves);
  if (found.length === 0) return [];
  const list = found
    .slice(0, 5)
    .map(
      ({ index, moves, off }) =>
        `${index} (${off.toFixed(0)} times the usual residual, ${moves.toFixed(1)} standard errors)`,
    );
  const message = `Outliers move the exponent: point${list.length > 1 ? "s" : ""} ${list.join(", ")}; see what went wrong there, or fit by the parametric method, which bounds what one point can do.`;
  return [{ kind: "outlier", message }];
}

/** Of the optimum, beyond which approach 2 is worth doing otherwise. */
const tolerableBias = 0.01;

export function warnOfBias(bias: ParabolaBias | undefined): FitWarning[] {
  if (!bias || Math.max(Math.abs(bias.n), Math.abs(bias.d)) < tolerableBias) return [];
  const signed = (share: number) => `${share < 0 ? "−" : "+"}${percent(Math.abs(share))}`;
  const message = `The grids are so wide that parabolas are biased: on the surface fitted to these points, without noise, N* comes out ${signed(bias.n)} and D* ${signed(bias.d)} at the largest budget (exponent a ${bias.a < 0 ? "−" : "+"}${Math.abs(bias.a).toFixed(4)}). The intervals have it taken off, the estimates do not; narrow the grids, or fit by projection.`;
  return [{ kind: "biased-parabola", message }];
}

const enoughBudgets = 4;

export function warnOfBudgets(budgets: number, spanOfC: number): FitWarning[] {
  if (budgets >= enoughBudgets) return [];
  const message = `${budgets} budgets over ${Math.log10(spanOfC).toFixed(1)} decades are few for a power law: the line has ${budgets - 2} degree of freedom; add budgets.`;
  return [{ kind: "few-budgets", message }];
}

/** A compute this many times the largest fitted is far outside what was measured. */
const farthest = 10;

/** A fit used at a budget beyond its points. @param factor times the largest compute fitted */
export function extrapolationWarning(
  fit: Pick<Fit, "range">,
  budgetFlops: number,
  factor = farthest,
): FitWarning | undefined {
  const [, largest] = fit.range.c;
  if (!(budgetFlops > factor * largest)) return undefined;
  const message = `${budgetFlops.toPrecision(3)} FLOPs are ${Number((budgetFlops / largest).toPrecision(3))} times the largest run fitted (${largest.toPrecision(3)}): beyond ${factor} times, intervals say nothing of whether the law goes on.`;
  return { kind: "extrapolation", message };
}

/**
 * Constants printed with so few digits that the optimum they give is not the fit's: as E 1.69, A 406.4, B 410.7,
 * alpha .34, beta .28, which say 92.7 tokens a parameter at 5.76e23 FLOPs where the unrounded ones say 58.9.
 * @param constants as printed; the digits are those that JavaScript prints
 * @returns a warning where N* moves by more than a twentieth within what rounding hides
 */
export function roundingWarning(
  constants: Readonly<Record<"A" | "B" | "alpha" | "beta", number>>,
  budgetFlops: number,
): FitWarning | undefined {
  const names = ["A", "B", "alpha", "beta"] as const;
  const lnOptimum = (c: typeof constants) => {
    const { a } = surfaceExponents(c);
    return Math.log((c.alpha * c.A) / (c.beta * c.B)) / (c.alpha + c.beta) + a * Math.log(budgetFlops / 6);
  };
  const at = lnOptimum(constants);
  // Each constant's last digit is right to half of its place; the worst cases add.
  const most = names.reduce((sum, name) => {
    const moved = { ...constants, [name]: constants[name] + halfDigit(constants[name]) };
    return sum + Math.abs(lnOptimum(moved) - at);
  }, 0);
  if (most < 0.05) return undefined;
  const message = `The constants are rounded: within their last digits the optimal N at ${budgetFlops.toPrecision(3)} FLOPs moves by a factor of up to ${Math.exp(most).toPrecision(3)} (and tokens a parameter by ${Math.exp(2 * most).toPrecision(3)}); use unrounded ones.`;
  return { kind: "rounded-constants", message };
}

/** Half of the last place that the number prints: .34 → .005. */
function halfDigit(value: number): number {
  const [digits = "", exponent = "0"] = String(value).split("e");
  const decimals = digits.split(".")[1]?.length ?? 0;
  return 0.5 * 10 ** (Number(exponent) - decimals);
}

/** Residuals of equal N this much more alike than others (F, as a normal deviate) share something. */
const significant = 3.3;

/** Points that share an N are taken as independent, but their residuals say otherwise. */
export function warnOfCorrelation(data: Data, residuals: Float64Array): FitWarning[] {
  if (data.grouped) return [];
  const groups = new Map<number, number[]>();
  for (let i = 0; i < data.size; i++) {
    const group = groups.get(data.lnN[i]!);
    if (group) group.push(residuals[i]!);
    else groups.set(data.lnN[i]!, [residuals[i]!]);
  }
  const sets = [...groups.values()].filter((set) => set.length > 1);
  const count = sets.reduce((sum, set) => sum + set.length, 0);
  const between = sets.length - 1;
  const within = count - sets.length;
  if (between < 4 || within < 8) return [];
  const mean = (set: readonly number[]) => set.reduce((sum, value) => sum + value, 0) / set.length;
  const all = mean(sets.flat());
  const msBetween = sets.reduce((sum, set) => sum + set.length * (mean(set) - all) ** 2, 0) / between;
  const msWithin =
    sets.reduce((sum, set) => sum + set.reduce((s, value) => s + (value - mean(set)) ** 2, 0), 0) / within;
  const ratio = msBetween / msWithin;
  if (!(msWithin > 1e-18) || Math.log(ratio) / Math.sqrt(2 / between + 2 / within) < significant) return [];
  const size = count / sets.length;
  const correlation = (ratio - 1) / (ratio - 1 + size);
  const factor = Math.sqrt(1 + (size - 1) * correlation);
  const message = `Points of one N have residuals that are alike (correlation ${correlation.toFixed(2)}), as points of one run do: taken as independent they make intervals about ${factor.toFixed(1)} times too narrow; name the run's column by --group.`;
  return [{ kind: "narrow-intervals", message }];
}

/** Intervals this much below what the noise and the design allow are not believable. */
const believable = 0.5;

/** Bootstrap intervals against the width that residuals and design give. */
export function warnOfWidth(
  ci80: Readonly<Record<string, Interval>>,
  allowed: Readonly<Record<string, Interval>>,
): FitWarning[] {
  for (const name of ["a", "alpha"]) {
    const [given, least] = [ci80[name], allowed[name]];
    if (!given || !least || least[1] - least[0] < 1e-9) continue;
    const share = (given[1] - given[0]) / (least[1] - least[0]);
    if (share >= believable) continue;
    const message = `The interval of ${name} is ${share.toPrecision(2)} of the width that the residuals allow: the refits do not move as they should; look at their convergence.`;
    return [{ kind: "narrow-intervals", message }];
  }
  return [];
}

/** A term of the law that the points do not need. */
export function warnOfBounds(params: Readonly<Record<string, number>>): FitWarning[] {
  const gone = ["E", "A", "B"].filter((name) => params[name] !== undefined && params[name] < 1e-6);
  const rising = ["alpha", "beta", "alphaN", "alphaD"].filter(
    (name) => params[name] !== undefined && params[name] <= 0,
  );
  if (gone.length + rising.length === 0) return [];
  const what = [
    ...gone.map((name) => `${name} is 0`),
    ...rising.map((name) => `${name} is ${params[name]!.toPrecision(2)}`),
  ];
  return [
    {
      kind: "at-bound",
      message: `${what.join(" and ")}: the points do not show this part of the law; they span too little, or it is not their law.`,
    },
  ];
}

/** Points per parameter of L(N, D) from which intervals were seen to hold what they say: 35 for five are enough, 20 are not. */
const enoughPerParameter = 5;

/** Of a surface of N and D, whose intervals were tried on designs of many and of few points. */
export function warnOfFewPoints(points: number, parameters: number): FitWarning[] {
  if (points > enoughPerParameter * parameters) return [];
  const message = `${points} points are few for ${parameters} parameters: in simulated sweeps of so few, 80 % intervals held the truth in 50 to 100 of 100, not in 80; take them as a rough sign, or train more.`;
  return [{ kind: "uncertain-intervals", message }];
}

/** Refits that a 95 % interval needs, and the share of them that may come to nothing. */
const enoughRefits = 200;
const mayFail = 0.05;

export function warnOfRefits(made: number, good: number): FitWarning[] {
  const few = `${good} refits are few for a 95 % interval: it is narrower than more of them would show; use ${enoughRefits} or more.`;
  const lost = `${made - good} of ${made} refits came to nothing, as the points drawn did not determine the law: intervals are of the others, and too narrow.`;
  return [
    ...(good < enoughRefits ? [{ kind: "narrow-intervals", message: few }] : []),
    ...(made - good > mayFail * made ? [{ kind: "narrow-intervals", message: lost }] : []),
  ];
}
