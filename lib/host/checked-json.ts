/**
 * Checks JSON files that Folio wrote and reads back. A file may have been edited, damaged or replaced since, so each
 * kind has a schema, which stands beside its reader, and an error names the place in the file.
 */
import type { z } from "zod";

/** What a value violates in its schema: `splits.train.tokens is "many"; expected number`; undefined if nothing. */
export function faultOf(schema: z.ZodType, value: unknown): string | undefined {
  const issue = schema.safeParse(value).error?.issues[0];
  if (!issue) return undefined;
  const at = issue.path.map(String);
  const found = at.reduce<unknown>((inner, key) => (inner as Record<string, unknown> | undefined)?.[key], value);
  const name = at.length > 0 ? at.join(".").slice(0, 100) : "content";
  return `${name} is ${quoted(found)}; ${issue.message.replace(/^Invalid (option|input): /, "").slice(0, 200)}`;
}

function quoted(value: unknown): string {
  const printed = value === undefined ? "undefined" : (JSON.stringify(value) ?? String(value));
  return printed.length > 60 ? `${printed.slice(0, 57)}…` : printed;
}
