/**
 * Budgets → a plan: the runs of a sweep with their complete settings, and the dropped cells with their reasons. Time
 * estimates come from a short benchmark (sweep/measure-speed.ts). sweep.ts runs a plan; `folio scaling plan` shows it.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { openDataset } from "../lib/data/batches.js";
import type { TokenMeta } from "../lib/data/dataset.js";
import { folioVersion, packageRoot } from "../lib/host/package.js";
import { gigabytes } from "../lib/model/memory.js";
import { defaultSettings, parseSettings, type Settings } from "../lib/settings/settings.js";
import { checkGrid, expectedOptimum, type Optimum, wantedCells } from "./planning/cells.js";
import { checkPlanOptions, mostProcesses } from "./planning/plan-options.js";
import type { DroppedCell, PlannedRun, PlanOptions, PlanTotals, SweepPlan, Tuning } from "./planning/plan-types.js";
import { type Cell, type Context, plannedRun, shapeName } from "./planning/planned-run.js";
import { defaultLadder, nearestShape } from "./planning/shapes.js";
import { type Speed, sweepSeconds } from "./planning/time-estimate.js";

export type { Grid, IsoFlopGrid, Optimum, RatioGrid, SizesGrid } from "./planning/cells.js";
export { type PowerRule, type Quantity, type TunedRates, tuneLearningRates } from "./planning/learning-rates.js";
export { loadPlan, planTable, savePlan } from "./planning/plan-file.js";
export type {
  DroppedCell,
  HeldOut,
  Limits,
  PlannedRun,
  PlanOptions,
  PlanTotals,
  Role,
  SweepPlan,
  Tuning,
} from "./planning/plan-types.js";
export { defaultLadder, type Ladder } from "./planning/shapes.js";
export { type CellSurface, fitSurfaces, type GridPoint, isGrid, type SurfaceOptions } from "./planning/surface.js";
export { type SurfaceLaw, type SurfaceLawOptions, surfaceLaws } from "./planning/surface-laws.js";
export { surfaceWarnings } from "./planning/surface-warnings.js";
export type { Speed } from "./planning/time-estimate.js";

/**
 * The plan described by the options. The dataset must be prepared.
 * @param speed measured by `measureSpeed` of sweep.ts; without it, the plan has no time estimates
 * @throws {RangeError} if the options give no plan
 * @example
 * const plan = planSweep({
 *   name: "small", dataset: "typescript", batchTokens: 512, learningRate: 3e-3,
 *   grid: { kind: "isoflop", budgets: [1e10, 2e10, 4e10], sizes: 5 },
 * });
 */
export function planSweep(options: PlanOptions, speed?: Speed): SweepPlan {
  checkPlanOptions(options);
  if (options.grid) checkGrid(options.grid);
  const { name, dataset, dataDir = "data", seeds = [defaultSettings.seed] } = options;
  checkPrepared(options);
  const opened = openDataset(dataDir, dataset, options.settings);
  opened.close();
  checkTokenizer(options, opened.meta);
  const { workers, threads } = share(options);
  const base = baseSettings(options, opened.meta);
  const ladder = { ...defaultLadder, ...options.ladder };
  const context: Context = { options, base, meta: opened.meta, ladder, workers, speed };
  const runs: PlannedRun[] = [];
  const dropped: DroppedCell[] = [];
  for (const cell of seeds.flatMap((seed) => cellsOf(options, seed))) place(cell, context, { runs, dropped });
  if (runs.length === 0) {
    const why = dropped[0]
      ? `every cell was dropped, the first because ${dropped[0].reason}`
      : "it has no grid, held-out or tuning runs";
    throw new RangeError(`Cannot plan the sweep ${name}: ${why}.`);
  }
  const { validationTokens = 262_144 } = options;
  return {
    format: "folio-sweep-plan",
    version: 1,
    name,
    folio: folioVersion(),
    validationTokens,
    datasetTokens: opened.meta.splits.train.tokens,
    workers,
    threads,
    runs,
    dropped,
    totals: totalsOf(runs, workers),
  };
}

/** The error for a dataset that is not prepared yet, with the command that prepares it. */
function checkPrepared({ name, dataset, dataDir = "data", tokenizer }: PlanOptions): void {
  if (fs.existsSync(path.join(dataDir, dataset))) return;
  const given = fs.existsSync(path.join(packageRoot(), "data", dataset, "prepare.ts"));
  const text = given ? "" : " --from=TEXT";
  const kind = tokenizer === undefined ? "" : ` --tokenizer=${tokenizer === "bpe" ? "bpe:N" : tokenizer}`;
  const whose = given ? "" : `; TEXT is a text file or a folder`;
  throw new Error(
    `Cannot plan the sweep ${name}: there is no dataset ${dataset} in ${dataDir}; prepare it: folio prepare ${dataset}${text}${kind}${whose}.`,
  );
}

/**
 * The number of processes, by default one per core, and of threads per process, by default an equal share of the cores.
 */
