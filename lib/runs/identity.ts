/** A run's identity: a hash of what determines its result, by which two runs are the same or differ. */
import { createHash } from "node:crypto";
import type { TokenMeta } from "../data/token-file.js";
import { folioVersion } from "../host/package.js";
import type { Settings } from "../settings/settings.js";

// Where a run lives, what it keeps and how often it reports change nothing in its result.
export const WITHOUT_EFFECT = [
  "outDir",
  "dataDir",
  "initFrom",
  "checkpoint",
  "overwrite",
  "logInterval",
  "logUpdates",
  "saveInterval",
  "keepCheckpoints",
  "tensorboard",
  "wandbLog",
  "wandbProject",
  "wandbRunName",
  "allowOtherNumerics",
] as const satisfies readonly (keyof Settings)[];

/** What a run came from besides its settings and data. */
export interface RunOrigin {
  /** SHA-256 of the weights that it began with, where they were not new. */
  readonly weights?: string;
  /** The run whose settings or data were changed, and the step at which they were. */
  readonly runId?: string;
  readonly step?: number;
}

/**
 * Identity of a run: SHA-256 of what determines its result, the settings without those that have no effect, the
 * data's checksum and the versions of the code, in a canonical order.
 */
export function runIdentity(settings: Settings, inputs: Readonly<Record<string, string | number>>): string {
  const effective = Object.entries(settings).filter(([key]) => !WITHOUT_EFFECT.includes(key as never));
  const canonical = [...effective, ...Object.entries(inputs)].sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256").update(JSON.stringify(canonical)).digest("hex");
}

/** runIdentity() of these settings on this dataset in this version of Folio. */
export function identityOf(
  settings: Settings,
  { vocabSize, splits }: Pick<TokenMeta, "vocabSize" | "splits">,
  { weights, runId, step }: RunOrigin = {},
): string {
  const inputs = {
    data: [splits.train, splits.val].map(({ sha256, tokens }) => sha256 || `${tokens} tokens`).join(" "),
    folio: folioVersion(),
    ...(weights && { weights }),
    ...(runId && { changed: `${runId} ${step}` }),
  };
  return runIdentity({ ...settings, vocabSize: settings.vocabSize || vocabSize }, inputs);
}

/** In which settings two runs differ, without those that have no effect: `maxIters 2000 there, 3000 here`. */
export function differingSettings(there: Settings, here: Settings): string[] {
  const keys = (Object.keys(here) as (keyof Settings)[]).filter((key) => !WITHOUT_EFFECT.includes(key as never));
  return keys
    .filter((key) => there[key] !== here[key] && !(key === "vocabSize" && here[key] === 0))
    .map((key) => `${key} ${there[key]} there, ${here[key]} here`);
}
