/** The types of a sweep's plan: its options, its runs and its dropped cells. plan.ts makes plans. */
import type { TokenMeta } from "../../lib/data/dataset.js";
import type { Settings } from "../../lib/settings/settings.js";
import type { Grid } from "./cells.js";
import type { PowerRule } from "./learning-rates.js";
import type { Ladder } from "./shapes.js";

/** Limits; a cell that would exceed one is dropped, with the reason. */
export interface Limits {
  /** The largest number of epochs; 4 by default (Muennighoff 2023: more repetition has a cost). */
  readonly epochs?: number;
  readonly flopsPerRun?: number;
  /** The fewest updates; 100 by default, because a learning-rate schedule needs some. */
  readonly fewestSteps?: number;
  /** Memory of one run; by default that of the machine, divided among the processes. */
  readonly memoryBytes?: number;
}

/** A run beyond the grid, whose loss is to be predicted by the fit. */
export interface HeldOut {
  readonly budgetFlops: number;
  /** N; the expected optimum by default. */
  readonly parameters?: number;
}

/** A tuning sweep before the sweep: every learning rate at each of some sizes, near the optima of their budgets. */
export interface Tuning {
  readonly at: readonly { readonly budgetFlops: number; readonly parameters: number }[];
  readonly learningRates: readonly number[];
}

/** The options of a plan. */
export interface PlanOptions {
  /** Name of the sweep, and of its folder. */
  readonly name: string;
  readonly dataset: string;
  /** The tokenizer that the dataset must have; sizes and learning rates of a plan depend on it. */
  readonly tokenizer?: TokenMeta["tokenizer"]["kind"];
  /** Folder of the prepared datasets; "data" by default. */
  readonly dataDir?: string;
  /** The grid of runs; without it, there are only tuning and held-out runs. */
  readonly grid?: Grid;
  readonly heldOut?: readonly HeldOut[];
  readonly tuning?: Tuning;
  /** Settings of all runs: blockSize, device, dtype, weightDecay … */
  readonly settings?: Partial<Settings>;
  readonly ladder?: Partial<Ladder>;
  /** Tokens per update, rounded to whole sequences. */
  readonly batchTokens: number | PowerRule;
  readonly learningRate: number | PowerRule;
  /** Share of the steps for warm-up; 0.05 by default. */
  readonly warmup?: number;
  /** Last learning rate divided by the highest; 0 by default. */
  readonly finalRate?: number;
  readonly seeds?: readonly number[];
  readonly limits?: Limits;
  /** Number of tokens for the final loss, the same tokens for all runs; 262,144 by default. */
  readonly validationTokens?: number;
  /** Processes at a time; by default the number of cores. */
  readonly workers?: number;
  /** Threads per process; by default an equal share of the cores. */
  readonly threads?: number;
}

export type Role = "grid" | "held-out" | "tuning";

/** A run of a plan. */
export interface PlannedRun {
  /** For people: `grid-3.0e11-2L48`. */
  readonly name: string;
  readonly role: Role;
  /** The budget; `flops` are the FLOPs of the steps. */
  readonly budgetFlops: number | null;
  /** Complete settings, except for the folder of the run. */
  readonly settings: Readonly<Settings>;
  /** All parameters but the positions. */
  readonly parameters: number;
  readonly steps: number;
  readonly tokens: number;
  /** Training tokens divided by those of the dataset. */
  readonly epochs: number;
  /** By PaLM's formula: (6N + 12·L·H·Q·T) per token. */
  readonly flops: number;
  readonly memoryBytes: number;
  /** Estimated; null without a measurement. */
  readonly seconds: number | null;
}

/** A dropped cell. */
export interface DroppedCell {
  readonly role: Role;
  readonly budgetFlops: number | null;
  readonly parameters: number;
  readonly shape: string;
  readonly reason: string;
}

/** A plan, as in its JSON file. */
export interface SweepPlan {
  readonly format: "folio-sweep-plan";
  readonly version: 1;
  readonly name: string;
  readonly folio: string;
  readonly validationTokens: number;
  /** Training tokens of the dataset. */
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
  /** With one process at a time. */
  readonly processorSeconds: number | null;
  /** With `workers` processes at a time. */
  readonly seconds: number | null;
}
