/**
 * Batch and learning rate of a run from its parameters and tokens: fixed numbers, power laws, or the power law that a
 * tuning sweep gives. Published rules (Step Law and others) are in laws.ts; their constants fit in here as power laws.
 * `folio scaling run` shows both.
 */

/** value = factor · N^parameters · D^tokens, between the bounds. */
export interface PowerRule {
  readonly factor: number;
  /** Exponent of N; 0 unless given. */
  readonly parameters?: number;
  /** Exponent of D; 0 unless given. */
  readonly tokens?: number;
  readonly least?: number;
  readonly most?: number;
}

/** What a rule is applied to: N and D. */
export interface RuleInputs {
  readonly parameters: number;
  readonly tokens: number;
}

/** The value of a rule; a number is itself. */
export function applyRule(rule: number | PowerRule, { parameters: N, tokens: D }: RuleInputs): number {
  if (typeof rule === "number") return rule;
  const { factor, parameters = 0, tokens = 0, least = 0, most = Number.POSITIVE_INFINITY } = rule;
  return Math.min(most, Math.max(least, factor * N ** parameters * D ** tokens));
}

/** Sequences a step whose tokens are nearest to the rule's. */
export function rowsOf(rule: number | PowerRule, blockSize: number, inputs: RuleInputs): number {
  return Math.max(1, Math.round(applyRule(rule, inputs) / blockSize));
}

/** A finished run of a tuning sweep. */
export interface TuningPoint {
  readonly parameters: number;
  readonly tokens: number;
  readonly learningRate: number;
  readonly loss: number;
  /** Of a step, in tokens or sequences; runs of different batches have different best rates. */
  readonly batch?: number;
}

/**
 * The best learning rate of an N and D: the vertex of a parabola in log rate through the three lowest losses of the batch
 * that reached the lowest.
 */
export interface BestRate {
  readonly parameters: number;
  readonly tokens: number;
  readonly learningRate: number;
  readonly loss: number;
  readonly batch?: number;
  /** The other batches that were tried at this N and D. */
  readonly otherBatches?: readonly number[];
}

/** What a tuning sweep says. */
export interface TunedRates {
  readonly best: readonly BestRate[];
  readonly rule: PowerRule;
}

/**
 * The learning rate that losses at some pairs of N and D tell: of each pair the vertex over log rate, of all the
 * least-squares power law through them. It is in N alone where D is the same or follows from N, in D alone where N is the
 * same, and a constant for one pair.
 * @throws {RangeError} where the lowest loss of a pair is at the edge of its rates, which then say only in which direction
 */
export function tuneLearningRates(points: readonly TuningPoint[]): TunedRates {
  if (points.length === 0) throw new RangeError("Cannot tune the learning rate: there is no finished tuning run.");
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
      `Cannot tune the learning rate: of the model of ${parameters} parameters on ${tokens} tokens the ${side} rate, ${learningRate}, is best; add ${before ? "higher" : "lower"} ones.`,
    );
  }
  const x = [before, sorted[lowest]!, after].map((point) => Math.log(point.learningRate));
  const y = [before, sorted[lowest]!, after].map((point) => point.loss);
  const vertex = parabolaVertex(x as [number, number, number], y as [number, number, number]);
  return { parameters, tokens, learningRate: Math.exp(vertex.x), loss: vertex.y };
}

/** Runs of one rate, which differ in their seed, as one of their mean loss; by rate, rising. */
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

/** Losses of seeds differ by a percent or two. */
const mostBySeed = 1.2;

function checkSeeds(learningRate: number, losses: readonly number[]): void {
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  if (high <= mostBySeed * low) return;
  throw new RangeError(
    `Cannot tune the learning rate: runs of one N, D and rate (${learningRate}) have losses from ${low} to ${high}, more than seeds make them differ; if their batch differs, name its column (--batch), else leave out what went wrong.`,
  );
}

/** The extremum of the parabola through three points. */
function parabolaVertex(x: [number, number, number], y: [number, number, number]): { x: number; y: number } {
  const [d1, d2] = [(y[1] - y[0]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])];
  const curvature = (d2 - d1) / (x[2] - x[0]);
  const at = (x[0] + x[1]) / 2 - d1 / (2 * curvature);
  return { x: at, y: y[1] + (at - x[1]) * d1 + curvature * (at - x[0]) * (at - x[1]) };
}

/** D follows from N where N explains all but this share of the variance of ln D: then N alone is in the rule. */
const ownShare = 0.05;
/** Sums of squares below it are rounding: the quantity is the same everywhere. */
const rounding = 1e-12;

/** ln rate = ln factor + p ln N + q ln D by least squares; a quantity that is the same everywhere is not in the rule. */
function ruleThrough(best: readonly BestRate[]): PowerRule {
  const centred = (value: (of: BestRate) => number) => {
    const logs = best.map((of) => Math.log(value(of)));
    const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length;
    return { mean, from: logs.map((log) => log - mean) };
  };
  const dot = (x: readonly number[], y: readonly number[]) => x.reduce((sum, value, k) => sum + value * y[k]!, 0);
  const n = centred(({ parameters }) => parameters);
  const d = centred(({ tokens }) => tokens);
  const rate = centred(({ learningRate }) => learningRate);
  const [nn, nd, dd] = [dot(n.from, n.from), dot(n.from, d.from), dot(d.from, d.from)];
  const [nr, dr] = [dot(n.from, rate.from), dot(d.from, rate.from)];
  const determinant = nn * dd - nd * nd;
  if (nn > rounding && dd > rounding && determinant > ownShare * nn * dd) {
    const [parameters, tokens] = [(nr * dd - dr * nd) / determinant, (dr * nn - nr * nd) / determinant];
    return { factor: Math.exp(rate.mean - parameters * n.mean - tokens * d.mean), parameters, tokens };
  }
  if (nn > rounding) return { factor: Math.exp(rate.mean - (nr / nn) * n.mean), parameters: nr / nn };
  if (dd > rounding) return { factor: Math.exp(rate.mean - (dr / dd) * d.mean), tokens: dr / dd };
  return { factor: Math.exp(rate.mean) };
}
