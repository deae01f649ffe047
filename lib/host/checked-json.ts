/**
 * What Folio wrote as JSON and reads back: a file may have been edited, damaged or made by somebody else since, so each
 * has a schema, which stands with whoever reads it, and a fault is told by its place in the file.
 */
import type { z } from "zod";

/** What is wrong with a value by its schema: `splits.train.tokens is "many"; expected number`; undefined if nothing is. */
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
