/**
 * Which form of law do these points support? Every form is fitted by squares of ln L, rolled out (fitted to small runs,
 * judged by its predictions of the next larger ones, step by step), and given information criteria. If the prediction
 * errors of two forms do not differ by more than chance, the answer is that these data cannot tell.
 */
import { toData } from "../fit/columns.js";
import { budgetsOf } from "../fit/methods/profiles.js";
import { studentQuantile } from "../fit/uncertainty/student-quantile.js";
import { type FitOptions, fitLawNow } from "../fit.js";
import type { Fit, Point } from "../points.js";
import { predict } from "./predict.js";

/** The forms by name, all fitted under one objective, so that their criteria can be compared. */
export const forms = {
  chinchilla: { says: "E + A N^-alpha + B D^-beta", options: { method: "parametric", objective: "squared" } },
  tied: {
    says: "the same with alpha = beta",
    options: { method: "parametric", objective: "squared", tie: [["alpha", "beta"]] },
  },
  kaplan: { says: "[(Nc / N)^(alphaN / alphaD) + Dc / D]^alphaD, without E", options: { method: "kaplan" } },
  power: { says: "E + A C^-alpha, of compute alone", options: { method: "power", over: "c", objective: "squared" } },
  muennighoff: {
    says: "chinchilla, with repeated tokens and excess parameters worth less",
    options: { method: "muennighoff", objective: "squared" },
  },
} as const satisfies Readonly<Record<string, { says: string; options: FitOptions }>>;

export type FormName = keyof typeof forms;

/** The predictions of one group of larger runs by a fit of the smaller ones. */
export interface RolloutStep {
  /** The smallest compute of the predicted runs. */
  readonly c: number;
  readonly fitted: number;
  readonly predicted: number;
  /** Of predicted / measured − 1: root mean square and mean; null if the form could not be fitted to the smaller runs. */
  readonly rms: number | null;
  readonly mean: number | null;
}

export interface Compared {
  readonly name: FormName;
  readonly fit?: Fit;
  /** Why the form could not be fitted to all points. */
  readonly refused?: string;
  /** The number of constants. */
  readonly parameters?: number;
  /** The standard deviation of the residuals of ln L. */
  readonly scatter?: number;
  /** Akaike's criterion for small samples and the Bayesian one, less the lowest of all forms. */
  readonly aicc?: number;
  readonly bic?: number;
  readonly steps: readonly RolloutStep[];
  /** Root mean square and mean over the steps that every form could predict; every step counts once. */
  readonly rollout?: { readonly rms: number; readonly mean: number };
}

export interface Comparison {
  readonly forms: readonly Compared[];
  /** The form with the smallest prediction errors. */
  readonly best?: FormName;
  /** Forms whose prediction errors are not larger than the best one's by more than chance (95 %). */
  readonly undecided: readonly FormName[];
  readonly verdict: string;
}

/** Groups of ascending compute, if the points do not lie on budgets. */
const groupsWithoutBudgets = 8;
/** The fewest groups and points of a first fit. */
const leastGroups = 2;
const leastPoints = 9;

/**
 * @param names the forms to compare; by default chinchilla, tied and kaplan, and muennighoff if tokens are repeated
 * @param onProgress is called before each fit, with the number of those that are done
 * @throws {RangeError} if there are too few sizes of compute for a single step
 * @example
 * compareForms(points).verdict; // "These data cannot tell chinchilla from tied: …"
 */
