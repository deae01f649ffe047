/** A run's identity: a hash of everything that determines its result. */
import { createHash } from "node:crypto";
import type { TokenMeta } from "../data/dataset.js";
import { folioVersion } from "../host/package.js";
import type { Settings } from "../settings/settings.js";
import type { RunOrigin, Training } from "../weights/pretrained.js";

// A run's folder, the files it keeps and how often it reports do not change its result.
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

/**
 * Settings introduced in later versions, with the value at which the code behaves as before. At that value a setting is
 * not part of the identity, so that older runs keep theirs.
 */
const INTRODUCED: Readonly<Partial<Settings>> = { devices: 1 };

/** Whether a setting is part of a run's identity. */
const counts = (key: string, value: unknown, introduced: Readonly<Record<string, unknown>>) =>
  !WITHOUT_EFFECT.includes(key as never) && !(key in introduced && introduced[key] === value);

/**
 * Identity of a run: SHA-256 of the settings that have an effect, the data's checksum and the versions of the code, in
 * a canonical order.
 */
export function runIdentity(
  settings: Settings,
  inputs: Readonly<Record<string, string | number>>,
  introduced: Readonly<Record<string, unknown>> = INTRODUCED,
): string {
  const effective = Object.entries(settings).filter(([key, value]) => counts(key, value, introduced));
  const canonical = [...effective, ...Object.entries(inputs)].sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256").update(JSON.stringify(canonical)).digest("hex");
}

/** runIdentity() of these settings with this dataset and this version of Folio. */
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

/**
 * The identity and origin of a run that is new or continues `before`. A run continued unchanged keeps its identity;
 * with other settings or data it gets a new one.
 */
export function identify(
  settings: Settings,
  meta: Pick<TokenMeta, "vocabSize" | "splits">,
  { origin, before }: { origin: RunOrigin; before?: Pick<Training, "runId" | "settings" | "step"> | undefined },
): { runId: string; origin: RunOrigin } {
  const runId = identityOf(settings, meta, origin);
  if (!before) return { runId, origin };
  const runIdBefore = before.runId ?? identityOf(before.settings, meta, origin);
  if (runId === runIdBefore) return { runId, origin };
  const changed: RunOrigin = { runId: runIdBefore, step: before.step };
  return { runId: identityOf(settings, meta, changed), origin: changed };
}

/** The settings in which two runs differ, without those that have no effect: `maxIters 2000 there, 3000 here`. */
export function differingSettings(there: Settings, here: Settings): string[] {
  const keys = (Object.keys(here) as (keyof Settings)[]).filter((key) => !WITHOUT_EFFECT.includes(key as never));
  return keys
    .filter((key) => there[key] !== here[key] && !(key === "vocabSize" && here[key] === 0))
    .map((key) => `${key} ${there[key]} there, ${here[key]} here`);
}
