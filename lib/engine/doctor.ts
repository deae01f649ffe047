/**
 * Inspects this machine for training, and reports problems: versions, processor, GPU, memory, disk, and whether the
 * parts that set-up installs are present and load. Nothing is changed. probes.ts runs the other programs. `folio
 * doctor` prints the report.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { type NvidiaGpu, nvidiaGpus } from "../host/hardware.js";
import { folioVersion, packageRoot } from "../host/package.js";
import { chooseDevice } from "./device.js";
import { type MeasuredReport, measuredReport, measuredRows, measurementFile, readMeasurement } from "./measurement.js";
import {
  autoDtype,
  computeCapability,
  type DtypeChoice,
  importantInstructionSets,
  instructionFlags,
} from "./number-format.js";
import {
  findWebGpu,
  fromBin,
  loadInChild,
  pythonVersion,
  type SetupState,
  type TensorFlowReport,
  type WebGpuReport,
} from "./probes.js";

/** A problem, and what to do about it. */
export interface Problem {
  readonly problem: string;
  readonly remedy: string;
}

export interface MachineReport {
  readonly versions: Readonly<Record<string, string | undefined>>;
  readonly tensorflow: TensorFlowReport;
  readonly wheel: "cpu" | "cuda" | undefined;
  readonly system: string;
  readonly processor: string;
  /** Logical processors of the machine, and the number of them that this process may use. */
  readonly processors: number;
  readonly usableProcessors: number;
  /** The processor's instruction sets that matter for TensorFlow's speed. */
  readonly instructionSets: readonly string[];
  /** The device of `device auto`. */
  readonly device: { readonly device: string; readonly reason: string };
  /** The variant of Folio's operations that runs here; null: none. */
  readonly target: string | null;
  /** The number format of `dtype auto` in a compiled run. */
  readonly dtype: DtypeChoice;
  /** The measurement by which formats and products are chosen, and the choice. */
  readonly measured: MeasuredReport | { readonly missing: string };
  readonly gpus: readonly NvidiaGpu[];
  readonly webGpu: WebGpuReport;
  readonly memory: { readonly totalBytes: number; readonly freeBytes: number };
  readonly disk: { readonly path: string; readonly freeBytes: number };
  readonly kernel: string | undefined;
  readonly problems: readonly Problem[];
}

/** @example console.log(formatReport(await inspectMachine())) */
export async function inspectMachine(): Promise<MachineReport> {
  const state = await fromBin<SetupState>("state.mjs");
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
  const device = await deviceOfAuto(tensorflow.usesGpu, webGpu);
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
    device,
    ...(await choicesHere(device.device, tensorflow.variant, cpuFlags)),
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
 * Derives the problems from the facts.
 * @param command the command that sets Folio up again
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
  const { missingOperations: missing } = tensorflow;
  report(
    missing !== undefined,
    `TensorFlow's operations are used instead of Folio's faster ones: ${missing?.reason.replace(/\.$/, "")}.`,
    missing?.remedy ?? "",
  );
  report(
    gpu !== undefined && facts.wheel === "cpu",
    `There is a GPU (${gpu?.name}), but the installed TensorFlow is for the CPU.`,
    `Run \`FOLIO_TENSORFLOW=cuda ${command}\`.`,
  );
  report(
    gpu !== undefined && facts.wheel === "cuda" && tensorflow.error === undefined && !tensorflow.usesGpu,
    `There is a GPU (${gpu?.name}), but TensorFlow does not use it.`,
    "Set TF_CPP_MIN_LOG_LEVEL=0 to see TensorFlow's messages; CUDA_VISIBLE_DEVICES may hide the GPU.",
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
    `Only ${gigabytes(memory.freeBytes)} of memory is free.`,
    "Close other programs, or lower batchSize and blockSize.",
  );
  report(
    disk.freeBytes < 2 * gigabyte,
    `Only ${gigabytes(disk.freeBytes)} of disk space is free at ${disk.path}.`,
    "Remove old runs, or set outDir to another disk.",
  );
  return found;
}

/** The report as lines for a terminal, with the problems at the end. */
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
    ["device auto", `${report.device.device}: ${report.device.reason}`],
    ["target", report.target ?? "none: only TensorFlow's operations"],
    ["dtype auto", `${report.dtype.dtype}: ${report.dtype.reason}`],
    ...measuredRows(report.measured),
    ["Memory", `${gigabytes(memory.freeBytes)} free of ${gigabytes(memory.totalBytes)}`],
    ["Disk", `${gigabytes(disk.freeBytes)} free at ${disk.path}`],
    ["Kernel", report.kernel ?? "not registered"],
  ];
  const lines = rows.map(([name, value]) => `${name.padEnd(14)} ${value}`);
  const wrong = report.problems.map(({ problem, remedy }) => `✗ ${problem}\n  ${remedy}`);
  return [...lines, "", ...(wrong.length > 0 ? wrong : ["✓ No problems found."])].join("\n");
}

function describeGpu(gpu: NvidiaGpu | undefined): string {
  if (!gpu) return "none (NVIDIA)";
  return `${gpu.name}, driver ${gpu.driver}, ${gigabytes(gpu.freeBytes)} free of ${gigabytes(gpu.totalBytes)}`;
}

function describeWebGpu(found: WebGpuReport): string {
  if ("missing" in found) return `none: ${found.missing}`;
  return found.software ? `${found.name}, which is software: --device=webgpu works but is slow` : found.name;
}

async function deviceOfAuto(usesGpu: boolean, webGpu: WebGpuReport): Promise<MachineReport["device"]> {
  const seen = `TensorFlow sees ${usesGpu ? "an" : "no"} NVIDIA GPU`;
  const adapter = async () => {
    if ("missing" in webGpu) throw new Error(webGpu.missing);
    return webGpu;
  };
  const wanted = { device: "auto", dtype: "auto", compile: true } as const;
  const { device, reason = seen } = await chooseDevice(wanted, { platform: os.platform(), arch: os.arch(), adapter });
  return { device: device === "webgpu" ? device : usesGpu ? "cuda" : "cpu", reason };
}

/** The choices on this processor, and the measurement behind them. */
async function choicesHere(
  device: string,
  operations: string | undefined,
  flags: readonly string[],
): Promise<Pick<MachineReport, "target" | "dtype" | "measured">> {
  const facts = { operations, flags, compile: true };
  const target = operations ?? null;
  if (device === "webgpu") {
    const dtype: DtypeChoice = { dtype: "float32", reason: "TensorFlow.js has no other format on WebGPU" };
    return { target, dtype, measured: { missing: "GPUs are not measured" } };
  }
  if (device === "cuda") {
    const dtype = autoDtype({ device, ...facts, computeCapability: computeCapability() });
    return { target, dtype, measured: { missing: "GPUs are not measured" } };
  }
  const file = await measurementFile();
  const found = readMeasurement(file, operations);
  const measured = "missing" in found ? undefined : found;
  return {
    target,
    dtype: autoDtype({ device: "cpu", ...facts, measured }),
    measured: "missing" in found ? found : measuredReport(found, file, facts),
  };
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

/** In a container with a limit, the limit counts, since the machine's numbers would mislead. */
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
