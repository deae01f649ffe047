/**
 * The process in which `folio bench` measures one mode of Folio: it answers the requests of protocol.ts with complete
 * training steps, or with matrix products, which show the machine's peak. Each mode has a process of its own, so that
 * neither memory nor threads of one affect another.
 */
import fs from "node:fs";
import os from "node:os";
import readline from "node:readline";
import * as tf from "@tensorflow/tfjs-core";
import { engineVersions, type ResolvedDevice, resolveDevice } from "../engine/device.js";
import { float32 } from "../engine/host-tensors.js";
import { fusedEnabled } from "../engine/operations/fused.js";
import { openSession } from "../engine/session.js";
import { nvidiaGpus } from "../host/hardware.js";
import { type BenchAnswers, type BenchRequest, type BenchTask, PRODUCTS, productSize } from "./protocol.js";
import { openTraining, type TakeStep } from "./training-step.js";

async function open(asked: BenchTask): Promise<{ step: TakeStep } & BenchAnswers["open"]> {
  const machine = await resolveDevice(asked.settings);
  const { device, dtype } = machine;
  const step = asked.task === "product" ? await openProduct(machine) : (await openTraining(asked, machine)).step;
  const without = device === "cpu" && !fusedEnabled() ? " without Folio's own operations" : "";
  const [name, version] = Object.entries(engineVersions(machine))[0]!;
  const engine = `${name === "tensorflow" ? "TensorFlow" : name} ${version}${without}`;
  return { step, device, deviceName: machine.deviceName ?? deviceName(device), dtype, version: engine };
}

function deviceName(device: string): string {
  if (device === "cpu") return os.cpus()[0]?.model.trim() || "unknown";
  return nvidiaGpus()[0]?.name || device;
}

/**
 * Products of square matrices, PRODUCTS per step, each with the result of the one before, so that casts and calls
 * hardly count.
 */
async function openProduct(machine: ResolvedDevice): Promise<TakeStep> {
  const size = productSize(machine.device);
  // Variance 1 / size, which keeps the products' magnitude; a sine, since a million random draws would take longer.
  const factor = (pace: number) =>
    float32(
      Float32Array.from({ length: size * size }, (_, i) => Math.sin(i * pace) * Math.sqrt(2 / size)),
      [size, size],
    );
  const [a, b] = [factor(12.9898), factor(78.233)];
  const session = await openSession({ product: { a, b } }, machine);
  const multiply = session.define(({ product }) => {
    const { a, b } = product as { a: tf.Tensor2D; b: tf.Tensor2D };
    let c = b;
    for (let index = 0; index < PRODUCTS; index++) c = tf.matMul(a, c);
    return { outputs: { corner: tf.slice(c, [0, 0], [1, 1]) } };
  });
  return async () => (await multiply({})).corner!.values[0]!;
}

/** Peak resident memory of this process; on Linux the peak is then reset. */
function peakMemory(): number {
  if (process.platform !== "linux") return process.resourceUsage().maxRSS * 1024;
  const status = fs.readFileSync("/proc/self/status", "utf8");
  const peak = Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
  try {
    fs.writeFileSync("/proc/self/clear_refs", "5");
  } catch {
    // Not permitted here: the peak remains that of the whole process.
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
