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
  readonly learningRate: number;
  readonly loss: number;
}

/** The best learning rate of a size: the vertex of a parabola in log rate through the three lowest losses. */
export interface BestRate {
  readonly parameters: number;
  readonly learningRate: number;
  readonly loss: number;
}

/** What a tuning sweep says. */
export interface TunedRates {
  readonly best: readonly BestRate[];
  readonly rule: PowerRule;
}

/**
 * The learning rate that losses a size tell: of each size the vertex over log rate, of all sizes the power law in N
 * through them (one size: a constant).
 * @throws {RangeError} where a size's lowest loss is at the edge of its rates, which then say only in which direction
 */
export function tuneLearningRates(points: readonly TuningPoint[]): TunedRates {
  const sizes = [...new Set(points.map(({ parameters }) => parameters))].sort((a, b) => a - b);
  if (sizes.length === 0) throw new RangeError("Cannot tune the learning rate: there is no finished tuning run.");
  const best = sizes.map((size) => bestRate(points.filter(({ parameters }) => parameters === size)));
  const { slope, at } = line(
    best.map(({ parameters, learningRate }) => [Math.log(parameters), Math.log(learningRate)]),
  );
  return { best, rule: { factor: Math.exp(at), parameters: slope } };
}

function bestRate(points: readonly TuningPoint[]): BestRate {
  const sorted = [...points].sort((a, b) => a.learningRate - b.learningRate);
  const lowest = sorted.reduce((low, { loss }, index) => (loss < sorted[low]!.loss ? index : low), 0);
  const { parameters, learningRate } = sorted[lowest]!;
  const [before, after] = [sorted[lowest - 1], sorted[lowest + 1]];
  if (!before || !after) {
    const side = before ? "highest" : "lowest";
    throw new RangeError(
      `Cannot tune the learning rate: of the model of ${parameters} parameters the ${side} rate, ${learningRate}, is best; add ${before ? "higher" : "lower"} ones.`,
    );
  }
  const x = [before, sorted[lowest]!, after].map((point) => Math.log(point.learningRate));
  const y = [before, sorted[lowest]!, after].map((point) => point.loss);
  const vertex = parabolaVertex(x as [number, number, number], y as [number, number, number]);
  return { parameters, learningRate: Math.exp(vertex.x), loss: vertex.y };
}

/** The extremum of the parabola through three points. */
function parabolaVertex(x: [number, number, number], y: [number, number, number]): { x: number; y: number } {
  const [d1, d2] = [(y[1] - y[0]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])];
  const curvature = (d2 - d1) / (x[2] - x[0]);
  const at = (x[0] + x[1]) / 2 - d1 / (2 * curvature);
  return { x: at, y: y[1] + (at - x[1]) * d1 + curvature * (at - x[0]) * (at - x[1]) };
}

/** The least-squares line y = at + slope · x; through one point, a constant. */
function line(points: readonly (readonly [number, number])[]): { slope: number; at: number } {
  const mean = (axis: 0 | 1) => points.reduce((sum, point) => sum + point[axis], 0) / points.length;
  const [mx, my] = [mean(0), mean(1)];
  const sxx = points.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
  const slope = sxx === 0 ? 0 : points.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0) / sxx;
  return { slope, at: my - slope * mx };
}
