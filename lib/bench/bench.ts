/**
 * Measures training speed: complete steps of each mode (Folio compiled or eager, PyTorch eager or compiled, each number
 * format) and matrix products, in turn, so that disturbances of the machine affect all of them. An async generator that
 * yields progress and finally the result. Each mode runs in a process of its own. Shown in notebook 07-bench.
 */
import os from "node:os";
import { bfloat16Instructions } from "../engine/choices.js";
import { instructionFlags } from "../engine/number-format.js";
import type { TracedStep } from "../engine/profile.js";
import { cellSignal } from "../host/notebook.js";
import { folioVersion } from "../host/package.js";
import { median, medianRatio, quantile, type RatioInterval } from "../host/statistics.js";
import { dataParallelStep } from "../model/data-parallel.js";
import {
  countParameters,
  flopsPerToken,
  knownPeakFlops,
  modelFlopsUtilization,
  tokensPerStep,
} from "../model/sizing.js";
import type { BenchSettings, Settings } from "../settings/settings.js";
import {
  type BenchProgress,
  type BenchRun,
  type Mode,
  modeName,
  newRun,
  openModes,
  openProducts,
  plan,
  profileModes,
  resolveData,
  shareable,
  takeTurns,
} from "./modes.js";
import { PRODUCTS, productSize } from "./protocol.js";

export { modeName } from "./modes.js";

/** The measurements of one mode. */
export interface ModeResult {
  readonly engine: "folio" | "pytorch";
  readonly compiled: boolean;
  readonly dtype: string;
  /** The number of devices that share each step. */
  readonly devices: number;
  /** "TensorFlow 2.21.0", "PyTorch 2.15.0". */
  readonly version: string;
  /** Times of the steps by round, in milliseconds. */
  readonly rounds: readonly (readonly number[])[];
  readonly medianMs: number;
  readonly minMs: number;
  /** First and third quartile. */
  readonly quartilesMs: readonly [number, number];
  readonly tokensPerSecond: number;
  readonly gigaflops: number;
  /** Share of the speed of matrix products in this number format, measured in the same run. */
  readonly shareOfPeak: number;
  /** Share of the data sheet's peak, if the device is known. */
  readonly mfu: number | undefined;
  /** Peak resident memory during the timed steps. */
  readonly peakBytes: number;
  /** Peak resident memory before them: making the weights, compiling, the burn-in. */
  readonly startPeakBytes: number;
  /** The first step, including tracing and compiling. */
  readonly firstStepMs: number;
  /** Loss of the last step before the timed ones, which shows that all modes train the same model. */
  readonly burnInLoss: number;
}

/** The peak speed of matrix products. */
export interface ProductPeak {
  readonly dtype: string;
  readonly size: number;
  readonly gigaflops: number;
}

/** The speed-up of Folio's best mode over PyTorch's best. */
export interface PeerRatio extends RatioInterval {
  /** The number format of both, or "best of each". */
  readonly dtype: string;
  readonly folio: string;
  readonly pytorch: string;
}

/**
 * A step on several devices against the same step on one. The efficiency is the speed relative to as much hardware
 * without communication: one device's time divided by this time, and on GPUs also by their number; the devices of a CPU
 * share its threads.
 */
export interface DeviceRatio {
  readonly dtype: string;
  readonly devices: number;
  readonly medianMs: number;
  readonly efficiency: number;
  /** Its 95 % interval. */
  readonly low: number;
  readonly high: number;
  /** What each device sends for the mean of the gradients: `2 (N − 1) / N` of their bytes, in a ring of N devices. */
  readonly bytesSent: number;
  /** The mean alone, and a step without it. */
  readonly meanMs: number;
  readonly apartMs: number;
  /** The fraction of the mean's time that passes while the step computes: `1 − (medianMs − apartMs) / meanMs`, at least 0 and at most 1. */
  readonly hidden: number;
  /** The step by the model of data-parallel training (model/data-parallel.ts), from the two times above. */
  readonly predictedMs: number;
}

