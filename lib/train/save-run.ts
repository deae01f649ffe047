/** Saves a run's checkpoint: the state on which the next update depends, and the run's progress. */
import { engineVersions } from "../engine/device.js";
import type { HostTensors } from "../engine/host-tensors.js";
import { numericsOf } from "../engine/numerics.js";
import { folioVersion } from "../host/package.js";
import type { CheckpointRecord } from "../runs/records.js";
import { saveCheckpoint } from "../weights/checkpoint.js";
import { brokenWeights, exploded } from "./failures.js";
import type { Run } from "./open-run.js";
import { keptGroups } from "./training-state.js";

/**
 * Saves a checkpoint.
 * @param options.best whether it is the best so far
 * @param options.numbered whether it is kept by its step
 * @throws {Error} when the weights are not finite, or the checkpoint cannot be written
 */
export async function saveRun(
  run: Run,
  { best = false, numbered = false }: { best?: boolean | undefined; numbered?: boolean } = {},
): Promise<CheckpointRecord> {
  const { session, settings, machine, runId, origin, step, tokens, evaluated, bestValLoss, trainedMs, dataset } = run;
  const params = await session.read("params");
  const broken = brokenWeights(params);
  if (broken) throw exploded(run, broken);
  const optimizer: Record<string, HostTensors> = {};
  for (const group of keptGroups(settings)) optimizer[group] = await session.read(group);
  const path = saveCheckpoint(
    settings.outDir,
    {
      ...{ params, optimizer, runId, origin },
      ...{ step, tokens, evaluated, bestValLoss, trainedMs, settings },
      tokenizer: dataset.meta.tokenizer,
      numerics: numericsOf(machine),
      versions: { folio: folioVersion(), node: process.versions.node, ...engineVersions(machine) },
    },
    { best, ...(numbered ? { keep: settings.keepCheckpoints } : {}) },
  );
  run.savedStep = step;
  return { kind: "checkpoint", step, path, best };
}
