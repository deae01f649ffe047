/**
 * The training loop: an async generator that yields a record of each thing it does and leaves showing them to its
 * caller. Batches, dropout and evaluations are functions of (seed, step), so a run that was stopped and resumed is the
 * run that was not. The steps themselves stand in steps.ts. Notebook 01-train drives it.
 */
import { setImmediate } from "node:timers/promises";
import {
  type Checkpoint,
  hasCheckpoint,
  openCheckpoint,
  readState,
  removeCheckpoints,
  saveCheckpoint,
} from "./checkpoint.js";
import type { Settings } from "./config.js";
import { type Batch, type Dataset, drawBatch, openDataset } from "./data.js";
import { resolveDevice } from "./engine/device.js";
import {
  float32,
  type HostTensors,
  int32,
  mapRecord,
  openSession,
  type RunStep,
  type Session,
  toHost,
} from "./engine/session.js";
import { loadTensorFlow } from "./engine/tensorflow.js";
import { countParameters, initialParameters, parameterSpecs } from "./model.js";
import { biasCorrections, decayGroups, learningRate } from "./optimizer.js";
import { key } from "./random.js";
import type { CheckpointRecord, EvalRecord, IterRecord, StartRecord, StepRecord } from "./records.js";
import { openRunLog, type RunLog, runIdentity } from "./runs.js";
import { trainingSteps } from "./steps.js";
import { folioVersion } from "./version.js";

/** What a run holds while it lasts. */
interface Run {
  readonly settings: Settings;
  readonly dataset: Dataset;
  readonly session: Session;
  readonly accumulate: RunStep;
  readonly update: RunStep;
  readonly evaluate: RunStep;
  readonly runId: string;
  readonly resumedFrom: string | undefined;
  /** Updates done. */
  step: number;
  /** Whether the evaluation before the next update was done. */
  evaluated: boolean;
  bestValLoss: number | null;
  trainedMs: number;
  savedStep: number;
}

/**
 * Trains. Every update yields an `iter` record; every `evalInterval` updates, and at the end, an `eval` record comes
 * first, and a `checkpoint` record when one was saved. The log in `outDir` keeps every `logInterval`-th `iter`.
 * Aborting saves a checkpoint after the update under way and ends with reason "aborted".
 * @throws {RangeError} for settings, data or a checkpoint that do not fit together
 * @throws {Error} when the loss is not finite any more, or nothing can be saved
 * @example
 * for await (const record of train(settings)) if (record.kind === "eval") console.log(record.step, record.valLoss);
 */
export async function* train(
  settings: Settings,
  { signal }: { signal?: AbortSignal } = {},
): AsyncGenerator<StepRecord> {
  const dataset = openDataset(settings.dataDir, settings.dataset);
  let run: Run | undefined;
  let log: RunLog | undefined;
  try {
    run = await openRun(settings, dataset);
    // An evaluation alone leaves the folder as it is.
    if (!settings.evalOnly) log = openRunLog(run.settings, run);
    for await (const record of loop(run, signal)) {
      if (record.kind !== "iter" || record.step % settings.logInterval === 0) log?.append(record);
      yield record;
    }
  } finally {
    log?.close();
    run?.session.dispose();
    dataset.close();
  }
}

async function* loop(run: Run, signal: AbortSignal | undefined): AsyncGenerator<StepRecord> {
  const { settings } = run;
  yield startRecord(run);
  let finished = false;
  while (!finished && !signal?.aborted) {
    const done = run.step >= settings.maxIters;
    const due = !run.evaluated && (done || run.step % settings.evalInterval === 0);
    if (due || settings.evalOnly) {
      const record = await evaluation(run, signal);
      if (!record) break;
      yield record;
      const worthSaving = record.best || settings.alwaysSaveCheckpoint || done;
      if (worthSaving && run.step > 0 && !settings.evalOnly) yield await checkpoint(run, record.best);
    }
    finished = done || settings.evalOnly;
    if (!finished && !signal?.aborted) yield await update(run);
  }
  const unsaved = run.savedStep !== run.step && run.step > 0;
  if (!finished && unsaved && !settings.evalOnly) yield await checkpoint(run, false);
  const { step, bestValLoss, trainedMs } = run;
  yield { kind: "end", step, reason: finished ? "finished" : "aborted", bestValLoss, trainedMs };
}

