/**
 * What `folio doctor` asks of other programs: whether TensorFlow and Folio's own operations load, each in a process of its own,
 * so that one that crashes is found instead of followed; which GPUs there are; which Python. It judges nothing.
 */
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { packageRoot, typescriptLoader } from "../host/package.js";
import { type AdapterInfo, describeAdapter, type WebGpuAdapter } from "./webgpu.js";

/** What WebGPU finds, or why nothing. */
export type WebGpuReport = WebGpuAdapter | { readonly missing: string };

export interface GpuReport {
  readonly name: string;
  readonly driver: string;
  readonly totalBytes: number;
  readonly freeBytes: number;
}

/** Why something is not there, and what to do about it. */
export interface Missing {
  readonly reason: string;
  readonly remedy: string;
}

/** What TensorFlow says when it is loaded; `error` when it is not. */
export interface TensorFlowReport {
  readonly version: string | undefined;
  readonly backend: string | undefined;
  /** Which operations run besides TensorFlow's, or why none do. */
  readonly operations: string;
  /** Why Folio's own are not used where they could be. */
  readonly missingOperations?: Missing | undefined;
  readonly usesGpu: boolean;
  readonly error: string | undefined;
}

/** bin/state.mjs, as much as is used here: it is plain JavaScript, because set-up runs before anything is built. */
export interface SetupState {
  layout(): { root: string; checkout: boolean; venv: string };
  pendingSteps(at: unknown): { step: string; reason: string }[];
  venvStamp(at: unknown): { variant: "cpu" | "cuda"; pythonVersion: string } | undefined;
  kernelFile(at: unknown): string;
  wantedVariant(): "cpu" | "cuda";
  operationsPaths(at: unknown): { file: string };
}

/** bin/stale.mjs, likewise. */
interface Staleness {
  missingOperations(at: unknown): Missing | undefined;
}

const run = promisify(execFile);
const require = createRequire(import.meta.url);

export const fromBin = async <T>(name: string): Promise<T> =>
  (await import(pathToFileURL(path.join(packageRoot(), "bin", name)).href)) as T;

/** The last line of output is the answer: TensorFlow itself may write before it. */
export async function loadInChild(state: SetupState, at: ReturnType<SetupState["layout"]>): Promise<TensorFlowReport> {
  const program = `
    require("node:util").isNullOrUndefined ??= (value) => value == null;
    const tf = require(process.argv[1]);
    const backend = tf.backend();
    console.log(JSON.stringify({ version: backend.binding.TF_Version, backend: tf.getBackend(), usesGpu: backend.isUsingGpuDevice }));`;
  try {
    const module = require.resolve("@tensorflow/tfjs-node-gpu");
    const env = { ...process.env, TF_CPP_MIN_LOG_LEVEL: process.env.TF_CPP_MIN_LOG_LEVEL ?? "2" };
    const { stdout } = await run(process.execPath, ["-e", program, module], { env, timeout: 120_000 });
    const found = JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
    if (found.usesGpu) return { error: undefined, operations: "TensorFlow's alone: Folio's are for the CPU", ...found };
    const missing = await whyMissing(state, at);
    const operations = missing
      ? `TensorFlow's alone: ${missing.reason}`
      : "Folio's own (layer norm, GELU, attention, AdamW) and TensorFlow's";
    return { error: undefined, operations, missingOperations: missing, ...found };
  } catch (error) {
    return { version: undefined, backend: undefined, operations: "none", usesGpu: false, error: childError(error) };
  }
}

/** Why Folio's own operations are not used: by what set-up noted, and by a trial in a process of its own. */
async function whyMissing(state: SetupState, at: ReturnType<SetupState["layout"]>): Promise<Missing | undefined> {
  const missing = (await fromBin<Staleness>("stale.mjs")).missingOperations(at);
  if (missing) return missing;
  const { file } = state.operationsPaths(at);
  try {
    const program = path.join(at.root, "bin", "operations.mjs");
    await run(process.execPath, [program, at.root, file], { timeout: 60_000 });
    return undefined;
  } catch (error) {
    const command = at.checkout ? "npm run setup" : "npx folio setup";
    return {
      reason: `they do not work: ${childError(error)}`,
      remedy: `Remove ${file}; \`${command}\` then compiles them again.`,
    };
  }
}

