/** `folio doctor`: prints the report of lib/engine/doctor.ts, and fails if there is a problem. */
import { formatReport, inspectMachine } from "../engine/doctor.js";
import type { Io } from "./shared/terminal.js";

export function help(): string {
  return `folio doctor: checks this machine and reports problems.

Usage: folio doctor [--json] [--measure]

Prints versions, backend, cores, GPU, instruction sets and free memory, the number format of \`dtype auto\`, and the
choice of matrix products with the times on which it is based. The exit code is 1 if there is a problem.

  --json     print JSON: target (the variant of Folio's operations), dtype, measured, …
  --measure  measure first, and choose number format and products again; existing runs keep theirs. Set-up measures
             once per processor. Measure again if the machine was busy then.`;
}

export async function run(args: readonly string[], io: Io): Promise<number> {
  const flags = new Set(args);
  const [json, measure] = [flags.delete("--json"), flags.delete("--measure")];
  if (flags.size > 0) {
    throw new RangeError(`Cannot run the doctor with ${[...flags].join(" ")}: it takes --json and --measure.`);
  }
  if (measure) {
    const { measureInProcess } = await import("../bench/protocol.js");
    await measureInProcess();
  }
  const report = await inspectMachine();
  io.stdout.write(`${json ? JSON.stringify(report, null, 2) : formatReport(report)}\n`);
  return report.problems.length === 0 ? 0 : 1;
}
