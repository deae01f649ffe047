/**
 * Budgets → a plan: the runs of a sweep, each with its complete settings, and the cells that were dropped, each with its
 * reason. It trains nothing; the time it tells comes from a short benchmark (sweep/measure.ts). sweep.ts makes runs of a
 * plan. `folio scaling plan` shows one.
 */
import os from "node:os";
import { openDataset } from "../lib/data/batches.js";
import type { TokenMeta } from "../lib/data/token-file.js";
import { folioVersion } from "../lib/host/package.js";
import { gigabytes } from "../lib/model/memory.js";
import { defaultSettings, parseSettings, type Settings } from "../lib/settings/settings.js";
import { expectedOptimum, type Grid, type Optimum, wantedCells } from "./planning/cells.js";
import type { PowerRule } from "./planning/learning-rates.js";
import { type Cell, type Context, plannedRun, shapeName } from "./planning/planned-run.js";
import { defaultLadder, type Ladder, nearestShape } from "./planning/shapes.js";
import { type Speed, sweepSeconds } from "./planning/time-estimate.js";

export type { Grid, IsoFlopGrid, Optimum, RatioGrid, SizesGrid } from "./planning/cells.js";
export { type PowerRule, type TunedRates, tuneLearningRates } from "./planning/learning-rates.js";
export { loadPlan, planTable, savePlan } from "./planning/plan-file.js";
export { defaultLadder, type Ladder } from "./planning/shapes.js";
export type { Speed } from "./planning/time-estimate.js";

/** What must not be exceeded; a cell that would is dropped, with the reason. */
export interface Limits {
  /** How often a training token is seen at most; 4 unless given (Muennighoff 2023: beyond, repetition costs). */
  readonly epochs?: number;
  readonly flopsPerRun?: number;
  /** Updates at least; 100 unless given: a schedule needs some. */
  readonly fewestSteps?: number;
  /** Of one run; the machine's, shared by its processes, unless given. */
  readonly memoryBytes?: number;
}

/** A run beyond the grid, whose loss the fit is to predict. */
export interface HeldOut {
  readonly budgetFlops: number;
  /** N; the expected optimum unless given. */
  readonly parameters?: number;
}

/** A short sweep over learning rates before the sweep: every rate at each of some sizes, near their budgets' optima. */
export interface Tuning {
  readonly at: readonly { readonly budgetFlops: number; readonly parameters: number }[];
  readonly learningRates: readonly number[];
}

/** What a plan is made of. */
export interface PlanOptions {
  /** Of the sweep; its folder bears it. */
  readonly name: string;
  readonly dataset: string;
  /** What the dataset's tokens must be; sizes and learning rates of a plan hang on it. */
  readonly tokenizer?: TokenMeta["tokenizer"]["kind"];
  /** Folder of the prepared datasets; "data" unless given. */
  readonly dataDir?: string;
  /** The runs; without one, only tuning and held-out runs. */
  readonly grid?: Grid;
  readonly heldOut?: readonly HeldOut[];
  readonly tuning?: Tuning;
  /** Settings that all runs share: blockSize, device, dtype, weightDecay … */
  readonly settings?: Partial<Settings>;
  readonly ladder?: Partial<Ladder>;
  /** Tokens an update, rounded to whole sequences. */
  readonly batchTokens: number | PowerRule;
  readonly learningRate: number | PowerRule;
  /** Share of the steps that warm up; 0.05 unless given. */
  readonly warmup?: number;
  /** Last learning rate over the highest; 0 unless given. */
  readonly finalRate?: number;
  readonly seeds?: readonly number[];
  readonly limits?: Limits;
  /** Tokens that the final loss is a mean over, the same ones for all runs; 262,144 unless given. */
  readonly validationTokens?: number;
  /** Processes at a time; as many as cores unless given. */
  readonly workers?: number;
  /** Threads of each; the cores shared fairly unless given. */
  readonly threads?: number;
}

export type Role = "grid" | "held-out" | "tuning";

/** A run of a plan. */
export interface PlannedRun {
  /** For people: `grid-3.0e11-2L48`. */
  readonly name: string;
  readonly role: Role;
  /** FLOPs that were to be spent; `flops` are what the steps take. */
  readonly budgetFlops: number | null;
  /** Complete, but for where the run is kept. */
  readonly settings: Readonly<Settings>;
  /** Without positions. */
  readonly parameters: number;
  readonly steps: number;
  readonly tokens: number;
  /** Training tokens over the dataset's. */
  readonly epochs: number;
  /** By PaLM's formula: (6N + 12·L·H·Q·T) a token. */
  readonly flops: number;
  readonly memoryBytes: number;
  /** Estimated; null where nothing was measured. */
  readonly seconds: number | null;
}

