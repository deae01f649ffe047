/**
 * Which device and number format a run gets: the settings' wishes against what the machine and the loaded TensorFlow
 * have. It measures nothing; dtype.ts says what `dtype auto` means, doctor.ts describes the machine.
 */
import type { Settings } from "../config.js";
import {
  autoDtype,
  checkDtype,
  computeCapability,
  type DtypeFacts,
  instructionFlags,
  type ResolvedDtype,
} from "./dtype.js";
import { loadTensorFlow, tensorflowBackend, tensorflowLoaded } from "./tensorflow.js";

export interface ResolvedDevice {
  readonly device: "cpu" | "cuda";
  readonly dtype: ResolvedDtype;
  /** Why this number format: "asked for", or what `auto` found. */
  readonly dtypeReason: string;
}

/** The settings that decide where and how a step is computed. */
export type DeviceSettings = Pick<Settings, "device" | "dtype" | "compile"> & Partial<Pick<Settings, "xla" | "tf32">>;

/**
 * Loads TensorFlow for the device that is asked for, when nothing has loaded it yet.
 * @throws {RangeError} when a GPU is asked for and none is there, or the device does not have the number format
 */
export function resolveDevice(settings: DeviceSettings): ResolvedDevice {
  const { device: wanted, dtype, compile, xla = false } = settings;
  if (xla && !compile) {
    throw new RangeError(
      "Cannot use xla eagerly: XLA compiles parts of a compiled step; use --compile=True or --xla=False.",
    );
  }
  prepareEnvironment(settings);
  loadTensorFlow();
  const hasGpu = tensorflowBackend().isUsingGpuDevice;
  if (wanted === "cpu" && hasGpu) {
    throw new RangeError(
      "Cannot use device cpu: TensorFlow was loaded with the GPU in this process; start a new one with CUDA_VISIBLE_DEVICES=-1 set.",
    );
  }
  if (wanted === "cuda" && !hasGpu) {
    throw new RangeError(
      "Cannot use device cuda: TensorFlow sees no NVIDIA GPU here. `folio doctor` says what it found; use --device=cpu, or run `npm run setup` again after installing the driver.",
    );
  }
  const device = hasGpu ? "cuda" : "cpu";
  const facts: DtypeFacts = hasGpu
    ? { device, compile, flags: [], computeCapability: computeCapability() }
    : { device, compile, flags: instructionFlags() };
  if (dtype === "auto") {
    const { dtype: chosen, reason } = autoDtype(facts);
    return { device, dtype: chosen, dtypeReason: reason };
  }
  checkDtype(dtype, facts);
  return { device, dtype, dtypeReason: "asked for" };
}

/**
 * TensorFlow counts GPUs once, when it is loaded, and cuBLAS reads once whether it may round to TensorFloat-32.
 * @throws {RangeError} when that is too late
 */
function prepareEnvironment({ device, tf32 = true }: DeviceSettings): void {
  if (tensorflowLoaded()) {
    if (tf32 || device === "cpu" || process.env.NVIDIA_TF32_OVERRIDE === "0") return;
    if (!tensorflowBackend().isUsingGpuDevice) return;
    throw new RangeError(
      "Cannot switch tf32 off: TensorFlow was loaded with it in this process; start a new one with NVIDIA_TF32_OVERRIDE=0 set.",
    );
  }
  if (device === "cpu") process.env.CUDA_VISIBLE_DEVICES = "-1";
  if (!tf32) process.env.NVIDIA_TF32_OVERRIDE = "0";
}
