/** Plans as arquero tables, one row per run, and as JSON files. */
import fs from "node:fs";
import path from "node:path";
import { type ColumnTable, from } from "arquero";
import * as z from "zod";
import { replaceFile } from "../../lib/host/replace-file.js";
import { tokensPerStep } from "../../lib/model/sizing.js";
import { parseSettings, type Settings } from "../../lib/settings/settings.js";
import { count, mostProcesses, plainName } from "./plan-options.js";
import type { SweepPlan } from "./plan-types.js";

/** A plan as a table, one row per run. */
export function planTable({ runs }: Pick<SweepPlan, "runs">): ColumnTable {
  return from(
    runs.map(({ settings, ...run }) => ({
      name: run.name,
      role: run.role,
      budget: run.budgetFlops,
      layers: settings.nLayer,
      heads: settings.nHead,
      width: settings.nEmbd,
      parameters: run.parameters,
      tokens: run.tokens,
      epochs: run.epochs,
      batch: tokensPerStep(settings),
      learningRate: settings.learningRate,
      steps: run.steps,
      flops: run.flops,
      memoryBytes: run.memoryBytes,
      seconds: run.seconds,
    })),
  );
}

/** Writes a plan's JSON file atomically. */
export function savePlan(file: string, plan: SweepPlan): void {
  fs.mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
  replaceFile(file, `${JSON.stringify(plan, null, 2)}\n`);
}

const name = z.string().regex(plainName, { error: "wanted letters, digits, dots and dashes" });
const positive = z.number().positive();
const role = z.enum(["grid", "held-out", "tuning"]);
const cell = { role, budgetFlops: positive.nullable(), parameters: positive };

/** The schema of a plan's file. Names must be safe as names of files and jobs. */
const schema = z.object({
  format: z.literal("folio-sweep-plan"),
  version: z.literal(1),
  name,
  folio: z.string(),
  validationTokens: count(1e12),
  datasetTokens: count(Number.MAX_SAFE_INTEGER),
  workers: count(mostProcesses),
  threads: count(mostProcesses),
  runs: z
    .array(
      z.object({
        ...cell,
        name,
        settings: z.looseObject({ dataset: z.string().regex(/^\P{Cc}+$/u) }),
        steps: count(Number.MAX_SAFE_INTEGER),
        tokens: count(Number.MAX_SAFE_INTEGER),
        epochs: z.number().nonnegative(),
        flops: positive,
        memoryBytes: positive,
        seconds: z.number().nonnegative().nullable(),
      }),
    )
    .min(1),
  dropped: z.array(z.object({ ...cell, shape: z.string(), reason: z.string() })),
  totals: z.object({
    runs: z.number(),
    flops: z.number(),
    tokens: z.number(),
    processorSeconds: z.number().nullable(),
    seconds: z.number().nullable(),
  }),
});

/** Reads a plan's JSON file. @throws {Error} if there is none, or if it is not a plan, with the faulty place */
export function loadPlan(file: string): SweepPlan {
  let content: unknown;
  try {
    content = JSON.parse(fs.readFileSync(file, "utf8"));
  } catch (error) {
    throw new Error(`Cannot read the plan ${file}: ${(error as Error).message}`, { cause: error });
  }
  return checkedPlan(content, file);
}

/** @throws {Error} if the content is not a plan of this version */
export function checkedPlan(content: unknown, file: string): SweepPlan {
  const read = schema.safeParse(content);
  if (!read.success) {
    const [issue] = read.error.issues;
    const where = issue!.path.length > 0 ? ` (${issue!.path.join(".")}: ${issue!.message})` : "";
    throw new Error(
      `Cannot read the plan ${file}: it is not a plan of this version of Folio${where}; \`folio scaling plan\` makes one.`,
    );
  }
  const { runs, ...rest } = read.data;
  return { ...rest, runs: runs.map((run) => ({ ...run, settings: parseSettings(run.settings as Partial<Settings>) })) };
}
