/**
 * The loss over learning rate η and batch size B at one N and D: a quadratic in ln η and ln B, with the cross term, by
 * least squares through the runs about its minimum. The laws of the optima in N and D are in surface-laws.ts; rates
 * alone are tuned in learning-rates.ts.
 */
import { group } from "d3-array";
import { normalQuantile, studentQuantile } from "../fit/uncertainty/student-quantile.js";
import type { Interval } from "../points.js";
import type { TuningPoint } from "./learning-rates.js";
import { fitPolynomial, type Minimum, minimumOf, type Polynomial, terms } from "./polynomial.js";

/** A run of a grid of learning rates and batch sizes. */
export interface GridPoint extends TuningPoint {
  readonly batch: number;
}

/** The optimal rate or batch of a cell. */
export interface Located {
  readonly value: number;
  /** The standard error of its logarithm. */
  readonly error: number;
  /** ln of the minimum of a cubic surface, minus ln of this one; 0 unless the cubic terms are significant. */
  readonly shift: number;
  /** Student's t for the error, and the shift inside. */
  readonly ci80: Interval;
  readonly ci95: Interval;
  /** Set if the optimum is at or beyond this end of the tried values. */
  readonly edge?: "lowest" | "highest";
}

/** Why a cell has no optimum that can be used. */
export type SurfaceProblem = "few-runs" | "no-minimum" | "edge";

/** A cell: all runs of one N and D. */
export interface CellSurface {
  readonly parameters: number;
  readonly tokens: number;
  readonly runs: number;
  /** The runs through which the surface is fitted. */
  readonly fitted: number;
  /** Pairs of a tried rate and a tried batch without a run. */
  readonly missing: readonly { readonly learningRate: number; readonly batch: number }[];
  /** The run with the lowest loss. */
  readonly lowest: GridPoint;
  readonly problem?: SurfaceProblem;
  /** Absent if the problem is few-runs or no-minimum. */
  readonly optimum?: {
    readonly learningRate: Located;
    readonly batch: Located;
    readonly loss: number;
    /** The standard deviation of runs about the surface. */
    readonly scatter: number;
    /** Whether cubic terms are significant (99 %). */
    readonly skewed: boolean;
  };
}

export interface SurfaceOptions {
  /** Runs within this factor of the minimum, in rate and in batch, are fitted; 3 by default, more for coarse grids and noisy runs. */
  readonly window?: number;
}

const defaultWindow = 3;
/** The window reaches at least this many steps of the grid to each side, so that it holds three values. */
const leastSteps = 1.5;
/** A window widens by this factor until errors of the minimum are below this share of half of its width. */
const widening = 1.5;
const mostError = 0.15;
/** Runs with a loss larger than the lowest by this factor have failed, or are too far away to tell about the minimum. */
const mostAbove = 1.1;
/** An optimum this close to the end of the tried values is at the edge. */
const atEdge = 1e-6;
/** Values that differ by less than this share were rounded differently. */
const rounded = 0.01;

/**
 * The surfaces of all cells of a grid, by N and D.
 * @throws {RangeError} for a window that is not above 1, or no runs
 * @example
 * const [cell] = fitSurfaces(runs); // of one N and D
 * cell.optimum?.batch.ci80;
 */
export function fitSurfaces(points: readonly GridPoint[], options: SurfaceOptions = {}): CellSurface[] {
  if (points.length === 0) throw new RangeError("Cannot fit the loss over rate and batch: there are no finished runs.");
  const { window } = options;
  if (window !== undefined && !(window > 1 && Number.isFinite(window))) {
    throw new RangeError(
      `Cannot fit the loss over rate and batch: the window is ${window}; give a factor above 1, such as 3.`,
    );
  }
  const cells = group(points, ({ parameters, tokens }) => `${parameters} ${tokens}`);
  return [...cells.values()]
    .map((cell) => cellSurface(cell, window))
    .sort((a, b) => a.parameters - b.parameters || a.tokens - b.tokens);
}

