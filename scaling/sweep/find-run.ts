/** One run of a plan by its name or identity: what a worker, a Slurm task and `folio scaling run --only` do. */
import type { SweepPlan } from "../plan.js";
import { identifyRuns, type SweepRun } from "./run-identity.js";
import { type Outcome, type WorkOptions, work } from "./train-one.js";

/** How a process that does one run ends. 75 is EX_TEMPFAIL: later, perhaps. */
export const exitCodes: Readonly<Record<Outcome["state"], number>> = {
  finished: 0,
  failed: 1,
  busy: 75,
  interrupted: 130,
};

export interface OneRun extends Pick<WorkOptions, "folder" | "signal" | "onRecord"> {
  readonly run: string;
  readonly dataDir?: string;
}

/** Does a run of a plan. @throws {RangeError} when the plan has no such run */
export async function doRun(plan: SweepPlan, { run, dataDir, ...options }: OneRun): Promise<Outcome> {
  return work(findRun(identifyRuns(plan, options.folder, dataDir), run), { plan, ...options });
}

/** The run of that name, or whose identity begins so. */
export function findRun(runs: readonly SweepRun[], wanted: string): SweepRun {
  const found = runs.filter(({ id, name }) => name === wanted || (wanted.length >= 6 && id.startsWith(wanted)));
  if (found.length === 1) return found[0]!;
  throw new RangeError(
    `Cannot do the run ${wanted}: the plan has ${found.length === 0 ? "none" : `${found.length}`} of that name or identity; \`folio scaling status\` lists them.`,
  );
}
