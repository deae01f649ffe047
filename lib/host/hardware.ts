/**
 * Peak speed and memory of graphics cards, for MFU and for planning: a table from NVIDIA's data sheets; and the NVIDIA
 * cards of this machine, from their driver. The peak of a CPU has to be measured (`folio bench`).
 */
import { execFileSync } from "node:child_process";

/** A card by its data sheet. */
export interface Hardware {
  /** As the driver reports it, without "NVIDIA". */
  readonly name: string;
  /** Peak of dense matrix products (no sparsity) of 16-bit numbers with 32-bit sums, in FLOP/s. */
  readonly peak16: number;
  /** Peak of 32-bit products as TensorFlow computes them: in TF32 on cards that have it (since Ampere). */
  readonly peak32: number;
  /** Whether the tensor cores support bfloat16 (since Ampere); older ones support float16 only. */
  readonly bfloat16: boolean;
  /** The card's memory; of the smallest version where there are several. */
  readonly memoryBytes: number;
}

const ampere = (name: string, peak16: number, peak32: number, gigabytes: number): Hardware => ({
  name,
  peak16: peak16 * 1e12,
  peak32: peak32 * 1e12,
  bfloat16: true,
  memoryBytes: gigabytes * 1e9,
});
const older = (...of: Parameters<typeof ampere>): Hardware => ({ ...ampere(...of), bfloat16: false });

// From NVIDIA's data sheets; half of the figures "with sparsity". GeForce: from the architectures' white papers (GA102,
// AD102, Blackwell), tensor cores with FP32 accumulate, which have half the speed of FP16 accumulate.
const cards: readonly Hardware[] = [
  ampere("B200", 2250, 1125, 180),
  ampere("H200 NVL", 835.5, 417.5, 141),
  ampere("H200", 989, 494.5, 141),
  ampere("H100 PCIe", 756, 378, 80),
  ampere("H100 NVL", 835.5, 417.5, 94),
  ampere("H100", 989, 494.5, 80), // SXM5
  ampere("A100", 312, 156, 40),
  ampere("A40", 149.7, 74.8, 48),
  ampere("A30", 165, 82, 24),
  ampere("A10G", 70, 35, 24),
  ampere("A10", 125, 62.5, 24),
  ampere("L40S", 362.05, 183, 48),
  ampere("L40", 181.05, 90.5, 48),
  ampere("L4", 121, 60, 24),
  ampere("RTX 6000 Ada", 364.2, 182.1, 48),
  ampere("RTX A6000", 154.8, 77.4, 48),
  ampere("RTX 5090", 209.5, 104.8, 32),
  ampere("RTX 4090", 165.2, 82.6, 24),
  ampere("RTX 4080", 97.5, 48.7, 16),
  ampere("RTX 3090", 71, 35.6, 24),
  ampere("RTX 3080", 59.5, 29.8, 10),
  older("RTX 2080 Ti", 53.8, 13.4, 11),
  older("V100 PCIe", 112, 14, 16),
  older("V100", 125, 15.7, 16), // SXM2
  older("T4", 65, 8.1, 16),
  older("P100", 18.7, 9.3, 12), // no tensor cores
];

/** Names of the cards in the table. */
export const knownHardware: readonly string[] = cards.map(({ name }) => name);

const words = (name: string): string[] => name.toLowerCase().split(/[\s_()-]+/);

/**
 * The card for a driver's name such as "NVIDIA A100-SXM4-80GB" or "a100"; undefined when the table lacks it. A size in
 * the name is taken as its memory.
 */
export function findHardware(deviceName: string): Hardware | undefined {
  const given = words(deviceName).map((word) => word.replace(/^(geforce|tesla|quadro)$/, ""));
  const card = cards.find(({ name }) => words(name).every((word) => given.includes(word)));
  const gigabytes = /(\d+)\s?GB\b/i.exec(deviceName)?.[1];
  return card && gigabytes ? { ...card, memoryBytes: Number(gigabytes) * 1e9 } : card;
}

/**
 * A card's peak speed of matrix products in a number format, in FLOP/s, by its data sheet; undefined when the table
 * lacks the card or the card lacks the format.
 * @example knownPeakFlops("NVIDIA A100-SXM4-80GB", "bfloat16") // 312e12
 */
export function knownPeakFlops(deviceName: string, dtype: "float32" | "bfloat16" | "float16"): number | undefined {
  const card = findHardware(deviceName);
  if (!card || (dtype === "bfloat16" && !card.bfloat16)) return undefined;
  return dtype === "float32" ? card.peak32 : card.peak16;
}

/** A GPU as its driver reports it. */
export interface NvidiaGpu {
  readonly name: string;
  readonly driver: string;
  readonly totalBytes: number;
  readonly freeBytes: number;
}

/** The GPUs that nvidia-smi reports; none where it is not installed. */
export function nvidiaGpus(): NvidiaGpu[] {
  const query = "--query-gpu=name,driver_version,memory.total,memory.free";
  try {
    const csv = execFileSync("nvidia-smi", [query, "--format=csv,noheader,nounits"], {
      encoding: "utf8",
      timeout: 20_000,
      stdio: ["ignore", "pipe", "ignore"],
    });
    return parseGpus(csv);
  } catch {
    return [];
  }
}

/** Parses nvidia-smi's lines, with memory in MiB. */
export function parseGpus(csv: string): NvidiaGpu[] {
  return csv
    .trim()
    .split("\n")
    .filter((line) => line.includes(","))
    .map((line) => {
      const [name = "", driver = "", total, free] = line.split(",").map((part) => part.trim());
      return { name, driver, totalBytes: Number(total) * 2 ** 20, freeBytes: Number(free) * 2 ** 20 };
    });
}
