/**
 * The warnings of a fit, and the rules by which they are given; those of its intervals are in uncertainty/interval-warnings.ts.
 * Errors are in checks.ts and isoflop.ts.
 */
import { quantile } from "../../lib/host/statistics.js";
import { surfaceExponents } from "../laws.js";
import type { Fit, FitWarning, ParabolaBias, Point } from "../points.js";
import { extent } from "./columns.js";
import type { Deletion } from "./uncertainty/leave-out.js";

const percent = (share: number) => `${(100 * share).toPrecision(2)} %`;

/** Which warnings a fit has, each once: a kind may be given for several constants. */
export const warningKinds = (fit: Pick<Fit, "warnings"> | undefined): string[] => [
  ...new Set(fit?.warnings.map(({ kind }) => kind)),
];

/** Warnings about points with different conventions or unsuitable training. */
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

/** Exchanged N and D: the law is symmetric in them, so nothing else would show it. */
function exchanged(points: readonly Point[]): FitWarning[] {
  const ratios = points.map(({ n, d }) => d / n).filter(Number.isFinite);
  const middle = quantile(ratios, 0.5);
  if (!(middle < 1)) return [];
  const message = `Most points have fewer tokens than parameters (median D / N: ${middle.toPrecision(2)}). If N and D are exchanged, so are alpha and beta, and a and b; check the columns.`;
  return [{ kind: "exchanged-columns", message }];
}

/** Identical rows are copies, since two trainings do not agree in all digits. */
function copies(points: readonly Point[]): FitWarning[] {
  const seen = new Set(points.map(({ n, d, c, loss }) => `${n} ${d} ${c} ${loss}`));
  const twice = points.length - seen.size;
  if (twice === 0) return [];
  const message = `${twice} of ${points.length} points are copies of others (same N, D and loss): counted as separate runs, they make the intervals too narrow and bias the fit; remove them.`;
  return [{ kind: "copied-points", message }];
}

function mixed(points: readonly Point[], key: "nConvention" | "flopsConvention", what: string): FitWarning[] {
  const names = [...new Set(points.map((point) => point[key] ?? "not given"))];
  if (names.length < 2) return [];
  const message = `The points count ${what} by different conventions (${names.join(", ")}), but exponents depend on the convention; use the same for all points.`;
  return [{ kind: "mixed-conventions", message }];
}

// Porian 2024: Kaplan's fixed warm-up took up most of the training of small models; it moved the exponent from .5
// to .7.
const longestWarmup = 0.15;

function longWarmup(points: readonly Point[]): FitWarning[] {
  const long = points.filter(({ warmupShare = 0 }) => warmupShare > longestWarmup);
  if (long.length === 0) return [];
  const [, most] = extent(long.map(({ warmupShare }) => warmupShare!));
  const message = `${long.length} of ${points.length} runs warmed up for more than ${percent(longestWarmup)} of their steps (up to ${percent(most)}): this makes short runs look too bad and biases the exponents; use a shorter warm-up for shorter runs.`;
  return [{ kind: "long-warmup", message }];
}

// Hoffmann 2022, section 3: the cosine must end where the run does, at a tenth of its height or below.
const highestEnd = 0.15;

function undecayed(points: readonly Point[]): FitWarning[] {
  const high = points.filter(({ finalLrRatio = 0 }) => finalLrRatio > highestEnd);
  if (high.length === 0) return [];
  const [, most] = extent(high.map(({ finalLrRatio }) => finalLrRatio!));
  const message = `${high.length} of ${points.length} points end with a learning rate above ${percent(highestEnd)} of the highest (up to ${percent(most)}), so their loss would still fall; decay the learning rate to the end of each run.`;
  return [{ kind: "undecayed-learning-rate", message }];
}

/** A point is an outlier if its residual in the fit without it exceeds this multiple of the usual residual … */
const outlying = 5;
/** … and it moves the exponent by more than this number of standard errors. */
const moving = 0.5;