/** The variant that a process of its own loads. */
export async function ownTarget(): Promise<string | undefined> {
  const fromSources = import.meta.url.endsWith(".ts");
  const modules = ["load", "own-operations"].map(
    (name) => new URL(`./tensorflow/${name}.${fromSources ? "ts" : "js"}`, import.meta.url).href,
  );
  const program = `
    const [load, own] = process.argv.slice(1);
    (await import(load)).loadTensorFlow();
    console.log(JSON.stringify((await import(own)).operationsVariant() ?? null));`;
  const args = ["--input-type=module", "-e", program, ...modules];
  try {
    const { stdout } = await run(
      process.execPath,
      [...(fromSources ? ["--import", typescriptLoader()] : []), ...args],
      { timeout: 60_000 },
    );
    return (JSON.parse(stdout.trim().split("\n").at(-1) ?? "null") as string | null) ?? undefined;
  } catch {
    return undefined;
  }
}

/** Of a stack trace, the line that says what went wrong; of a crash, the signal. */
function childError(error: unknown): string {
  const { signal, stderr, message } = error as { signal?: string; stderr?: string; message?: string };
  if (signal) return `the process was ended by ${signal}`;
  const line = stderr?.split("\n").find((each) => /^\w*Error: /.test(each));
  return line?.replace(/^\w*Error: /, "") ?? message?.split("\n")[0] ?? String(error);
}

/** What WebGPU finds, asked in a process of its own. */
export async function findWebGpu(): Promise<WebGpuReport> {
  const program = `
    const { create, globals } = await import(process.argv[1]);
    Object.assign(globalThis, globals);
    const gpu = create([]);
    const info = (await gpu.requestAdapter({ powerPreference: "high-performance" }))?.info;
    const names = ["vendor", "architecture", "device", "description", "isFallbackAdapter"];
    console.log(JSON.stringify(info ? Object.fromEntries(names.map((name) => [name, info[name]])) : null));`;
  try {
    const module = pathToFileURL(require.resolve("webgpu")).href;
    require.resolve("@tensorflow/tfjs-backend-webgpu/package.json");
    const { stdout } = await run(process.execPath, ["--input-type=module", "-e", program, module], { timeout: 60_000 });
    const info = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as AdapterInfo | null;
    return info ? describeAdapter(info) : { missing: "no GPU that it could use" };
  } catch (error) {
    const absent = (error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND";
    return { missing: absent ? "its optional packages are not installed" : childError(error) };
  }
}

export async function findGpus(): Promise<GpuReport[]> {
  const query = "--query-gpu=name,driver_version,memory.total,memory.free";
  try {
    const { stdout } = await run("nvidia-smi", [query, "--format=csv,noheader,nounits"], { timeout: 20_000 });
    return parseGpus(stdout);
  } catch {
    return [];
  }
}

/** nvidia-smi's lines, memory in MiB. */
export function parseGpus(csv: string): GpuReport[] {
  return csv
    .trim()
    .split("\n")
    .filter((line) => line.includes(","))
    .map((line) => {
      const [name = "", driver = "", total, free] = line.split(",").map((part) => part.trim());
      return { name, driver, totalBytes: Number(total) * 2 ** 20, freeBytes: Number(free) * 2 ** 20 };
    });
}

export async function pythonVersion(venv: string): Promise<string | undefined> {
  try {
    const { stdout } = await run(path.join(venv, "bin", "python"), ["--version"], { timeout: 20_000 });
    return stdout.trim().replace(/^Python /, "");
  } catch {
    return undefined;
  }
}
