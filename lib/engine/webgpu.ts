/**
 * WebGPU as a device: TensorFlow.js' backend for it, on Dawn (npm's `webgpu`: Metal, Vulkan, D3D12), where there is no
 * TensorFlow for the GPU. Both packages are optional and are loaded when this device is asked for; TensorFlow's library
 * then is not. An operation runs when it is reached: nothing is compiled, and values are read back by `await x.data()`
 * only. Which device a run gets is device.ts' matter; `folio doctor` says what there is.
 */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import * as tf from "@tensorflow/tfjs-core";
import { withoutStderr } from "./tensorflow/quiet-stderr.js";

/** What computes, as Dawn tells it. */
export interface WebGpuAdapter {
  readonly name: string;
  /** A processor that plays a GPU: right, and slow. */
  readonly software: boolean;
  readonly apple: boolean;
}

/** What WebGPU's adapters say of themselves. */
export interface AdapterInfo {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  readonly isFallbackAdapter?: boolean;
}

// As much of WebGPU's interface as is used here.
interface Gpu {
  requestAdapter(options: { powerPreference: "high-performance" }): Promise<GpuAdapter | null>;
}
interface GpuAdapter {
  readonly info: AdapterInfo;
  readonly limits: Readonly<Record<string, number>>;
  requestDevice(wanted: { requiredLimits: Record<string, number> }): Promise<GpuDevice>;
}
interface GpuDevice {
  readonly lost: Promise<{ readonly message: string }>;
  addEventListener(type: "uncapturederror", listener: (event: UncapturedError) => void): void;
}

interface UncapturedError {
  readonly error: Error;
  preventDefault(): void;
}

const require = createRequire(import.meta.url);
const BACKEND = "webgpu";
// A device is given the least that WebGPU promises, unless more is asked for. Not for the count of buffers: eight, which
// is the least, do, and what needs more would fail on other GPUs than the one it was tried on.
const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupsPerDimension",
];

interface Opened {
  readonly gpu: Gpu;
  readonly adapter: GpuAdapter;
}
let opened: Promise<Opened> | undefined;
let started: Promise<WebGpuAdapter> | undefined;
let failure: string | undefined;
// Dawn's threads end with the last reference to it, and with them the process if a device is still there.
let held: { gpu: Gpu; device: GpuDevice } | undefined;

/**
 * The adapter that WebGPU has here. Loads Dawn, and no device yet.
 * @throws {Error} when the packages are not installed or do not load, or there is no adapter; it names what to do
 */
export async function findAdapter(): Promise<WebGpuAdapter> {
  return describeAdapter((await open()).adapter.info);
}

/**
 * Makes "webgpu" the current backend of TensorFlow.js; the first call opens the device.
 * @throws {Error} as findAdapter does
 */
export async function startWebGpu(): Promise<WebGpuAdapter> {
  started ??= start().catch((error) => {
    started = undefined;
    throw error;
  });
  const adapter = await started;
  await tf.setBackend(BACKEND);
  return adapter;
}

/** Whether it was started in this process. */
export function webGpuStarted(): boolean {
  return held !== undefined;
}

/** Version of TensorFlow.js' backend. */
export function webGpuVersion(): string {
  return (require("@tensorflow/tfjs-backend-webgpu/package.json") as { version: string }).version;
}

/**
 * Throws what the device has complained of since it was last asked: WebGPU reports errors apart from the calls that
 * caused them, and goes on with zeros.
 */
export function checkWebGpu(): void {
  if (failure === undefined) return;
  const found = failure;
  failure = undefined;
  throw new Error(`Cannot run a step on WebGPU: ${found}`);
}

