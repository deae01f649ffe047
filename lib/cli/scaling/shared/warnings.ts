/** Warnings of fits on the command line: their advice names flags instead of options of the library. */
import type { Fit, FitWarning } from "../../../../scaling/points.js";
import type { ReadPoints } from "../../../../scaling/read-points.js";
import { grouped, type Io, styled, wrapped } from "../../shared/terminal.js";

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

/**
 * A library's message with the rows of the file instead of the points of a fit: "point 3" → "row 7", counted from 1 below
 * the header, as an editor or a message about a cell counts them.
 */
export function inRows(message: string, { rows }: Pick<ReadPoints, "rows">): string {
  return message.replace(/\bpoint (\d+)\b/g, (said, index: string) => {
    const row = rows[Number(index)];
    return row === undefined ? said : `row ${row + 1}`;
  });
}

/** The warnings of a fit of these points. Where a row is suspected, its N, D and loss follow. */
export function ofRows(warnings: readonly FitWarning[], { rows, points }: ReadPoints): FitWarning[] {
  const numbers = (index: number) => {
    const { n, d, loss } = points[index]!;
    const known = [["N", n] as const, ["D", d] as const].filter(([, value]) => Number.isFinite(value));
    return [...known.map(([letter, value]) => `${letter} ${size(value)}`), `loss ${loss.toFixed(4)} nats`].join(", ");
  };
  return inFlags(warnings).map(({ kind, message }) => ({
    kind,
    message: message.replace(/\bpoint (\d+) \(/g, (said, index: string) => {
      const row = rows[Number(index)];
      return row === undefined ? said : `row ${row + 1} (${numbers(Number(index))}; `;
    }),
  }));
}

const size = (value: number) => (value < 1e6 ? grouped(value) : value.toExponential(2).replace("e+", "e"));

/** A fit of these points, whose errors and warnings name the rows of the file. */
export async function fitRows(study: ReadPoints, fit: () => Fit | Promise<Fit>): Promise<Fit> {
  const fitted = await inTheirRows(study, fit);
  return { ...fitted, warnings: ofRows(fitted.warnings, study) };
}

/** Does work with these points; its errors name the rows of the file. */
export async function inTheirRows<T>(study: ReadPoints, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof RangeError) error.message = inRows(error.message, study);
    throw error;
  }
}

/** Prints each warning below the result. */
export function writeWarnings({ stdout }: Io, warnings: readonly FitWarning[]): void {
  for (const { kind, message } of warnings) {
    stdout.write(`\n${styled(stdout, "yellow", wrapped(`warning (${kind}): ${message}`))}\n`);
  }
}
