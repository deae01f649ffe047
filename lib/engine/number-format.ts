/**
 * The number format of the matrix products: what `dtype auto` means on this machine and why, and what a machine cannot
 * do. It decides from facts (instruction sets, a GPU's compute capability) and measures nothing; `folio doctor` prints
 * the choice, a run's start record keeps it.
 */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import koffi from "koffi";
import type { Dtype } from "../settings/common.js";

/** A format that is settled: no longer "auto". */
export type ResolvedDtype = Exclude<Dtype, "auto">;

/** What decides it. */
export interface DtypeFacts {
  readonly device: "cpu" | "cuda";
  /** The processor's flags, as Linux names them. */
  readonly flags: readonly string[];
  /** Of the GPU, 8.0 for an A100; undefined where it is not known. */
  readonly computeCapability?: number | undefined;
  readonly compile: boolean;
}

export interface DtypeChoice {
  readonly dtype: ResolvedDtype;
  /** "avx512_bf16", "no bfloat16 instructions", … */
  readonly reason: string;
}

/** What multiplies bfloat16 in hardware: on x86 oneDNN uses the first two, on Linux on Arm the last. */
const BFLOAT16_FLAGS = ["avx512_bf16", "amx_bf16", "bf16"];

/** Of `auto`: bfloat16 where hardware multiplies it and the step is compiled, else float32. */
export function autoDtype({ device, flags, computeCapability, compile }: DtypeFacts): DtypeChoice {
  if (!compile) return { dtype: "float32", reason: "eager steps know no other" };
  if (device === "cpu") {
    const found = BFLOAT16_FLAGS.filter((flag) => flags.includes(flag));
    if (found.length > 0) return { dtype: "bfloat16", reason: `the processor has ${found.join(" and ")}` };
    return { dtype: "float32", reason: "the processor has no bfloat16 instructions" };
  }
  if (computeCapability === undefined) return { dtype: "float32", reason: "the GPU's compute capability is unknown" };
  const has = `the GPU has compute capability ${computeCapability.toFixed(1)}`;
  if (computeCapability >= 8) return { dtype: "bfloat16", reason: has };
  return { dtype: "float32", reason: `${has}, and bfloat16 needs 8.0` };
}

/** @throws {RangeError} for a format that the device does not multiply, or that needs a compiled step */
export function checkDtype(dtype: ResolvedDtype, { device, computeCapability, compile }: DtypeFacts): void {
  if (dtype === "float32") return;
  if (!compile) {
    throw new RangeError(
      `Cannot use dtype ${dtype} eagerly: it is a conversion of the compiled graph; use --compile=True or dtype float32.`,
    );
  }
  const needed = dtype === "bfloat16" ? 8 : 7;
  if (device === "cuda" && computeCapability !== undefined && computeCapability < needed) {
    const other = dtype === "bfloat16" && computeCapability >= 7 ? "float16 or float32" : "float32";
    throw new RangeError(
      `Cannot use dtype ${dtype}: the GPU has compute capability ${computeCapability.toFixed(1)}, and ${dtype} needs ${needed}.0; use dtype ${other}.`,
    );
  }
}

/** The processor's flags, as Linux names them; of macOS's none decides anything. Empty where they are not told. */
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

/** Compute capability of the first GPU that this process may use, asked of the driver; undefined where it does not say. */
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
