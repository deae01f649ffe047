/**
 * What this machine has for training, and what is wrong with it: versions, processor, GPU, memory, disk, and whether
 * set-up's parts are there and load. It only looks: nothing is installed, and TensorFlow is loaded in a process of its
 * own, so that a binding that crashes is found instead of followed. `folio doctor` prints it.
 */
import { execFile } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { type NvidiaGpu, nvidiaGpus } from "../host/hardware.js";
import { folioVersion, packageRoot } from "../host/package.js";
import { chooseDevice } from "./device.js";
import { autoDtype, computeCapability, type DtypeChoice, instructionFlags } from "./number-format.js";
import { type AdapterInfo, describeAdapter, type WebGpuAdapter } from "./webgpu.js";

/** Something wrong, and what to do about it. */
export interface Problem {
  readonly problem: string;
  readonly remedy: string;
}

/** What TensorFlow says when it is loaded; `error` when it is not. */
export interface TensorFlowReport {
  readonly version: string | undefined;
  readonly backend: string | undefined;
  /** Which operations run besides TensorFlow's, or why none do. */
  readonly operations: string;
  readonly usesGpu: boolean;
  readonly error: string | undefined;
}

export interface MachineReport {
  readonly versions: Readonly<Record<string, string | undefined>>;
  readonly tensorflow: TensorFlowReport;
  readonly wheel: "cpu" | "cuda" | undefined;
  readonly system: string;
  readonly processor: string;
  /** Logical processors of the machine, and how many of them this process may use. */
  readonly processors: number;
  readonly usableProcessors: number;
  /** Of those that matter to TensorFlow's speed, the ones that the processor has. */
  readonly instructionSets: readonly string[];
  /** What a compiled run gets that leaves the number format to Folio. */
  readonly autoDtype: DtypeChoice;
  /** The device that a run gets which leaves it to Folio. */
  readonly autoDevice: { readonly device: string; readonly reason: string };
  readonly gpus: readonly NvidiaGpu[];
  /** What WebGPU finds, or why nothing. */
  readonly webGpu: WebGpuAdapter | { readonly missing: string };
  readonly memory: { readonly totalBytes: number; readonly freeBytes: number };
  readonly disk: { readonly path: string; readonly freeBytes: number };
  readonly kernel: string | undefined;
  readonly problems: readonly Problem[];
}

/** bin/state.mjs, as much as is used here: it is plain JavaScript, because set-up runs before anything is built. */
interface SetupState {
  layout(): { root: string; checkout: boolean; venv: string };
  pendingSteps(at: unknown): { step: string; reason: string }[];
  venvStamp(at: unknown): { variant: "cpu" | "cuda"; pythonVersion: string } | undefined;
  kernelFile(at: unknown): string;
  wantedVariant(): "cpu" | "cuda";
  operationsPaths(at: unknown): { file: string; stamp: string };
  operationsStamp(at: unknown): { failed?: string; remedy?: string; variants?: string[] } | undefined;
  operationsLines(stamp: unknown): string[];
  operationsReason(at: unknown): string | undefined;
}

const run = promisify(execFile);
const require = createRequire(import.meta.url);

/** @example console.log(formatReport(await inspectMachine())) */
export async function inspectMachine(): Promise<MachineReport> {
  const state = (await import(pathToFileURL(path.join(packageRoot(), "bin", "state.mjs")).href)) as SetupState;
  const at = state.layout();
  const stamp = state.venvStamp(at);
  const kernelFile = state.kernelFile(at);
  const [tensorflow, gpus, webGpu, python] = await Promise.all([
    loadInChild(state, at),
    nvidiaGpus(),
    findWebGpu(),
    pythonVersion(at.venv),
  ]);
  const cpuFlags = instructionFlags();
  const autoDevice = await deviceOfAuto(tensorflow.usesGpu, webGpu);
  const facts = {
    versions: {
      Folio: folioVersion(),
      Node: process.versions.node,
      "TensorFlow.js": installedVersion("@tensorflow/tfjs-node-gpu"),
      koffi: installedVersion("koffi"),
      Python: python ?? stamp?.pythonVersion,
    },
    tensorflow,
    wheel: stamp?.variant,
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    processor: os.cpus()[0]?.model.trim() ?? "unknown",
    processors: os.cpus().length,
    usableProcessors: Math.min(os.availableParallelism(), processorQuota() ?? Number.POSITIVE_INFINITY),
    instructionSets: importantInstructionSets(cpuFlags),
    autoDtype: dtypeOfAuto(autoDevice.device, cpuFlags),
    autoDevice,
    gpus,
    webGpu,
    memory: memory(),
    disk: { path: process.cwd(), freeBytes: freeDiskBytes(process.cwd()) },
    kernel: fs.existsSync(kernelFile) ? kernelFile : undefined,
  };
  const command = at.checkout ? "npm run setup" : "npx folio setup";
  const pending = state
    .pendingSteps(at)
    .map(({ step, reason }) => ({ problem: `Set-up, ${step}: ${reason}.`, remedy: `Run \`${command}\`.` }));
  return { ...facts, problems: [...pending, ...findProblems(facts, command)] };
}

