/**
 * How fast training is: whole steps of each mode (Folio compiled or eager, PyTorch eager or compiled, each number format)
 * and of matrix products, in turns, so that what disturbs the machine disturbs all. An async generator that yields how
 * far it is and, last, the result. Each mode is a process (bench/). Shown in notebook bench.
 */
import os from "node:os";
import { bfloat16Instructions } from "../engine/choices.js";
import { instructionFlags } from "../engine/number-format.js";
import type { TracedStep } from "../engine/profile.js";
import { folioVersion } from "../host/package.js";
import { median, medianRatio, quantile, type RatioInterval } from "../host/statistics.js";
import {
  countParameters,
  flopsPerToken,
  knownPeakFlops,
  modelFlopsUtilization,
  tokensPerStep,
} from "../model/sizing.js";
import type { BenchSettings } from "../settings/settings.js";
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
  takeTurns,
} from "./modes.js";
import { PRODUCTS, productSize } from "./protocol.js";

export { modeName } from "./modes.js";

/** What was measured of one mode. */
export interface ModeResult {
  readonly engine: "folio" | "pytorch";
  readonly compiled: boolean;
  readonly dtype: string;
  /** "TensorFlow 2.21.0", "PyTorch 2.15.0". */
  readonly version: string;
  /** Times of the steps, by turn, in milliseconds. */
  readonly rounds: readonly (readonly number[])[];
  readonly medianMs: number;
  readonly minMs: number;
  /** First and third quartile. */
  readonly quartilesMs: readonly [number, number];
  readonly tokensPerSecond: number;
  readonly gigaflops: number;
  /** Of the matrix products of this number format in the same run. */
  readonly shareOfPeak: number;
  /** Of the data sheet's peak; only where the device is known. */
  readonly mfu: number | undefined;
  /** Resident memory while the steps are timed, at most. */
  readonly peakBytes: number;
  /** The same before: making the weights, compiling, the burn-in. */
  readonly startPeakBytes: number;
  /** The first step, with tracing and compiling. */
  readonly firstStepMs: number;
  /** Of the last step before the timed ones, after as many updates in each mode: all train the same model. */
  readonly burnInLoss: number;
}

/** The most that matrix products reached. */
export interface ProductPeak {
  readonly dtype: string;
  readonly size: number;
  readonly gigaflops: number;
}

/** How much faster Folio's best mode is than PyTorch's best. */
export interface PeerRatio extends RatioInterval {
  /** Of both, or "best of each". */
  readonly dtype: string;
  readonly folio: string;
  readonly pytorch: string;
}

/** Everything that a benchmark found. */
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
  /** Without position embeddings, as nanoGPT counts. */
  readonly parameters: number;
  readonly tokensPerStep: number;
  /** `6N + 12·L·H·Q·T`, nanoGPT's and PaLM's. */
  readonly flopsPerToken: number;
  readonly peaks: readonly ProductPeak[];
  readonly modes: readonly ModeResult[];
  readonly ratios: readonly PeerRatio[];
  /** Traced steps, by the name of their mode. */
  readonly profiles: readonly { readonly mode: string; readonly steps: readonly TracedStep[] }[];
  readonly notes: readonly string[];
}

export type BenchRecord = BenchProgress | { readonly kind: "result"; readonly result: BenchResult };

/**
 * Measures. Aborting ends all processes and the generator, without a result.
 * @throws {RangeError} for settings or a dataset that do not fit
 * @throws {Error} when a process cannot be started or fails
 */
export async function* bench(
  settings: Readonly<BenchSettings>,
  { signal }: { signal?: AbortSignal } = {},
): AsyncGenerator<BenchRecord> {
  const run = newRun(resolveData(settings));
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
  const modes = measured.map((mode) => modeResult(mode, settings, peaks));
  const noisy = modes.filter(({ medianMs, quartilesMs: [low, high] }) => high - low > 0.1 * medianMs);
  const noise =
    noisy.length > 0
      ? [
          `${noisy.map(modeName).join(", ")}: the middle half of the steps spreads over more than 10 % of the median; others may be at work on this machine.`,
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
    profiles: measured.flatMap((mode, index) =>
      mode.traced.length > 0 ? [{ mode: modeName(modes[index]!), steps: mode.traced }] : [],
    ),
    notes: [...notes, ...emulated(measured), ...noise],
  };
}

/** A ratio of two emulations says nothing of a machine that has the instructions. */
function emulated(modes: readonly Mode[]): string[] {
  const asked = modes.some(({ device, dtype }) => device === "cpu" && dtype === "bfloat16");
  if (!asked || bfloat16Instructions(instructionFlags()).length > 0) return [];
  return [
    "bfloat16: the processor has no bfloat16 instructions; both sides emulate it, so its figures say nothing of a machine that has them.",
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

/** Best against best: of each number format, and of all together where there is more than one. */
function ratiosOf(modes: readonly ModeResult[]): PeerRatio[] {
  const dtypes = [...new Set(modes.map(({ dtype }) => dtype))];
  const best = (engine: ModeResult["engine"], dtype?: string) =>
    modes
      .filter((mode) => mode.engine === engine && (dtype === undefined || mode.dtype === dtype))
      .sort((a, b) => a.medianMs - b.medianMs)[0];
  const compare = (label: string, dtype?: string): PeerRatio[] => {
    const [ours, theirs] = [best("folio", dtype), best("pytorch", dtype)];
    if (!ours || !theirs) return [];
    const interval = medianRatio(theirs.rounds, ours.rounds);
    return [{ dtype: label, folio: modeName(ours), pytorch: modeName(theirs), ...interval }];
  };
  return [...dtypes.flatMap((dtype) => compare(dtype, dtype)), ...(dtypes.length > 1 ? compare("best of each") : [])];
}
