/**
 * `folio scaling optimum`: what a law says of a budget, a loss, a size or a number of tokens. The arithmetic is
 * scaling/laws.ts.
 */
import type { Io } from "../terminal.js";

export function help(): string {
  return `folio scaling optimum: the best N and D of a budget.

Usage: folio scaling optimum --budget=FLOPS --law=LAW [--json]`;
}

export async function run(_args: readonly string[], _io: Io): Promise<number> {
  throw new Error("Cannot tell the optimum: this command is being written.");
}
