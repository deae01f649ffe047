/** `folio doctor`: prints what lib/engine/doctor.ts finds on this machine, and fails when something is wrong. */
import type { Io } from "./terminal.js";

export function help(): string {
  return `folio doctor: says what this machine has and what is wrong.

Usage: folio doctor

Prints versions, backend, cores, GPU, instruction sets and free memory. The exit code is 1 when something is wrong.`;
}

export async function run(_args: readonly string[], _io: Io): Promise<number> {
  throw new Error("Cannot run the doctor: it is not built yet.");
}
