/** `folio scaling status`: prints the state of every run of a sweep, read from its folder. */
import { existsSync } from "node:fs";
import path from "node:path";
import { loadPlan } from "../../../scaling/plan.js";
import { countBy, sweepStatus } from "../../../scaling/sweep.js";
import { grouped, type Io, styled, table } from "../shared/terminal.js";
import { readFlags } from "./shared/flags.js";

export function help(): string {
  return `folio scaling status: prints the state of every run of a sweep.

Usage: folio scaling status DIR [--data_dir=DIR] [--json]

DIR is the sweep's folder (out-NAME). Only the folder is read, so the runs may be on this machine, another, or Slurm.
The states are finished; failed, with the error; running; interrupted (begun but not running); and pending.

  folio scaling status out-novels`;
}

export async function run(args: readonly string[], io: Io): Promise<number> {
  const flags = readFlags(args, { "data-dir": "string", json: "boolean" }, "folio scaling status");
  const folder = flags.words[0];
  const planFile = path.join(folder ?? "", "plan.json");
  if (folder === undefined) throw new RangeError("Cannot show the status: name a sweep's folder, such as out-novels.");
  if (!existsSync(planFile)) {
    throw new Error(
      `Cannot show the status of ${folder}: it has no plan.json; \`folio scaling run\` makes a sweep's folder.`,
    );
  }
  const dataDir = flags.text["data-dir"];
  const statuses = sweepStatus(loadPlan(planFile), { folder, ...(dataDir !== undefined && { dataDir }) });
  const counts = countBy(statuses.map(({ state }) => state));
  if (flags.yes.json) {
    const runs = statuses.map(({ run: { id, name, role, steps }, ...rest }) => ({ id, name, role, steps, ...rest }));
    io.stdout.write(`${JSON.stringify({ counts, runs }, null, 2)}\n`);
    return 0;
  }
  const [head, ...rows] = table(
    ["run", "identity", "state", "step", "of", "loss"],
    statuses.map(({ run, state, step, loss }) => [
      run.name,
      run.id.slice(0, 16),
      state,
      grouped(step),
      grouped(run.steps),
      loss === null ? "-" : loss.toFixed(4),
    ]),
  );
  const failures = statuses.flatMap(({ run, failure }) => (failure ? [`${run.name}: ${failure}`] : []));
  const parts = Object.entries(counts).flatMap(([state, count]) => (count > 0 ? [`${count} ${state}`] : []));
  const lines = [styled(io.stdout, "bold", head!), ...rows, "", parts.join(", "), ...failures];
  io.stdout.write(`${lines.join("\n")}\n`);
  return 0;
}