export function compareForms(
  points: readonly Point[],
  names: readonly FormName[] = defaultForms(points),
  onProgress: (done: number, fits: number) => void = () => {},
): Comparison {
  const groups = groupsOf(points);
  const splits = splitsOf(points, groups);
  if (splits.length === 0) {
    throw new RangeError(
      `Cannot compare forms: ${points.length} points in ${groups.length} groups of compute leave none to be predicted by ${leastPoints} smaller ones; add runs at larger or smaller compute.`,
    );
  }
  let done = 0;
  const next = <T>(work: () => T): T => {
    onProgress(done++, names.length * (1 + splits.length));
    return work();
  };
  const whole = names.map((name) => next(() => fitted(name, points)));
  const errors = names.map((name) => splits.map((split) => next(() => errorsOf(name, points, split))));
  const usable = Array.from(names.keys()).filter((k) => whole[k]!.fit?.converged);
  const common = splits.flatMap((_, k) => (usable.every((of) => errors[of]![k] !== undefined) ? [k] : []));
  const weights = toData(points).weight;
  const criteria = whole.map(({ fit }) => criteriaOf(fit, weights));
  const lowest = (of: "aicc" | "bic") =>
    criteria.reduce((low, each) => Math.min(low, each?.[of] ?? Number.POSITIVE_INFINITY), Number.POSITIVE_INFINITY);
  const [aicc, bic] = [lowest("aicc"), lowest("bic")];
  const compared = names.map((name, k): Compared => {
    const { fit, refused } = whole[k]!;
    const own = criteria[k];
    const all = usable.includes(k) ? common.map((step) => errors[k]![step]!) : [];
    return {
      name,
      ...(fit && { fit }),
      ...(refused !== undefined && { refused }),
      ...(own && { ...own, aicc: own.aicc - aicc, bic: own.bic - bic }),
      steps: splits.map((split, step) => stepOf(points, split, errors[k]![step])),
      ...(all.length > 0 && { rollout: { rms: rms(all.map(rms)), mean: mean(all.map(mean)) } }),
    };
  });
  const [usableNames, usableErrors] = [usable.map((k) => names[k]!), usable.map((k) => errors[k]!)];
  return { forms: compared, ...judged(usableNames, usableErrors, common) };
}

function defaultForms(points: readonly Point[]): FormName[] {
  const repeated = points.every(({ unique }) => unique !== undefined) && points.some((p) => p.d > 1.01 * p.unique!);
  return repeated ? ["chinchilla", "tied", "kaplan", "muennighoff"] : ["chinchilla", "tied", "kaplan"];
}

/** Indices of points by ascending compute: by budget, or in groups of about the same size. */
function groupsOf(points: readonly Point[]): number[][] {
  const data = toData(points);
  const budgets = budgetsOf(data, 0.1);
  if (budgets.length * 3 <= points.length) return budgets.map(({ indices }) => [...indices]);
  const order = Array.from(points.keys()).sort((i, j) => data.lnC[i]! - data.lnC[j]!);
  const count = Math.min(groupsWithoutBudgets, Math.floor(points.length / 3));
  return Array.from({ length: count }, (_, k) =>
    order.slice(Math.round((k * order.length) / count), Math.round(((k + 1) * order.length) / count)),
  );
}

interface Split {
  readonly small: readonly number[];
  readonly large: readonly number[];
}

/** Every group but the first ones is predicted by all smaller groups, without points of its own runs. */
function splitsOf(points: readonly Point[], groups: readonly (readonly number[])[]): Split[] {
  return groups.flatMap((large, k) => {
    const runs = new Set(large.flatMap((i) => points[i]!.group ?? []));
    const small = groups
      .slice(0, k)
      .flat()
      .filter((i) => !runs.has(points[i]!.group ?? ""));
    return k >= leastGroups && small.length >= leastPoints ? [{ small, large }] : [];
  });
}

function fitted(name: FormName, points: readonly Point[]): { fit?: Fit; refused?: string } {
  try {
    return { fit: fitLawNow(points, { ...(forms[name].options as FitOptions), diagnostics: false }) };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return { refused: error.message };
  }
}

/** predicted / measured − 1 of the larger runs; undefined if the smaller ones do not determine the form. */
function errorsOf(name: FormName, points: readonly Point[], { small, large }: Split): number[] | undefined {
  const of = (indices: readonly number[]) => indices.map((i) => points[i]!);
  const { fit } = fitted(name, of(small));
  if (!fit?.converged) return undefined;
  try {
    return predict(fit, of(large)).rows.map(({ error }) => error!);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return undefined;
  }
}

