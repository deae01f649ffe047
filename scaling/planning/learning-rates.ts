/**
 * Batch size and learning rate of a run from its parameters and tokens: fixed numbers, or power laws, which may come
 * from a tuning sweep. Published rules (Step Law and others) are in rules.ts. `folio scaling run` shows both.
 */

/** value = factor · N^parameters · D^tokens, between the bounds. */
export interface PowerRule {
  readonly factor: number;
  /** Exponent of N; 0 by default. */
  readonly parameters?: number;
  /** Exponent of D; 0 by default. */
  readonly tokens?: number;
  readonly least?: number;
  readonly most?: number;
}

/** The arguments of a rule: N and D. */
export interface RuleInputs {
  readonly parameters: number;
  readonly tokens: number;
}

/** The value of a rule; a fixed number stays as it is. */
export function applyRule(rule: number | PowerRule, { parameters: N, tokens: D }: RuleInputs): number {
  if (typeof rule === "number") return rule;
  const { factor, parameters = 0, tokens = 0, least = 0, most = Number.POSITIVE_INFINITY } = rule;
  return Math.min(most, Math.max(least, factor * N ** parameters * D ** tokens));
}

/** The number of sequences per step whose tokens are nearest to the rule's value. */
export function rowsOf(rule: number | PowerRule, blockSize: number, inputs: RuleInputs): number {
  return Math.max(1, Math.round(applyRule(rule, inputs) / blockSize));
}

/** A finished run of a tuning sweep. */
export interface TuningPoint {
  readonly parameters: number;
  readonly tokens: number;
  readonly learningRate: number;
  readonly loss: number;
  /** Batch size in tokens or sequences; the best rate depends on it. */
  readonly batch?: number;
}

/**
 * The best learning rate of an N and D: the vertex of a parabola in log rate through the three lowest losses, for the
 * batch size with the lowest loss.
 */
export interface BestRate {
  readonly parameters: number;
  readonly tokens: number;
  readonly learningRate: number;
  readonly loss: number;
  readonly batch?: number;
  /** Other batch sizes that were tried at this N and D. */
  readonly otherBatches?: readonly number[];
}

/** The result of a tuning sweep. */
export interface TunedRates {
  readonly best: readonly BestRate[];
  readonly rule: PowerRule;
}

/**
 * The learning rate from the losses of a tuning sweep: the vertex over log rate for each pair of N and D, and the
 * least-squares power law through these. The law depends on N only if D is the same for all pairs or follows from N, on
 * D only if N is the same, and is a constant for a single pair.
 * @throws {RangeError} if the lowest loss of a pair is at the edge of its rates, so that the best rate lies beyond
 */
export function tuneLearningRates(points: readonly TuningPoint[]): TunedRates {
  if (points.length === 0) throw new RangeError("Cannot tune the learning rate: there are no finished tuning runs.");
  const sizes = new Map<string, TuningPoint[]>();
  for (const point of points) {
    const key = `${point.parameters} ${point.tokens}`;
    if (sizes.has(key)) sizes.get(key)!.push(point);
    else sizes.set(key, [point]);
  }
  const best = [...sizes.values()].map(bestRate).sort((a, b) => a.parameters - b.parameters || a.tokens - b.tokens);
  return { best, rule: ruleThrough(best) };
}

function bestRate(points: readonly TuningPoint[]): BestRate {
  const batches = [...new Set(points.map(({ batch }) => batch))];
  const means = batches.map((batch) => meansByRate(points.filter((point) => point.batch === batch)));
  const lowestOf = (sorted: readonly TuningPoint[]) => Math.min(...sorted.map(({ loss }) => loss));
  const sorted = means.reduce((best, other) => (lowestOf(other) < lowestOf(best) ? other : best));
  const { batch } = sorted[0]!;
  const otherBatches = batches.filter((other) => other !== undefined && other !== batch) as number[];
  return {
    ...vertexOverRate(sorted),
    ...(batch !== undefined && { batch }),
    ...(otherBatches.length > 0 && { otherBatches }),
  };
}

