/**
 * Gathers facts for `folio doctor` from other programs: whether TensorFlow and Folio's own operations load, each tried
 * in a process of its own, so that a crash is reported and does not end this process; what WebGPU finds; which Python.
 */
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { packageRoot } from "../host/package.js";
import { type AdapterInfo, describeAdapter, type WebGpuAdapter } from "./webgpu.js";

/** The adapter that WebGPU finds, or why there is none. */
export type WebGpuReport = WebGpuAdapter | { readonly missing: string };

/** Why something is missing, and what to do about it. */
export interface Missing {
  readonly reason: string;
  readonly remedy: string;
}

/** Facts about the loaded TensorFlow; `error` if it does not load. */
export interface TensorFlowReport {
  readonly version: string | undefined;
  readonly backend: string | undefined;
  /** Which operations run besides TensorFlow's, or why none. */
  readonly operations: string;
  /** Why Folio's operations are not used although they could be. */
  readonly missingOperations?: Missing | undefined;
  /** The variant of Folio's operations that runs here. */
  readonly variant?: string | undefined;
  readonly usesGpu: boolean;
  readonly error: string | undefined;
}

/** The functions of bin/state.mjs used here; it is plain JavaScript, since set-up runs before anything is built. */
export interface SetupState {
  layout(): { root: string; checkout: boolean; venv: string };
  pendingSteps(at: unknown): { step: string; reason: string }[];
  venvStamp(at: unknown): { variant: "cpu" | "cuda"; pythonVersion: string } | undefined;
  kernelFile(at: unknown): string;
  wantedVariant(): "cpu" | "cuda";
  operationsPaths(at: unknown): { file: string };
  operationsStamp(at: unknown): { variants?: string[] } | undefined;
  operationsLines(stamp: unknown): string[];
}

/** The functions of bin/stale.mjs used here. */
interface Staleness {
  missingOperations(at: unknown): Missing | undefined;
}

const run = promisify(execFile);
const require = createRequire(import.meta.url);

export const fromBin = async <T>(name: string): Promise<T> =>
  (await import(pathToFileURL(path.join(packageRoot(), "bin", name)).href)) as T;

/** Loads TensorFlow in a child process. The last line of output is the answer; TensorFlow may write lines before it. */
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
    if (found.usesGpu) return { error: undefined, operations: "TensorFlow's only: Folio's are for the CPU", ...found };
    const own = await ownOperations(state, at);
    if ("missing" in own) {
      const operations = `TensorFlow's only: ${own.missing.reason}`;
      return { error: undefined, operations, missingOperations: own.missing, ...found };
    }
    const left = state.operationsLines(state.operationsStamp(at)).map((line) => `; ${line}`);
    const operations = `Folio's for ${own.variant} (layer norm, GELU, attention, AdamW), and TensorFlow's${left.join("")}`;
    return { error: undefined, operations, variant: own.variant, ...found };
  } catch (error) {
    return { version: undefined, backend: undefined, operations: "none", usesGpu: false, error: childError(error) };
  }
}

/**
 * The variant of Folio's operations that is used, or why none is, from set-up's notes and a trial in a process of its
 * own.
 */
async function ownOperations(
  state: SetupState,
  at: ReturnType<SetupState["layout"]>,
): Promise<{ missing: Missing } | { variant: string }> {
  const known = (await fromBin<Staleness>("stale.mjs")).missingOperations(at);
  if (known) return { missing: known };
  const { file } = state.operationsPaths(at);
  const { variants = [] } = state.operationsStamp(at) ?? {};
  try {
    const program = path.join(at.root, "bin", "operations.mjs");
    const { stdout } = await run(process.execPath, [program, at.root, file, ...variants], { timeout: 60_000 });
    const runnable = stdout.trim().split("\n").at(-1)?.split(" ") ?? [];
    const usable = runnable.filter((name) => variants.includes(name));
    const variant = process.env.FOLIO_TARGET ?? usable.at(-1);
    if (variant && usable.includes(variant)) return { variant };
    const reason = `FOLIO_TARGET=${variant} cannot be used here`;
    return { missing: { reason, remedy: `Unset FOLIO_TARGET, or set it to one of ${usable.join(", ")}.` } };
  } catch (error) {
    const command = at.checkout ? "npm run setup" : "npx folio setup";
    return {
      missing: {
        reason: `they do not work: ${childError(error)}`,
        remedy: `Remove ${file} and run \`${command}\`, which compiles them again.`,
      },
    };
  }
}

/** The line of a stack trace that says what went wrong; for a crash, the signal. */
function childError(error: unknown): string {
  const { signal, stderr, message } = error as { signal?: string; stderr?: string; message?: string };
  if (signal) return `the process was ended by ${signal}`;
  const line = stderr?.split("\n").find((each) => /^\w*Error: /.test(each));
  return line?.replace(/^\w*Error: /, "") ?? message?.split("\n")[0] ?? String(error);
}

/** The adapter that WebGPU finds, requested in a process of its own. */
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
    return info ? describeAdapter(info) : { missing: "WebGPU finds no GPU" };
  } catch (error) {
    const absent = (error as NodeJS.ErrnoException).code === "MODULE_NOT_FOUND";
    return { missing: absent ? "its optional packages are not installed" : childError(error) };
  }
}

export async function pythonVersion(venv: string): Promise<string | undefined> {
  try {
    const { stdout } = await run(path.join(venv, "bin", "python"), ["--version"], { timeout: 20_000 });
    return stdout.trim().replace(/^Python /, "");
  } catch {
    return undefined;
  }
}
