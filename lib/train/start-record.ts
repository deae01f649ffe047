/** The first record of a run: its size, and the device that it runs on. */

import { numericsOf } from "../engine/numerics.js";
import { parameterSpecs } from "../model/model.js";
import { countParameters, flopsPerToken, tokensPerStep } from "../model/sizing.js";
import type { StartRecord } from "../runs/records.js";
import type { Run } from "./open-run.js";
import { decayGroups } from "./optimizers/adamw.js";

export function startRecord({ settings, runId, step, resumedFrom, session, machine }: Run): StartRecord {
  const { device, deviceReason, deviceName, dtype, dtypeReason } = machine;
  return {
    kind: "start",
    step,
    runId,
    parameters: countParameters(settings),
    parametersWithoutPositions: countParameters(settings, { positions: false }),
    flopsPerToken: flopsPerToken(settings),
    ...decayGroups(parameterSpecs(settings)),
    tokensPerStep: tokensPerStep(settings),
    device,
    deviceReason,
    ...(deviceName && { deviceName }),
    ...(session.replicas > 1 && { devices: session.replicas }),
    dtype,
    dtypeReason,
    compiled: session.compiled,
    numerics: numericsOf(machine),
    ...(resumedFrom ? { resumedFrom } : settings.initFrom === "scratch" ? {} : { initFrom: settings.initFrom }),
  };
}