function stepOf(points: readonly Point[], { small, large }: Split, errors: readonly number[] | undefined): RolloutStep {
  const c = large.reduce((low, i) => Math.min(low, points[i]!.c ?? 6 * points[i]!.n * points[i]!.d), Infinity);
  const found = errors ? { rms: rms(errors), mean: mean(errors) } : { rms: null, mean: null };
  return { c, fitted: small.length, predicted: large.length, ...found };
}

/**
 * AICc = n·ln(Σwr² / n) + 2k + 2k(k + 1) / (n − k − 1) and BIC = n·ln(Σwr² / n) + k·ln n, with the variance among the k
 * constants (Burnham and Anderson 2002). They assume independent, normal residuals of ln L with the variance σ² / w; the
 * term Σ ln w is the same for all forms.
 */
function criteriaOf(fit: Fit | undefined, weights: Float64Array) {
  if (!fit?.residuals || !fit.converged) return undefined;
  const n = fit.residuals.length;
  const sum = fit.residuals.reduce((total, r, i) => total + weights[i]! * r * r, 0);
  const { fix = {}, tie = [] } = fit.constraints ?? {};
  const bound = Object.keys(fix).length + tie.reduce((total, group) => total + group.length - 1, 0);
  const parameters = Object.keys(fit.params).length - bound;
  const k = parameters + 1;
  const likelihood = n * Math.log(sum / n);
  return {
    parameters,
    scatter: Math.sqrt(sum / Math.max(1, n - parameters)),
    aicc: n > k + 1 ? likelihood + 2 * k + (2 * k * (k + 1)) / (n - k - 1) : Number.POSITIVE_INFINITY,
    bic: likelihood + k * Math.log(n),
  };
}

/**
 * The form with the smallest errors, and those that are not significantly worse: Student's t of the mean difference of
 * squared errors over the steps (Diebold and Mariano 1995; errors of one step share a fit, so a step counts once).
 */
function judged(
  names: readonly FormName[],
  errors: readonly (readonly (readonly number[] | undefined)[])[],
  common: readonly number[],
): Pick<Comparison, "best" | "undecided" | "verdict"> {
  if (common.length === 0 || names.length < 2) {
    const verdict =
      names.length < 2
        ? `There is nothing to compare: ${names.length === 0 ? "no form" : `only ${names[0]}`} could be fitted to these points.`
        : "These data cannot tell: no group of larger runs was predicted by every form.";
    return { undecided: [...names], verdict };
  }
  const squares = errors.map((steps) => common.map((k) => mean(steps[k]!.map((error) => error * error))));
  const total = squares.map(mean);
  const order = Array.from(names.keys()).sort((i, j) => total[i]! - total[j]!);
  const first = order[0]!;
  const undecided = order.slice(1).filter((other) => {
    const differences = squares[other]!.map((value, k) => value - squares[first]![k]!);
    const count = differences.length;
    if (count < 2) return true;
    const average = mean(differences);
    const error = Math.sqrt(differences.reduce((sum, d) => sum + (d - average) ** 2, 0) / (count - 1) / count);
    return !(average > studentQuantile(0.95, count - 1) * error);
  });
  const best = names[first]!;
  const percent = (of: number) => `${(100 * Math.sqrt(total[of]!)).toFixed(2)} %`;
  const others = undecided.map((k) => `${names[k]!} (${percent(k)})`);
  const steps = `${common.length} step${common.length === 1 ? "" : "s"}`;
  const verdict =
    others.length > 0
      ? `These data cannot tell ${best} (prediction error ${percent(first)}) from ${others.join(" and ")}: over ${steps}, their errors differ by no more than chance. Runs at larger compute, or further from the optimum, would tell more.`
      : `Over ${steps}, ${best} predicts larger runs best (error ${percent(first)}), and better than chance would make it.`;
  return { best, undecided: undecided.map((k) => names[k]!), verdict };
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const rms = (values: readonly number[]): number => Math.sqrt(mean(values.map((value) => value * value)));
