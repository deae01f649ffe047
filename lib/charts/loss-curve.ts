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

/** Exponential average over about a 25th of the log, without the bias towards zero at the start (Kingma 2015). */
function smooth(points: readonly Point[]): Point[] {
  const keep = 1 - 1 / Math.max(1, points.length / 25);
  let sum = 0;
  let weight = 0;
  return points.flatMap(([x, y]) => {
    if (!Number.isFinite(y)) return [];
    sum = keep * sum + (1 - keep) * y;
    weight = keep * weight + (1 - keep);
    return [[x, sum / weight] as const];
  });
}
