/**
 * From a loss to the accuracy on a task: the task's own loss from the loss, by a line or a power, and the accuracy from
 * that by a sigmoid (Bhagia 2024, Grattafiori 2024). The loss itself comes from a law (fit.ts). `folio scaling accuracy`
 * shows it.
 */
import { inverse } from "../fit/search/cholesky.js";
import { createLeastSquares } from "../fit/search/least-squares.js";
import { fitLine } from "../fit/search/line-fit.js";
import { studentQuantile } from "../fit/uncertainty/student-quantile.js";
import type { FitWarning, Interval } from "../points.js";

/** An evaluated model. */
export interface TaskPoint {
  readonly loss: number;
  /** The loss on the task, such as nats per byte of the correct answers. */
  readonly taskLoss?: number;
  /** A share, 0 to 1. */
  readonly accuracy: number;
}

type Name = "top" | "chance" | "k" | "L0";
const names: readonly Name[] = ["top", "chance", "k", "L0"];

/** accuracy = top − (top − chance) / (1 + e^(−k·(L − L0))), k > 0: chance for high losses, top for low ones. */
export interface Sigmoid {
  readonly params: Readonly<Record<Name, number>>;
  /** Standard errors of the constants that are not fixed; of ln k for k. */
  readonly errors: Readonly<Partial<Record<Name, number>>>;
  readonly ci80: Readonly<Partial<Record<Name, Interval>>>;
  readonly converged: boolean;
  /** The standard deviation of accuracies about the curve. */
  readonly scatter: number;
  readonly freedom: number;
  readonly free: readonly Name[];
  /** Of (top, chance, ln k, L0) as far as they are free. */
  readonly covariance: readonly number[];
}

/** taskLoss = p + q·loss, or ln taskLoss = p + q·ln loss. */
export interface TaskLossLaw {
  readonly form: "linear" | "power";
  readonly intercept: number;
  readonly slope: number;
  readonly slopeError: number;
  readonly scatter: number;
  readonly freedom: number;
  /** The mean of the fitted losses (or of their logarithms), and the sum of squares about it. */
  readonly mean: number;
  readonly squares: number;
}

export interface AccuracyFit {
  /** Absent if the sigmoid is of the loss itself. */
  readonly taskLoss?: TaskLossLaw;
  readonly sigmoid: Sigmoid;
  /** The lowest and the highest fitted loss. */
  readonly range: Interval;
  readonly points: number;
  readonly warnings: readonly FitWarning[];
}

export interface AccuracyOptions {
  /** How the task's loss follows from the loss; linear by default. */
  readonly form?: "linear" | "power";
  /** The accuracy of guessing, if known. */
  readonly chance?: number;
  /** The accuracy at the lowest losses, if known. */
  readonly top?: number;
}

export interface AccuracyPrediction {
  readonly loss: number;
  readonly taskLoss?: number;
  readonly accuracy: number;
  /** 80 % intervals of the curve, and of one model. */
  readonly law: Interval;
  readonly run: Interval;
}

/**
 * Fits both steps by least squares; the sigmoid from a grid of starts.
 * @throws {RangeError} for an accuracy that is no share, a task loss that some points lack, or fewer points than two more
 * than constants
 * @example
 * const fit = fitAccuracy(models, { chance: 0.25 });
 * predictAccuracy(fit, 2.1).run; // of a model with a loss of 2.1
 */
export function fitAccuracy(points: readonly TaskPoint[], options: AccuracyOptions = {}): AccuracyFit {
  checkPoints(points, options);
  const chained = points[0]!.taskLoss !== undefined;
  const taskLoss = chained ? fitTaskLoss(points, options.form ?? "linear") : undefined;
  const losses = points.map((point) => point.taskLoss ?? point.loss);
  const accuracies = points.map(({ accuracy }) => accuracy);
  const sigmoid = fitSigmoid(losses, accuracies, options);
  const all = points.map(({ loss }) => loss);
  const fit = {
    ...(taskLoss && { taskLoss }),
    ...{ sigmoid, range: [Math.min(...all), Math.max(...all)] as const, points: points.length },
  };
  return { ...fit, warnings: warningsOf(sigmoid, losses, accuracies) };
}

