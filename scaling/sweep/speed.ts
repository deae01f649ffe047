/**
 * What a run takes here: milliseconds a step, measured on a few of a plan's shapes with as many processes at a time as the
 * sweep will have, and interpolated over FLOPs a step; and what a sweep takes that hands out its longest runs first.
 * Measurements are kept by machine and shape. The proof sweep-plan compares the estimate with the truth.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { type BenchProcess, startWorker } from "../../lib/bench/process.js";
import { median } from "../../lib/bench/statistics.js";
import type { Settings } from "../../lib/config.js";
import { flopsPerToken, tokensPerStep } from "../../lib/sizing.js";
import { folioVersion, packageRoot } from "../../lib/version.js";
import { threadEnvironment } from "./threads.js";

/** What was measured. */
export interface Speed {
  /** Before a run's first step: Node, TensorFlow, tracing, and the end of the process. */
  readonly startSeconds: number;
  /** By FLOPs a step, ascending. */
  readonly steps: readonly { readonly flops: number; readonly seconds: number }[];
}

const STEPS = 12;
const ROUNDS = 3;
/** Steps before those that count: the first compiles. */
const BURN_IN = 4;

export interface SpeedOptions {
  readonly workers: number;
  readonly threads: number;
  /** How many shapes are measured; 4 unless given. */
  readonly shapes?: number;
  /** Where measurements are kept; `false`: nowhere. In the package's .cache unless given. */
  readonly cacheFile?: string | false;
  readonly log?: (line: string) => void;
}

type Cached = Record<string, { seconds: number; startSeconds: number }>;

/**
 * Measures a few of the runs' shapes, the cheapest and the dearest step among them: some seconds each, nothing where it
 * was measured before on this machine.
 */
export async function measureSpeed(runs: readonly { settings: Settings }[], options: SpeedOptions): Promise<Speed> {
  const { workers, threads, shapes = 4, log = () => {} } = options;
  const cacheFile = options.cacheFile ?? path.join(packageRoot(), ".cache", "sweep-speed.json");
  const cached = cacheFile === false ? {} : readCache(cacheFile);
  const chosen = spreadByCost(
    runs.map(({ settings }) => settings),
    shapes,
  );
  const measured = [];
  for (const settings of chosen) {
    const key = cacheKey(settings, { workers, threads });
    if (!cached[key]) {
      log(`measuring a step of ${settings.nLayer}L${settings.nEmbd}, ${settings.batchSize} × ${settings.blockSize} …`);
      cached[key] = await measure(settings, { workers, threads });
      if (cacheFile !== false) writeCache(cacheFile, cached);
    }
    measured.push({ flops: stepFlops(settings), ...cached[key] });
  }
  return {
    startSeconds: median(measured.map(({ startSeconds }) => startSeconds)),
    steps: measured.map(({ flops, seconds }) => ({ flops, seconds })).sort((a, b) => a.flops - b.flops),
  };
}

const stepFlops = (settings: Settings): number => flopsPerToken(settings) * tokensPerStep(settings);

/** Settings whose steps' FLOPs are spread evenly in logarithm from the least to the most. */
function spreadByCost(all: readonly Settings[], count: number): Settings[] {
  const sorted = [...all].sort((a, b) => stepFlops(a) - stepFlops(b));
  const [low, high] = [Math.log(stepFlops(sorted[0]!)), Math.log(stepFlops(sorted.at(-1)!))];
  const chosen = Array.from({ length: count }, (_, index) => {
    const target = low + ((high - low) * index) / Math.max(1, count - 1);
    const distance = (settings: Settings) => Math.abs(Math.log(stepFlops(settings)) - target);
    return sorted.reduce((best, settings) => (distance(settings) < distance(best) ? settings : best));
  });
  return [...new Map(chosen.map((settings) => [stepFlops(settings), settings])).values()];
}

async function measure(settings: Settings, { workers, threads }: { workers: number; threads: number }) {
  const begun = performance.now();
  const processes = Array.from({ length: workers }, () => startWorker(threadEnvironment(threads)));
  try {
    const each = await Promise.all(processes.map((process) => timeSteps(process, settings, threads)));
    const seconds = median(each.map((times) => median(times.steps)));
    const opened = median(each.map((times) => times.openedAt)) - begun;
    return { seconds, startSeconds: Math.max(0, opened / 1000 - BURN_IN * seconds) };
  } finally {
    for (const process of processes) process.kill();
  }
}

async function timeSteps(process: BenchProcess, settings: Settings, threads: number) {
  const task = { task: "train", settings, realData: true, threads, profiled: false } as const;
  await process.ask({ op: "open", ...task });
  await process.ask({ op: "run", count: BURN_IN });
  const openedAt = performance.now();
  const steps: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const { ms } = await process.ask({ op: "run", count: STEPS });
    steps.push(...ms.map((each) => each / 1000));
  }
  return { steps, openedAt };
}

/** What a measurement depends on. */
function cacheKey(settings: Settings, { workers, threads }: { workers: number; threads: number }): string {
  const machine = [os.hostname(), os.cpus()[0]?.model.trim(), os.availableParallelism(), folioVersion()];
  const { nLayer, nHead, nEmbd, vocabSize, batchSize, blockSize, gradientAccumulationSteps } = settings;
  const { device, dtype, compile, dropout } = settings;
  const shape = [nLayer, nHead, nEmbd, vocabSize, batchSize, blockSize, gradientAccumulationSteps];
  return [...machine, `${workers}x${threads}`, ...shape, device, dtype, compile, dropout].join(" ");
}

function readCache(file: string): Cached {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8")) as Cached;
  } catch {
    return {}; // none yet, or damaged: it is measured again
  }
}

function writeCache(file: string, cached: Cached): void {
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(`${file}.partial`, JSON.stringify(cached, null, 1));
    fs.renameSync(`${file}.partial`, file);
  } catch {
    // a package that cannot be written to measures each time
  }
}

/** Seconds of a step: a line between measured ones in logarithms, and beyond them the FLOP/s of the nearest. */
function stepSeconds(settings: Settings, { steps }: Speed): number {
  const flops = stepFlops(settings);
  const above = steps.findIndex((step) => step.flops >= flops);
  if (above <= 0) {
    const nearest = above === 0 ? steps[0]! : steps.at(-1)!;
    return above === 0 ? nearest.seconds : (nearest.seconds * flops) / nearest.flops;
  }
  const [low, high] = [steps[above - 1]!, steps[above]!];
  const part = Math.log(flops / low.flops) / Math.log(high.flops / low.flops);
  return low.seconds * (high.seconds / low.seconds) ** part;
}

/** Seconds of a whole run: its start, its steps, and the evaluation at the end, whose forward pass is a third of a step. */
export function runSeconds(
  settings: Settings,
  { validationTokens, speed }: { validationTokens: number; speed: Speed },
): number {
  const step = stepSeconds(settings, speed);
  const evaluation = (validationTokens / tokensPerStep(settings)) * (step / 3);
  return speed.startSeconds + settings.maxIters * step + evaluation;
}

/** Seconds until all are done when each of `workers` takes the longest that is left. */
export function sweepSeconds(runs: readonly number[], workers: number): number {
  const free = Array.from({ length: workers }, () => 0);
  for (const seconds of [...runs].sort((a, b) => b - a)) {
    const next = free.indexOf(Math.min(...free));
    free[next] = free[next]! + seconds;
  }
  return Math.max(...free);
}
