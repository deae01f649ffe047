/**
 * Which number format `dtype auto` takes on a processor, and whose matrix products: what is usual, and where a measurement
 * says otherwise. Functions of facts and figures alone: measurement.ts keeps the figures, lib/bench/measure.ts takes them.
 */
import { median, quantile } from "../host/statistics.js";
import type { Multiplier, ProductChoice } from "./operations/in-place.js";

/** The formats that are measured: float16 is never chosen. */
export type MeasuredDtype = "float32" | "bfloat16";
/** What a step was measured with; "eager": float32, line by line. */
export type Candidate = `${MeasuredDtype} ${Multiplier}` | "eager";

/** A training step, timed with each candidate in turn. */
export interface MeasuredStep {
  /** Of the model: "2L 4H 128, 12 × 64". */
  readonly shape: string;
  readonly gigaflop: number;
  /** Milliseconds, one a round: the same place in each list is the same round. */
  readonly ms: Readonly<Partial<Record<Candidate, readonly number[]>>>;
}

/** A step whose products are all small, and one whose are all large. */
export interface MeasuredSteps {
  readonly small: MeasuredStep;
  readonly large: MeasuredStep;
}

/** What decides before anything is measured. */
export interface ProcessorFacts {
  /** The variant of Folio's own operations that is loaded; undefined: none. */
  readonly operations: string | undefined;
  /** The processor's flags, as Linux names them. */
  readonly flags: readonly string[];
}

/** What multiplies bfloat16 in hardware: on x86 oneDNN uses the first two, on Linux on Arm the last. */
const BFLOAT16_FLAGS = ["avx512_bf16", "amx_bf16", "bf16"];

/** Those of the processor's instructions that multiply bfloat16. */
export const bfloat16Instructions = (flags: readonly string[]): string[] =>
  BFLOAT16_FLAGS.filter((flag) => flags.includes(flag));

/** Whether Folio's own products of bfloat16 use instructions for it: those variants do that are named after them. */
function ownBfloat16({ operations }: ProcessorFacts): boolean {
  return operations?.endsWith("bf16") ?? false;
}

/**
 * Whose products are taken where nothing was measured: Folio's wherever they are loaded. In bfloat16 they do not use AMX,
 * whose tiles are several times as fast, and TensorFlow's do.
 */
export function usualProducts(dtype: string, facts: ProcessorFacts): ProductChoice {
  const bfloat16 = ownBfloat16(facts) && !facts.flags.includes("amx_bf16");
  const own = facts.operations !== undefined && (dtype === "bfloat16" ? bfloat16 : dtype === "float32");
  return own ? { small: "folio", large: "folio" } : { small: "tensorflow", large: "tensorflow" };
}

/** Candidates worth a measurement: bfloat16 only where it is multiplied in hardware. */
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

/** What another choice must gain at least, for a measurement of a second is not the last word. */
const LEAST_GAIN = 1.05;

/** Quartiles further apart than this are those of a machine that is busy with something else. */
const STEADY = 1.25;

export const isSteady = (ms: readonly number[]): boolean => quantile(ms, 0.75) <= STEADY * quantile(ms, 0.25);

/**
 * How many times as fast the other is, the median over the rounds; undefined unless that is beyond LEAST_GAIN, the other
 * was faster in nine rounds of ten, and both were steady: in doubt the usual choice stands.
 */
export function gain(usualMs: readonly number[], otherMs: readonly number[]): number | undefined {
  const ratios = otherMs.slice(0, usualMs.length).map((other, round) => usualMs[round]! / other);
  if (ratios.length === 0 || !isSteady(usualMs) || !isSteady(otherMs)) return undefined;
  const ratio = median(ratios);
  return ratio > LEAST_GAIN && quantile(ratios, 0.1) > 1 ? ratio : undefined;
}

/** Whose products are taken in a format: the usual ones, unless the others gain. */
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
    return { ...usual, reason: `${usual.reason}; no other format was 5 % faster when measured` };
  return { dtype: other, reason: `a step took ${gained.toFixed(2)} times as long in ${usual.dtype} when measured` };
}

/** Without Folio's own operations bfloat16 is slower than float32 on the processors tried, although they multiply it. */
function usualFormat(facts: ProcessorFacts): { dtype: MeasuredDtype; reason: string } {
  const found = bfloat16Instructions(facts.flags);
  if (found.length === 0) return { dtype: "float32", reason: "the processor has no bfloat16 instructions" };
  if (facts.operations === undefined) {
    return { dtype: "float32", reason: "bfloat16 is slow without Folio's own operations" };
  }
  return { dtype: "bfloat16", reason: `the processor has ${found.join(" and ")}` };
}

/** Of each round the geometric mean of the small and the large step's times, each with the format's best products. */
function bestRounds(dtype: MeasuredDtype, facts: ProcessorFacts, measured: MeasuredSteps): number[] {
  const choice = chooseProducts(dtype, facts, measured);
  const small = measured.small.ms[`${dtype} ${choice.small}`] ?? [];
  const large = measured.large.ms[`${dtype} ${choice.large}`] ?? [];
  return small.slice(0, large.length).map((ms, round) => Math.sqrt(ms * large[round]!));
}

/** How many times as fast a compiled step of the small model was as an eager one; undefined where it was not measured. */
export function eagerRatio(facts: ProcessorFacts, measured: MeasuredSteps | undefined): number | undefined {
  const ms = measured?.small.ms;
  const compiled = ms?.[`float32 ${chooseProducts("float32", facts, measured).small}`];
  return ms?.eager && compiled ? median(ms.eager) / median(compiled) : undefined;
}
