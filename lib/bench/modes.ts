/**
 * The modes of `folio bench` and their processes: which modes there are, how they are opened, and the rounds in which
 * they take their steps. Each mode is a process (protocol.ts) that stays alive and waits while another one measures.
 * bench.ts evaluates the times.
 */
import os from "node:os";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { isPrepared, openDataset } from "../data/batches.js";
import { mayBeWebGpu } from "../engine/device.js";
import { readStepTrace, type TracedStep } from "../engine/profile.js";
import { packageRoot } from "../host/package.js";
import { median } from "../host/statistics.js";
import { memoryBytes } from "../model/memory.js";
import { countParameters } from "../model/sizing.js";
import type { BenchSettings, Dtype, Settings } from "../settings/settings.js";
import { type BenchProcess, type BenchTask, startPeer, startWorker, touchMemory } from "./protocol.js";

/** Progress of a benchmark, in steps of all modes. */
export interface BenchProgress {
  readonly kind: "progress";
  readonly done: number;
  readonly total: number;
  readonly doing: string;
}

/** A process and its results so far. */
export interface Mode {
  readonly task: BenchTask["task"];
  readonly engine: "folio" | "pytorch";
  readonly settings: Settings;
  process: BenchProcess;
  device: string;
  deviceName: string;
  dtype: string;
  version: string;
  firstStepMs: number;
  startPeakBytes: number;
  peakBytes: number;
  burnInLoss: number;
  /** Approximate time of a step. */
  stepMs: number;
  /** Times by round. */
  readonly rounds: number[][];
  readonly traced: TracedStep[];
}

/** "Folio compiled float32", "Folio compiled float32 on 2 devices" */
export function modeName({
  engine,
  compiled,
  dtype,
  devices = 1,
}: {
  engine: Mode["engine"];
  compiled: boolean;
  dtype: string;
  devices?: number;
}): string {
  const many = devices > 1 ? ` on ${devices} devices` : "";
  return `${engine === "folio" ? "Folio" : "PyTorch"} ${compiled ? "compiled" : "eager"} ${dtype}${many}`;
}

/** The state of a running benchmark. */
export interface BenchRun {
  readonly settings: Readonly<BenchSettings>;
  readonly data: string;
  readonly realData: boolean;
  readonly threads: number;
  /** The processes to end. */
  readonly open: Mode[];
  readonly products: Mode[];
  readonly notes: string[];
  /** Finished steps of all modes, including burn-in. */
  done: number;
  total: number;
}

/** The settings with the vocabulary, and the kind of batches. */
export function resolveData(
  given: Readonly<BenchSettings>,
): Pick<BenchRun, "settings" | "data" | "realData" | "notes"> {
  const { dataDir, dataset, realData } = given;
  const prepared = isPrepared(dataDir, dataset);
  const notes = realData && !prepared ? [`${dataset} is not prepared in ${dataDir}: random ids are used instead.`] : [];
  if (given.compile !== false && mayBeWebGpu(given.device))
    notes.push("compile is off, since steps are eager on WebGPU.");
  const settings = mayBeWebGpu(given.device) ? { ...given, compile: false } : given;
  // As in nanoGPT: GPT-2's 50,257, rounded up to a multiple of 64.
  if (!realData || !prepared) {
    const vocabSize = settings.vocabSize || 50_304;
    return { settings: { ...settings, vocabSize }, data: "random ids", realData: false, notes };
  }
  const opened = openDataset(dataDir, dataset, settings);
  const { meta } = opened;
  opened.close();
  const vocabSize = settings.vocabSize || meta.vocabSize;
  return { settings: { ...settings, vocabSize }, data: dataset, realData: true, notes };
}

/**
 * The settings with as many micro-batches as all numbers of devices can share.
 * @throws {RangeError} for several devices without compiled steps
 */
export function shareable(given: Readonly<BenchSettings>): Readonly<BenchSettings> {
  const devices = deviceCounts(given);
  if (devices.length > 1 && given.compile === false) {
    throw new RangeError("Cannot measure several devices: only compiled steps use them; leave out --compile=false.");
  }
  let micros = given.gradientAccumulationSteps;
  while (devices.some((count) => micros % count !== 0)) micros++;
  return { ...given, gradientAccumulationSteps: micros };
}

/** One device is measured in any case: the others are compared with it. */
const deviceCounts = ({ devices }: Readonly<BenchSettings>): number[] => [
  ...new Set([1, ...devices.split(",").map(Number)]),
];