function vertexOverRate(sorted: readonly TuningPoint[]): BestRate {
  const lowest = sorted.reduce((low, { loss }, index) => (loss < sorted[low]!.loss ? index : low), 0);
  const { parameters, tokens, learningRate } = sorted[lowest]!;
  const [before, after] = [sorted[lowest - 1], sorted[lowest + 1]];
  if (!before || !after) {
    const side = before ? "highest" : "lowest";
    throw new RangeError(
      `Cannot tune the learning rate: for the model of ${parameters} parameters on ${tokens} tokens, the ${side} rate, ${learningRate}, is best; add ${before ? "higher" : "lower"} ones.`,
    );
  }
  const x = [before, sorted[lowest]!, after].map((point) => Math.log(point.learningRate));
  const y = [before, sorted[lowest]!, after].map((point) => point.loss);
  const vertex = parabolaVertex(x as [number, number, number], y as [number, number, number]);
  return { parameters, tokens, learningRate: Math.exp(vertex.x), loss: vertex.y };
}

/** Runs with the same rate (other seeds) are averaged; the result is sorted by rate. */
function meansByRate(points: readonly TuningPoint[]): TuningPoint[] {
  const losses = new Map<number, number[]>();
  for (const { learningRate, loss } of points) losses.set(learningRate, [...(losses.get(learningRate) ?? []), loss]);
  return [...losses]
    .map(([learningRate, all]) => {
      checkSeeds(learningRate, all);
      const loss = all.reduce((sum, each) => sum + each, 0) / all.length;
      return { ...points[0]!, learningRate, loss };
    })
    .sort((one, other) => one.learningRate - other.learningRate);
}

/** Losses of different seeds differ by a percent or two. */
const mostBySeed = 1.2;

function checkSeeds(learningRate: number, losses: readonly number[]): void {
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  if (high <= mostBySeed * low) return;
  throw new RangeError(
    `Cannot tune the learning rate: runs of the same N, D and rate (${learningRate}) have losses from ${low} to ${high}, a larger difference than seeds explain; if their batch sizes differ, name that column (--batch), else leave out failed runs.`,
  );
}

/** The extremum of the parabola through three points. */
function parabolaVertex(x: [number, number, number], y: [number, number, number]): { x: number; y: number } {
  const [d1, d2] = [(y[1] - y[0]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])];
  const curvature = (d2 - d1) / (x[2] - x[0]);
  const at = (x[0] + x[1]) / 2 - d1 / (2 * curvature);
  return { x: at, y: y[1] + (at - x[1]) * d1 + curvature * (at - x[0]) * (at - x[1]) };
}

/** If N explains all but this share of the variance of ln D, D follows from N, and the rule depends on N only. */
const ownShare = 0.05;
/** Smaller sums of squares are rounding errors: the quantity is the same for all pairs. */
const rounding = 1e-12;

/** What a rule may depend on: N and D. */
export type Quantity = keyof RuleInputs;

/** Logarithms, from their mean. */
function centred(values: readonly number[]): { mean: number; from: number[] } {
  const logs = values.map(Math.log);
  const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
  return { mean, from: logs.map((log) => log - mean) };
}

const dot = (x: readonly number[], y: readonly number[]) => x.reduce((sum, value, k) => sum + value * y[k]!, 0);

/** The quantities on which a rule through these pairs can depend. */
export function variedQuantities(pairs: readonly RuleInputs[]): Quantity[] {
  const { from: n } = centred(pairs.map(({ parameters }) => parameters));
  const { from: d } = centred(pairs.map(({ tokens }) => tokens));
  const [nn, nd, dd] = [dot(n, n), dot(n, d), dot(d, d)];
  if (nn > rounding && dd > rounding && nn * dd - nd * nd > ownShare * nn * dd) return ["parameters", "tokens"];
  if (nn > rounding) return ["parameters"];
  return dd > rounding ? ["tokens"] : [];
}

/** ln rate = ln factor + p ln N + q ln D by least squares, without quantities that are the same for all pairs. */
function ruleThrough(best: readonly BestRate[]): PowerRule {
  const rate = centred(best.map(({ learningRate }) => learningRate));
  const [one, other] = variedQuantities(best).map((name) => ({ name, ...centred(best.map((of) => of[name])) }));
  if (!one) return { factor: Math.exp(rate.mean) };
  const [xx, xr] = [dot(one.from, one.from), dot(one.from, rate.from)];
  if (!other) return { factor: Math.exp(rate.mean - (xr / xx) * one.mean), [one.name]: xr / xx };
  const [yy, xy, yr] = [dot(other.from, other.from), dot(one.from, other.from), dot(other.from, rate.from)];
  const determinant = xx * yy - xy * xy;
  const [p, q] = [(xr * yy - yr * xy) / determinant, (yr * xx - xr * xy) / determinant];
  return { factor: Math.exp(rate.mean - p * one.mean - q * other.mean), [one.name]: p, [other.name]: q };
}
