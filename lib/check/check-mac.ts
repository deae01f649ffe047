/**
 * Checks a Mac with Apple silicon, for whoever has one: Folio's operations for its processor, WebGPU on its GPU, both
 * against TensorFlow's operations, the time of training steps, and the demo for Apple's GPU. `folio check mac` shows it.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { bench, type ModeResult } from "../bench/bench.js";
import { openDataset } from "../data/batches.js";
import { operationsVariant } from "../engine/tensorflow/own-operations.js";
import { findAdapter } from "../engine/webgpu.js";
import { type CheckMacSettings, parseBenchSettings, parseSettings, type Settings } from "../settings/settings.js";
import { evaluateSplit } from "../train/evaluate.js";
import { train } from "../train/train.js";
import { openCheckpoint } from "../weights/checkpoint.js";
import { type CheckRecord, checked, doing, fact, notChecked } from "./report.js";
import { compareSteps, differences, plainWay, STEPS, takeSteps, tolerances, type Way, within } from "./take-steps.js";

interface Options {
  /** The settings of configs/apple_demo.ts. */
  readonly demo: Partial<Settings>;
  readonly signal?: AbortSignal | undefined;
  /** For trying the check elsewhere: the machine to be taken for, and its GPU. */
  readonly machine?: { readonly platform: string; readonly arch: string };
  readonly gpu?: "mps" | "webgpu";
}

/** The demo's loss is about 1.60 where others ran it; one seed's may be off by some hundredths. */
const demo = { steps: 2000, mostLoss: 1.65 } as const;

/**
 * Yields the rows and tables of the check (checkReport makes the report of them). The demo's dataset must be prepared.
 * @throws {Error} when this is not a Mac with Apple silicon
 */
export async function* checkMac(settings: CheckMacSettings, options: Options): AsyncGenerator<CheckRecord> {
  const { platform, arch } = options.machine ?? process;
  if (platform !== "darwin" || arch !== "arm64") {
    throw new RangeError(
      `Cannot check the Mac: this machine is ${platform} ${arch}; wanted darwin arm64, Apple silicon.`,
    );
  }
  yield* checkOperations();
  yield* checkSteps(options);
  yield* timeSteps(settings, options);
  yield* runDemo(settings, options);
}

function* checkOperations(): Generator<CheckRecord> {
  const variant = operationsVariant() ?? "none";
  yield checked("Folio's own operations", "neon or neonbf16", variant, variant.startsWith("neon"));
}

/** Folio's operations on the processor and WebGPU on the GPU, against TensorFlow's operations. */
async function* checkSteps({ signal, gpu = "mps" }: Options): AsyncGenerator<CheckRecord> {
  yield doing("the steps of a small model by TensorFlow's own operations");
  const reference = await takeSteps(plainWay, { plain: true, signal });
  yield fact(reference.version);
  yield fact(`GPU: ${(await findAdapter()).name}`);
  const ways: [string, Way][] = [
    ["compiled, with Folio's operations", { ...plainWay, compile: true }],
    ["on the GPU by WebGPU", { ...plainWay, device: gpu }],
  ];
  for (const [where, way] of ways) {
    yield doing(`the same steps ${where}`);
    const difference = compareSteps(reference, await takeSteps(way, { signal }));
    const what = `a small model's losses, gradients and updates in ${STEPS} steps ${where}, against TensorFlow's`;
    const most = tolerances.float32;
    yield checked(what, differences(most, "≤ "), differences(difference), within(difference, most));
  }
}

/** The CPU demo's model, and the Apple demo's. */
async function* timeSteps({ steps }: CheckMacSettings, options: Options): AsyncGenerator<CheckRecord> {
  const { signal, gpu = "mps" } = options;
  const { nLayer, nHead, nEmbd, blockSize, batchSize } = options.demo;
  const models = {
    "4 layers, 128 wide, 12 × 64": { nLayer: 4, nHead: 4, nEmbd: 128, blockSize: 64, batchSize: 12 },
    [`${nLayer} layers, ${nEmbd} wide, ${batchSize} × ${blockSize}`]: { nLayer, nHead, nEmbd, blockSize, batchSize },
  };
  const rows: string[][] = [];
  for (const [model, shape] of Object.entries(models)) {
    for (const device of ["cpu", gpu] as const) {
      const timed = parseBenchSettings({ ...shape, vocabSize: 65, device, dtype: "float32", steps, realData: false });
      for await (const record of bench(timed, { signal })) {
        if (record.kind === "progress") yield doing(`${model} on ${device}: ${record.doing}`);
        else rows.push([model, device, ...timeOf(record.result.modes[0]!)]);
      }
      signal?.throwIfAborted();
    }
  }
  const head = ["Model", "Device", "ms per step (quartiles)", "tokens/s", "GFLOP/s"];
  yield { kind: "table", table: { title: `A training step, float32, ${steps} steps:`, head, rows } };
}

function timeOf({ medianMs, quartilesMs, tokensPerSecond, gigaflops }: ModeResult): string[] {
  const quartiles = quartilesMs.map((ms) => ms.toFixed(1)).join(" to ");
  return [
    `${medianMs.toFixed(1)} (${quartiles})`,
    Math.round(tokensPerSecond).toLocaleString("en-US"),
    gigaflops.toFixed(0),
  ];
}

/** Trains the demo on the GPU, and evaluates it on the whole validation split. */
async function* runDemo(settings: CheckMacSettings, options: Options): AsyncGenerator<CheckRecord> {
  const { signal, gpu = "mps" } = options;
  const { maxIters, dataDir } = settings;
  const outDir = fs.mkdtempSync(path.join(os.tmpdir(), "folio-check-"));
  try {
    const run = parseSettings({
      ...options.demo,
      ...{ outDir, dataDir, maxIters, device: gpu, alwaysSaveCheckpoint: true, tensorboard: false },
    });
    const started = performance.now();
    for await (const record of train(run, { ...(signal && { signal }) })) {
      if (record.kind === "iter") yield doing(`the demo, step ${record.step + 1} of ${maxIters}`);
    }
    signal?.throwIfAborted();
    const minutes = ((performance.now() - started) / 60_000).toFixed(1);
    yield doing("the demo's loss on the whole validation split");
    const dataset = openDataset(dataDir, run.dataset);
    const { loss } = await evaluateSplit(openCheckpoint(outDir), dataset.val).finally(() => dataset.close());
    const what = `the demo (${run.nLayer} layers, ${run.nEmbd} wide), loss on the whole validation split after ${maxIters} steps`;
    const wanted = `≤ ${demo.mostLoss} after ${demo.steps} steps (about 1.60 by others)`;
    const found = `${loss.toFixed(4)}, ${minutes} minutes`;
    yield maxIters >= demo.steps
      ? checked(what, wanted, found, loss <= demo.mostLoss)
      : notChecked(what, wanted, `${found}: too few steps`);
  } finally {
    fs.rmSync(outDir, { recursive: true, force: true });
  }
}
