/** `folio doctor`: prints what lib/engine/doctor.ts finds on this machine, and fails when something is wrong. */
import { formatReport, inspectMachine } from "../engine/doctor.js";
import type { Io } from "./shared/terminal.js";

export function help(): string {
  return `folio doctor: says what this machine has and what is wrong.

Usage: folio doctor [--json] [--measure]

Prints versions, backend, cores, GPU, instruction sets and free memory, and which number format \`dtype auto\` and
which matrix products were chosen, with the times that decided it. The exit code is 1 when something is wrong.

  --json     the same as JSON: target (the variant of Folio's operations), dtype, measured, …
  --measure  measures first, and chooses number format and products anew; runs that were begun keep theirs. Set-up
             measures once per processor. Measure again if the machine was busy then.`;
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