export function newRun(resolved: ReturnType<typeof resolveData>): BenchRun {
  return { ...resolved, threads: os.availableParallelism(), open: [], products: [], done: 0, total: 0 };
}

function newMode(run: BenchRun, { task, engine, compile, dtype, devices }: Planned): Mode {
  const { peer } = run.settings;
  const script = path.join(packageRoot(), "test", "bench", "peer.py");
  const opened: Mode = {
    task,
    engine,
    settings: { ...run.settings, compile, dtype, devices } as Settings,
    process: engine === "folio" ? startWorker() : startPeer(peer, script, run.threads),
    device: "",
    deviceName: "",
    dtype,
    version: "",
    firstStepMs: 0,
    startPeakBytes: 0,
    peakBytes: 0,
    burnInLoss: Number.NaN,
    stepMs: 0,
    rounds: [],
    traced: [],
  };
  run.open.push(opened);
  return opened;
}

/** A mode without a process yet. */
export interface Planned {
  readonly task: BenchTask["task"];
  readonly devices: number;
  readonly engine: "folio" | "pytorch";
  readonly compile: boolean;
  readonly dtype: Dtype;
}

/** The modes, in groups whose processes fit into memory together: all of them, or one group per number format. */
export function plan(run: BenchRun): Planned[][] {
  const { compile, peer, burnIn, steps } = run.settings;
  const dtypes = run.products.map(({ dtype }) => dtype as Dtype);
  const one = { task: "train", devices: 1 } as const;
  const modes = dtypes.flatMap((dtype): Planned[] => [
    ...(compile === false ? [] : deviceCounts(run.settings).flatMap((devices) => onDevices(devices, dtype))),
    ...(compile === true || (compile === "both" && dtype !== "float32")
      ? []
      : [{ ...one, engine: "folio" as const, compile: false, dtype }]),
    ...(peer ? [false, true].map((compile) => ({ ...one, engine: "pytorch" as const, compile, dtype })) : []),
  ]);
  if (compile === "both" && dtypes.some((dtype) => dtype !== "float32")) {
    run.notes.push("Eager steps are measured only in float32.");
  }
  run.total = modes.length * (burnIn + steps);
  const room = os.freemem() * 0.85;
  const replicas = modes.reduce((sum, { devices }) => sum + devices, 0);
  if (replicas * estimatedBytes(run.settings) <= room || dtypes.length === 1) return [modes];
  run.notes.push("Not all modes fit into memory at once: the number formats were measured one after another.");
  return dtypes.map((dtype) => modes.filter((mode) => mode.dtype === dtype));
}

/** Compiled steps; on several devices also without the mean of their gradients, and this mean alone. */
function onDevices(devices: number, dtype: Dtype): Planned[] {
  const tasks = devices > 1 ? (["train", "train apart", "mean"] as const) : (["train"] as const);
  return tasks.map((task) => ({ task, engine: "folio", compile: true, dtype, devices }));
}

/**
 * A generous estimate per process: weights, gradients and moments; activations, about 20 values per feature; logits;
 * the program.
 */
function estimatedBytes(settings: Readonly<BenchSettings>): number {
  const { nLayer, nEmbd, nHead, blockSize, batchSize, vocabSize } = settings;
  const state = 20 * countParameters(settings);
  const activations = 4 * batchSize * blockSize * (nLayer * (20 * nEmbd + 3 * nHead * blockSize) + 3 * vocabSize);
  return state + activations + 6e8;
}

// ---------------------------------------------------------------------------------------------------------- measure

/** Opens the matrix products of each requested number format, which also resolves `auto`. */
export async function* openProducts(run: BenchRun): AsyncGenerator<BenchProgress> {
  const asked = [...new Set(run.settings.dtype.split(",").map((dtype) => dtype.trim() as Dtype))];
  for (const dtype of asked) {
    yield progress(run, `matrix products, ${dtype}`);
    const product = newMode(run, { task: "product", engine: "folio", compile: true, dtype, devices: 1 });
    await openMode(run, product);
    if (run.products.some((other) => other.dtype === product.dtype)) product.process.kill();
    else run.products.push(product);
  }
}

