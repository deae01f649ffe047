/**
 * Checks the options of a plan: the name of every key and the range of every number. plan-types.ts describes them.
 */
import { closest } from "fastest-levenshtein";
import * as z from "zod";
import type { PlanOptions } from "./plan-types.js";

/** The name of a sweep, a dataset or a run; it becomes part of file names and of lines in a batch script. */
export const plainName = /^\w[\w.+-]{0,199}$/;

/** The largest number of processes and threads. */
export const mostProcesses = 1024;

export const count = (most: number) => z.int().min(1).max(most);
const above0 = z.number().positive();

const keys: Readonly<Record<string, readonly string[]>> = {
  "": [
    ...["name", "dataset", "tokenizer", "dataDir", "grid", "heldOut", "tuning", "settings", "ladder", "batchTokens"],
    ...["learningRate", "warmup", "finalRate", "seeds", "limits", "validationTokens", "workers", "threads"],
  ],
  grid: ["kind", "budgets", "sizes", "spacing", "optimum", "ratios"],
  "grid.optimum": ["budgetFlops", "parameters", "exponent"],
  heldOut: ["budgetFlops", "parameters"],
  tuning: ["at", "learningRates"],
  "tuning.at": ["budgetFlops", "parameters"],
  ladder: ["widthStep", "headSize", "aspect", "fewestLayers", "nLayer", "nHead"],
  batchTokens: ["factor", "parameters", "tokens", "least", "most"],
  learningRate: ["factor", "parameters", "tokens", "least", "most"],
  limits: ["epochs", "flopsPerRun", "fewestSteps", "memoryBytes"],
};

const rule = z.union(
  [
    above0,
    z.object({
      factor: above0,
      parameters: z.number().optional(),
      tokens: z.number().optional(),
      least: z.number().optional(),
      most: z.number().optional(),
    }),
  ],
  { error: "wanted a number above 0, or a rule such as { factor: 0.5, parameters: -0.5 }" },
);

// Infinity means no limit.
const limit = z.union([above0, z.literal(Number.POSITIVE_INFINITY)], { error: "wanted a number above 0" }).optional();
const cell = z.object({ budgetFlops: above0, parameters: above0 });

const schema = z.object({
  name: z.string().regex(plainName, { error: 'wanted letters, digits, dots and dashes, such as "novels"' }),
  dataset: z.string().min(1),
  tokenizer: z.string().optional(),
  dataDir: z.string().optional(),
  grid: z.object({ spacing: z.number().gt(1).optional() }).optional(), // cells.ts checks the rest
  heldOut: z.array(z.object({ budgetFlops: above0, parameters: above0.optional() })).optional(),
  tuning: z.object({ at: z.array(cell).min(1), learningRates: z.array(above0).min(1) }).optional(),
  settings: z.record(z.string(), z.unknown()).optional(),
  ladder: z
    .object({
      widthStep: count(1e6).optional(),
      headSize: count(1e6).optional(),
      aspect: above0.optional(),
      fewestLayers: count(1e4).optional(),
      nLayer: count(1e4).optional(),
      nHead: count(1e4).optional(),
    })
    .optional(),
  batchTokens: rule,
  learningRate: rule,
  warmup: z.number().min(0).lt(1).optional(),
  finalRate: z.number().min(0).max(1).optional(),
  seeds: z.array(z.int().min(0)).min(1).optional(),
  limits: z.object({ epochs: limit, flopsPerRun: limit, fewestSteps: limit, memoryBytes: limit }).optional(),
  validationTokens: count(1e12).optional(),
  workers: count(mostProcesses).optional(),
  threads: count(mostProcesses).optional(),
});

/** @throws {TypeError} for an unknown key, naming the nearest; {RangeError} for a value out of range */
export function checkPlanOptions(options: unknown): asserts options is PlanOptions {
  checkKeys(options, "");
  const read = schema.safeParse(options);
  if (read.success) return;
  const [issue] = read.error.issues;
  const where = issue!.path.map(String);
  const found = issue!.path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown>)?.[key], options);
  const said = found === undefined ? "missing" : JSON.stringify(found);
  const its = where.length === 1 && where[0] === "name" ? "its name" : where.join(".");
  throw new RangeError(`Cannot plan the sweep: ${its} is ${said}; ${issue!.message.replace(/^Invalid input: /, "")}.`);
}

function checkKeys(value: unknown, place: string): void {
  const known = keys[place];
  if (known === undefined || typeof value !== "object" || value === null) return;
  if (Array.isArray(value)) {
    for (const each of value) checkKeys(each, place);
    return;
  }
  for (const [key, inside] of Object.entries(value)) {
    if (!known.includes(key)) {
      const where = place === "" ? "" : ` of ${place}`;
      throw new TypeError(
        `Cannot plan the sweep: there is no key ${JSON.stringify(key)}${where}; did you mean ${closest(key, [...known])}?`,
      );
    }
    checkKeys(inside, place === "" ? key : `${place}.${key}`);
  }
}
