/**
 * Loads TensorFlow into this process: tfjs-node's compiled binding, which registers the "tensorflow" backend of
 * TensorFlow.js, and finds the shared library that it links, for the C API. Shown in notebook 00-start.
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

/** The loaded TensorFlow: its version and the path of its shared library. */
export interface LoadedTensorFlow {
  readonly tensorflowVersion: string;
  readonly libraryPath: string;
}

/**
 * Loads the binding once per process and makes "tensorflow" the current backend.
 * @throws {Error} when the binding was not built or does not load; the message names the command that builds it
 */
export function loadTensorFlow(): LoadedTensorFlow {
  if (loaded) return loaded;
  // tfjs-node 4.22 calls util.isNullOrUndefined, which Node 23 removed.
  const legacyUtil = util as unknown as Record<string, unknown>;
  legacyUtil.isNullOrUndefined ??= (value: unknown) => value === null || value === undefined;
  process.env.TF_CPP_MIN_LOG_LEVEL ??= "2";
  const quiet = Number(process.env.TF_CPP_MIN_LOG_LEVEL) >= 2;
  // TensorFlow's own matrix products are compiled without AVX2, unlike oneDNN's, which is off by default on CPUs
  // without AVX-512. With oneDNN a step of the CPU demo takes about a fifth less time (2 cores with AVX2).
  process.env.TF_ENABLE_ONEDNN_OPTS ??= "1";
  if (offered) tf.removeBackend(BACKEND);
  offered = false;
  let module: { version: Record<string, string> };
  try {
    const load = () => require("@tensorflow/tfjs-node-gpu");
    // TensorFlow announces oneDNN on stderr while the library loads, before any setting could prevent it.
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

/** Whether TensorFlow was loaded, which fixes its devices. */
export function tensorflowLoaded(): boolean {
  return loaded !== undefined;
}

/**
 * Registers "tensorflow" as the backend that TensorFlow.js loads when its first tensor is made, so that importing Folio
 * is cheap and a run's settings can still determine the device.
 */
export function offerTensorFlow(): void {
  if (loaded || tf.findBackendFactory(BACKEND)) return;
  // tfjs-node registers a backend of the same name, and makes it current, when it loads.
  tf.registerBackend(
    BACKEND,
    () => {
      loadTensorFlow();
      return tensorflowBackend();
    },
    3,
  );
  tf.engine().backendName = BACKEND; // what tf.getBackend() returns
  offered = true;
}

/** Makes a loaded backend the one for new tensors, so that sessions on two devices can be used in turn. */
export function useBackend(name: "tensorflow" | "webgpu"): void {
  if (tf.getBackend() !== name) void tf.setBackend(name); // for a loaded backend, complete when the call returns
}

/** The "tensorflow" backend of TensorFlow.js, with the binding that every kernel goes through. */
export function tensorflowBackend(): NodeJSKernelBackend {
  return tf.findBackend(BACKEND) as NodeJSKernelBackend;
}

/** The path of the libtensorflow_cc that the binding loaded, which the C API must open too. */
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
