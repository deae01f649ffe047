/**
 * train() for programs and notebooks. In a notebook, running a cell again replaces the run that this kernel made, or
 * continues it if its settings are the same, and an interrupt saves. In a program it is the loop of lib/train/train.ts.
 */
import fs from "node:fs";
import path from "node:path";
import { type NotebookKernel, notebookKernel } from "../host/notebook.js";
import { differingSettings } from "../runs/identity.js";
import type { StepRecord } from "../runs/records.js";
import type { Settings } from "../settings/settings.js";
import type { TrainOptions } from "../train/open-run.js";
import { train as trainLoop } from "../train/train.js";
import { hasCheckpoint, readState } from "../weights/checkpoint.js";

/** Folders into which this process is training. */
const underWay = new Map<string, number>();

/**
 * Trains. Every update yields an `iter` record; every `evalInterval` updates, and at the end, an `eval` record comes
 * first, and a `checkpoint` record when one was saved. The log in `outDir` keeps every `logInterval`-th `iter`.
 *
 * In a notebook, running a cell again replaces the run that this kernel made in `outDir`; with the same settings, or
 * with only a larger `maxIters`, an unfinished run continues. Other runs are never replaced. An interrupt saves and
 * ends the cell.
 * @throws {RangeError} for settings, data, weights or a checkpoint that do not fit together
 * @throws {Error} when the loss is no longer finite, memory runs out, nothing can be saved, another process trains into
 * the same folder, or the cell was interrupted
 * @example
 * for await (const record of train(settings)) if (record.kind === "eval") console.log(record.step, record.valLoss);
 */
export function train(settings: Settings, options: TrainOptions = {}): AsyncGenerator<StepRecord> {
  const kernel = notebookKernel();
  return kernel ? trainInNotebook(kernel, settings, options) : trainLoop(settings, options);
}

async function* trainInNotebook(
  kernel: NotebookKernel,
  given: Settings,
  options: TrainOptions,
): AsyncGenerator<StepRecord> {
  const { signal } = kernel;
  signal.throwIfAborted();
  const folder = folderOf(given.outDir);
  const cell = underWay.get(folder);
  if (cell !== undefined && !given.evalOnly) {
    throw new Error(
      `Cannot train into ${given.outDir}: this kernel is already training there, started by cell ${cell}. Interrupt the kernel, or choose another outDir.`,
    );
  }
  const { settings, notice } = again(kernel, given);
  if (notice) kernel.display({ "text/plain": notice });
  const all = AbortSignal.any([signal, ...(options.signal ? [options.signal] : [])]);
  const hold = kernel.hold();
  if (!given.evalOnly) underWay.set(folder, kernel.cell);
  let last: StepRecord | undefined;
  try {
    for await (const record of trainLoop(settings, { ...options, signal: all })) {
      if (record.kind === "start" && !settings.evalOnly) {
        const made = kernel.runs.get(folder) ?? new Set<string>();
        kernel.runs.set(folderOf(given.outDir), made.add(record.runId));
      }
      last = record;
      hold.busy = false; // the cell may never ask for the next record
      yield record;
      hold.busy = true;
    }
  } finally {
    if (!given.evalOnly) underWay.delete(folder);
    hold.release();
  }
  if (signal.aborted) throw interrupted(settings, last?.step ?? 0);
}

/** The effective settings of a cell that is run again. */
function again(kernel: NotebookKernel, given: Settings): { settings: Settings; notice?: string } {
  const { outDir, initFrom, overwrite, evalOnly, maxIters } = given;
  if (evalOnly || overwrite || initFrom !== "scratch" || !hasCheckpoint(outDir)) return { settings: given };
  const { runId, step, settings: before } = readState(outDir);
  // Another process may have trained there since.
  if (!kernel.runs.get(folderOf(outDir))?.has(runId)) return { settings: given };
  const others = differingSettings({ ...before, maxIters }, given);
  if (others.length === 0 && step < maxIters) {
    return {
      settings: { ...given, initFrom: "resume" },
      notice: `${outDir}: the run made by this kernel continues at step ${step} of ${maxIters}.`,
    };
  }
  const changes = differingSettings(before, given);
  const why =
    changes.length > 0
      ? ` (${changes.join("; ").replaceAll(" there, ", " before, ").replaceAll(" here", " now")})`
      : "";
  return {
    settings: { ...given, overwrite: true },
    notice: `${outDir}: the run made earlier by this kernel is replaced${why}.`,
  };
}

function interrupted({ outDir }: Settings, step: number): Error {
  const saved = hasCheckpoint(outDir)
    ? `step ${readState(outDir).step} is saved in ${outDir}. Run the cell again to continue from there, or change a setting to start over`
    : "nothing was saved yet";
  const error = new Error(`Training was stopped at step ${step}; ${saved}.`);
  error.name = "Interrupted"; // as the kernel's own interrupt error
  return error;
}

/** A unique name of a folder, whether it exists or not. */
function folderOf(outDir: string): string {
  const full = path.resolve(outDir);
  return fs.existsSync(full) ? fs.realpathSync(full) : full;
}
