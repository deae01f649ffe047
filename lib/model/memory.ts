/**
 * How much memory a training run takes, from its settings, and what to lower when there is less. An estimate: what the
 * step keeps until its backward pass, counted on the model as it is written, which is within a third of what was
 * measured on a CPU (test/model/memory.test.ts). Not measured on a graphics card.
 */
import type { Settings } from "../settings/settings.js";
import { countParameters, type Shape } from "./sizing.js";

/** A part of a run's memory. The last row is the total, which is less than the sum: some parts take turns. */
export interface MemoryRow {
  readonly part: string;
  readonly bytes: number;
  readonly formula: string;
}

/** The settings that memory follows from. */
export type MemorySettings = Shape & Pick<Settings, "dropout" | "batchSize" | "gradientAccumulationSteps" | "compile">;

// Node and TensorFlow before the first tensor: 410 to 480 MB on Linux.
const PROGRAM_BYTES = 450e6;

/**
 * Memory of a run by part, in bytes; N parameters, B batchSize, T blockSize, V vocabSize, L nLayer, C nEmbd, H nHead.
 * Everything that is kept is in 32 bits, with dtype bfloat16 too: only the products are converted.
 * @param options.gpu the values lie on a graphics card: without Folio's fused operations, and without the program
 */
export function memoryTable(settings: MemorySettings, { gpu = false } = {}): MemoryRow[] {
  const { batchSize: B, blockSize: T, vocabSize: V, gradientAccumulationSteps } = settings;
  const N = countParameters(settings);
  const kept = keptPerToken(settings, gpu);
  const rows: MemoryRow[] = [
    { part: "weights", bytes: 4 * N, formula: "4 N" },
    { part: "optimizer", bytes: 8 * N, formula: "8 N" },
    { part: "gradients", bytes: 4 * N, formula: "4 N" },
    { part: "accumulated gradients", bytes: gradientAccumulationSteps > 1 ? 4 * N : 0, formula: "4 N" },
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
  // Gradients come as activations go, and a checkpoint is read or written when there are neither.
  const inTurn = Math.max(activations + logits, gradients, copy);
  const total = weights + optimizer + sums + program + inTurn;
  const formula = "weights, optimizer, accumulated, program and the most of (activations + logits, gradients, copy)";
  return [...rows, { part: "total", bytes: total, formula }];
}

/** Numbers that a step keeps of each token, of all layers, with the working space of one. */
function keptPerToken(settings: MemorySettings, gpu: boolean): { values: number; formula: string } {
  const { nLayer: L, nEmbd: C, nHead: H, blockSize: T, compile, dropout } = settings;
  const dropping = dropout > 0;
  if (!compile) {
    // Eagerly nothing is given back before the step ends: fitted to measurements at two lengths of context.
    const masks = dropping ? 7.4 : 0;
    const values = L * ((67 + 2 * masks) * C + (8 + masks) * H * T);
    return { values, formula: `L (${67 + 2 * masks} C + ${8 + masks} H T)` };
  }
  // Into norm, out of norm (twice), q k v, heads, before GELU 4, after it 4: 16 C. Composed, GELU keeps 4 more.
  const perBlock = (gpu ? 20 : 16) + (dropping ? 2 : 0);
  // Attention's weights stand in memory only where the fused operation does not do it: with dropout also mask and product.
  const squares = dropping ? 3 : gpu ? 1 : 0;
  const values = (L + 1) * perBlock * C + L * squares * H * T;
  return { values, formula: `(L + 1) ${perBlock} C${squares ? ` + L ${squares} H T` : ""}` };
}

/** The bytes that a run needs at its peak. */
export function memoryBytes(settings: MemorySettings, options: { gpu?: boolean } = {}): number {
  return memoryTable(settings, options).at(-1)!.bytes;
}

/**
 * What to say before a run that will not fit: how much it needs, how much there is, and what to lower; undefined when
 * it fits.
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
  if (!compile && fits({ compile: true })) advice.push("compile (--compile=True keeps less)");
  // Micro-batches instead of a batch: the same update from less memory at a time.
  const divisors = Array.from({ length: batchSize }, (_, i) => i + 1).filter((n) => batchSize % n === 0);
  const smaller = divisors.findLast((n) => fits({ batchSize: n, gradientAccumulationSteps: (micros * batchSize) / n }));
  if (smaller && smaller < batchSize) {
    const steps = (micros * batchSize) / smaller;
    advice.push(`batchSize ${smaller} with gradientAccumulationSteps ${steps} (the same update)`);
  }
  const block = [2, 4, 8].map((by) => Math.floor(blockSize / by)).find((n) => n >= 1 && fits({ blockSize: n }));
  if (advice.length === 0 && block) advice.push(`blockSize ${block}`);
  const lower =
    advice.length > 0 ? `try ${advice.join(", or ")}` : "lower nLayer or nEmbd: a smaller batch is not enough";
  return `This run needs about ${gigabytes(needed)} of memory, and there are ${gigabytes(availableBytes)}; ${lower}. \`folio sizes\` shows the parts.`;
}

/** 3.4e9 → "3.4 GB". */
export function gigabytes(bytes: number): string {
  return bytes < 1e8 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(bytes < 1e10 ? 2 : 1)} GB`;
}
