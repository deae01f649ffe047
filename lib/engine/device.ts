/**
 * Which device and number format a run gets: the settings' wishes against what the loaded TensorFlow has.
 * It measures nothing; doctor.ts describes the machine.
 */
import type { Settings } from "../config.js";
import { loadTensorFlow, tensorflowBackend } from "./tensorflow.js";

export interface ResolvedDevice {
  readonly device: "cpu" | "cuda";
  readonly dtype: "float32" | "bfloat16";
}

/**
 * @throws {RangeError} when a GPU is asked for and none is there, or the device does not have the number format
 */
export function resolveDevice({
  device,
  dtype,
  compile,
}: Pick<Settings, "device" | "dtype" | "compile">): ResolvedDevice {
  // TensorFlow counts GPUs once, when it is loaded: too late here when something else has loaded it.
  if (device === "cpu") process.env.CUDA_VISIBLE_DEVICES = "-1";
  loadTensorFlow();
  const hasGpu = tensorflowBackend().isUsingGpuDevice;
  if (device === "cpu" && hasGpu) {
    throw new RangeError(
      "Cannot use device cpu: TensorFlow was loaded with the GPU in this process; start a new one with CUDA_VISIBLE_DEVICES=-1 set.",
    );
  }
  if (device === "cuda" && !hasGpu) {
    throw new RangeError(
      "Cannot use device cuda: TensorFlow sees no NVIDIA GPU here. `folio doctor` says what it found; use --device=cpu, or run `npm run setup` again after installing the driver.",
    );
  }
  if (dtype === "float16") {
    throw new RangeError("Cannot use dtype float16: Folio does not scale losses yet; use float32 or bfloat16.");
  }
  if (dtype === "bfloat16" && !compile) {
    throw new RangeError(
      "Cannot use dtype bfloat16 eagerly: it is a conversion of the compiled graph; use --compile=True or dtype float32.",
    );
  }
  return { device: hasGpu ? "cuda" : "cpu", dtype: dtype === "bfloat16" ? "bfloat16" : "float32" };
}