/** The result of a benchmark. */
export interface BenchResult {
  readonly date: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly memoryGiB: number;
    readonly loadBefore: number;
  };
  readonly folio: string;
  readonly node: string;
  readonly device: string;
  readonly settings: Readonly<BenchSettings>;
  readonly data: string;
  /** Without position embeddings, as in nanoGPT. */
  readonly parameters: number;
  readonly tokensPerStep: number;
  /** `6N + 12·L·H·Q·T`, as in PaLM and nanoGPT. */
  readonly flopsPerToken: number;
  readonly peaks: readonly ProductPeak[];
  readonly modes: readonly ModeResult[];
  readonly ratios: readonly PeerRatio[];
  /** For each number of devices above 1. */
  readonly devices: readonly DeviceRatio[];
  /** Traced steps, by the name of their mode. */
  readonly profiles: readonly { readonly mode: string; readonly steps: readonly TracedStep[] }[];
  readonly notes: readonly string[];
}

export type BenchRecord = BenchProgress | { readonly kind: "result"; readonly result: BenchResult };

/**
 * Runs a benchmark. Aborting ends all processes and the generator, without a result.
 * @throws {RangeError} for settings or a dataset that do not fit
 * @throws {Error} when a process cannot be started or fails
 */
export async function* bench(
  settings: Readonly<BenchSettings>,
  { signal = cellSignal() }: { signal?: AbortSignal | undefined } = {},
): AsyncGenerator<BenchRecord> {
  const shared = shareable(settings);
  const run = newRun(resolveData(shared));
  const { gradientAccumulationSteps: micros } = shared;
  if (micros !== settings.gradientAccumulationSteps) {
    run.notes.push(
      `Each step has ${micros} micro-batches in all modes, so that all numbers of devices can share them.`,
    );
  }
  const loadBefore = os.loadavg()[0]!;
  const endAll = () => {
    for (const { process } of run.open) process.kill();
  };
  signal?.addEventListener("abort", endAll);
  try {
    const measured: Mode[] = [];
    yield* openProducts(run);
    for (const planned of plan(run)) {
      const modes: Mode[] = [];
      yield* openModes(run, planned, modes);
      yield* takeTurns(run, modes);
      yield* profileModes(run, modes);
      for (const { process } of modes) process.kill();
      measured.push(...modes);
    }
    yield { kind: "result", result: resultOf(run, measured, loadBefore) };
  } catch (error) {
    if (!signal?.aborted) throw error;
  } finally {
    signal?.removeEventListener("abort", endAll);
    endAll();
  }
}

function resultOf(run: BenchRun, measured: readonly Mode[], loadBefore: number): BenchResult {
  const { settings, data, products, notes } = run;
  const peaks = products.map(({ dtype, device, rounds }): ProductPeak => {
    const size = productSize(device);
    return { dtype, size, gigaflops: (PRODUCTS * 2 * size ** 3) / Math.min(...rounds.flat()) / 1e6 };
  });
  const trained = measured.filter(({ task }) => task === "train");
  const modes = trained.map((mode) => modeResult(mode, settings, peaks));
  const noisy = modes.filter(({ medianMs, quartilesMs: [low, high] }) => high - low > 0.1 * medianMs);
  const noise =
    noisy.length > 0
      ? [
          `${noisy.map(modeName).join(", ")}: the interquartile range of the step times exceeds 10 % of the median; other programs may be using this machine.`,
        ]
      : [];
  return {
    date: new Date().toISOString(),
    machine: {
      cpu: os.cpus()[0]?.model.trim() || "unknown",
      cores: run.threads,
      memoryGiB: Number((os.totalmem() / 2 ** 30).toFixed(1)),
      loadBefore: Number(loadBefore.toFixed(2)),
    },
    folio: folioVersion(),
    node: process.versions.node,
    device: products[0]?.deviceName ?? "",
    settings,
    data,
    parameters: countParameters(settings, { positions: false }),
    tokensPerStep: tokensPerStep(settings),
    flopsPerToken: flopsPerToken(settings),
    peaks,
    modes,
    ratios: ratiosOf(modes),
    devices: deviceRatios(measured),
    profiles: trained.flatMap((mode, index) =>
      mode.traced.length > 0 ? [{ mode: modeName(modes[index]!), steps: mode.traced }] : [],
    ),
    notes: [...notes, ...emulated(measured), ...noise],
  };
}

/** Emulated speeds say nothing about a machine that has the instructions. */
function emulated(modes: readonly Mode[]): string[] {
  const asked = modes.some(({ device, dtype }) => device === "cpu" && dtype === "bfloat16");
  if (!asked || bfloat16Instructions(instructionFlags()).length > 0) return [];
  return [
    "bfloat16: the processor has no bfloat16 instructions; both sides emulate it, so its figures say nothing about a machine that has them.",
  ];
}

