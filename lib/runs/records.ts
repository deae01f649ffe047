/**
 * The records of a run, which train() yields and log.jsonl stores, one per line. Losses are in nats per token, times in
 * milliseconds.
 */

import * as z from "zod";
import type { Numerics } from "../engine/numerics.js";
import type { Settings } from "../settings/settings.js";

/** Every record has a kind and a step. */
export type StepRecord = StartRecord | EvalRecord | IterRecord | CheckpointRecord | EndRecord;

export interface StartRecord {
  readonly kind: "start";
  readonly step: number;
  readonly runId: string;
  /** All parameters, including position embeddings. */
  readonly parameters: number;
  /** The number that nanoGPT prints. */
  readonly parametersWithoutPositions: number;
  /** Training FLOPs per token, by PaLM's formula. */
  readonly flopsPerToken: number;
  readonly decayed: DecayGroup;
  readonly undecayed: DecayGroup;
  readonly tokensPerStep: number;
  /** "cpu", "cuda" or "webgpu". */
  readonly device: string;
  /** Why it was chosen: "asked for", or what `auto` found. Absent in older logs. */
  readonly deviceReason?: string;
  /** Name of WebGPU's adapter. */
  readonly deviceName?: string;
  readonly dtype: string;
  /** Why it was chosen: "asked for", or what `auto` found. Absent in older logs. */
  readonly dtypeReason?: string;
  /** The number of devices that share each step; absent: one. */
  readonly devices?: number;
  readonly compiled: boolean;
  /** What else determines the rounding of its numbers. Absent in older logs. */
  readonly numerics?: Numerics;
  /** The checkpoint that the run continues from. */
  readonly resumedFrom?: string;
  /** The source of its weights, if they are not new: setting initFrom. */
  readonly initFrom?: string;
}

/** An evaluation before the update of `step`. */
export interface EvalRecord {
  readonly kind: "eval";
  readonly step: number;
  readonly trainLoss: number;
  readonly valLoss: number;
  readonly learningRate: number;
  /** Whether this is the lowest validation loss of the run. */
  readonly best: boolean;
}

/** One update. */
export interface IterRecord {
  readonly kind: "iter";
  readonly step: number;
  /** Mean over the micro-batches, before the update. */
  readonly loss: number;
  readonly learningRate: number;
  /** Norm of the gradient over all parameters, before clipping. */
  readonly gradNorm: number;
  /** In float16: the loss scale of the next step, and whether this update was skipped. */
  readonly lossScale?: number;
  readonly skipped?: true;
  /** ‖Δp‖ / ‖p‖ of this update by kind of parameter; in logged steps, with the setting logUpdates. */
  readonly updateRatios?: Readonly<Record<string, number>>;
  readonly elapsedMs: number;
  /** Tokens trained on so far. */
  readonly tokens: number;
  readonly tokensPerSecond: number;
}

export interface CheckpointRecord {
  readonly kind: "checkpoint";
  readonly step: number;
  readonly path: string;
  readonly best: boolean;
}

export interface EndRecord {
  readonly kind: "end";
  readonly step: number;
  readonly reason: "finished" | "aborted";
  readonly bestValLoss: number | null;
  /** Time spent in steps, including earlier sessions of the run. */
  readonly trainedMs: number;
}

/** The parameters with weight decay, or those without. */
export interface DecayGroup {
  readonly tensors: number;
  readonly parameters: number;
}

/** Receives a run's records. */
export interface Tracker {
  append(record: StepRecord): void;
  close(): void | Promise<void>;
}

/** A run that begins or continues. */
export interface TrackedRun {
  readonly settings: Settings;
  readonly runId: string;
  /** The step at which it begins. */
  readonly step: number;
  /** The earlier records in its log. */
  readonly kept: readonly StepRecord[];
}

/** A function for train()'s option `trackers`. */
export type OpenTracker = (run: TrackedRun) => Tracker | Promise<Tracker>;

const count = z.int().min(0);
const text = z.string();
const group = z.object({ tensors: count, parameters: count });

/** The schema of a line of log.jsonl. Fields added by newer versions are accepted. */
export const recordSchema = z.discriminatedUnion("kind", [
  z.object({
    kind: z.literal("start"),
    ...{ step: count, runId: text, parameters: count, parametersWithoutPositions: count, flopsPerToken: z.number() },
    ...{ decayed: group, undecayed: group, tokensPerStep: count, device: text, dtype: text, compiled: z.boolean() },
    devices: count.optional(),
    ...{ deviceReason: text.optional(), deviceName: text.optional(), dtypeReason: text.optional() },
    ...{ resumedFrom: text.optional(), initFrom: text.optional() },
  }),
  z.object({
    kind: z.literal("eval"),
    ...{ step: count, trainLoss: z.number(), valLoss: z.number(), learningRate: z.number(), best: z.boolean() },
  }),
  z.object({
    kind: z.literal("iter"),
    // JSON writes the infinite gradient of a float16 overflow as null.
    ...{ step: count, loss: z.number().nullable(), learningRate: z.number(), gradNorm: z.number().nullable() },
    ...{ lossScale: z.number().optional(), skipped: z.literal(true).optional() },
    updateRatios: z.record(text, z.number().nullable()).optional(),
    ...{ elapsedMs: z.number(), tokens: count, tokensPerSecond: z.number() },
  }),
  z.object({ kind: z.literal("checkpoint"), step: count, path: text, best: z.boolean() }),
  z.object({
    kind: z.literal("end"),
    ...{ step: count, reason: z.enum(["finished", "aborted"]), bestValLoss: z.number().nullable() },
    trainedMs: z.number(),
  }),
]);
