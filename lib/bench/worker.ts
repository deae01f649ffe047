/**
 * The process in which `folio bench` measures one mode of Folio: it answers the requests of process.ts with whole
 * training steps (batch, forward, backward, clipping, AdamW, the loss read), or with matrix products, which tell what
 * the machine reaches at most. A process a mode, so that neither memory nor threads of one disturb another.
 */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import readline from "node:readline";
import * as tf from "@tensorflow/tfjs-core";
import type { Settings } from "../config.js";
import { type Dataset, drawBatch, openDataset } from "../data.js";
import { resolveDevice } from "../engine/device.js";
import { fusedEnabled } from "../engine/fused.js";
import { float32, type HostTensors, int32, mapRecord, openSession, type RunStep, toHost } from "../engine/session.js";
import { loadTensorFlow } from "../engine/tensorflow.js";
import { initialParameters } from "../model.js";
import { biasCorrections, learningRate } from "../optimizer.js";
import { key, uniform } from "../random.js";
import { trainingSteps } from "../steps.js";
import { type BenchAnswers, type BenchRequest, type BenchTask, PRODUCTS, productSize } from "./process.js";

/** Takes one step. */
type TakeStep = (profile?: (metadata: Uint8Array) => void) => Promise<number>;

async function open({ task, settings, realData }: BenchTask): Promise<{ step: TakeStep } & BenchAnswers["open"]> {
  const { device, dtype } = resolveDevice(settings);
  const step = task === "product" ? await openProduct(settings) : await openTraining(settings, realData);
  const without = device === "cpu" && !fusedEnabled() ? " without Folio's own operations" : "";
  const version = `TensorFlow ${loadTensorFlow().tensorflowVersion}${without}`;
  return { step, device, deviceName: deviceName(device), dtype, version };
}

function deviceName(device: string): string {
  if (device === "cpu") return os.cpus()[0]?.model.trim() || "unknown";
  try {
    const [name] = execFileSync("nvidia-smi", ["--query-gpu=name", "--format=csv,noheader"], {
      encoding: "utf8",
    }).split("\n");
    return name?.trim() || device;
  } catch {
    return device;
  }
}

async function openTraining(settings: Settings, realData: boolean): Promise<TakeStep> {
  const { dtype } = resolveDevice(settings);
  const batches = realData ? datasetBatches(settings) : randomBatches(settings);
  const session = await openSession(await initialState(settings), { compile: settings.compile, dtype });
  const steps = trainingSteps(settings);
  const [accumulate, update] = [session.define(steps.accumulate), session.define(steps.update)];
  const micros = settings.gradientAccumulationSteps;
  let step = 0;
  return async (profile) => {
    const inputs = (micro: number): HostTensors => {
      const [first, second] = key(settings.seed, "dropout", step) as unknown as [number, number];
      const row = micro * settings.batchSize;
      return { ...batches(step, row), dropoutKey: int32([first, (second + row) | 0], [2]) };
    };
    const run = async (define: RunStep, micro: number, more: HostTensors = {}) =>
      (await define({ ...inputs(micro), ...more }, profile)).loss!.values[0]! / micros;
    let loss = 0;
    for (let micro = 0; micro < micros - 1; micro++) loss += await run(accumulate, micro);
    loss += await run(update, micros - 1, rates(step, settings));
    step++;
    return loss;
  };
}

async function initialState(settings: Settings): Promise<Record<string, HostTensors>> {
  const tensors = initialParameters(settings, settings.seed);
  const params: Record<string, HostTensors[string]> = {};
  for (const [name, tensor] of Object.entries(tensors)) {
    params[name] = await toHost(tensor);
    tensor.dispose();
  }
  const zeros = () => mapRecord(params, ({ shape, values }) => float32(new Float32Array(values.length), shape));
  const sums = settings.gradientAccumulationSteps > 1 ? { sums: zeros() } : {};
  return { params, m: zeros(), v: zeros(), ...sums };
}

