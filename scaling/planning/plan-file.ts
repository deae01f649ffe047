/** A plan as others see it: an arquero table, a row a run; a JSON file, written whole or not at all. plan.ts makes plans. */
import fs from "node:fs";
import path from "node:path";
import { type ColumnTable, from } from "arquero";
import { replaceFile } from "../../lib/host/replace-file.js";
import { tokensPerStep } from "../../lib/model/sizing.js";
import { parseSettings } from "../../lib/settings/settings.js";
import type { SweepPlan } from "./plan-types.js";

/** A plan as a table, a row a run. */
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

/** Writes a plan's JSON file, whole or not at all. */
export function savePlan(file: string, plan: SweepPlan): void {
  fs.mkdirSync(path.dirname(path.resolve(file)), { recursive: true });
  replaceFile(file, `${JSON.stringify(plan, null, 2)}\n`);
}

/** Reads a plan's JSON file. @throws {Error} when there is none, or it is no plan */
export function loadPlan(file: string): SweepPlan {
  let content: SweepPlan;
  try {
    content = JSON.parse(fs.readFileSync(file, "utf8")) as SweepPlan;
  } catch (error) {
    throw new Error(`Cannot read the plan ${file}: ${(error as Error).message}`, { cause: error });
  }
  if (content?.format !== "folio-sweep-plan" || content.version !== 1 || !Array.isArray(content.runs)) {
    throw new Error(`Cannot read the plan ${file}: it is no plan of this Folio; \`folio scaling plan\` makes one.`);
  }
  return { ...content, runs: content.runs.map((run) => ({ ...run, settings: parseSettings(run.settings) })) };
}