/**
 * What is wrong, told from the facts alone.
 * @param command what sets Folio up again
 */
export function findProblems(facts: Omit<MachineReport, "problems">, command: string): Problem[] {
  const found: Problem[] = [];
  const report = (condition: boolean, problem: string, remedy: string) => {
    if (condition) found.push({ problem, remedy });
  };
  const { tensorflow, gpus, memory, disk } = facts;
  const [gpu] = gpus;
  const gigabyte = 1e9;
  report(tensorflow.error !== undefined, `TensorFlow does not load: ${tensorflow.error}`, `Run \`${command}\`.`);
  report(
    gpu !== undefined && facts.wheel === "cpu",
    `There is a GPU (${gpu?.name}), and TensorFlow is the CPU's.`,
    `Run \`FOLIO_TENSORFLOW=cuda ${command}\`.`,
  );
  report(
    gpu !== undefined && facts.wheel === "cuda" && tensorflow.error === undefined && !tensorflow.usesGpu,
    `There is a GPU (${gpu?.name}), and TensorFlow does not use it.`,
    "See what TensorFlow says: TF_CPP_MIN_LOG_LEVEL=0 before the command; CUDA_VISIBLE_DEVICES may hide the GPU.",
  );
  report(
    gpu !== undefined && Number.parseInt(gpu.driver, 10) < 525,
    `The NVIDIA driver ${gpu?.driver} is too old for CUDA 12.`,
    "Install driver 525 or newer.",
  );
  report(
    os.arch() === "x64" && !facts.instructionSets.includes("avx2"),
    "The processor has no AVX2: TensorFlow will be slow.",
    "Use another machine for training.",
  );
  report(
    memory.freeBytes < 2 * gigabyte,
    `Only ${gigabytes(memory.freeBytes)} of memory are free.`,
    "Close other programs, or lower batchSize and blockSize.",
  );
  report(
    disk.freeBytes < 2 * gigabyte,
    `Only ${gigabytes(disk.freeBytes)} of disk are free at ${disk.path}.`,
    "Remove old runs, or set outDir to another disk.",
  );
  return found;
}

/** The report as lines for a terminal; what is wrong stands at the end. */
export function formatReport(report: MachineReport): string {
  const { tensorflow, memory, disk } = report;
  const on = tensorflow.usesGpu ? "on the GPU" : "on the CPU";
  const rows: [string, string][] = [
    ...Object.entries(report.versions).map(([name, version]): [string, string] => [name, version ?? "not found"]),
    ["TensorFlow", tensorflow.version ? `${tensorflow.version} (${report.wheel ?? "unknown"} wheel)` : "not loaded"],
    ["Operations", tensorflow.operations],
    ["Backend", tensorflow.backend ? `${tensorflow.backend}, ${on}` : "none"],
    ["System", report.system],
    ["Processor", `${report.processor}, ${report.usableProcessors} of ${report.processors} logical processors usable`],
    ["Instructions", report.instructionSets.join(", ") || "none of avx2, avx512f, avx512_bf16, amx_bf16, bf16"],
    ...(report.gpus.length > 0 ? report.gpus : [undefined]).map((gpu): [string, string] => ["GPU", describeGpu(gpu)]),
    ["WebGPU", describeWebGpu(report.webGpu)],
    ["device auto", `${report.autoDevice.device}: ${report.autoDevice.reason}`],
    ["dtype auto", `${report.autoDtype.dtype}: ${report.autoDtype.reason}`],
    ["Memory", `${gigabytes(memory.freeBytes)} free of ${gigabytes(memory.totalBytes)}`],
    ["Disk", `${gigabytes(disk.freeBytes)} free at ${disk.path}`],
    ["Kernel", report.kernel ?? "not registered"],
  ];
  const lines = rows.map(([name, value]) => `${name.padEnd(14)} ${value}`);
  const wrong = report.problems.map(({ problem, remedy }) => `✗ ${problem}\n  ${remedy}`);
  return [...lines, "", ...(wrong.length > 0 ? wrong : ["✓ Nothing is wrong."])].join("\n");
}

function describeGpu(gpu: NvidiaGpu | undefined): string {
  if (!gpu) return "none (NVIDIA)";
  return `${gpu.name}, driver ${gpu.driver}, ${gigabytes(gpu.freeBytes)} free of ${gigabytes(gpu.totalBytes)}`;
}

function describeWebGpu(found: MachineReport["webGpu"]): string {
  if ("missing" in found) return `none: ${found.missing}`;
  return found.software ? `${found.name}, which is software: --device=webgpu runs on it, slowly` : found.name;
}

