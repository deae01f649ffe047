/** How much memory the machine has; lib/model/memory.ts estimates how much a run needs. */
import os from "node:os";

/** Bytes of the machine's memory, or of the container's. */
export function machineBytes(): number {
  const limit = process.constrainedMemory();
  return limit > 0 ? Math.min(limit, os.totalmem()) : os.totalmem();
}
