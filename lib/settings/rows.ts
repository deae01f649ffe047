/**
 * The row of a settings table, and the kinds of values that rows accept. The tables are in train.ts, sample.ts and the
 * other files of this folder; settings.ts reads values and checks them against the tables.
 */
import * as z from "zod";

/** One row of a settings table. `wanted` says in words what `schema` accepts. */
export interface SettingRow {
  readonly group: string;
  readonly type: "integer" | "number" | "boolean" | "text" | "choice";
  readonly wanted: string;
  readonly unit: string;
  readonly doc: string;
  readonly default: number | boolean | string;
  readonly accepts: (value: unknown) => boolean;
  /** The largest number accepted, where `wanted` does not say it. */
  readonly most?: number;
}

/** The values that a row accepts. */
export type Kind = Pick<SettingRow, "type" | "wanted" | "accepts" | "most">;

/** A model larger than this is a mistake, which is refused before it fills the memory. */
export const largest = {
  nLayer: 10_000,
  nHead: 100_000,
  nEmbd: 1_000_000,
  blockSize: 2 ** 24,
  vocabSize: 2 ** 24,
} as const;

const kind = (type: SettingRow["type"], schema: z.ZodType, wanted: string): Kind => ({
  type,
  wanted,
  accepts: (value) => schema.safeParse(value).success,
});
export const integer = (min: number, max: number): Kind =>
  kind("integer", z.int().min(min).max(max), `a whole number from ${min} to ${max}`);
/** A number of things; more than `most` is taken for a mistake. */
export const count = (min: number, most = 1e9): Kind => ({
  ...kind("integer", z.int().min(min).max(most), `a whole number of at least ${min}`),
  most,
});
/** Which of a run's checkpoints: the best if there is one, or one by its name or step. */
export const checkpoint: Kind = {
  ...kind(
    "text",
    z.string().regex(/^(auto|best|last|\d{1,10})$/),
    "auto, best, last, or the step of one that was kept",
  ),
};
export const atLeastZero = kind("number", z.number().min(0), "a number of at least 0");
export const aboveZero = kind("number", z.number().positive(), "a number above 0");
export const fraction = kind("number", z.number().min(0).lt(1), "a number of at least 0 and below 1");
export const share = kind("number", z.number().positive().max(1), "a number above 0 and at most 1");
export const flag = kind("boolean", z.boolean(), "true or false");
// A NUL is valid neither in a path nor in text.
const words = z.string().refine((value) => !value.includes("\0"));
export const text = kind("text", words, "text");
export const folder = kind("text", words.trim().min(1), "the path of a folder");
/** Names or a path; checked where it is opened. */
export const source = (wanted: string): Kind => kind("text", words.trim().min(1), wanted);
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