/** Name, and whether it is real, of an adapter by what it says of itself. */
export function describeAdapter(info: AdapterInfo): WebGpuAdapter {
  const { vendor, architecture, device, description } = info;
  const name = (device || [vendor, architecture].filter(Boolean).join(" ") || "unnamed").replace(/-+$/, "");
  return {
    name: description && description !== name ? `${name}, ${description}` : name,
    // What Windows and Mesa have for want of a GPU does not always say so.
    software:
      info.isFallbackAdapter === true ||
      /swiftshader|llvmpipe|lavapipe|basic render|software/i.test(`${architecture} ${device} ${description}`),
    apple: vendor.toLowerCase() === "apple",
  };
}

async function open(): Promise<Opened> {
  opened ??= openAdapter().catch((error) => {
    opened = undefined;
    throw error;
  });
  return await opened;
}

async function openAdapter(): Promise<Opened> {
  const { create, globals } = await loadDawn();
  Object.assign(globalThis, globals); // GPUBufferUsage and others, which the backend reads
  // Dawn says on stderr which of the systems' graphics libraries are not there; what matters of it is said below.
  const quietly = process.platform === "win32" ? <T>(action: () => T) => action() : withoutStderr;
  const [gpu, request] = quietly(() => {
    const gpu = create([]);
    return [gpu, gpu.requestAdapter({ powerPreference: "high-performance" })] as const;
  });
  const adapter = await request;
  if (adapter) return { gpu, adapter };
  const remedy =
    process.platform === "linux"
      ? "install the GPU's Vulkan driver and Vulkan's loader (on Debian libvulkan1, with mesa-vulkan-drivers for AMD and Intel)"
      : "a machine without a screen may need a session in which its GPU is visible";
  throw new Error(`Cannot use device webgpu: WebGPU finds no GPU here; ${remedy}, or use --device=cpu.`);
}

async function loadDawn(): Promise<{ create: (options: string[]) => Gpu; globals: object }> {
  const missing = ["webgpu", "@tensorflow/tfjs-backend-webgpu"].filter((name) => !isInstalled(name));
  if (missing.length > 0) {
    throw new Error(
      `Cannot use device webgpu: ${missing.join(" and ")} ${missing.length > 1 ? "are" : "is"} not installed; run \`npm install --no-save ${missing.join(" ")}\`, or use --device=cpu.`,
    );
  }
  try {
    return await import(pathToFileURL(require.resolve("webgpu")).href);
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new Error(
      `Cannot use device webgpu: Dawn, in the package webgpu, does not load on ${process.platform} ${process.arch}: ${reason}; use --device=cpu.`,
      { cause: error },
    );
  }
}

function isInstalled(name: string): boolean {
  try {
    require.resolve(name === "webgpu" ? name : `${name}/package.json`);
    return true;
  } catch {
    return false;
  }
}

async function start(): Promise<WebGpuAdapter> {
  const { gpu, adapter } = await open();
  const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]!]));
  const device = await adapter.requestDevice({ requiredLimits });
  device.addEventListener("uncapturederror", (event) => {
    event.preventDefault(); // or Dawn writes it on stderr
    failure ??= event.error.message.split("\n")[0];
  });
  void device.lost.then(({ message }) => {
    failure ??= `the GPU was lost (${message})`;
  });
  require("@tensorflow/tfjs"); // registers the gradients of TensorFlow.js' operations
  const { WebGPUBackend } = require("@tensorflow/tfjs-backend-webgpu") as {
    WebGPUBackend: new (device: GpuDevice, info: AdapterInfo) => tf.KernelBackend;
  };
  const backend = withNavigator(gpu, () => new WebGPUBackend(device, adapter.info));
  tf.registerBackend(BACKEND, () => backend, 0);
  held = { gpu, device };
  return describeAdapter(adapter.info);
}

/** The backend asks once, as it is made, whether there is a `navigator.gpu`, as in a browser. */
function withNavigator<T>(gpu: Gpu, body: () => T): T {
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator");
  Object.defineProperty(globalThis, "navigator", { value: { gpu }, configurable: true });
  try {
    return body();
  } finally {
    if (before) Object.defineProperty(globalThis, "navigator", before);
    else Reflect.deleteProperty(globalThis, "navigator");
  }
}
