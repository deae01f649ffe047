/**
 * WebGPU as a device, for GPUs without a TensorFlow build: TensorFlow.js' WebGPU backend on Dawn (the npm package
 * `webgpu`: Metal, Vulkan, D3D12). Both packages are optional and are loaded only when this device is used;
 * TensorFlow's library is then not loaded. Steps are eager, and values can be read back only by `await x.data()`.
 * device.ts chooses a run's device; `folio doctor` shows the available ones.
 */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import * as tf from "@tensorflow/tfjs-core";
import { withoutStderr } from "./tensorflow/quiet-stderr.js";

/** The adapter, as Dawn describes it. */
export interface WebGpuAdapter {
  readonly name: string;
  /** Whether it is emulated by the processor: correct but slow. */
  readonly software: boolean;
  readonly apple: boolean;
}

/** A WebGPU adapter's description of itself. */
export interface AdapterInfo {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  readonly description: string;
  readonly isFallbackAdapter?: boolean;
}

// The part of WebGPU's interface that is used here.
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
// A device has WebGPU's minimum limits unless more is requested. The number of buffers stays at the minimum of eight,
// so that what works on one GPU works on others.
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
// Kept for the life of the process: dropping the last reference to Dawn while a device exists ends the process.
let held: { gpu: Gpu; device: GpuDevice } | undefined;

/**
 * WebGPU's adapter on this machine. Loads Dawn but opens no device.
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

/** Whether WebGPU was started in this process. */
export function webGpuStarted(): boolean {
  return held !== undefined;
}

/** Version of TensorFlow.js' backend. */
export function webGpuVersion(): string {
  return (require("@tensorflow/tfjs-backend-webgpu/package.json") as { version: string }).version;
}

/**
 * Throws the device's errors since the last check: WebGPU reports errors apart from the calls that caused them, and
 * continues with zeros.
 */
export function checkWebGpu(): void {
  if (failure === undefined) return;
  const found = failure;
  failure = undefined;
  throw new Error(`Cannot run a step on WebGPU: ${found}`);
}

/** An adapter's name, and whether it is software, from its description. */
export function describeAdapter(info: AdapterInfo): WebGpuAdapter {
  const { vendor, architecture, device, description } = info;
  const name = (device || [vendor, architecture].filter(Boolean).join(" ") || "unnamed").replace(/-+$/, "");
  return {
    name: description && description !== name ? `${name}, ${description}` : name,
    // The software adapters of Windows and Mesa do not always say so.
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
  // Dawn writes to stderr which graphics libraries are missing; the messages below say what matters.
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
    event.preventDefault(); // or Dawn writes it to stderr
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

/** Provides `navigator.gpu`, as in a browser, which the backend looks for when it is made. */
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
