/** The three small models of test/golden: tied and untied, with biases and without, both GELUs. */
import { readFileSync } from "node:fs";
import type { HostTensors } from "../../lib/engine/host-tensors.js";
import type { LookedAt } from "../../lib/inspect/look.js";
import { parameterSpecs } from "../../lib/model/model.js";
import { defaultSettings, type ModelSettings } from "../../lib/settings/settings.js";
import { readSafetensors } from "../../lib/weights/safetensors.js";

const folder = new URL("../golden/", import.meta.url);
const index: { models: Record<string, { config: ModelSettings; ids: number[][] }> } = JSON.parse(
  readFileSync(new URL("index.json", folder), "utf8"),
);

export const goldenModels = Object.keys(index.models);

/** What test/golden/make-values.py wrote. */
export const goldenValues = readSafetensors(new URL("values.safetensors", folder).pathname);

/** A model, and two of its texts. */
export function goldenModel(name: string): { held: LookedAt; ids: number[]; otherIds: number[] } {
  const { config, ids } = index.models[name]!;
  const stored = readSafetensors(new URL(`${name}.safetensors`, folder).pathname);
  const settings = { ...defaultSettings, ...config, device: "cpu" as const, dtype: "float32" as const };
  const params: HostTensors = Object.fromEntries(
    parameterSpecs(settings).map((spec) => [spec.name, stored[`param/${spec.name}`]!]),
  );
  return { held: { params, settings }, ids: ids[0]!, otherIds: ids[1]! };
}

/** max |found − wanted| / max |wanted| */
export function relative(found: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (found.length !== wanted.length) return Number.POSITIVE_INFINITY;
  let [most, largest] = [0, 0];
  for (let i = 0; i < wanted.length; i++) {
    const difference = Math.abs(found[i]! - wanted[i]!);
    if (!(difference <= most)) most = difference; // also NaN
    largest = Math.max(largest, Math.abs(wanted[i]!));
  }
  return largest === 0 ? most : most / largest;
}