/** Whether a cell has the runs that a surface needs: one more than it has constants, with three rates and three batches. */
export function isGrid(points: readonly TuningPoint[]): points is readonly GridPoint[] {
  if (points.some(({ batch }) => batch === undefined)) return false;
  const cells = group(points as readonly GridPoint[], ({ parameters, tokens }) => `${parameters} ${tokens}`);
  return [...cells.values()].some(
    (cell) =>
      cell.length > terms.quadratic &&
      tried(cell.map(({ learningRate }) => learningRate)).length >= 3 &&
      tried(cell.map(({ batch }) => batch)).length >= 3,
  );
}

/** The different values, sorted; values that differ only by rounding count once. */
function tried(values: readonly number[]): number[] {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted.filter((value, k) => k === 0 || value > sorted[k - 1]! * (1 + rounded));
}

const same = (a: number, b: number) => Math.abs(a / b - 1) <= rounded;

function cellSurface(points: readonly GridPoint[], window: number | undefined): CellSurface {
  const lowest = points.reduce((low, point) => (point.loss < low.loss ? point : low));
  const rates = tried(points.map(({ learningRate }) => learningRate));
  const batches = tried(points.map(({ batch }) => batch));
  const missing = batches.flatMap((batch) =>
    rates
      .filter((rate) => !points.some((point) => same(point.learningRate, rate) && same(point.batch, batch)))
      .map((learningRate) => ({ learningRate, batch })),
  );
  const { parameters, tokens } = lowest;
  const cell = { parameters, tokens, runs: points.length, missing, lowest };
  const local = localSurface(points, lowest, window);
  const { fitted } = local;
  if ("problem" in local) return { ...cell, fitted, problem: local.problem };
  const optimum = describe(local, { rates, batches });
  const edge = (optimum.learningRate.edge ?? optimum.batch.edge) !== undefined;
  return { ...cell, fitted, optimum, ...(edge && { problem: "edge" as const }) };
}

/**
 * The surface of the window. Its centre is found from wider windows, from that of all runs on, because the minimum of a
 * window chosen by its own runs follows their noise. If no window is given, it narrows only as far as the noise permits.
 */
function localSurface(points: readonly GridPoint[], lowest: GridPoint, window: number | undefined): Local | Failure {
  const near = points.filter(({ loss }) => loss <= mostAbove * lowest.loss);
  const x = axisOf(
    near.map(({ learningRate }) => learningRate),
    window,
  );
  const y = axisOf(
    near.map(({ batch }) => batch),
    window,
  );
  let centre: Centre = [Math.log(lowest.learningRate), Math.log(lowest.batch)];
  let best: Local | undefined;
  const steps = [x, y].map(({ low, high, half }) => Math.ceil(Math.log((high - low) / 2 / half) / Math.log(widening)));
  for (let step = Math.max(0, ...steps); ; step--) {
    const [wideX, wideY] = [x, y].map((axis) => ({ ...axis, half: axis.half * widening ** step })) as [Axis, Axis];
    const found = surfaceAt(near, [centreOn(wideX, centre[0]), centreOn(wideY, centre[1])], [wideX.half, wideY.half]);
    if (step === 0 && window !== undefined) return found;
    if ("problem" in found) {
      if (step > 0) continue;
      return best ?? found;
    }
    const { minimum, scale } = found;
    if (window === undefined && best && Math.max(minimum.xError, minimum.yError) > mostError) return best;
    best = found;
    if (step === 0) return best;
    const next = skewedMinimum(found) ?? minimum;
    centre = [found.centre[0] + scale[0] * next.x, found.centre[1] + scale[1] * next.y];
  }
}

/** ln rate or ln batch: its range, and half of the width of the window. */
interface Axis {
  readonly low: number;
  readonly high: number;
  readonly half: number;
}

function axisOf(values: readonly number[], window: number | undefined): Axis {
  const logs = tried(values).map(Math.log);
  const gap = logs.reduce((most, log, k) => (k === 0 ? most : Math.max(most, log - logs[k - 1]!)), 0);
  const half = window === undefined ? Math.max(Math.log(defaultWindow), leastSteps * gap) : Math.log(window);
  return { low: logs[0]!, high: logs.at(-1)!, half };
}

/** The centre of a window that lies within the axis, as near to a place as possible. */
function centreOn({ low, high, half }: Axis, at: number): number {
  return high - low < 2 * half ? (low + high) / 2 : Math.min(high - half, Math.max(low + half, at));
}

