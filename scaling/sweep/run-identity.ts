/**
 * Which runs of a plan are the same, and what state each is in. A run's identity is the hash of what determines its
 * result, so nothing is done twice and nothing different is taken for the same; its state is read from its folder, so any
 * process on any machine that shares the folder sees the same.
 */
import fs from "node:fs";
import path from "node:path";
import { readMeta, type TokenMeta } from "../../lib/data/token-file.js";
import { lockFolder } from "../../lib/host/folder-lock.js";
import { identityOf, runIdentity } from "../../lib/runs/identity.js";
import type { Settings } from "../../lib/settings/settings.js";
import { hasCheckpoint, readState } from "../../lib/weights/checkpoint.js";
import type { PlannedRun, SweepPlan } from "../plan.js";
import type { ResultRow } from "./columns.js";
import { readFailure, readRow } from "./row-schema.js";

/** A run of a plan, with its identity. */
export interface SweepRun extends PlannedRun {
  /** SHA-256 of settings, data, code version, and what its loss is measured on. */
  readonly id: string;
  /** Its folder: row, failure, and in `train/` the run itself. */
  readonly folder: string;
}

/** finished has a row; failed an error; interrupted was begun and is not at work; pending was not begun. */
export type RunState = "finished" | "failed" | "interrupted" | "running" | "pending";

/** The runs of a plan as a folder keeps them. @throws {Error} when the dataset is not prepared */
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

/** The row that a run's folder keeps; undefined where it is not finished. */
export const keptRow = (run: Pick<SweepRun, "folder">): ResultRow | undefined => readRow(resultFile(run));

/** Why a run failed; undefined where it did not. */
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

/** Updates that a run's last checkpoint has. */
export function savedStep({ settings }: Pick<SweepRun, "settings">): number {
  return hasCheckpoint(settings.outDir) ? readState(settings.outDir).step : 0;
}
