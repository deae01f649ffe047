/** Warnings of fits on the command line: their advice names flags instead of options of the library. */
import type { FitWarning } from "../../../../scaling/points.js";
import { type Io, styled, wrapped } from "../../shared/terminal.js";

/** What there is instead of the library's maxIterations, which no flag changes. */
const bound = "fix or tie constants that the points do not determine (--fix, --tie)";
const advice: readonly (readonly [library: string, flags: string])[] = [
  [
    "Raise maxIterations, or fix or tie constants that the points do not determine.",
    `F${bound.slice(1)}, or add points.`,
  ],
  ["Raise maxIterations.", `Add points, ${bound}, or fit by another method.`],
];

/** The warnings as the command line says them. */
export function inFlags(warnings: readonly FitWarning[]): FitWarning[] {
  return warnings.map((warning) => ({
    ...warning,
    message: advice.reduce((message, [library, flags]) => message.replace(library, flags), warning.message),
  }));
}

/** Prints each warning below the result. */
export function writeWarnings({ stdout }: Io, warnings: readonly FitWarning[]): void {
  for (const { kind, message } of warnings) {
    stdout.write(`\n${styled(stdout, "yellow", wrapped(`warning (${kind}): ${message}`))}\n`);
  }
}
