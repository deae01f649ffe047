/**
 * Determines a run's device, number format and matrix products from its settings, the machine and the loaded
 * TensorFlow. number-format.ts resolves `dtype auto`, choices.ts chooses the matrix products, webgpu.ts opens WebGPU,
 * and doctor.ts describes the machine.
 */
import type { Settings } from "../settings/settings.js";
import { chooseProducts } from "./choices.js";
import { measuredHere } from "./measurement.js";
import {
  autoDtype,
  checkDtype,
  computeCapability,
  type DtypeFacts,
  instructionFlags,
  type ResolvedDtype,
} from "./number-format.js";
import type { ProductChoice } from "./operations/in-place.js";
import { loadTensorFlow, tensorflowBackend, tensorflowLoaded } from "./tensorflow/load.js";
import { operationsVariant } from "./tensorflow/own-operations.js";
import { findAdapter, startWebGpu, type WebGpuAdapter, webGpuVersion } from "./webgpu.js";

export interface ResolvedDevice {
  readonly device: "cpu" | "cuda" | "webgpu";
  /** Why this device was chosen: "asked for", or what `auto` found. */
  readonly deviceReason: string;
  /** Name of WebGPU's adapter, which shows whether it is a GPU. */
  readonly deviceName?: string;
  readonly dtype: ResolvedDtype;
  /** Why this number format was chosen: "asked for", or what `auto` found. */
  readonly dtypeReason: string;
  /** On a CPU: the variant of Folio's own operations that is loaded, or "none". */
  readonly operations?: string;
  /** On a CPU: the matrix products that compiled steps use, by size. */
  readonly products?: ProductChoice;
  /** Whether steps are traced and compiled; on WebGPU never. */
  readonly compile: boolean;
}

/** The settings that decide where and how a step is computed. */
export type DeviceSettings = Pick<Settings, "device" | "dtype" | "compile"> & Partial<Pick<Settings, "xla" | "tf32">>;

/** The facts that resolve `auto` before TensorFlow is loaded; the adapter is requested only if it matters. */
export interface Platform {
  readonly platform: string;
  readonly arch: string;
  /** WebGPU's adapter, or the error that says why there is none. */
  readonly adapter: () => Promise<WebGpuAdapter>;
}

const here: Platform = { platform: process.platform, arch: process.arch, adapter: findAdapter };
const isApple = ({ platform, arch }: Pick<Platform, "platform" | "arch">) => platform === "darwin" && arch === "arm64";

/** Whether the device may be WebGPU, as far as that is known before it is opened. */
export function mayBeWebGpu(device: Settings["device"], machine: Pick<Platform, "platform" | "arch"> = here): boolean {
  return device === "webgpu" || device === "mps" || (device === "auto" && isApple(machine));
}

/**
 * The number format for a trained model: the one it was trained in, unless another is asked for or it is unavailable.
 */
export function dtypeFor(
  trained: Settings["dtype"],
  { dtype, device, compile }: Pick<DeviceSettings, "dtype" | "device" | "compile">,
): Settings["dtype"] {
  return dtype === "auto" && compile && !mayBeWebGpu(device) ? trained : dtype;
}

/**
 * Opens the requested device: loads TensorFlow, unless it is already loaded, or WebGPU.
 * @throws {RangeError} when a GPU is requested and there is none, or the device does not have the number format
 * @throws {Error} when TensorFlow, or the requested WebGPU, does not load
 */
export async function resolveDevice(settings: DeviceSettings, machine = here): Promise<ResolvedDevice> {
  const { compile, xla = false } = settings;
  if (xla && !compile) {
    throw new RangeError(
      "Cannot use xla eagerly: XLA compiles parts of a compiled step; use --compile=True or --xla=False.",
    );
  }
  const chosen = await chooseDevice(settings, machine);
  if (chosen.device === "webgpu") return onWebGpu(settings, await startWebGpu(), chosen.reason);
  return onTensorFlow(settings, chosen.reason);
}

/**
 * Whether to use WebGPU, and why. On Apple silicon `auto` uses the GPU that WebGPU finds, but never a software adapter.
 * On other machines the choice is made once TensorFlow is loaded.
 * @throws {RangeError} when `mps` is requested and there is no Apple GPU
 */
export async function chooseDevice(
  { device, dtype, xla = false }: DeviceSettings,
  machine = here,
): Promise<{ device: "tensorflow" | "webgpu"; reason: string | undefined }> {
  if (device === "webgpu") return { device: "webgpu", reason: "asked for" };
  if (device === "mps") {
    await checkApple(machine);
    return { device: "webgpu", reason: "asked for as mps" };
  }
  if (device !== "auto" || !isApple(machine)) return { device: "tensorflow", reason: undefined };
  const stay = (reason: string) => ({ device: "tensorflow" as const, reason });
  if (xla) return stay("xla is TensorFlow's");
  if (dtype !== "auto" && dtype !== "float32") return stay(`WebGPU computes in float32, not ${dtype}`);
  try {
    const { name, software } = await machine.adapter();
    if (software) return stay(`WebGPU finds only a software adapter (${name})`);
    return { device: "webgpu", reason: "TensorFlow has no build for this Mac's GPU" };
  } catch (error) {
    const found = /: (.*?)[;.]/.exec((error as Error).message)?.[1] ?? (error as Error).message; // only what was found
    return stay(`WebGPU cannot be used: ${found}`);
  }
}

