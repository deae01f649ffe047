/** `folio doctor`: prints what lib/engine/doctor.ts finds on this machine, and fails when something is wrong. */
import { formatReport, inspectMachine } from "../engine/doctor.js";
import type { Io } from "./shared/terminal.js";

export function help(): string {
  return `folio doctor: says what this machine has and what is wrong.

Usage: folio doctor

Prints versions, backend, cores, GPU, instruction sets and free memory. The exit code is 1 when something is wrong.`;
}

export async function run(_args: readonly string[], io: Io): Promise<number> {
  const report = await inspectMachine();
  io.stdout.write(`${formatReport(report)}\n`);
  return report.problems.length === 0 ? 0 : 1;
}
