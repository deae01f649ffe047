/** Charts of the loss of one or several runs against the step, from training logs. Shown in notebook 01-train. */
import { type Figure, palette } from "./figure.js";
import { lineChart, type ReferenceLine, type Series } from "./line-chart.js";

/** The fields of a line of log.jsonl that lossCurve() reads; every record that train() yields has them. */
export interface LossRecord {
  readonly kind: string;
  readonly step: number;
  readonly loss?: number;
  readonly trainLoss?: number;
  readonly valLoss?: number;
}

/** Options of lossCurve(). */
export interface LossCurveOptions {
  readonly title?: string;
  /** Default "nats per token". */
  readonly unit?: string;
  readonly lines?: readonly ReferenceLine[];
}

/**
 * The curve of a training log: the loss of each logged step as a thin line; the smoothed loss; the evaluations of both
 * splits; and reference lines, such as the loss of a trigram model. Each line has at most 2,000 points.
 * @example toSvg(lossCurve(records, { lines: [{ y: 2.05, label: "trigram" }] }), { width: 720, height: 400 })
 */
export function lossCurve(
  records: Iterable<LossRecord>,
  { title = "Loss while training", unit = "nats per token", lines = [] }: LossCurveOptions = {},
): Figure {
  const { iters, smoothed, train, validation } = pointsOf(records);
  const [trainColor, valColor] = palette;
  const series = [
    line("training, each step", iters, { color: trainColor, opacity: 0.45, width: 1 }),
    line("training, smoothed", smoothed, { color: trainColor }),
    line("training, evaluated", train, { color: trainColor, dash: "dot", markers: true }),
    line("validation", validation, { color: valColor, markers: true }),
  ].filter(({ x }) => x.length > 0);
  return lineChart({ title, xLabel: "step", yLabel: `loss (${unit})`, series, lines });
}

/** A run's records, or an object that contains them, such as the result of trainRun(). */
export type CurveSource = Iterable<LossRecord> | { readonly records: Iterable<LossRecord> };

/**
 * The curves of several runs by their names: for each, the validation loss, and the smoothed training loss as a thin
 * line.
 * @example lossCurves({ small: readRunLog("out-small"), large: readRunLog("out-large") })
 */
export function lossCurves(
  runs: Readonly<Record<string, CurveSource>>,
  { title = "Loss while training", unit = "nats per token", lines = [] }: LossCurveOptions = {},
): Figure {
  const series = Object.entries(runs).flatMap(([name, run], index): Series[] => {
    const color = palette[index % palette.length]!;
    const { smoothed, validation } = pointsOf("records" in run ? run.records : run);
    return [
      line(`${name}, training`, smoothed, { color, opacity: 0.45, width: 1, label: "none" }),
      line(name, validation, { color, markers: true }),
    ].filter(({ x }) => x.length > 0);
  });
  return lineChart({ title, xLabel: "step", yLabel: `loss (${unit})`, series, lines });
}

/** The points of a training log, at most 2,000 per line. */
function pointsOf(records: Iterable<LossRecord>) {
  const iters: Point[] = [];
  const train: Point[] = [];
  const validation: Point[] = [];
  for (const { kind, step, loss, trainLoss, valLoss } of records) {
    if (kind === "iter" && loss !== undefined) iters.push([step, loss]);
    if (kind !== "eval") continue;
    if (trainLoss !== undefined) train.push([step, trainLoss]);
    if (valLoss !== undefined) validation.push([step, valLoss]);
  }
  return { iters: thin(iters), smoothed: thin(smooth(iters)), train: thin(train), validation: thin(validation) };
}

type Point = readonly [x: number, y: number];

const line = (name: string, points: readonly Point[], style: Partial<Series>): Series => ({
  ...style,
  name,
  x: points.map(([x]) => x),
  y: points.map(([, y]) => y),
});

/** Every k-th point, and the last. */
function thin(points: readonly Point[], most = 2000): readonly Point[] {
  const k = Math.ceil(points.length / most);
  return k <= 1 ? points : points.filter((_, i) => i % k === 0 || i === points.length - 1);
}

/**
 * At each point, the value of the straight line that fits its surroundings best, with weights that fall exponentially on
 * both sides, over about a 25th of the log (local linear regression: Fan 1992). An average of the steps before it would
 * lag: where the loss falls, it would stay above the loss.
 */
function smooth(points: readonly Point[]): Point[] {
  const finite = points.filter(([, y]) => Number.isFinite(y));
  const values = finite.map(([, y]) => y);
  const keep = 1 - 1 / Math.max(1, finite.length / 50);
  const before = weightedSums(values, keep);
  const after = weightedSums(values.toReversed(), keep).toReversed();
  return finite.map(([x, y], i) => {
    const [left, right] = [before[i]!, after[i]!];
    const [weight, first, second] = [
      left.weight + right.weight - 1,
      right.first - left.first,
      left.second + right.second,
    ];
    const [sum, moment] = [left.sum + right.sum - y, right.moment - left.moment];
    const spread = weight * second - first * first;
    return [x, spread > 0 ? (second * sum - first * moment) / spread : sum / weight] as const;
  });
}

/**
 * For each value, over it and those before it, with weights keep^distance: the sum of the weights, their first and
 * second moments of the distance, the weighted sum of the values, and its first moment.
 */
function weightedSums(values: readonly number[], keep: number) {
  let now = { weight: 0, first: 0, second: 0, sum: 0, moment: 0 };
  return values.map((value) => {
    const { weight, first, second, sum, moment } = now;
    now = {
      weight: 1 + keep * weight,
      first: keep * (first + weight),
      second: keep * (second + 2 * first + weight),
      sum: value + keep * sum,
      moment: keep * (moment + sum),
    };
    return now;
  });
}
