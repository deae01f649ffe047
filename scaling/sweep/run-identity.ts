/**
 * The identity and the state of a plan's runs. A run's identity is the hash of everything that determines its result,
 * so no run is done twice and different runs are not confused. Its state is read from its folder, so all processes and
 * machines that share the folder see the same state.
 */
import fs from "node:fs";
import path from "node:path";
import { readMeta, type TokenMeta } from "../../lib/data/dataset.js";
import { lockFolder } from "../../lib/host/folder-lock.js";
import { identityOf, runIdentity } from "../../lib/runs/identity.js";
import type { Settings } from "../../lib/settings/settings.js";
import { hasCheckpoint, readState } from "../../lib/weights/checkpoint.js";
import type { PlannedRun, SweepPlan } from "../plan.js";
import type { ResultRow } from "./columns.js";
import { readFailure, readRow } from "./row-schema.js";

/** A run of a plan, with its identity. */
export interface SweepRun extends PlannedRun {
  /** SHA-256 of settings, data, code version, and the evaluation tokens. */
  readonly id: string;
  /** Its folder, with the row or failure, and the run itself in `train/`. */
  readonly folder: string;
}

/** finished: has a row; failed: has an error; interrupted: started, but not running; pending: not started. */
export type RunState = "finished" | "failed" | "interrupted" | "running" | "pending";

/** The runs of a plan in a sweep's folder. @throws {Error} if the dataset is not prepared */
export function identifyRuns(plan: SweepPlan, folder: string, dataDir?: string): SweepRun[] {
  const metas = new Map<string, TokenMeta>();
  return plan.runs.map((run) => {
    const settings = dataDir === undefined ? run.settings : { ...run.settings, dataDir };
    const key = `${settings.dataDir}\0${settings.dataset}\0${settings.vocabSize}`;
    const meta = metas.get(key) ?? readMeta(settings.dataDir, settings.dataset, settings);
    metas.set(key, meta);
    const id = runIdentity(settings, {
      run: identityOf(settings, meta),
      validationTokens: plan.validationTokens,
    });
    const own = path.join(folder, "runs", id.slice(0, 16));
    return { ...run, id, folder: own, settings: trainSettings(settings, own) };
  });
}

const trainSettings = (settings: Readonly<Settings>, folder: string): Readonly<Settings> => ({
  ...settings,
  outDir: path.join(folder, "train"),
});

export const resultFile = ({ folder }: Pick<SweepRun, "folder">): string => path.join(folder, "result.json");
export const failureFile = ({ folder }: Pick<SweepRun, "folder">): string => path.join(folder, "failed.json");

/** The row in a run's folder; undefined if the run is not finished. */
export const keptRow = (run: Pick<SweepRun, "folder">): ResultRow | undefined => readRow(resultFile(run));

/** Why a run failed; undefined if it did not. */
export const failureOf = (run: Pick<SweepRun, "folder">): string | undefined => readFailure(failureFile(run));

/** The state of a run, from its folder. */
export function stateOf(run: Pick<SweepRun, "folder">): RunState {
  if (keptRow(run)) return "finished";
  if (!fs.existsSync(run.folder)) return "pending";
  const lock = lockFolder(run.folder);
  if (!("release" in lock)) return "running";
  lock.release();
  if (failureOf(run) !== undefined) return "failed";
  return "interrupted";
}

/** The number of updates in a run's last checkpoint. */
export function savedStep({ settings }: Pick<SweepRun, "settings">): number {
  return hasCheckpoint(settings.outDir) ? readState(settings.outDir).step : 0;
}
