/** What a plan of a sweep is: the options that ask for one, its runs, and what was dropped. plan.ts makes plans. */
import type { TokenMeta } from "../../lib/data/token-file.js";
import type { Settings } from "../../lib/settings/settings.js";
import type { Grid } from "./cells.js";
import type { PowerRule } from "./learning-rates.js";
import type { Ladder } from "./shapes.js";

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
