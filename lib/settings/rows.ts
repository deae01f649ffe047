/**
 * What a row of a settings table is, and the kinds of values that rows take. The tables are train.ts and sample.ts
 * beside this file; reading and checking values against them is lib/settings/settings.ts.
 */
import { z } from "zod";

/** One row of a settings table. `wanted` says in words what `schema` accepts. */
export interface SettingRow {
  readonly group: string;
  readonly type: "integer" | "number" | "boolean" | "text" | "choice";
  readonly wanted: string;
  readonly unit: string;
  readonly doc: string;
  readonly default: number | boolean | string;
  readonly accepts: (value: unknown) => boolean;
}

/** What a row says of its values. */
export type Kind = Pick<SettingRow, "type" | "wanted" | "accepts">;

const kind = (type: SettingRow["type"], schema: z.ZodType, wanted: string): Kind => ({
  type,
  wanted,
  accepts: (value) => schema.safeParse(value).success,
});
export const integer = (min: number, max?: number): Kind =>
  max === undefined
    ? kind("integer", z.int().min(min), `a whole number of at least ${min}`)
    : kind("integer", z.int().min(min).max(max), `a whole number from ${min} to ${max}`);
export const atLeastZero = kind("number", z.number().min(0), "a number of at least 0");
export const aboveZero = kind("number", z.number().positive(), "a number above 0");
export const fraction = kind("number", z.number().min(0).lt(1), "a number of at least 0 and below 1");
export const share = kind("number", z.number().positive().max(1), "a number above 0 and at most 1");
export const flag = kind("boolean", z.boolean(), "true or false");
export const text = kind("text", z.string(), "text");
export const folder = kind("text", z.string().trim().min(1), "the path of a folder");
/** Names or a path: whoever opens it checks it. */
export const source = (wanted: string): Kind => kind("text", z.string().trim().min(1), wanted);
export const name = kind("text", z.string().regex(/^(?!\.)[\w.-]+$/), "a name of letters, digits, _, - and .");
export const choice = (...choices: string[]): Kind => kind("choice", z.enum(choices), choices.join(", "));

/** Rows of one group of the help text: `run(kind, default, unit, doc)`. */
export const row =
  (group: string) =>
  <T extends SettingRow["default"]>(kind: Kind, value: T, unit: string, doc: string): SettingRow & { default: T } => ({
    group,
    ...kind,
    default: value,
    unit,
    doc,
  });
