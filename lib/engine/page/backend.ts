/**
 * What computes in a page: WebGPU where there is a GPU and it is measured to be faster, else WebAssembly, else plain JavaScript.
 * The files of this folder take the place of those that need Node (package.json, "browser").
 */
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-cpu";
import "@tensorflow/tfjs-backend-webgpu";
import "@tensorflow/tfjs-core/dist/register_all_gradients.js";
import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import wasmBinary from "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm";
import { addWasmKernels } from "./wasm-kernels.js";

export type PageBackend = "webgpu" | "wasm" | "cpu";

/** The backend that was chosen, and how fast those are that work here. */
export interface ChosenBackend {
  readonly name: PageBackend;
  /** Milliseconds of what was measured, by backend. */
  readonly ms: Readonly<Partial<Record<PageBackend, number>>>;
}

export const backendTitles: Readonly<Record<PageBackend, string>> = {
  webgpu: "WebGPU",
  wasm: "WebAssembly",
  cpu: "plain JavaScript",
};

/**
 * Starts the backends that work here and chooses the fastest.
 * @param measure runs a typical piece of work on the current backend, and gives its milliseconds
 */
export async function startBackend(measure: () => Promise<number>): Promise<ChosenBackend> {
  const ms: Partial<Record<PageBackend, number>> = {};
  await tf.setBackend("cpu");
  prepareWasm();
  const candidates: PageBackend[] = [...((await hasGpu()) ? (["webgpu"] as const) : []), "wasm"];
  for (const name of candidates) {
    const found = await measured(name, measure);
    if (found !== undefined) ms[name] = found;
  }
  if (Object.keys(ms).length === 0) ms.cpu = (await measured("cpu", measure)) ?? Number.NaN;
  const [name] = Object.entries(ms).sort(([, a], [, b]) => a - b)[0] as [PageBackend, number];
  await tf.setBackend(name);
  return { name, ms };
}

async function measured(name: PageBackend, measure: () => Promise<number>): Promise<number | undefined> {
  try {
    if (!(await tf.setBackend(name))) return undefined;
    if (name === "wasm") addWasmKernels();
    const first = await measure(); // also compiles shaders and fills caches
    return first > 1000 ? first : await measure();
  } catch {
    return undefined; // such as a GPU that is too small; another backend computes the same
  }
}

/** The backend's binary comes out of the page: nothing is fetched. */
function prepareWasm(): void {
  const name = (variant: string) => `tfjs-backend-wasm${variant}.wasm`;
  setWasmPaths(Object.fromEntries(["", "-simd", "-threaded-simd"].map((variant) => [name(variant), "page"])), true);
  setThreadsCount(1); // threads need a server that isolates the page
  tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false);
  const platform = tf.env().platform as { fetch: (path: string) => Promise<Response> };
  platform.fetch = async () => new Response(wasmBinary as unknown as BodyInit);
}

interface Navigator {
  readonly gpu?: { requestAdapter(): Promise<{ readonly info?: { readonly isFallbackAdapter?: boolean } } | null> };
}

async function hasGpu(): Promise<boolean> {
  try {
    const adapter = await (navigator as unknown as Navigator).gpu?.requestAdapter();
    return Boolean(adapter && !adapter.info?.isFallbackAdapter);
  } catch {
    return false;
  }
}
