/**
 * Estimates how much memory a training run needs from its settings, and which settings to lower when there is less. The
 * estimate counts the values that a step keeps for its backward pass, and is within a third of measurements on a CPU
 * (test/model/memory.test.ts). It has not been compared with measurements on a GPU.
 */
import type { Settings } from "../settings/settings.js";
import { countParameters, type Shape } from "./sizing.js";

/** A part of a run's memory. The last row is the total, which is less than the sum, since some parts do not coexist. */
export interface MemoryRow {
  readonly part: string;
  readonly bytes: number;
  readonly formula: string;
}

/** The settings that determine the memory. */
export type MemorySettings = Shape &
  Pick<Settings, "dropout" | "batchSize" | "gradientAccumulationSteps" | "compile"> &
  Partial<Pick<Settings, "devices">>;

// Node and TensorFlow before the first tensor: 410 to 480 MB on Linux.
const PROGRAM_BYTES = 450e6;

/**
 * Memory of a run by part, in bytes, on each of its devices; N parameters, B batchSize, T blockSize, V vocabSize, L nLayer, C nEmbd, H nHead.
 * Values are kept in 32 bits, also with dtype bfloat16: only the factors of products are converted.
 * @param options.gpu whether the values are on a GPU, without Folio's fused operations and without the program
 */
export function memoryTable(settings: MemorySettings, { gpu = false } = {}): MemoryRow[] {
  const { batchSize: B, blockSize: T, vocabSize: V, gradientAccumulationSteps, devices = 1 } = settings;
  const N = countParameters(settings);
  const kept = keptPerToken(settings, gpu);
  const rows: MemoryRow[] = [
    { part: "weights", bytes: 4 * N, formula: "4 N" },
    { part: "optimizer", bytes: 8 * N, formula: "8 N" },
    { part: "gradients", bytes: 4 * N, formula: "4 N" },
    { part: "accumulated gradients", bytes: gradientAccumulationSteps > devices ? 4 * N : 0, formula: "4 N" },
    { part: "activations", bytes: 4 * B * T * kept.values, formula: `4 B T (${kept.formula})` },
    { part: "logits", bytes: 8 * B * T * V, formula: "8 B T V" },
    { part: "copy to open or save", bytes: gpu ? 0 : 12 * N, formula: "12 N" },
    { part: "program", bytes: gpu ? 0 : PROGRAM_BYTES, formula: "measured" },
  ];
  const [weights, optimizer, gradients, sums, activations, logits, copy, program] = rows.map(({ bytes }) => bytes) as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  // Activations are freed as gradients are made, and a checkpoint is read or written when there are neither.
  const inTurn = Math.max(activations + logits, gradients, copy);
  const total = weights + optimizer + sums + program + inTurn;
  const formula = "weights, optimizer, accumulated, program and the largest of (activations + logits, gradients, copy)";
  return [...rows, { part: "total", bytes: total, formula }];
}

/** The number of values that a step keeps per token: those of all layers, and the working space of one layer. */
function keptPerToken(settings: MemorySettings, gpu: boolean): { values: number; formula: string } {
  const { nLayer: L, nEmbd: C, nHead: H, blockSize: T, compile, dropout } = settings;
  const dropping = dropout > 0;
  if (!compile) {
    // An eager step frees nothing before it ends; fitted to measurements at two context lengths.
    const masks = dropping ? 2.4 : 0;
    const values = L * ((67 + 2 * masks) * C + (8 + masks) * H * T);
    return { values, formula: `L (${67 + 2 * masks} C + ${8 + masks} H T)` };
  }
  // Input and output of norm (twice), q k v, heads, 4 before GELU, 4 after it: 16 C. Composed, GELU keeps 4 more, and
  // dropout its masks; attention keeps its weights, with dropout the mask and the product too.
  const perBlock = gpu ? (dropping ? 22 : 20) : 16;
  const squares = gpu ? (dropping ? 3 : 1) : 0;
  const values = (L + 1) * perBlock * C + L * squares * H * T;
  return { values, formula: `(L + 1) ${perBlock} C${squares ? ` + L ${squares} H T` : ""}` };
}

/** The bytes that a run needs at its peak. */
export function memoryBytes(settings: MemorySettings, options: { gpu?: boolean } = {}): number {
  return memoryTable(settings, options).at(-1)!.bytes;
}

/**
 * A warning about a run that will not fit into memory: how much it needs, how much there is, and what to lower;
 * undefined if it fits.
 * @example memoryWarning(settings, os.totalmem())
 */
export function memoryWarning(
  settings: MemorySettings,
  availableBytes: number,
  options: { gpu?: boolean } = {},
): string | undefined {
  const needed = memoryBytes(settings, options);
  if (needed <= availableBytes) return undefined;
  const fits = (changes: Partial<MemorySettings>) =>
    memoryBytes({ ...settings, ...changes }, options) <= availableBytes;
  const { batchSize, gradientAccumulationSteps: micros, compile, blockSize } = settings;
  const advice: string[] = [];
  if (!compile && fits({ compile: true })) advice.push("compile (--compile=True needs less)");
  // Smaller micro-batches make the same update with less memory.
  const divisors = Array.from({ length: batchSize }, (_, i) => i + 1).filter((n) => batchSize % n === 0);
  const smaller = divisors.findLast((n) => fits({ batchSize: n, gradientAccumulationSteps: (micros * batchSize) / n }));
  if (smaller && smaller < batchSize) {
    const steps = (micros * batchSize) / smaller;
    advice.push(`batchSize ${smaller} with gradientAccumulationSteps ${steps} (the same update)`);
  }
  const block = [2, 4, 8].map((by) => Math.floor(blockSize / by)).find((n) => n >= 1 && fits({ blockSize: n }));
  if (advice.length === 0 && block) advice.push(`blockSize ${block}`);
  const lower =
    advice.length > 0 ? `try ${advice.join(", or ")}` : "lower nLayer or nEmbd, since a smaller batch is not enough";
  return `This run needs about ${gigabytes(needed)} of memory, but there are only ${gigabytes(availableBytes)}; ${lower}. \`folio sizes\` shows the parts.`;
}

/** 3.4e9 → "3.4 GB". */
export function gigabytes(bytes: number): string {
  return bytes < 1e8 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(bytes < 1e10 ? 2 : 1)} GB`;
}
