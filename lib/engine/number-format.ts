/**
 * The number format of the matrix products: what `dtype auto` means on this machine and why, and which formats it does
 * not support. The choice follows from facts: instruction sets, a GPU's compute capability, and stored measurements.
 * `folio doctor` prints it, and a run's start record contains it.
 */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import koffi from "koffi";
import type { Dtype } from "../settings/common.js";
import { chooseFormat, type MeasuredSteps, type ProcessorFacts } from "./choices.js";

/** A number format other than "auto". */
export type ResolvedDtype = Exclude<Dtype, "auto">;

/** The facts that determine it. */
export interface DtypeFacts extends ProcessorFacts {
  readonly device: "cpu" | "cuda";
  /** The GPU's, such as 8.0 for an A100; undefined if unknown. */
  readonly computeCapability?: number | undefined;
  readonly compile: boolean;
  /** The measurement of this processor. */
  readonly measured?: MeasuredSteps | undefined;
}

export interface DtypeChoice {
  readonly dtype: ResolvedDtype;
  /** "avx512_bf16", "no bfloat16 instructions", … */
  readonly reason: string;
}

/**
 * The format of `auto`. For a compiled step: bfloat16 if the hardware multiplies it and no measurement speaks against
 * it.
 */
export function autoDtype(facts: DtypeFacts): DtypeChoice {
  const { device, computeCapability, compile, measured } = facts;
  if (!compile) return { dtype: "float32", reason: "eager steps have no other format" };
  if (device === "cpu") return chooseFormat(facts, measured);
  if (computeCapability === undefined) return { dtype: "float32", reason: "the GPU's compute capability is unknown" };
  const has = `the GPU has compute capability ${computeCapability.toFixed(1)}`;
  if (computeCapability >= 8) return { dtype: "bfloat16", reason: has };
  return { dtype: "float32", reason: `${has}, but bfloat16 needs 8.0` };
}

/** @throws {RangeError} for a format that the device does not support, or that needs a compiled step */
export function checkDtype(
  dtype: ResolvedDtype,
  { device, computeCapability, compile }: Omit<DtypeFacts, keyof ProcessorFacts>,
): void {
  if (dtype === "float32") return;
  if (!compile) {
    throw new RangeError(
      `Cannot use dtype ${dtype} eagerly: only compiled steps are converted to it; use --compile=True or dtype float32.`,
    );
  }
  const needed = dtype === "bfloat16" ? 8 : 7;
  if (device === "cuda" && computeCapability !== undefined && computeCapability < needed) {
    const other = dtype === "bfloat16" && computeCapability >= 7 ? "float16 or float32" : "float32";
    throw new RangeError(
      `Cannot use dtype ${dtype}: the GPU has compute capability ${computeCapability.toFixed(1)}, but ${dtype} needs ${needed}.0; use dtype ${other}.`,
    );
  }
}

/** The processor's flags under Linux; empty on other systems, where none is used. */
export function instructionFlags(): string[] {
  try {
    if (process.platform === "linux") return parseCpuFlags(fs.readFileSync("/proc/cpuinfo", "utf8"));
    return execFileSync("sysctl", ["-n", "hw.optional.neon"], { encoding: "utf8" }).trim() === "1" ? ["asimd"] : [];
  } catch {
    return [];
  }
}

/** The first processor's flags in /proc/cpuinfo. */
export function parseCpuFlags(cpuinfo: string): string[] {
  return (/^(?:flags|Features)\s*:(.*)$/m.exec(cpuinfo)?.[1] ?? "").trim().split(/\s+/);
}

/** The processor's flags that determine how fast TensorFlow multiplies, and whether bfloat16 is faster. */
export function importantInstructionSets(flags: readonly string[]): string[] {
  const important = ["avx2", "fma", "avx512f", "avx512_bf16", "avx_vnni", "amx_bf16", "asimd", "sve", "bf16"];
  return important.filter((name) => flags.includes(name));
}

/** The compute capability of the first GPU that this process may use, from the driver; undefined if it is unknown. */
export function computeCapability(): number | undefined {
  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h
  const [major, minor] = [75, 76];
  try {
    const driver = koffi.load(process.platform === "win32" ? "nvcuda.dll" : "libcuda.so.1");
    if (driver.func("int cuInit(unsigned int)")(0) !== 0) return undefined;
    const ask = driver.func("int cuDeviceGetAttribute(_Out_ int*, int, int)");
    const [first, second] = [[0], [0]] as [[number], [number]];
    if (ask(first, major, 0) !== 0 || ask(second, minor, 0) !== 0) return undefined;
    return first[0] + second[0] / 10;
  } catch {
    return undefined;
  }
}