function modeResult(mode: Mode, settings: Readonly<BenchSettings>, peaks: readonly ProductPeak[]): ModeResult {
  const { engine, dtype, version, rounds, peakBytes, startPeakBytes, firstStepMs, burnInLoss } = mode;
  const times = rounds.flat();
  const medianMs = median(times);
  const flops = flopsPerToken(settings);
  const tokensPerSecond = (tokensPerStep(settings) / medianMs) * 1000;
  const gigaflops = (flops * tokensPerSecond) / 1e9;
  const peak = peaks.find((peak) => peak.dtype === dtype);
  const peakFlops = knownPeakFlops(mode.deviceName, dtype as "float32");
  return {
    engine,
    compiled: mode.settings.compile,
    dtype,
    devices: mode.settings.devices,
    version,
    rounds,
    medianMs,
    minMs: Math.min(...times),
    quartilesMs: [quantile(times, 0.25), quantile(times, 0.75)],
    tokensPerSecond,
    gigaflops,
    shareOfPeak: peak ? gigaflops / peak.gigaflops : Number.NaN,
    mfu: peakFlops && modelFlopsUtilization({ flopsPerToken: flops, tokensPerSecond, peakFlops }),
    peakBytes,
    startPeakBytes,
    firstStepMs,
    burnInLoss,
  };
}

/** Each number of devices against one. */
function deviceRatios(measured: readonly Mode[]): DeviceRatio[] {
  const of = (task: Mode["task"], dtype: string, devices: number) =>
    measured.find(
      (mode) =>
        mode.task === task && mode.dtype === dtype && mode.settings.devices === devices && mode.settings.compile,
    );
  return measured.flatMap(({ task, dtype, device, settings, rounds }): DeviceRatio[] => {
    const { devices } = settings;
    const [one, apart, mean] = [of("train", dtype, 1), of("train apart", dtype, devices), of("mean", dtype, devices)];
    if (task !== "train" || devices === 1 || !one || !apart || !mean) return [];
    const { ratio, low, high } = medianRatio(one.rounds, rounds);
    const hardware = device === "cuda" ? devices : 1;
    const [medianMs, meanMs, apartMs] = [rounds, mean.rounds, apart.rounds].map((all) => median(all.flat())) as [
      number,
      number,
      number,
    ];
    return [
      {
        ...{ dtype, devices, medianMs, meanMs, apartMs },
        ...{ efficiency: ratio / hardware, low: low / hardware, high: high / hardware },
        bytesSent: ((2 * (devices - 1)) / devices) * 4 * countParameters(settings),
        hidden: Math.min(1, Math.max(0, 1 - (medianMs - apartMs) / meanMs)),
        predictedMs: predictedMs(settings, { apartMs, meanMs }),
      },
    ];
  });
}

/** A step by the model, in which the connection is as fast as it was for the mean alone. */
function predictedMs(settings: Settings, { apartMs, meanMs }: { apartMs: number; meanMs: number }): number {
  const { devices, gradientAccumulationSteps } = settings;
  const shared = { devices, micros: gradientAccumulationSteps / devices, computeSeconds: apartMs / 1000, latency: 0 };
  const { bytesSent } = dataParallelStep(settings, { ...shared, bandwidth: 1 });
  return 1000 * dataParallelStep(settings, { ...shared, bandwidth: (1000 * bytesSent) / meanMs }).stepSeconds;
}

/** Folio's best against PyTorch's best: for each number format, and over all if there are several. */
function ratiosOf(modes: readonly ModeResult[]): PeerRatio[] {
  const dtypes = [...new Set(modes.map(({ dtype }) => dtype))];
  const best = (engine: ModeResult["engine"], dtype?: string) =>
    modes
      .filter((mode) => mode.engine === engine && mode.devices === 1 && (dtype === undefined || mode.dtype === dtype))
      .sort((a, b) => a.medianMs - b.medianMs)[0];
  const compare = (label: string, dtype?: string): PeerRatio[] => {
    const [ours, theirs] = [best("folio", dtype), best("pytorch", dtype)];
    if (!ours || !theirs) return [];
    const interval = medianRatio(theirs.rounds, ours.rounds);
    return [{ dtype: label, folio: modeName(ours), pytorch: modeName(theirs), ...interval }];
  };
  return [...dtypes.flatMap((dtype) => compare(dtype, dtype)), ...(dtypes.length > 1 ? compare("best of each") : [])];
}
