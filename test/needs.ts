/**
 * Requirements of tests that not every machine meets. `describe(name, needs(missing), …)` skips a test if something is
 * missing, with a reason that the last lines of `npm test` show.
 */
import { missingOperations } from "../bin/stale.mjs";
import { fusedEnabled } from "../lib/engine/operations/fused.js";

declare module "vitest" {
  interface TaskMeta {
    /** Why the test is skipped. */
    missing?: string;
  }
}

/** @param missing what is missing and why; undefined if nothing is */
export function needs(missing: string | undefined): { skip?: true; meta?: { missing: string } } {
  return missing === undefined ? {} : { skip: true, meta: { missing } };
}

/** The requirement of Folio's own operations; to be called after TensorFlow is loaded. */
export function ownOperations(): string | undefined {
  if (fusedEnabled()) return undefined;
  return `Folio's own operations are not loaded: ${missingOperations()?.reason ?? "`folio doctor` says why"}`;
}