/** A cell that is not run. */
export interface DroppedCell {
  readonly role: Role;
  readonly budgetFlops: number | null;
  readonly parameters: number;
  readonly shape: string;
  readonly reason: string;
}

/** A plan, as its JSON file has it. */
export interface SweepPlan {
  readonly format: "folio-sweep-plan";
  readonly version: 1;
  readonly name: string;
  readonly folio: string;
  readonly validationTokens: number;
  /** The dataset's training tokens. */
  readonly datasetTokens: number;
  readonly workers: number;
  readonly threads: number;
  readonly runs: readonly PlannedRun[];
  readonly dropped: readonly DroppedCell[];
  readonly totals: PlanTotals;
}

export interface PlanTotals {
  readonly runs: number;
  readonly flops: number;
  readonly tokens: number;
  /** One process after another. */
  readonly processorSeconds: number | null;
  /** With `workers` processes at a time. */
  readonly seconds: number | null;
}

/**
 * The plan that options describe. The dataset must be prepared.
 * @param speed what runs take here (`measureSpeed` of sweep.ts); without it, the plan tells no times
 * @throws {RangeError} for options that make no plan
 * @example
 * const plan = planSweep({
 *   name: "small", dataset: "typescript", batchTokens: 512, learningRate: 3e-3,
 *   grid: { kind: "isoflop", budgets: [1e10, 2e10, 4e10], sizes: 5 },
 * });
 */
export function planSweep(options: PlanOptions, speed?: Speed): SweepPlan {
  const { name, dataset, dataDir = "data", seeds = [defaultSettings.seed] } = options;
  checkName(name);
  const opened = openDataset(dataDir, dataset);
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
    const why = dropped[0] ? `every cell was dropped, the first because ${dropped[0].reason}` : "it has no grid";
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

function checkName(name: string): void {
  if (/^[\w][\w.-]*$/.test(name)) return;
  throw new RangeError(
    `Cannot plan the sweep: its name is ${JSON.stringify(name)}; wanted letters, digits, dots and dashes, as "novels".`,
  );
}

/** Processes and threads of each: a process a core, each with an equal share of the cores. */
export function share({ workers, threads }: Pick<PlanOptions, "workers" | "threads"> = {}): {
  workers: number;
  threads: number;
} {
  const cores = os.availableParallelism();
  const processes = workers ?? (threads ? Math.max(1, Math.floor(cores / threads)) : cores);
  return { workers: processes, threads: threads ?? Math.max(1, Math.floor(cores / processes)) };
}

function checkTokenizer({ name, dataset, tokenizer }: PlanOptions, meta: TokenMeta): void {
  const { kind } = meta.tokenizer;
  if (tokenizer === undefined || tokenizer === kind) return;
  const wanted = tokenizer === "bpe" ? "bpe:N" : tokenizer;
  throw new RangeError(
    `Cannot plan the sweep ${name}: it is for ${tokenizer} tokens, and ${dataset} has ${kind} ones; prepare it again: folio prepare ${dataset} --from=TEXT --tokenizer=${wanted} --overwrite.`,
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

/** Turns a cell into a run, or says why it is none. */
function place(cell: Cell, context: Context, { runs, dropped }: { runs: PlannedRun[]; dropped: DroppedCell[] }): void {
  const shape = nearestShape(cell.parameters, context.ladder, context.base);
  const run = plannedRun(cell, shape, context);
  const same = runs.find((other) => JSON.stringify(other.settings) === JSON.stringify(run.settings));
  const reason = same
    ? `the nearest shape to N = ${Math.round(cell.parameters)} is ${shapeName(shape)}, which ${same.name} has already`
    : objection(run, context);
  if (!reason) {
    runs.push(run);
    return;
  }
  const { role, budgetFlops, parameters } = run;
  dropped.push({ role, budgetFlops, parameters, shape: shapeName(shape), reason });
}

/** Why a run is not to be done; undefined where it may be. */
function objection(run: PlannedRun, { options, workers }: Context): string | undefined {
  const { epochs = 4, flopsPerRun = Number.POSITIVE_INFINITY, fewestSteps = 100, ...rest } = options.limits ?? {};
  const most = rest.memoryBytes ?? os.totalmem() / workers;
  if (run.epochs > epochs) {
    return `it sees the data ${run.epochs.toFixed(1)} times, and ${epochs} is the limit (epochs)`;
  }
  if (run.flops > flopsPerRun) {
    return `it takes ${run.flops.toExponential(2)} FLOPs, and ${flopsPerRun.toExponential(2)} is the limit (flopsPerRun)`;
  }
  if (run.steps < fewestSteps) return `it has ${run.steps} steps, and ${fewestSteps} is the least (fewestSteps)`;
  if (run.memoryBytes > most) {
    return `it needs ${gigabytes(run.memoryBytes)} of memory, and ${gigabytes(most)} is the limit (memoryBytes)`;
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
