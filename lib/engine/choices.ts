/**
 * Chooses the number format of `dtype auto` on a processor, and between Folio's and TensorFlow's matrix products: the
 * default choice, unless a measurement shows that another is faster. measurement.ts stores measurements;
 * lib/bench/measure.ts takes them.
 */
import { median, quantile } from "../host/statistics.js";
import type { Multiplier, ProductChoice } from "./operations/in-place.js";

/** The formats that are measured: float16 is never chosen. */
export type MeasuredDtype = "float32" | "bfloat16";
/** The number format and matrix products that a step was measured with; "eager": an eager step in float32. */
export type Candidate = `${MeasuredDtype} ${Multiplier}` | "eager";

/** A training step, timed with each candidate in turn. */
export interface MeasuredStep {
  /** Shape of the model and batch: "2L 4H 128, 12 × 64". */
  readonly shape: string;
  readonly gigaflop: number;
  /** Milliseconds per round; the same index in each list is the same round. */
  readonly ms: Readonly<Partial<Record<Candidate, readonly number[]>>>;
}

/** A step with only small products, and one with only large products. */
export interface MeasuredSteps {
  readonly small: MeasuredStep;
  readonly large: MeasuredStep;
}

/** The facts about a processor that determine the default choice. */
export interface ProcessorFacts {
  /** The variant of Folio's own operations that is loaded; undefined: none. */
  readonly operations: string | undefined;
  /** The processor's flags, as Linux names them. */
  readonly flags: readonly string[];
}

/** Instruction sets that multiply bfloat16: oneDNN uses the first two on x86, and the last on Arm under Linux. */
const BFLOAT16_FLAGS = ["avx512_bf16", "amx_bf16", "bf16"];

/** The processor's instruction sets that multiply bfloat16. */
export const bfloat16Instructions = (flags: readonly string[]): string[] =>
  BFLOAT16_FLAGS.filter((flag) => flags.includes(flag));

/** Whether Folio's bfloat16 products use such instructions, as the variants named after them do. */
function ownBfloat16({ operations }: ProcessorFacts): boolean {
  return operations?.endsWith("bf16") ?? false;
}

/**
 * The products to use without a measurement: Folio's wherever they are loaded, except in bfloat16 with AMX, which only
 * TensorFlow's use and which is several times as fast.
 */
export function usualProducts(dtype: string, facts: ProcessorFacts): ProductChoice {
  const bfloat16 = ownBfloat16(facts) && !facts.flags.includes("amx_bf16");
  const own = facts.operations !== undefined && (dtype === "bfloat16" ? bfloat16 : dtype === "float32");
  return own ? { small: "folio", large: "folio" } : { small: "tensorflow", large: "tensorflow" };
}

/** The candidates to measure: bfloat16 only where the hardware multiplies it. */
export function candidates(facts: ProcessorFacts): Exclude<Candidate, "eager">[] {
  const own = facts.operations !== undefined;
  const short = bfloat16Instructions(facts.flags).length > 0;
  return [
    ...(own ? (["float32 folio"] as const) : []),
    "float32 tensorflow",
    ...(short && ownBfloat16(facts) ? (["bfloat16 folio"] as const) : []),
    ...(short ? (["bfloat16 tensorflow"] as const) : []),
  ];
}

/** The least speed-up for which the default choice is replaced, since a measurement takes only a second. */
const LEAST_GAIN = 1.05;

/** A larger ratio of the quartiles means that the machine was busy with something else. */
const STEADY = 1.25;

export const isSteady = (ms: readonly number[]): boolean => quantile(ms, 0.75) <= STEADY * quantile(ms, 0.25);

/**
 * The median speed-up of the other choice over the rounds; undefined unless it exceeds LEAST_GAIN, the other choice was
 * faster in nine rounds of ten, and the times of both were steady. In doubt the default choice is kept.
 */
export function gain(usualMs: readonly number[], otherMs: readonly number[]): number | undefined {
  const ratios = otherMs.slice(0, usualMs.length).map((other, round) => usualMs[round]! / other);
  if (ratios.length === 0 || !isSteady(usualMs) || !isSteady(otherMs)) return undefined;
  const ratio = median(ratios);
  return ratio > LEAST_GAIN && quantile(ratios, 0.1) > 1 ? ratio : undefined;
}

/** The products to use in a number format: the default ones, unless the others are faster. */
export function chooseProducts(
  dtype: string,
  facts: ProcessorFacts,
  measured: MeasuredSteps | undefined,
): ProductChoice {
  const usual = usualProducts(dtype, facts);
  if (!measured || (dtype !== "float32" && dtype !== "bfloat16")) return usual;
  const choose = (multiplier: Multiplier, { ms }: MeasuredStep): Multiplier => {
    const other = multiplier === "folio" ? "tensorflow" : "folio";
    const gained = gain(ms[`${dtype} ${multiplier}`] ?? [], ms[`${dtype} ${other}`] ?? []);
    return gained === undefined ? multiplier : other;
  };
  return { small: choose(usual.small, measured.small), large: choose(usual.large, measured.large) };
}

/** The format of `auto` on a processor, for compiled steps, and why. */
export function chooseFormat(
  facts: ProcessorFacts,
  measured: MeasuredSteps | undefined,
): { dtype: MeasuredDtype; reason: string } {
  const usual = usualFormat(facts);
  const other: MeasuredDtype = usual.dtype === "float32" ? "bfloat16" : "float32";
  const times = measured ? bestRounds(other, facts, measured) : [];
  if (!measured || times.length === 0) return usual;
  const gained = gain(bestRounds(usual.dtype, facts, measured), times);
  if (gained === undefined)
    return { ...usual, reason: `${usual.reason}; no other format was measured to be 5 % faster` };
  return { dtype: other, reason: `a step took ${gained.toFixed(2)} times as long in ${usual.dtype} when measured` };
}

/**
 * Without Folio's operations, bfloat16 is slower than float32 on the processors tried, even with bfloat16 instructions.
 */
function usualFormat(facts: ProcessorFacts): { dtype: MeasuredDtype; reason: string } {
  const found = bfloat16Instructions(facts.flags);
  if (found.length === 0) return { dtype: "float32", reason: "the processor has no bfloat16 instructions" };
  if (facts.operations === undefined) {
    return { dtype: "float32", reason: "bfloat16 is slow without Folio's own operations" };
  }
  return { dtype: "bfloat16", reason: `the processor has ${found.join(" and ")}` };
}

/**
 * For each round, the geometric mean of the small and the large step's times, each with the format's chosen products.
 */
function bestRounds(dtype: MeasuredDtype, facts: ProcessorFacts, measured: MeasuredSteps): number[] {
  const choice = chooseProducts(dtype, facts, measured);
  const small = measured.small.ms[`${dtype} ${choice.small}`] ?? [];
  const large = measured.large.ms[`${dtype} ${choice.large}`] ?? [];
  return small.slice(0, large.length).map((ms, round) => Math.sqrt(ms * large[round]!));
}

/** The speed-up of a compiled over an eager step of the small model; undefined if it was not measured. */
export function eagerRatio(facts: ProcessorFacts, measured: MeasuredSteps | undefined): number | undefined {
  const ms = measured?.small.ms;
  const compiled = ms?.[`float32 ${chooseProducts("float32", facts, measured).small}`];
  return ms?.eager && compiled ? median(ms.eager) / median(compiled) : undefined;
}