export function share({ workers, threads }: Pick<PlanOptions, "workers" | "threads"> = {}): {
  workers: number;
  threads: number;
} {
  checkProcesses({ workers, threads });
  const cores = os.availableParallelism();
  const processes = workers ?? (threads ? Math.max(1, Math.floor(cores / threads)) : cores);
  return { workers: processes, threads: threads ?? Math.max(1, Math.floor(cores / processes)) };
}

function checkProcesses(given: Readonly<Record<string, number | undefined>>): void {
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || (Number.isInteger(value) && value >= 1 && value <= mostProcesses)) continue;
    throw new RangeError(
      `Cannot plan the sweep: ${name} is ${value}; it must be a whole number from 1 to ${mostProcesses}.`,
    );
  }
}

function checkTokenizer({ name, dataset, tokenizer }: PlanOptions, meta: TokenMeta): void {
  const { kind } = meta.tokenizer;
  if (tokenizer === undefined || tokenizer === kind) return;
  const wanted = tokenizer === "bpe" ? "bpe:N" : tokenizer;
  throw new RangeError(
    `Cannot plan the sweep ${name}: it needs ${tokenizer} tokens, but ${dataset} has ${kind} tokens; prepare it again: folio prepare ${dataset} --from=TEXT --tokenizer=${wanted} --overwrite.`,
  );
}

function baseSettings({ settings = {}, dataset, dataDir = "data" }: PlanOptions, meta: TokenMeta): Readonly<Settings> {
  return parseSettings({
    gradientAccumulationSteps: 1,
    blockSize: 64,
    tensorboard: false,
    ...settings,
    dataset,
    dataDir,
    vocabSize: settings.vocabSize || meta.vocabSize,
    initFrom: "scratch",
  });
}

function cellsOf({ grid, heldOut = [], tuning }: PlanOptions, seed: number): Cell[] {
  const optimum: number | Optimum = (grid?.kind === "isoflop" ? grid.optimum : undefined) ?? 20;
  return [
    ...(tuning ? tuningCells(tuning) : []).map((cell) => ({ ...cell, role: "tuning" as const, seed })),
    ...(grid ? wantedCells(grid) : []).map((wanted) => ({ ...wanted, role: "grid" as const, seed })),
    ...heldOut.map(({ budgetFlops, parameters = expectedOptimum(optimum, budgetFlops) }) => ({
      parameters,
      budgetFlops,
      role: "held-out" as const,
      seed,
    })),
  ];
}

function tuningCells({ at, learningRates }: Tuning) {
  return at.flatMap((cell) => learningRates.map((learningRate) => ({ ...cell, learningRate })));
}

/** Turns a cell into a run, or drops it with a reason. */
function place(cell: Cell, context: Context, { runs, dropped }: { runs: PlannedRun[]; dropped: DroppedCell[] }): void {
  const shape = nearestShape(cell.parameters, context.ladder, context.base);
  const run = plannedRun(cell, shape, context);
  const same = runs.find((other) => JSON.stringify(other.settings) === JSON.stringify(run.settings));
  const reason = same
    ? `the nearest shape to N = ${Math.round(cell.parameters)} is ${shapeName(shape)}, which ${same.name} already has`
    : objection(run, context);
  if (!reason) {
    runs.push(run);
    return;
  }
  const { role, budgetFlops, parameters } = run;
  dropped.push({ role, budgetFlops, parameters, shape: shapeName(shape), reason });
}

/** The limit that a run exceeds; undefined if there is none. */
function objection(run: PlannedRun, { options, workers }: Context): string | undefined {
  const { epochs = 4, flopsPerRun = Number.POSITIVE_INFINITY, fewestSteps = 100, ...rest } = options.limits ?? {};
  const most = rest.memoryBytes ?? os.totalmem() / workers;
  if (run.epochs > epochs) {
    return `it sees the data ${run.epochs.toFixed(1)} times; the limit is ${epochs} (epochs)`;
  }
  if (run.flops > flopsPerRun) {
    return `it takes ${run.flops.toExponential(2)} FLOPs; the limit is ${flopsPerRun.toExponential(2)} (flopsPerRun)`;
  }
  if (run.steps < fewestSteps) return `it has ${run.steps} steps; the minimum is ${fewestSteps} (fewestSteps)`;
  if (run.memoryBytes > most) {
    return `it needs ${gigabytes(run.memoryBytes)} of memory; the limit is ${gigabytes(most)} (memoryBytes)`;
  }
  return undefined;
}

function totalsOf(runs: readonly PlannedRun[], workers: number): PlanTotals {
  const sum = (of: (run: PlannedRun) => number) => runs.reduce((total, run) => total + of(run), 0);
  const seconds = runs.map((run) => run.seconds);
  const known = seconds.every((value) => value !== null);
  return {
    runs: runs.length,
    flops: sum(({ flops }) => flops),
    tokens: sum(({ tokens }) => tokens),
    processorSeconds: known ? sum((run) => run.seconds!) : null,
    seconds: known ? sweepSeconds(seconds, workers) : null,
  };
}
