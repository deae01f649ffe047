/** Does one run of a plan, found by its name or identity, for a worker, a Slurm task or `folio scaling run --only`. */
import type { SweepPlan } from "../plan.js";
import { identifyRuns, type SweepRun } from "./run-identity.js";
import { type Outcome, type WorkOptions, work } from "./train-one.js";

/** Exit codes of a process that does one run. 75 is EX_TEMPFAIL: try again later. */
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

/** Does a run of a plan. @throws {RangeError} if the plan has no such run */
export async function doRun(plan: SweepPlan, { run, dataDir, ...options }: OneRun): Promise<Outcome> {
  return work(findRun(identifyRuns(plan, options.folder, dataDir), run), { plan, ...options });
}

/** The run with this name, or whose identity starts with it. */
export function findRun(runs: readonly SweepRun[], wanted: string): SweepRun {
  const found = runs.filter(({ id, name }) => name === wanted || (wanted.length >= 6 && id.startsWith(wanted)));
  if (found.length === 1) return found[0]!;
  throw new RangeError(
    `Cannot do the run ${wanted}: the plan has ${found.length === 0 ? "no run" : `${found.length} runs`} with this name or identity; \`folio scaling status\` lists them.`,
  );
}