export function warnOfOutliers(deleted: readonly Deletion[], error: number, indices: readonly number[]): FitWarning[] {
  const sizes = deleted.map(({ residual }) => Math.abs(residual)).sort((a, b) => a - b);
  // The standard deviation estimated by the median absolute deviation.
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
        `point ${index} (${off.toFixed(0)} times the usual residual, ${moves.toFixed(1)} standard errors)`,
    );
  const message = `Outliers move the exponent: ${list.join(", ")}; check these runs, or fit by the parametric method, which limits the influence of single points.`;
  return [{ kind: "outlier", message }];
}

/** The bias of the optimum above which approach 2 gives a warning. */
const tolerableBias = 0.01;

export function warnOfBias(bias: ParabolaBias | undefined): FitWarning[] {
  if (!bias || Math.max(Math.abs(bias.n), Math.abs(bias.d)) < tolerableBias) return [];
  const signed = (share: number) => `${share < 0 ? "−" : "+"}${percent(Math.abs(share))}`;
  const message = `The grids are so wide that parabolas are biased: on the surface fitted to these points, without noise, N* is off by ${signed(bias.n)} and D* by ${signed(bias.d)} at the largest budget (exponent a by ${bias.a < 0 ? "−" : "+"}${Math.abs(bias.a).toFixed(4)}). The intervals are corrected for it, the estimates are not; use narrower grids, or fit by projection.`;
  return [{ kind: "biased-parabola", message }];
}

const enoughBudgets = 4;

export function warnOfBudgets(budgets: number, spanOfC: number): FitWarning[] {
  if (budgets >= enoughBudgets) return [];
  const message = `${budgets} budgets over ${Math.log10(spanOfC).toFixed(1)} decades are few for a power law (degrees of freedom: ${budgets - 2}); add budgets.`;
  return [{ kind: "few-budgets", message }];
}

/** Beyond this multiple of the largest fitted compute, there is a warning. */
const farthest = 10;

/**
 * The warning for a budget far beyond the points.
 * @param factor the limit, as a multiple of the largest fitted compute
 */
export function extrapolationWarning(
  fit: Pick<Fit, "range">,
  budgetFlops: number,
  factor = farthest,
): FitWarning | undefined {
  const [, largest] = fit.range.c;
  if (!(budgetFlops > factor * largest)) return undefined;
  const message = `${budgetFlops.toPrecision(3)} FLOPs are ${Number((budgetFlops / largest).toPrecision(3))} times the largest fitted run (${largest.toPrecision(3)}): beyond ${factor} times, the law may no longer hold, which the intervals do not cover.`;
  return { kind: "extrapolation", message };
}

/**
 * Constants printed with too few digits for the optimum: E 1.69, A 406.4, B 410.7, alpha .34, beta .28 give 92.7 tokens
 * per parameter at 5.76e23 FLOPs, the unrounded constants 58.9.
 * @param constants as printed; the digits are those of their JavaScript notation
 * @returns a warning if rounding can change N* by more than a twentieth
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
  // Each constant is within half a unit of its last digit; worst cases add up.
  const most = names.reduce((sum, name) => {
    const moved = { ...constants, [name]: constants[name] + halfDigit(constants[name]) };
    return sum + Math.abs(lnOptimum(moved) - at);
  }, 0);
  if (most < 0.05) return undefined;
  const message = `The constants are rounded: this can change the optimal N at ${budgetFlops.toPrecision(3)} FLOPs by a factor of up to ${Math.exp(most).toPrecision(3)} (and tokens per parameter by ${Math.exp(2 * most).toPrecision(3)}); use unrounded constants.`;
  return { kind: "rounded-constants", message };
}

/** Half a unit of the last digit of the number: .34 → .005. */
function halfDigit(value: number): number {
  const [digits = "", exponent = "0"] = String(value).split("e");
  const decimals = digits.split(".")[1]?.length ?? 0;
  return 0.5 * 10 ** (Number(exponent) - decimals);
}

/** The warning if the points do not show a term of the law. */
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
      message: `${what.join(" and ")}: the points do not show this part of the law; their range is too small, or they follow another law.`,
    },
  ];
}
