/**
 * Shows a training in a notebook: a progress bar with loss, speed and remaining time, then the curve. The loop is in
 * lib/train/train.ts, its behaviour in cells in train.ts of this folder.
 */
import { escapeHtml } from "../charts/html-page.js";
import { notebookKernel } from "../host/notebook.js";
import type { EndRecord, EvalRecord, IterRecord, StepRecord } from "../runs/records.js";
import type { Settings } from "../settings/settings.js";
import type { TrainOptions } from "../train/open-run.js";
import { train } from "./train.js";

/** The result of a training; as the last expression of a cell it shows its numbers and its curve. */
export interface TrainedRun {
  readonly settings: Settings;
  readonly records: readonly StepRecord[];
  readonly evaluations: readonly EvalRecord[];
  /** The loss of each update's batch. */
  readonly losses: readonly number[];
}

export interface TrainRunOptions extends TrainOptions {
  /** Shows no progress. */
  readonly quiet?: boolean;
}

/** Shortest time between two redraws of the bar. */
const redrawMs = 250;

/**
 * Trains to the end, showing progress in a notebook.
 * @throws as train(); an interrupt saves the training and ends the cell
 * @example
 * const run = await trainRun({ ...presets.toy, dataset: "typescript" });
 */
export async function trainRun(settings: Settings, { quiet, ...options }: TrainRunOptions = {}): Promise<TrainedRun> {
  const records: StepRecord[] = [];
  const bar = quiet ? undefined : progressBar(settings);
  try {
    for await (const record of train(settings, options)) {
      records.push(record);
      bar?.add(record);
    }
  } finally {
    bar?.close();
  }
  const evaluations = records.filter((record) => record.kind === "eval");
  const losses = records.flatMap((record) => (record.kind === "iter" ? [record.loss] : []));
  return { settings, records, evaluations, losses };
}

let bars = 0;

function progressBar({ maxIters, outDir }: Settings) {
  const kernel = notebookKernel();
  const id = `folio-progress-${process.pid}-${++bars}`;
  let iter: IterRecord | undefined;
  let evaluation: EvalRecord | undefined;
  let end: EndRecord | undefined;
  let first: { step: number; atMs: number } | undefined;
  let drawnMs = 0;

  function draw(): void {
    drawnMs = performance.now();
    const done = end?.step ?? (iter ? iter.step + 1 : 0);
    const text = [
      end
        ? end.reason === "finished"
          ? `${done} steps in ${clock(end.trainedMs)}`
          : `stopped at step ${done}`
        : `step ${done} of ${maxIters}`,
      iter && `loss ${iter.loss.toFixed(3)}`,
      evaluation && `validation ${evaluation.valLoss.toFixed(3)}`,
      !end && iter && `${Math.round(iter.tokensPerSecond).toLocaleString("en")} tokens/s`,
      !end && iter && first && iter.step > first.step && `${clock(left(iter.step, first))} left`,
      end && outDir,
    ].filter((part) => typeof part === "string");
    const line = text.join(" · ");
    const html = `<progress value="${done}" max="${maxIters}" style="width:16em;vertical-align:middle"></progress> ${escapeHtml(line)}`;
    kernel?.display({ "text/html": html, "text/plain": line }, id);
  }

  const left = (step: number, { step: from, atMs }: { step: number; atMs: number }) =>
    ((performance.now() - atMs) / (step - from)) * (maxIters - step - 1);

  return {
    add(record: StepRecord): void {
      if (record.kind === "iter") {
        iter = record;
        first ??= { step: record.step, atMs: performance.now() }; // the first step also traces the graph
      }
      if (record.kind === "eval") evaluation = record;
      if (record.kind === "end") end = record;
      if (performance.now() - drawnMs >= redrawMs) draw();
    },
    close: draw,
  };
}

/** 95,000 ms → "1:35". */
function clock(elapsedMs: number): string {
  const seconds = Math.round(elapsedMs / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
