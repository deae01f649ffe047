/**
 * What a test needs that not every machine has. `describe(name, needs(missing), …)` leaves it out where it is missing, with
 * the reason, which the last lines of `npm test` name: nothing is left untested without a word.
 */
import { missingOperations } from "../bin/stale.mjs";
import { fusedEnabled } from "../lib/engine/operations/fused.js";

declare module "vitest" {
  interface TaskMeta {
    /** Why the test is left out. */
    missing?: string;
  }
}

/** @param missing what is missing, and why; undefined: nothing is */
export function needs(missing: string | undefined): { skip?: true; meta?: { missing: string } } {
  return missing === undefined ? {} : { skip: true, meta: { missing } };
}

/** Of tests of Folio's own operations; asked once TensorFlow is loaded. */
export function ownOperations(): string | undefined {
  if (fusedEnabled()) return undefined;
  return `Folio's own operations are not loaded: ${missingOperations()?.reason ?? "`folio doctor` says why"}`;
}
