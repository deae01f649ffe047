/** How much memory there is; what a run takes of it is lib/model/memory.ts' matter. */
import os from "node:os";

/** Bytes of the machine's memory, or of the container's. */
export function machineBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, os.totalmem()) : os.totalmem();
}