async function openMode(run: BenchRun, mode: Mode): Promise<void> {
  const { process, settings, task } = mode;
  const { realData, threads } = run;
  const found = await process.ask({ op: "open", task, settings, realData, threads, profiled: false });
  Object.assign(mode, found);
  if (task !== "product" && found.device === "cpu") await touchMemory(settings.devices * memoryBytes(settings));
  const first = await process.ask({ op: "run", count: 1 });
  mode.firstStepMs = first.ms[0]!;
  mode.burnInLoss = first.loss;
  mode.stepMs = mode.firstStepMs;
}

/** Opens modes one after another, and runs their burn-in. */
export async function* openModes(
  run: BenchRun,
  planned: readonly Planned[],
  into: Mode[],
): AsyncGenerator<BenchProgress> {
  for (const one of planned) {
    const { engine, compile, dtype, devices } = one;
    const doing = `${modeName({ engine, compiled: compile, dtype, devices })}: first step`;
    yield progress(run, doing);
    const mode = newMode(run, one);
    into.push(mode);
    await openMode(run, mode);
    const rest = run.settings.burnIn - 1;
    for (let done = 0; done < rest; ) {
      run.done += done === 0 ? 1 : 0;
      yield progress(run, doing.replace("first step", "burn-in"));
      const count = Math.min(rest - done, Math.max(1, Math.floor(1000 / (mode.stepMs || 1000))));
      const { ms, loss } = await mode.process.ask({ op: "run", count });
      mode.stepMs = median(ms);
      mode.burnInLoss = loss;
      done += count;
      run.done += count;
    }
    if (rest === 0) run.done += 1;
    mode.startPeakBytes = (await mode.process.ask({ op: "memory" })).peakBytes;
  }
}

/** The timed steps in rounds; every other round in reverse, so that no mode always follows the same one. */
export async function* takeTurns(run: BenchRun, modes: readonly Mode[]): AsyncGenerator<BenchProgress> {
  const { steps, rounds: wanted } = run.settings;
  const rounds = Math.min(wanted, steps);
  for (let round = 0; round < rounds; round++) {
    const count = Math.floor(((round + 1) * steps) / rounds) - Math.floor((round * steps) / rounds);
    const order = [...modes, ...run.products];
    for (const mode of round % 2 === 0 ? order : order.reverse()) {
      const doing =
        mode.task === "product" ? "matrix products" : `${nameOf(mode)}  ${mode.stepMs.toFixed(1)} ms per step`;
      yield progress(run, doing);
      // On a processor that lacks the number format, a product may take seconds.
      const products = Math.max(1, Math.min(3, Math.round(200 / mode.stepMs)));
      await takeTurn(mode, { count: mode.task === "product" ? products : count, alone: order.length === 1 });
      if (mode.task !== "product") run.done += count;
    }
  }
  for (const mode of modes) mode.peakBytes = (await mode.process.ask({ op: "memory" })).peakBytes;
}

/**
 * Profiles three steps of each compiled mode of Folio, after all timed steps and in a new process, since it slows them.
 */
export async function* profileModes(run: BenchRun, modes: readonly Mode[]): AsyncGenerator<BenchProgress> {
  if (!run.settings.profile) return;
  for (const mode of modes) {
    if (mode.engine !== "folio" || !mode.settings.compile || mode.settings.devices > 1) continue;
    yield progress(run, `${nameOf(mode)}: profile`);
    const { task, settings } = mode;
    const { realData, threads } = run;
    mode.process.kill();
    mode.process = startWorker();
    await mode.process.ask({ op: "open", task, settings, realData, threads, profiled: true });
    await mode.process.ask({ op: "run", count: 3 });
    for (let index = 0; index < 3; index++) {
      const { metadata } = await mode.process.ask({ op: "profile" });
      mode.traced.push(readStepTrace(Buffer.from(metadata, "base64")));
    }
  }
}

async function takeTurn(mode: Mode, { count, alone }: { count: number; alone: boolean }): Promise<void> {
  // Threads of the previous mode may still spin, and its data fill the caches, so the first step is not counted.
  await setTimeout(10);
  const leading = alone || mode.stepMs > 250 ? 0 : 1;
  const { ms } = await mode.process.ask({ op: "run", count: leading + count });
  mode.rounds.push(ms.slice(leading));
  mode.stepMs = median(mode.rounds.flat());
}

function progress(run: BenchRun, doing: string): BenchProgress {
  return { kind: "progress", done: run.done, total: run.total, doing };
}

export const nameOf = ({ engine, settings, dtype }: Mode): string =>
  modeName({ engine, compiled: settings.compile, dtype, devices: settings.devices });