function rates(step: number, settings: Settings): HostTensors {
  const [correction1, correction2] = biasCorrections(step + 1, settings);
  return {
    learningRate: float32([learningRate(step, settings)], []),
    biasCorrection1: float32([correction1], []),
    biasCorrection2: float32([correction2], []),
  };
}

type Batches = (step: number, row: number) => HostTensors;

function datasetBatches(settings: Settings): Batches {
  const dataset: Dataset = openDataset(settings.dataDir, settings.dataset);
  const shape = [settings.batchSize, settings.blockSize];
  return (step, row) => {
    const { x, y } = drawBatch(dataset.train, { ...settings, step, row, use: "train" });
    return { x: int32(x, shape), y: int32(y, shape) };
  };
}

/** Eight batches in turn: one alone is soon known by heart, and gradients near 0 are slower or faster than others. */
function randomBatches({ batchSize, blockSize, vocabSize, seed }: Settings): Batches {
  const shape = [batchSize, blockSize];
  const ids = (use: string) =>
    Int32Array.from({ length: batchSize * blockSize }, (_, index) =>
      Math.floor(uniform(seed, use, 0, index) * vocabSize),
    );
  const batches = Array.from({ length: 8 }, (_, index) => ({
    x: int32(ids(`bench-x${index}`), shape),
    y: int32(ids(`bench-y${index}`), shape),
  }));
  let next = 0;
  return () => batches[next++ % batches.length]!;
}

/** Products of square matrices, PRODUCTS a step, each of the one before, so that casts and calls hardly count. */
async function openProduct(settings: Settings): Promise<TakeStep> {
  const { dtype, device } = resolveDevice(settings);
  const size = productSize(device);
  const deviation = Math.sqrt(3 / size); // keeps the products' size: values of variance 1 / size
  const factor = (use: string) =>
    float32(
      Float32Array.from({ length: size * size }, (_, i) => (2 * uniform(0, use, 0, i) - 1) * deviation),
      [size, size],
    );
  const [a, b] = [factor("bench-a"), factor("bench-b")];
  const session = await openSession({ product: { a, b } }, { compile: settings.compile, dtype });
  const multiply = session.define(({ product }) => {
    const { a, b } = product as { a: tf.Tensor2D; b: tf.Tensor2D };
    let c = b;
    for (let index = 0; index < PRODUCTS; index++) c = tf.matMul(a, c);
    return { outputs: { corner: tf.slice(c, [0, 0], [1, 1]) } };
  });
  return async () => (await multiply({})).corner!.values[0]!;
}

/** Peak resident memory of this process; on Linux the peak then begins anew. */
function peakMemory(): number {
  if (process.platform !== "linux") return process.resourceUsage().maxRSS * 1024;
  const status = fs.readFileSync("/proc/self/status", "utf8");
  const peak = Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
  try {
    fs.writeFileSync("/proc/self/clear_refs", "5");
  } catch {
    // Not allowed here: the peak is that of the process's whole life.
  }
  return peak;
}

async function answerRequests(): Promise<void> {
  let step: TakeStep | undefined;
  const answer = async (request: BenchRequest): Promise<BenchAnswers[BenchRequest["op"]]> => {
    if (request.op === "open") {
      const { step: opened, ...found } = await open(request);
      step = opened;
      return found;
    }
    if (request.op === "memory") return { peakBytes: peakMemory() };
    if (!step) throw new Error("Cannot measure: nothing was opened.");
    if (request.op === "run") return await run(step, request.count);
    let metadata = "";
    const started = performance.now();
    await step((bytes) => {
      metadata = Buffer.from(bytes).toString("base64");
    });
    return { metadata, ms: performance.now() - started };
  };
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const reply = await answer(JSON.parse(line) as BenchRequest).catch((error: Error) => ({ error: error.message }));
    process.stdout.write(`${JSON.stringify(reply)}\n`);
  }
}

async function run(step: TakeStep, count: number): Promise<BenchAnswers["run"]> {
  const ms: number[] = [];
  let loss = 0;
  for (let index = 0; index < count; index++) {
    const started = performance.now();
    loss = await step();
    ms.push(performance.now() - started);
  }
  return { ms, loss };
}

void answerRequests().then(() => process.exit(0));