async function deviceOfAuto(usesGpu: boolean, webGpu: MachineReport["webGpu"]): Promise<MachineReport["autoDevice"]> {
  const seen = `TensorFlow sees ${usesGpu ? "an" : "no"} NVIDIA GPU`;
  const adapter = async () => {
    if ("missing" in webGpu) throw new Error(webGpu.missing);
    return webGpu;
  };
  const wanted = { device: "auto", dtype: "auto", compile: true } as const;
  const { device, reason = seen } = await chooseDevice(wanted, { platform: os.platform(), arch: os.arch(), adapter });
  return { device: device === "webgpu" ? device : usesGpu ? "cuda" : "cpu", reason };
}

function dtypeOfAuto(device: string, flags: readonly string[]): DtypeChoice {
  if (device === "webgpu") return { dtype: "float32", reason: "TensorFlow.js has no other on WebGPU" };
  return device === "cuda"
    ? autoDtype({ device, flags: [], computeCapability: computeCapability(), compile: true })
    : autoDtype({ device: "cpu", flags, compile: true });
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

/** The last line of output is the answer: TensorFlow itself may write before it. */
async function loadInChild(state: SetupState, at: ReturnType<SetupState["layout"]>): Promise<TensorFlowReport> {
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
    const { missing, variant } = found.usesGpu
      ? { missing: "Folio's are for the CPU" }
      : await ownOperations(state, at);
    const left = state.operationsLines(missing ? undefined : state.operationsStamp(at)).map((line) => `; ${line}`);
    const operations = missing
      ? `TensorFlow's alone, because ${missing}`
      : `Folio's own for ${variant} (layer norm, GELU, attention, AdamW) and TensorFlow's${left.join("")}`;
    return { error: undefined, operations, ...found };
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
): Promise<{ missing?: string; variant?: string }> {
  if (process.env.FOLIO_FUSED === "0") return { missing: "FOLIO_FUSED=0 asks for it" };
  const reason = state.operationsReason(at);
  if (reason) return { missing: `set-up has not compiled Folio's as they are: ${reason}` };
  const { failed, remedy, variants = [] } = state.operationsStamp(at) ?? {};
  if (failed) return { missing: `Folio's could not be made: ${failed}. ${remedy}` };
  try {
    const program = path.join(at.root, "bin", "operations.mjs");
    const args = [program, at.root, state.operationsPaths(at).file, ...variants];
    const { stdout } = await run(process.execPath, args, { timeout: 60_000 });
    const runnable = stdout.trim().split("\n").at(-1)?.split(" ") ?? [];
    const usable = runnable.filter((name) => variants.includes(name));
    const variant = process.env.FOLIO_TARGET ?? usable.at(-1);
    if (variant && usable.includes(variant)) return { variant };
    return { missing: `FOLIO_TARGET=${variant} cannot be used here, ${usable.join(", ")} can` };
  } catch (error) {
    return { missing: `Folio's do not work: ${childError(error)}` };
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
async function findWebGpu(): Promise<MachineReport["webGpu"]> {
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

async function pythonVersion(venv: string): Promise<string | undefined> {
  try {
    const { stdout } = await run(path.join(venv, "bin", "python"), ["--version"], { timeout: 20_000 });
    return stdout.trim().replace(/^Python /, "");
  } catch {
    return undefined;
  }
}

/** Those of the processor's flags that decide how fast TensorFlow multiplies, and whether bfloat16 pays. */
export function importantInstructionSets(flags: readonly string[]): string[] {
  const important = ["avx2", "fma", "avx512f", "avx512_bf16", "avx_vnni", "amx_bf16", "asimd", "sve", "bf16"];
  return important.filter((name) => flags.includes(name));
}

/** A container's limit counts where there is one: the machine's own numbers would mislead. */
function memory(): { totalBytes: number; freeBytes: number } {
  const available = /^MemAvailable:\s*(\d+) kB/m.exec(readText("/proc/meminfo") ?? "")?.[1];
  const freeBytes = available ? Number(available) * 1024 : os.freemem();
  const limit = Number(readText("/sys/fs/cgroup/memory.max"));
  if (!(limit > 0 && limit < os.totalmem())) return { totalBytes: os.totalmem(), freeBytes };
  const used = Number(readText("/sys/fs/cgroup/memory.current") ?? 0);
  return { totalBytes: limit, freeBytes: Math.min(freeBytes, limit - used) };
}

/** A container's share of the processors, rounded up; undefined without a limit. */
function processorQuota(): number | undefined {
  const [quota, period] = (readText("/sys/fs/cgroup/cpu.max") ?? "").trim().split(" ").map(Number);
  return quota && period ? Math.max(1, Math.ceil(quota / period)) : undefined;
}

function freeDiskBytes(folder: string): number {
  const { bavail, bsize } = fs.statfsSync(folder);
  return bavail * bsize;
}

function installedVersion(name: string): string | undefined {
  for (let dir = packageRoot(); ; dir = path.dirname(dir)) {
    const text = readText(path.join(dir, "node_modules", name, "package.json"));
    if (text !== undefined) return (JSON.parse(text) as { version: string }).version;
    if (dir === path.dirname(dir)) return undefined;
  }
}

function readText(file: string): string | undefined {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}