type Centre = readonly [lnRate: number, lnBatch: number];

/** The surface of a window, and its minimum, in units of half of its width from its centre. */
interface Local {
  readonly centre: Centre;
  readonly scale: Centre;
  readonly fitted: number;
  readonly quadratic: Polynomial;
  readonly minimum: Minimum;
  readonly cubic: Polynomial | undefined;
}

interface Failure {
  readonly fitted: number;
  readonly problem: "few-runs" | "no-minimum";
}

function surfaceAt(points: readonly GridPoint[], centre: Centre, scale: Centre): Local | Failure {
  const places = points
    .map(({ learningRate, batch, loss }) => ({
      x: (Math.log(learningRate) - centre[0]) / scale[0],
      y: (Math.log(batch) - centre[1]) / scale[1],
      value: loss,
    }))
    .filter(({ x, y }) => Math.max(Math.abs(x), Math.abs(y)) <= 1 + rounded);
  const fitted = places.length;
  const quadratic = fitPolynomial(places, "quadratic");
  if (!quadratic) return { fitted, problem: "few-runs" };
  const minimum = minimumOf(quadratic);
  if (!minimum) return { fitted, problem: "no-minimum" };
  return { centre, scale, fitted, quadratic, minimum, cubic: fitPolynomial(places, "cubic") };
}

/** Whether the cubic terms are significant at 99 %: the F test, by the approximation of Paulson (1942). */
function isSkewed({ quadratic, cubic, minimum }: Local): boolean {
  const rounding = quadratic.freedom * (1e-9 * minimum.value) ** 2;
  if (!cubic || !(cubic.sum > 0) || quadratic.sum < rounding) return false;
  const [more, rest] = [terms.cubic - terms.quadratic, cubic.freedom];
  const root = Math.cbrt((quadratic.sum - cubic.sum) / more / (cubic.sum / rest));
  const [a, b] = [2 / (9 * more), 2 / (9 * rest)];
  return ((1 - b) * root - (1 - a)) / Math.sqrt(b * root * root + a) > normalQuantile(0.99);
}

/** The minimum of the cubic surface, if its cubic terms are significant. Far beyond the window, a cubic says nothing. */
function skewedMinimum(local: Local): Minimum | undefined {
  return local.cubic && isSkewed(local) ? minimumOf(local.cubic, 1.5) : undefined;
}

function describe(local: Local, { rates, batches }: { rates: readonly number[]; batches: readonly number[] }) {
  const { centre, scale, minimum, quadratic } = local;
  const other = skewedMinimum(local) ?? minimum;
  const { freedom, sum } = quadratic;
  const [x, y] = [
    { at: minimum.x, error: minimum.xError, shift: other.x - minimum.x },
    { at: minimum.y, error: minimum.yError, shift: other.y - minimum.y },
  ];
  return {
    learningRate: located(x, { centre: centre[0], scale: scale[0], freedom, values: rates }),
    batch: located(y, { centre: centre[1], scale: scale[1], freedom, values: batches }),
    loss: minimum.value,
    scatter: Math.sqrt(sum / freedom),
    skewed: isSkewed(local),
  };
}

function located(
  scaled: { readonly at: number; readonly error: number; readonly shift: number },
  axis: { centre: number; scale: number; freedom: number; values: readonly number[] },
): Located {
  const { centre, scale, freedom, values } = axis;
  const ln = centre + scale * scaled.at;
  const [error, shift, value] = [scale * scaled.error, scale * scaled.shift, Math.exp(ln)];
  const interval = (level: number): Interval => {
    const half = studentQuantile(0.5 + level / 2, freedom) * error;
    return [Math.exp(ln - half + Math.min(0, shift)), Math.exp(ln + half + Math.max(0, shift))];
  };
  const [low, high] = [values[0]! * (1 + atEdge), values.at(-1)! * (1 - atEdge)];
  const edge = value <= low ? "lowest" : value >= high ? "highest" : undefined;
  return { value, error, shift, ci80: interval(0.8), ci95: interval(0.95), ...(edge && { edge }) };
}
