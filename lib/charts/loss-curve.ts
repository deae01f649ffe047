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
  return { iters: thin(iters), smoothed: smooth(iters), train: thin(train), validation: thin(validation) };
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
 * At each point, the value of the straight line that fits its surroundings best (local linear regression: Fan 1992). An
 * average of the steps before it would lag: where the loss falls, it would stay above the loss. The surroundings are a
 * twelfth of the log to each side; at the beginning, where the loss falls fast, a quarter of the steps so far.
 */
function smooth(points: readonly Point[], most = 2000): readonly Point[] {
  const finite = points.filter(([, y]) => Number.isFinite(y));
  const indexed = finite.map(([x], i): Point => [x, i]);
  return thin(indexed, most).map(([x, i]) => [x, lineAt(finite, i, Math.floor(Math.min(finite.length / 12, i / 4)))]);
}

/** The straight line through the points up to `reach` before and after i, weighted by nearness, at i. */
function lineAt(points: readonly Point[], i: number, reach: number): number {
  let [weights, first, second, sum, moment] = [0, 0, 0, 0, 0];
  for (let j = Math.max(0, i - reach); j <= Math.min(points.length - 1, i + reach); j++) {
    const distance = j - i;
    const weight = 1 - Math.abs(distance) / (reach + 1);
    const y = points[j]![1];
    weights += weight;
    first += weight * distance;
    second += weight * distance * distance;
    sum += weight * y;
    moment += weight * distance * y;
  }
  const spread = weights * second - first * first;
  return spread > 0 ? (second * sum - first * moment) / spread : sum / weights;
}