async function checkApple(machine: Platform): Promise<void> {
  if (machine.platform !== "darwin") {
    throw new RangeError(
      `Cannot use device mps: it means Apple's GPU, and this machine runs ${machine.platform}; use --device=webgpu for another GPU through WebGPU, --device=cuda for NVIDIA's, or --device=cpu.`,
    );
  }
  const { name, software } = await machine.adapter();
  if (!software) return;
  throw new RangeError(
    `Cannot use device mps: WebGPU finds only ${name}, which is software, not a GPU; use --device=cpu.`,
  );
}

function onWebGpu({ dtype, xla = false }: DeviceSettings, adapter: WebGpuAdapter, reason?: string): ResolvedDevice {
  if (xla) {
    throw new RangeError(
      "Cannot use xla on WebGPU: XLA compiles TensorFlow's graphs; use --xla=False or --device=cpu.",
    );
  }
  if (dtype !== "auto" && dtype !== "float32") {
    throw new RangeError(
      `Cannot use dtype ${dtype} on WebGPU: TensorFlow.js computes in float32 there; use dtype float32, or --device=cpu.`,
    );
  }
  return {
    device: "webgpu",
    deviceReason: reason ?? "asked for",
    deviceName: adapter.software ? `${adapter.name}, which is software: slow` : adapter.name,
    dtype: "float32",
    dtypeReason: dtype === "auto" ? "TensorFlow.js has no other format on WebGPU" : "asked for",
    compile: false,
  };
}

async function onTensorFlow(settings: DeviceSettings, reason: string | undefined): Promise<ResolvedDevice> {
  const { device: wanted, compile } = settings;
  const forced = settings.dtype === "auto" && compile ? process.env.FOLIO_DTYPE : undefined;
  if (forced !== undefined && !/^(float32|bfloat16|float16)$/.test(forced)) {
    throw new RangeError(`Cannot read FOLIO_DTYPE: it is ${forced}; wanted float32, bfloat16 or float16.`);
  }
  const dtype = (forced ?? settings.dtype) as Settings["dtype"];
  prepareEnvironment(settings);
  loadTensorFlow();
  const hasGpu = tensorflowBackend().isUsingGpuDevice;
  if (wanted === "cpu" && hasGpu) {
    throw new RangeError(
      "Cannot use device cpu: TensorFlow was loaded with the GPU in this process; start a new process with CUDA_VISIBLE_DEVICES=-1 set.",
    );
  }
  if (wanted === "cuda" && !hasGpu) {
    throw new RangeError(
      "Cannot use device cuda: TensorFlow sees no NVIDIA GPU here. Run `folio doctor` for details; use --device=cpu, or run `npm run setup` again after installing the driver.",
    );
  }
  const device = hasGpu ? "cuda" : "cpu";
  const found = reason ?? `TensorFlow sees ${hasGpu ? "an" : "no"} NVIDIA GPU`;
  const chosen = { device, deviceReason: wanted === "auto" ? found : "asked for", compile } as const;
  const facts = { device, compile, ...(await (hasGpu ? gpuFacts() : processorFacts())) } as const;
  if (dtype !== "auto") checkDtype(dtype, facts);
  const format = dtype === "auto" ? autoDtype(facts) : { dtype, reason: forced ? "FOLIO_DTYPE" : "asked for" };
  return {
    ...chosen,
    dtype: format.dtype,
    dtypeReason: format.reason,
    ...(!hasGpu && {
      operations: facts.operations ?? "none",
      products: chooseProducts(format.dtype, facts, facts.measured),
    }),
  };
}

type Facts = Omit<DtypeFacts, "device" | "compile">;

const gpuFacts = async (): Promise<Facts> => ({
  operations: undefined,
  flags: [],
  computeCapability: computeCapability(),
});

async function processorFacts(): Promise<Facts> {
  const operations = operationsVariant();
  return { operations, flags: instructionFlags(), measured: await measuredHere(operations) };
}

/** Names and versions of what computes on a device, for checkpoints and reports. */
export function engineVersions({ device, deviceName = "" }: ResolvedDevice): Record<string, string> {
  return device === "webgpu"
    ? { "tfjs-backend-webgpu": webGpuVersion(), adapter: deviceName }
    : { tensorflow: loadTensorFlow().tensorflowVersion };
}

/**
 * TensorFlow counts GPUs only when it is loaded, and cuBLAS reads only once whether it may round to TensorFloat-32.
 * @throws {RangeError} when it is too late to change that
 */
function prepareEnvironment({ device, tf32 = true }: DeviceSettings): void {
  if (tensorflowLoaded()) {
    if (tf32 || device === "cpu" || process.env.NVIDIA_TF32_OVERRIDE === "0") return;
    if (!tensorflowBackend().isUsingGpuDevice) return;
    throw new RangeError(
      "Cannot switch tf32 off: TensorFlow was loaded with it in this process; start a new process with NVIDIA_TF32_OVERRIDE=0 set.",
    );
  }
  if (device === "cpu") process.env.CUDA_VISIBLE_DEVICES = "-1";
  if (!tf32) process.env.NVIDIA_TF32_OVERRIDE = "0";
}