function checkPoints(points: readonly TaskPoint[], { form, chance, top }: AccuracyOptions): void {
  const free = names.length - [chance, top].filter((fixed) => fixed !== undefined).length;
  if (points.length < free + 2) {
    throw new RangeError(
      `Cannot fit accuracies: ${points.length} points for ${free} constants; give ${free + 2} or more, or fix some (--chance, --top).`,
    );
  }
  const wrong = points.find(({ accuracy }) => !(accuracy >= 0 && accuracy <= 1));
  if (wrong) {
    throw new RangeError(
      `Cannot fit accuracies: ${wrong.accuracy} is no share from 0 to 1; divide percent by 100 (--accuracy='d.accuracy / 100').`,
    );
  }
  if (chance !== undefined && top !== undefined && !(chance < top)) {
    throw new RangeError(`Cannot fit accuracies: chance (${chance}) is not below the top (${top}).`);
  }
  if (new Set(points.map(({ loss }) => loss)).size === 1) {
    throw new RangeError("Cannot fit accuracies: all points have the same loss.");
  }
  const taskLosses = points.map(({ taskLoss }) => taskLoss);
  if (new Set(taskLosses.map((taskLoss) => taskLoss === undefined)).size > 1) {
    throw new RangeError(
      "Cannot fit accuracies: some points have a task loss and some have none; complete or remove these.",
    );
  }
  const chained = taskLosses[0] !== undefined;
  if (chained && new Set(taskLosses).size === 1) {
    throw new RangeError("Cannot fit accuracies: all points have the same task loss.");
  }
  if (form === "power" && !chained) {
    throw new RangeError("Cannot fit a power law of the task loss: there is no task loss (--task_loss).");
  }
  const below = points.find(({ loss, taskLoss }) => !(loss > 0) || !(taskLoss === undefined || taskLoss > 0));
  if (form === "power" && below) {
    throw new RangeError(
      `Cannot fit a power law of the task loss: ${below.taskLoss} at the loss ${below.loss}; both must be above 0 (--step=linear needs no logarithms).`,
    );
  }
}

const toAxis = (form: TaskLossLaw["form"], value: number) => (form === "power" ? Math.log(value) : value);
const fromAxis = (form: TaskLossLaw["form"], value: number) => (form === "power" ? Math.exp(value) : value);

function fitTaskLoss(points: readonly TaskPoint[], form: TaskLossLaw["form"]): TaskLossLaw {
  const x = points.map(({ loss }) => toAxis(form, loss));
  const { intercept, slope, slopeError, sum } = fitLine(
    x,
    points.map(({ taskLoss }) => toAxis(form, taskLoss!)),
  );
  const mean = x.reduce((total, value) => total + value, 0) / x.length;
  const squares = x.reduce((total, value) => total + (value - mean) ** 2, 0);
  const freedom = points.length - 2;
  return { form, intercept, slope, slopeError, scatter: Math.sqrt(sum / freedom), freedom, mean, squares };
}

const logistic = (x: number) => 1 / (1 + Math.exp(-x));

/** The accuracy, and its derivatives in top, chance, ln k and L0. */
function sigmoidAt(theta: ArrayLike<number>, loss: number): { value: number; slopes: number[]; inLoss: number } {
  const [top, chance, k, L0] = [theta[0]!, theta[1]!, Math.exp(theta[2]!), theta[3]!];
  const s = logistic(k * (loss - L0));
  const steep = (chance - top) * s * (1 - s);
  return {
    value: top + (chance - top) * s,
    slopes: [1 - s, s, steep * k * (loss - L0), -steep * k],
    inLoss: steep * k,
  };
}

function fitSigmoid(
  losses: readonly number[],
  accuracies: readonly number[],
  { chance, top }: AccuracyOptions,
): Sigmoid {
  const fixed: Partial<Record<Name, number>> = {
    ...(chance !== undefined && { chance }),
    ...(top !== undefined && { top }),
  };
  const free = names.filter((name) => fixed[name] === undefined);
  const full = (x: ArrayLike<number>) => names.map((name) => fixed[name] ?? x[free.indexOf(name)]!);
  const search = createLeastSquares({
    size: losses.length,
    parameters: free.length,
    at(i, x, gradient) {
      const { value, slopes } = sigmoidAt(full(x), losses[i]!);
      free.forEach((name, k) => {
        gradient[k] = slopes[names.indexOf(name)]!;
      });
      return value - accuracies[i]!;
    },
  });
  const ends = startsOf(losses, accuracies, fixed).map((start) => {
    const x = Float64Array.from(free, (name) => start[names.indexOf(name)]!);
    return { x, end: search(x, 500) };
  });
  const { x, end } = ends.reduce((best, other) => (other.end.value < best.end.value ? other : best));
  const theta = full(x);
  const freedom = losses.length - free.length;
  const scatter = Math.sqrt(end.value / freedom);
  const covariance = covarianceOf(losses, theta, free)?.map((value) => value * scatter * scatter);
  const t = studentQuantile(0.9, freedom);
  const errors = free.map((_, k) =>
    covariance ? Math.sqrt(covariance[k * (free.length + 1)]!) : Number.POSITIVE_INFINITY,
  );
  const interval = (name: Name, k: number): Interval => {
    const ends = [theta[names.indexOf(name)]! - t * errors[k]!, theta[names.indexOf(name)]! + t * errors[k]!] as const;
    return name === "k" ? [Math.exp(ends[0]), Math.exp(ends[1])] : ends;
  };
  return {
    params: { top: theta[0]!, chance: theta[1]!, k: Math.exp(theta[2]!), L0: theta[3]! },
    errors: Object.fromEntries(free.map((name, k) => [name, errors[k]!])),
    ci80: Object.fromEntries(free.map((name, k) => [name, interval(name, k)])),
    converged: end.converged && covariance !== undefined,
    ...{ scatter, freedom, free, covariance: covariance ? Array.from(covariance) : [] },
  };
}