async function openRun(given: Settings, dataset: Dataset): Promise<Run> {
  const { dtype } = resolveDevice(given); // first: it decides which devices TensorFlow loads
  const settings = resolveSettings(given, dataset);
  if (settings.initFrom !== "scratch" && settings.initFrom !== "resume") {
    throw new RangeError(`Cannot start from ${settings.initFrom}: Folio does not read these weights yet; use scratch.`);
  }
  const resumed = settings.initFrom === "resume" ? openToResume(settings, dataset) : undefined;
  if (!resumed) checkFolder(settings);
  const params = resumed?.params ?? (await hostParameters(settings));
  const zeros = () => mapRecord(params, ({ shape, values }) => float32(new Float32Array(values.length), shape));
  const sums = settings.gradientAccumulationSteps > 1 ? { sums: zeros() } : {};
  const state = { params, m: resumed?.m ?? zeros(), v: resumed?.v ?? zeros(), ...sums };
  const session = await openSession(state, { compile: settings.compile, dtype });
  // Last: whatever else is wrong with the settings was found before this.
  if (!resumed && settings.overwrite && !settings.evalOnly) removeCheckpoints(settings.outDir);
  const steps = trainingSteps(settings);
  const { train: trainSplit, val } = dataset.meta.splits;
  return {
    settings,
    dataset,
    session,
    accumulate: session.define(steps.accumulate),
    update: session.define(steps.update),
    evaluate: session.define(steps.evaluate),
    runId: runIdentity(settings, { data: `${trainSplit.sha256} ${val.sha256}`, folio: folioVersion() }),
    resumedFrom: resumed?.path,
    step: resumed?.step ?? 0,
    evaluated: resumed?.evaluated ?? false,
    // A loss on other text is no measure for this one.
    bestValLoss: resumed?.settings.dataset === settings.dataset ? resumed.bestValLoss : null,
    trainedMs: resumed?.trainedMs ?? 0,
    savedStep: resumed?.step ?? -1,
  };
}

/** Settings with the vocabulary of the dataset, checked against it. */
function resolveSettings(settings: Settings, { meta, train, val }: Dataset): Settings {
  const vocabSize = settings.vocabSize || meta.vocabSize;
  if (vocabSize < meta.vocabSize) {
    throw new RangeError(
      `Cannot train on ${meta.dataset}: vocabSize is ${vocabSize}, and the dataset has ${meta.vocabSize} ids; use vocabSize 0 or at least ${meta.vocabSize}.`,
    );
  }
  // A split that is too short for a block shows in its first row.
  drawBatch(train, { ...settings, vocabSize, batchSize: 1, step: 0, row: 0, use: "eval-train" });
  drawBatch(val, { ...settings, vocabSize, batchSize: 1, step: 0, row: 0, use: "eval-val" });
  return { ...settings, vocabSize };
}

/** A run that goes on may change how it trains, not what the model is. */
function openToResume(settings: Settings, { meta }: Dataset): Checkpoint {
  const checkpoint = openCheckpoint(settings.outDir, "last");
  const differing = (["nLayer", "nHead", "nEmbd", "blockSize", "vocabSize", "bias", "tieHead", "gelu"] as const).filter(
    (name) => checkpoint.settings[name] !== settings[name],
  );
  if (differing.length > 0) {
    const differences = differing.map((name) => `${name} ${checkpoint.settings[name]} there, ${settings[name]} here`);
    throw new RangeError(
      `Cannot resume from ${settings.outDir}: the checkpoint has another shape (${differences.join("; ")}). Use its settings, or train from scratch into another --out_dir.`,
    );
  }
  if (JSON.stringify(checkpoint.tokenizer) !== JSON.stringify(meta.tokenizer)) {
    throw new RangeError(
      `Cannot resume from ${settings.outDir}: it was trained with another tokenizer than that of ${meta.dataset}, so the ids would mean something else. Use its dataset (${checkpoint.settings.dataset}), or train from scratch into another --out_dir.`,
    );
  }
  return checkpoint;
}

function checkFolder({ outDir, overwrite, evalOnly }: Settings): void {
  if (overwrite || evalOnly || !hasCheckpoint(outDir)) return;
  throw new Error(
    `Cannot train into ${outDir}: it holds a run already. Go on with it (--init_from=resume), choose another --out_dir, or replace it (--overwrite).`,
  );
}

async function hostParameters(settings: Settings): Promise<HostTensors> {
  const tensors = initialParameters(settings, settings.seed);
  const host = await Promise.all(Object.entries(tensors).map(async ([name, t]) => [name, await toHost(t)] as const));
  for (const tensor of Object.values(tensors)) tensor.dispose();
  return Object.fromEntries(host);
}

function startRecord({ settings, runId, step, resumedFrom, session }: Run): StartRecord {
  return {
    kind: "start",
    step,
    runId,
    parameters: countParameters(settings),
    ...decayGroups(parameterSpecs(settings)),
    tokensPerStep: tokensPerStep(settings),
    ...resolveDevice(settings),
    compiled: session.compiled,
    ...(resumedFrom ? { resumedFrom } : {}),
  };
}

/**
 * Mean loss over `evalIters` random batches of each split, the same ones whenever this step is evaluated.
 * Undefined when it was aborted.
 */
async function evaluation(run: Run, signal: AbortSignal | undefined): Promise<EvalRecord | undefined> {
  const { settings, step } = run;
  const mean = async (use: "eval-train" | "eval-val") => {
    let sum = 0;
    for (let index = 0; index < settings.evalIters; index++) {
      await setImmediate(); // eager steps never leave the microtask queue: let timers and signals in
      if (signal?.aborted) return Number.NaN;
      const tokens = use === "eval-train" ? run.dataset.train : run.dataset.val;
      const batch = drawBatch(tokens, { ...settings, step, row: index * settings.batchSize, use });
      sum += scalar(await run.evaluate(batchInputs(batch)), "loss");
    }
    return sum / settings.evalIters;
  };
  const trainLoss = await mean("eval-train");
  const valLoss = await mean("eval-val");
  if (signal?.aborted) return undefined;
  // Before a checkpoint of broken weights takes the place of a good one.
  for (const loss of [trainLoss, valLoss]) if (!isSane(loss)) throw exploded(run, `the evaluated loss is ${loss}`);
  const best = valLoss < (run.bestValLoss ?? Number.POSITIVE_INFINITY);
  if (best) run.bestValLoss = valLoss;
  run.evaluated = true;
  return { kind: "eval", step, trainLoss, valLoss, learningRate: learningRate(step, settings), best };
}

