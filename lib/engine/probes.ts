/**
 * What `folio doctor` asks of other programs: whether TensorFlow and Folio's own operations load, each in a process of its own,
 * so that one that crashes is found instead of followed; what WebGPU finds; which Python. It judges nothing.
 */
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { packageRoot } from "../host/package.js";
import { type AdapterInfo, describeAdapter, type WebGpuAdapter } from "./webgpu.js";

/** What WebGPU finds, or why nothing. */
export type WebGpuReport = WebGpuAdapter | { readonly missing: string };

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
  /** The variant of Folio's own that runs here. */
  readonly variant?: string | undefined;
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
  operationsStamp(at: unknown): { variants?: string[] } | undefined;
  operationsLines(stamp: unknown): string[];
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
    const own = await ownOperations(state, at);
    if ("missing" in own) {
      const operations = `TensorFlow's alone: ${own.missing.reason}`;
      return { error: undefined, operations, missingOperations: own.missing, ...found };
    }
    const left = state.operationsLines(state.operationsStamp(at)).map((line) => `; ${line}`);
    const operations = `Folio's own for ${own.variant} (layer norm, GELU, attention, AdamW) and TensorFlow's${left.join("")}`;
    return { error: undefined, operations, variant: own.variant, ...found };
  } catch (error) {
    return { version: undefined, backend: undefined, operations: "none", usesGpu: false, error: childError(error) };
  }
}

/**
 * The variant of Folio's own operations that is used, or why none is: by what set-up noted, and by a trial in a process of
 * its own.
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
        remedy: `Remove ${file}; \`${command}\` then compiles them again.`,
      },
    };
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

export async function pythonVersion(venv: string): Promise<string | undefined> {
  try {
    const { stdout } = await run(path.join(venv, "bin", "python"), ["--version"], { timeout: 20_000 });
    return stdout.trim().replace(/^Python /, "");
  } catch {
    return undefined;
  }
}