/** Starts: the middle at some quantiles of the losses, several widths, top and chance about the accuracies. */
function startsOf(
  losses: readonly number[],
  accuracies: readonly number[],
  fixed: Partial<Record<Name, number>>,
): number[][] {
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const [worst, best] = [Math.min(...accuracies), Math.max(...accuracies)];
  return [-0.3, 0.1, 0.35, 0.6, 0.9, 1.3].flatMap((share) =>
    [1, 3, 8, 20].flatMap((width) =>
      [0.02, 0.3].map((beyond) => {
        const top = fixed.top ?? Math.min(1.2, best + beyond * (best - worst));
        const chance = fixed.chance ?? Math.max(-0.2, worst - beyond * (best - worst));
        return [top, chance, Math.log(width / (high - low)), low + share * (high - low)];
      }),
    ),
  );
}

/** (JᵀJ)⁻¹ of the free constants; undefined if the points do not determine them. */
function covarianceOf(losses: readonly number[], theta: readonly number[], free: readonly Name[]) {
  const count = free.length;
  const normal = new Float64Array(count * count);
  for (const loss of losses) {
    const all = sigmoidAt(theta, loss).slopes;
    const row = free.map((name) => all[names.indexOf(name)]!);
    for (let j = 0; j < count; j++) for (let k = 0; k < count; k++) normal[j * count + k]! += row[j]! * row[k]!;
  }
  return inverse(normal, count);
}

/** The accuracy of a model with a given loss. Errors of the two steps are taken to be independent. */
export function predictAccuracy({ taskLoss: law, sigmoid }: AccuracyFit, loss: number): AccuracyPrediction {
  const { params, free, covariance, freedom } = sigmoid;
  const x = law ? toAxis(law.form, loss) : loss;
  const axis = law ? law.intercept + law.slope * x : x;
  const at = law ? fromAxis(law.form, axis) : loss;
  const { value, slopes, inLoss } = sigmoidAt([params.top, params.chance, Math.log(params.k), params.L0], at);
  const row = free.map((name) => slopes[names.indexOf(name)]!);
  const own = row.reduce(
    (sum, one, j) =>
      sum + row.reduce((all, other, k) => all + one * (covariance[j * row.length + k] ?? Number.NaN) * other, 0),
    0,
  );
  // ∂ accuracy / ∂ axis: the axis of a power is ln taskLoss.
  const steep = inLoss * (law?.form === "power" ? at : 1);
  const step = law ? law.scatter ** 2 * (1 / (law.freedom + 2) + (x - law.mean) ** 2 / law.squares) : 0;
  const ofLaw = own + steep ** 2 * step;
  const ofRun = ofLaw + sigmoid.scatter ** 2 + (law ? (steep * law.scatter) ** 2 : 0);
  const t = studentQuantile(0.9, freedom);
  const interval = (variance: number): Interval => [value - t * Math.sqrt(variance), value + t * Math.sqrt(variance)];
  return { loss, ...(law && { taskLoss: at }), accuracy: value, law: interval(ofLaw), run: interval(ofRun) };
}

/** A constant whose interval is wider than the range of accuracies, times this, is not determined. */
const widest = 1;

function warningsOf(
  { params, ci80, converged }: Sigmoid,
  losses: readonly number[],
  accuracies: readonly number[],
): FitWarning[] {
  const warnings: FitWarning[] = [];
  if (!converged) {
    warnings.push({
      kind: "not-converged",
      message:
        "The sigmoid's search has not converged: the points do not determine its constants. Fix some (--chance, --top).",
    });
  }
  const [worst, best] = [Math.min(...accuracies), Math.max(...accuracies)];
  const loose = (["top", "chance"] as const).filter((name) => {
    const ends = ci80[name];
    return ends !== undefined && !(ends[1] - ends[0] < widest * (best - worst));
  });
  if (loose.length > 0) {
    warnings.push({
      kind: "undetermined-end",
      message: `The points do not determine ${loose.join(" and ")}: the accuracies, ${worst.toFixed(3)} to ${best.toFixed(3)}, do not level off there. Predictions beyond them depend on it; add models on that side, or give the value (${loose.map((name) => `--${name}`).join(", ")}).`,
    });
  }
  const reached = losses.map((loss) => logistic(params.k * (loss - params.L0)));
  if (converged && reached.every((share) => share < 0.1 || share > 0.9)) {
    warnings.push({
      kind: "no-middle",
      message:
        "No point is on the slope of the sigmoid, so its place and steepness are not determined; add models in between.",
    });
  }
  if (params.chance > params.top) {
    warnings.push({
      kind: "rising",
      message:
        "The accuracy rises with the loss. Is the column of accuracies one of errors (--accuracy='1 - d.error')?",
    });
  }
  return warnings;
}