async function update(run: Run): Promise<IterRecord> {
  const { settings, step } = run;
  const started = performance.now();
  const rate = learningRate(step, settings);
  const [correction1, correction2] = biasCorrections(step + 1, settings);
  const rates = {
    learningRate: float32([rate], []),
    biasCorrection1: float32([correction1], []),
    biasCorrection2: float32([correction2], []),
  };
  const micros = settings.gradientAccumulationSteps;
  await setImmediate();
  let loss = 0;
  for (let micro = 0; micro < micros - 1; micro++) {
    await setImmediate();
    loss += scalar(await run.accumulate(microInputs(run, micro)), "loss") / micros;
  }
  const outputs = await run.update({ ...microInputs(run, micros - 1), ...rates });
  loss += scalar(outputs, "loss") / micros;
  const gradNorm = scalar(outputs, "gradNorm");
  if (!isSane(loss)) throw exploded(run, `the loss is ${loss}`);
  if (!Number.isFinite(gradNorm)) throw exploded(run, `the gradient's norm is ${gradNorm}`);
  const elapsedMs = performance.now() - started;
  run.trainedMs += elapsedMs;
  run.step += 1;
  run.evaluated = false;
  return {
    kind: "iter",
    step,
    loss,
    learningRate: rate,
    gradNorm,
    elapsedMs,
    tokens: run.step * tokensPerStep(settings),
    tokensPerSecond: (tokensPerStep(settings) / elapsedMs) * 1000,
  };
}

/** Inputs of one micro-batch. Its rows follow on those of the micro-batches before it, in the data and in dropout. */
function microInputs({ settings, step, dataset }: Run, micro: number): HostTensors {
  const row = micro * settings.batchSize;
  const [first, second] = key(settings.seed, "dropout", step) as unknown as [number, number];
  const batch = drawBatch(dataset.train, { ...settings, step, row, use: "train" });
  return { ...batchInputs(batch), dropoutKey: int32([first, (second + row) | 0], [2]) };
}

function batchInputs({ x, y, batchSize, blockSize }: Batch): HostTensors {
  return { x: int32(x, [batchSize, blockSize]), y: int32(y, [batchSize, blockSize]) };
}

async function checkpoint(run: Run, best: boolean): Promise<CheckpointRecord> {
  const { session, settings, runId, step, evaluated, bestValLoss, trainedMs, dataset } = run;
  const [params, m, v] = [await session.read("params"), await session.read("m"), await session.read("v")];
  for (const [name, { values }] of Object.entries(params)) {
    const largest = (values as Float32Array).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    if (!(largest < LARGEST_WEIGHT)) throw exploded(run, `${name} has values as large as ${largest.toPrecision(3)}`);
  }
  const versions = {
    folio: folioVersion(),
    node: process.versions.node,
    tensorflow: loadTensorFlow().tensorflowVersion,
  };
  const { tokenizer } = dataset.meta;
  const path = saveCheckpoint(
    settings.outDir,
    { params, m, v, runId, step, evaluated, bestValLoss, trainedMs, settings, tokenizer, versions },
    { best },
  );
  run.savedStep = step;
  return { kind: "checkpoint", step, path, best };
}

// A model that knows nothing has ln(vocabSize) nats, 12 at most. 1,000 are no spike that training gets over.
const isSane = (loss: number): boolean => Math.abs(loss) < 1000;
// Larger ones have squares that are no 32-bit floats: layer norms then give 0, and the loss looks sane.
const LARGEST_WEIGHT = 1e18;

function exploded({ settings, step }: Run, found: string): Error {
  const { outDir, gradClip } = settings;
  const good = hasCheckpoint(outDir)
    ? `The last good checkpoint is step ${readState(outDir).step} in ${outDir}.`
    : "No checkpoint was saved yet.";
  const rate = learningRate(step, settings).toPrecision(3);
  const clipping = gradClip === 0 ? "no clipping (gradClip 0)" : `too little clipping (gradClip ${gradClip})`;
  return new Error(
    `Cannot go on: ${found} at step ${step}. ${good} Likely causes: a learning rate that is too high (${rate} now; lower learningRate or raise warmupIters), ${clipping}, or bfloat16 where float32 is needed.`,
  );
}

function tokensPerStep({ batchSize, blockSize, gradientAccumulationSteps }: Settings): number {
  return batchSize * blockSize * gradientAccumulationSteps;
}

function scalar(outputs: HostTensors, name: string): number {
  return outputs[name]!.values[0]!;
}
