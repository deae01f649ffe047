/**
 * Measures the speed of runs on this machine: milliseconds per step for a few of a plan's shapes, and the time of a
 * run's start and end, with as many parallel processes as in the sweep. Measurements are cached by machine and shape.
 * planning/time-estimate.ts makes estimates from them.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import * as z from "zod";
import { type BenchProcess, startWorker } from "../../lib/bench/protocol.js";
import { folioVersion, packageRoot } from "../../lib/host/package.js";
import { replaceFile } from "../../lib/host/replace-file.js";
import { median } from "../../lib/host/statistics.js";
import { tokensPerStep } from "../../lib/model/sizing.js";
import type { Settings } from "../../lib/settings/settings.js";
import type { PlannedRun, SweepPlan } from "../plan.js";
import { savePlan } from "../planning/plan-file.js";
import { type Speed, stepFlops } from "../planning/time-estimate.js";
import { threadEnvironment } from "./environment.js";
import { startLocal } from "./processes.js";
import { identifyRuns } from "./run-identity.js";

const STEPS = 12;
const ROUNDS = 3;
/** Steps before the measured ones; the first one compiles. */
const BURN_IN = 4;
/** Settings of the run whose start and end are measured; it writes as many checkpoints as a long run. */
const SHORT_STEPS = 20;

export interface MeasureOptions {
  readonly workers: number;
  readonly threads: number;
  /** The number of shapes to measure; 4 by default. */
  readonly shapes?: number;
  /** The cache file; `false` for none. By default it is in the package's folder .cache. */
  readonly cacheFile?: string | false;
  readonly log?: (line: string) => void;
}

/** The number of processes, and of threads per process. */
type Share = Pick<MeasureOptions, "workers" | "threads">;

/**
 * Measures the step time of a few shapes of a plan, from the least to the most FLOPs, and a run's start and end. Each
 * takes a few seconds, or no time if it was measured on this machine before.
 */
export async function measureSpeed(plan: SweepPlan, options: MeasureOptions): Promise<Speed> {
  const { workers, threads, shapes = 4, log = () => {} } = options;
  const cacheFile = options.cacheFile ?? path.join(packageRoot(), ".cache", "sweep-speed.json");
  const cached = cacheFile === false ? {} : readCache(cacheFile);
  const share = { workers, threads };
  const kept = async (key: string, what: string, measure: () => Promise<number>): Promise<number> => {
    if (cached[key] === undefined) {
      log(`measuring ${what} …`);
      cached[key] = await measure();
      if (cacheFile !== false) writeCache(cacheFile, cached);
    }
    return cached[key];
  };
  const chosen = spreadByCost(plan.runs, shapes);
  const steps: { flops: number; seconds: number }[] = [];
  for (const { settings } of chosen) {
    const { nLayer, nEmbd, batchSize, blockSize } = settings;
    const what = `a step of ${nLayer}L${nEmbd}, ${batchSize} × ${blockSize}`;
    const seconds = await kept(`step of ${cacheKey(settings, share)}`, what, () => measureStep(settings, share));
    steps.push({ flops: stepFlops(settings), seconds });
  }
  const cheapest = chosen[0]!;
  const startKey = `start of ${cacheKey(cheapest.settings, share)}`;
  const startSeconds = await kept(startKey, "a run's start and end", () =>
    measureStart({ plan, run: cheapest, stepSeconds: steps[0]!.seconds }, share),
  );
  return { startSeconds, steps };
}

/** Runs whose FLOPs per step are evenly spaced in logarithm from the least to the most, ascending. */
function spreadByCost(all: readonly PlannedRun[], count: number): PlannedRun[] {
  const cost = ({ settings }: PlannedRun) => stepFlops(settings);
  const sorted = [...all].sort((a, b) => cost(a) - cost(b));
  const [low, high] = [Math.log(cost(sorted[0]!)), Math.log(cost(sorted.at(-1)!))];
  const chosen = Array.from({ length: count }, (_, index) => {
    const target = low + ((high - low) * index) / Math.max(1, count - 1);
    const distance = (run: PlannedRun) => Math.abs(Math.log(cost(run)) - target);
    return sorted.reduce((best, run) => (distance(run) < distance(best) ? run : best));
  });
  return [...new Map(chosen.map((run) => [cost(run), run])).values()];
}

async function measureStep(settings: Settings, { workers, threads }: Share): Promise<number> {
  const processes = Array.from({ length: workers }, () => startWorker(threadEnvironment(threads)));
  try {
    const each = await Promise.all(processes.map((process) => timeSteps(process, settings, threads)));
    return median(each.map(median));
  } finally {
    for (const process of processes) process.kill();
  }
}

async function timeSteps(process: BenchProcess, settings: Settings, threads: number): Promise<number[]> {
  const task = { task: "train", settings, realData: true, threads, profiled: false } as const;
  await process.ask({ op: "open", ...task });
  await process.ask({ op: "run", count: BURN_IN });
  const steps: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const { ms } = await process.ask({ op: "run", count: STEPS });
    steps.push(...ms.map((each) => each / 1000));
  }
  return steps;
}

/** A shortened run of a plan. */
interface ShortRun {
  readonly plan: SweepPlan;
  readonly run: PlannedRun;
  readonly stepSeconds: number;
}

/** Does the shortened run in as many processes as the sweep will have, and subtracts its steps. */
async function measureStart({ plan, run, stepSeconds }: ShortRun, { workers, threads }: Share): Promise<number> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-speed-"));
  const saveInterval = Math.max(1, SHORT_STEPS / 10);
  const settings = { ...run.settings, maxIters: SHORT_STEPS, evalInterval: SHORT_STEPS, saveInterval };
  const validationTokens = tokensPerStep(settings);
  const short = { ...plan, validationTokens, runs: [{ ...run, steps: SHORT_STEPS, settings }] };
  try {
    const each = await Promise.all(
      Array.from({ length: workers }, async (_, worker) => {
        const own = path.join(folder, `${worker}`);
        const planFile = path.join(own, "plan.json");
        savePlan(planFile, short);
        const begun = performance.now();
        const [identified] = identifyRuns(short, own);
        const { done } = startLocal(identified!, { planFile, folder: own, threads, onProgress: () => {} });
        const outcome = await done;
        if (outcome.state !== "finished") {
          throw new Error(`Cannot measure a run: ${outcome.state === "failed" ? outcome.message : outcome.state}.`);
        }
        return (performance.now() - begun) / 1000;
      }),
    );
    return Math.max(0, median(each) - SHORT_STEPS * stepSeconds);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** Everything that a measurement depends on. */
function cacheKey(settings: Settings, { workers, threads }: Share): string {
  const machine = [os.hostname(), os.cpus()[0]?.model.trim(), os.availableParallelism(), folioVersion()];
  const { nLayer, nHead, nEmbd, vocabSize, batchSize, blockSize, gradientAccumulationSteps } = settings;
  const { device, dtype, compile, dropout } = settings;
  const shape = [nLayer, nHead, nEmbd, vocabSize, batchSize, blockSize, gradientAccumulationSteps];
  return [...machine, `${workers}x${threads}`, ...shape, device, dtype, compile, dropout].join(" ");
}

function readCache(file: string): Record<string, number> {
  try {
    return z.record(z.string(), z.number().positive()).parse(JSON.parse(fs.readFileSync(file, "utf8")));
  } catch {
    return {}; // missing or damaged: measure again
  }
}

function writeCache(file: string, cached: Record<string, number>): void {
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    replaceFile(file, JSON.stringify(cached, null, 1));
  } catch {
    // read-only package: measure each time
  }
}
