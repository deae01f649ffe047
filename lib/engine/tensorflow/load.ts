/**
 * Loads TensorFlow into this process: tfjs-node's compiled binding, which registers the "tensorflow" backend of
 * TensorFlow.js, and the path of the shared library that it links, for the C API. It is not a backend of its own:
 * the kernels are tfjs-node's. Notebook 00-start shows what was loaded.
 */
import fs from "node:fs";
import { createRequire } from "node:module";
import util from "node:util";
import * as tf from "@tensorflow/tfjs-core";
import type { NodeJSKernelBackend } from "@tensorflow/tfjs-node-gpu/dist/nodejs_kernel_backend.js";
import { enableFused } from "../operations/fused.js";
import { loadOperations } from "./own-operations.js";
import { withoutStderr } from "./quiet-stderr.js";

const require = createRequire(import.meta.url);
const BACKEND = "tensorflow";
let offered = false;
let loaded: { tensorflowVersion: string; libraryPath: string } | undefined;

/** What `loadTensorFlow` found: TensorFlow's version and the path of its shared library. */
export interface LoadedTensorFlow {
  readonly tensorflowVersion: string;
  readonly libraryPath: string;
}

/**
 * Loads the binding once a process and makes "tensorflow" the current backend.
 * @throws {Error} when the binding was not built or does not load; the message names the command that builds it
 */
export function loadTensorFlow(): LoadedTensorFlow {
  if (loaded) return loaded;
  // tfjs-node 4.22 calls util.isNullOrUndefined, which Node 23 removed.
  const legacyUtil = util as unknown as Record<string, unknown>;
  legacyUtil.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  process.env.TF_CPP_MIN_LOG_LEVEL ??= "2";
  const quiet = Number(process.env.TF_CPP_MIN_LOG_LEVEL) >= 2;
  // TensorFlow's own matrix products are compiled without AVX2; oneDNN's are not, and it is off by default on CPUs
  // without AVX-512. On: a step of the CPU demo takes about a fifth less time (2 cores with AVX2).
  process.env.TF_ENABLE_ONEDNN_OPTS ??= "1";
  if (offered) tf.removeBackend(BACKEND);
  offered = false;
  let module: { version: Record<string, string> };
  try {
    const load = () => require("@tensorflow/tfjs-node-gpu");
    // TensorFlow announces oneDNN on stderr while the library loads, before any setting could stop it.
    module = quiet ? withoutStderr(load) : load();
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    throw new Error(
      `Cannot load TensorFlow: ${reason} Run \`npm run setup\` (in another project: \`npx folio setup\`).`,
      {
        cause: error,
      },
    );
  }
  const backend = tensorflowBackend();
  const libraryPath = findSharedLibrary();
  enableFused(!backend.isUsingGpuDevice && loadOperations(libraryPath));
  loaded = {
    tensorflowVersion: backend.binding.TF_Version ?? module.version["tfjs-node"] ?? "unknown",
    libraryPath,
  };
  return loaded;
}

/** Whether it was loaded; loading is what decides which devices it has. */
export function tensorflowLoaded(): boolean {
  return loaded !== undefined;
}

/**
 * Registers "tensorflow" as the backend that TensorFlow.js loads when its first tensor is made, so that importing Folio
 * costs nothing and a run's settings still decide the device.
 */
export function offerTensorFlow(): void {
  if (loaded || tf.findBackendFactory(BACKEND)) return;
  // tfjs-node registers a backend of the same name, and makes it the current one, as it loads.
  tf.registerBackend(
    BACKEND,
    () => {
      loadTensorFlow();
      return tensorflowBackend();
    },
    3,
  );
  tf.engine().backendName = BACKEND; // what tf.getBackend() tells
  offered = true;
}

/** Makes a backend that is loaded the one that new tensors belong to: sessions on two devices may take turns. */
export function useBackend(name: "tensorflow" | "webgpu"): void {
  if (tf.getBackend() !== name) void tf.setBackend(name); // of a loaded one done when the call returns
}

/** The "tensorflow" backend of TensorFlow.js, with the binding that every kernel goes through. */
export function tensorflowBackend(): NodeJSKernelBackend {
  return tf.findBackend(BACKEND) as NodeJSKernelBackend;
}

/** The binding brought libtensorflow_cc into the process; where from is what the C API must open too. */
function findSharedLibrary(): string {
  const listed =
    process.platform === "linux"
      ? fs
          .readFileSync("/proc/self/maps", "utf8")
          .split("\n")
          .map((line) => line.slice(line.indexOf("/")))
      : (process.report.getReport() as unknown as { sharedObjects: string[] }).sharedObjects;
  const path = listed.find((entry) => /libtensorflow_cc[.\d]*\.(so|dylib)/.test(entry));
  if (!path) throw new Error("Cannot find libtensorflow_cc among the loaded libraries; run `npm run setup` again.");
  return path;
}
