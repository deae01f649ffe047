/**
 * The training loop: an async generator that yields a record of each thing it does and leaves showing them to its
 * caller. Batches, dropout and evaluations are functions of (seed, step), so a run that was stopped and resumed is the
 * run that was not. The steps themselves stand in steps.ts, how a run is opened in training-run.ts. Notebook
 * 01-train drives it.
 */
import { setImmediate } from "node:timers/promises";
import { drawBatch, openDataset } from "../data/batches.js";
import { engineVersions } from "../engine/device.js";
import { float32, type HostTensors, mapRecord } from "../engine/host-tensors.js";
import { numericsOf } from "../engine/numerics.js";
import { folioVersion } from "../host/package.js";
import { countParameters, parameterSpecs } from "../model/model.js";
import { flopsPerToken, tokensPerStep } from "../model/sizing.js";
import { hasCheckpoint, saveCheckpoint } from "../runs/checkpoint.js";
import type { CheckpointRecord, EvalRecord, IterRecord, StartRecord, StepRecord, Tracker } from "../runs/records.js";
import { openRunLog } from "../runs/run-folder.js";
import { loadWandb, openTensorBoard, removeEventFiles, type Wandb, wandbTracker } from "../runs/trackers.js";
import type { Settings } from "../settings/settings.js";
import { batchInputs } from "./batch-feed.js";
import { brokenWeights, explained, exploded, isSaneLoss } from "./failures.js";
import { type Held, isScaled, openRun, type Run, type TrainOptions } from "./open-run.js";
import { biasCorrections, decayGroups } from "./optimizers/adamw.js";
import { LEAST_SCALE } from "./optimizers/loss-scale.js";
import { learningRate } from "./optimizers/schedule.js";

/**
 * Trains. Every update yields an `iter` record; every `evalInterval` updates, and at the end, an `eval` record comes
 * first, and a `checkpoint` record when one was saved. The log in `outDir` keeps every `logInterval`-th `iter`.
 * @throws {RangeError} for settings, data, weights or a checkpoint that do not fit together
 * @throws {Error} when the loss is not finite any more, memory runs out, nothing can be saved, or another process trains
 * into the same folder
 * @example
 * for await (const record of train(settings)) if (record.kind === "eval") console.log(record.step, record.valLoss);
 */
export async function* train(settings: Settings, options: TrainOptions = {}): AsyncGenerator<StepRecord> {
  const wandb = settings.wandbLog && !settings.evalOnly ? await loadWandb() : undefined;
  const dataset = openDataset(settings.dataDir, settings.dataset);
  const held: Held = { trackers: [] };
  try {
    const run = await openRun(settings, dataset, { options, held });
    // An evaluation alone leaves the folder as it is.
    if (!settings.evalOnly) await openTrackers(run, wandb, held.trackers);
    for await (const record of loop(run)) {
      if (record.kind !== "iter" || record.step % settings.logInterval === 0) {
        for (const tracker of held.trackers) tracker.append(record);
      }
      yield record;
    }
  } catch (error) {
    throw explained(error, held.run?.settings ?? settings);
  } finally {
    for (const tracker of held.trackers) await tracker.close();
    held.run?.session.dispose();
    dataset.close();
    held.lock?.release();
  }
}

async function openTrackers(run: Run, wandb: Wandb | undefined, open: Tracker[]): Promise<void> {
  const { settings, runId, step } = run;
  const log = openRunLog(settings, run);
  open.push(log);
  if (step === 0) removeEventFiles(settings.outDir);
  const openers = [
    ...(settings.tensorboard ? [openTensorBoard] : []),
    ...(wandb ? [wandbTracker(wandb)] : []),
    ...(run.options.trackers ?? []),
  ];
  for (const opener of openers) open.push(await opener({ settings, runId, step, kept: log.kept }));
}

async function* loop(run: Run): AsyncGenerator<StepRecord> {
  const { settings } = run;
  const { signal } = run.options;
  yield startRecord(run);
  let finished = false;
  while (!finished && !signal?.aborted) {
    const done = run.step >= settings.maxIters;
    const due = !run.evaluated && (done || run.step % settings.evalInterval === 0);
    let [save, best] = [false, false];
    if (due || settings.evalOnly) {
      const record = await evaluation(run);
      if (!record) break;
      yield record;
      best = record.best;
      save = best || settings.alwaysSaveCheckpoint || done;
    }
    const numbered = isNumbered(run);
    if ((save || numbered) && run.step > 0 && !settings.evalOnly) yield await checkpoint(run, { best, numbered });
    finished = done || settings.evalOnly;
    if (finished || signal?.aborted) continue;
    const record = await update(run);
    if (record) yield record;
  }
  const unsaved = run.savedStep !== run.step && run.step > 0;
  if (!finished && unsaved && !settings.evalOnly) yield await checkpoint(run, { best: false, numbered: false });
  const { step, bestValLoss, trainedMs } = run;
  yield { kind: "end", step, reason: finished ? "finished" : "aborted", bestValLoss, trainedMs };
}

/** Whether a checkpoint of this step is to be kept, and none is yet. */
function isNumbered({ settings: { saveInterval, outDir }, step }: Run): boolean {
  return saveInterval > 0 && step > 0 && step % saveInterval === 0 && !hasCheckpoint(outDir, step);
}

function startRecord({ settings, runId, step, resumedFrom, session, machine }: Run): StartRecord {
  const { device, deviceReason, deviceName, dtype, dtypeReason } = machine;
  return {
    kind: "start",
    step,
    runId,
    parameters: countParameters(settings),
    parametersWithoutPositions: countParameters(settings, { positions: false }),
    flopsPerToken: flopsPerToken(settings),
    ...decayGroups(parameterSpecs(settings)),
    tokensPerStep: tokensPerStep(settings),
    device,
    deviceReason,
    ...(deviceName && { deviceName }),
    dtype,
    dtypeReason,
    compiled: session.compiled,
    numerics: numericsOf(machine),
    ...(resumedFrom ? { resumedFrom } : settings.initFrom === "scratch" ? {} : { initFrom: settings.initFrom }),
  };
}

/**
 * Mean loss over `evalIters` random batches of each split, the same ones whenever this step is evaluated.
 * Undefined when it was aborted.
 */
async function evaluation(run: Run): Promise<EvalRecord | undefined> {
  const { settings, step } = run;
  const { signal, onProgress } = run.options;
  const { batchSize, blockSize, seed, vocabSize } = settings;
  let done = 0;
  const mean = async (use: "eval-train" | "eval-val") => {
    let sum = 0;
    for (let index = 0; index < settings.evalIters; index++) {
      await setImmediate(); // eager steps never leave the microtask queue: let timers and signals in
      if (signal?.aborted) return Number.NaN;
      const tokens = use === "eval-train" ? run.dataset.train : run.dataset.val;
      const batch = drawBatch(tokens, { batchSize, blockSize, seed, vocabSize, step, row: index * batchSize, use });
      sum += scalar(await run.evaluate(batchInputs(batch)), "loss");
      onProgress?.({ step, doing: "evaluation", done: ++done, total: 2 * settings.evalIters });
    }
    return sum / settings.evalIters;
  };
  const trainLoss = await mean("eval-train");
  const valLoss = await mean("eval-val");
  if (signal?.aborted) return undefined;
  // Before a checkpoint of broken weights takes the place of a good one.
  for (const loss of [trainLoss, valLoss]) if (!isSaneLoss(loss)) throw exploded(run, `the evaluated loss is ${loss}`);
  const best = valLoss < (run.bestValLoss ?? Number.POSITIVE_INFINITY);
  if (best) run.bestValLoss = valLoss;
  run.evaluated = true;
  return { kind: "eval", step, trainLoss, valLoss, learningRate: learningRate(step, settings), best };
}

/** One update: micro-batches, then AdamW. Undefined when it was aborted between two micro-batches. */
async function update(run: Run): Promise<IterRecord | undefined> {
  const { settings, step } = run;
  const started = performance.now();
  const [correction1, correction2] = biasCorrections(step + 1, settings);
  const rates = {
    learningRate: float32([learningRate(step, settings)], []),
    biasCorrection1: float32([correction1], []),
    biasCorrection2: float32([correction2], []),
  };
  const outputs = await microBatches(run, rates);
  if (!outputs) return undefined;
  const { loss, gradNorm, lossScale } = outputs;
  const skipped = lossScale !== undefined && !Number.isFinite(gradNorm);
  if (skipped && lossScale < LEAST_SCALE) throw exploded(run, "the gradient overflows however small the loss's scale");
  if (!skipped && !isSaneLoss(loss)) throw exploded(run, `the loss is ${loss}`);
  if (!skipped && !Number.isFinite(gradNorm)) throw exploded(run, `the gradient's norm is ${gradNorm}`);
  const elapsedMs = performance.now() - started;
  const tokens = tokensPerStep(settings);
  run.trainedMs += elapsedMs;
  run.step += 1;
  run.tokens += tokens;
  run.evaluated = false;
  const observed = settings.logUpdates && step % settings.logInterval === 0;
  return {
    kind: "iter",
    step,
    loss,
    learningRate: learningRate(step, settings),
    gradNorm,
    ...(lossScale === undefined ? {} : { lossScale }),
    ...(skipped ? { skipped } : {}),
    ...(observed ? { updateRatios: mapRecord(await run.updateRatios(rates), ({ values }) => values[0]!) } : {}),
    elapsedMs,
    tokens: run.tokens,
    tokensPerSecond: (tokens / elapsedMs) * 1000,
  };
}

/** What an update gives, the loss over all micro-batches. */
interface UpdateOutputs {
  readonly loss: number;
  readonly gradNorm: number;
  readonly lossScale?: number;
}

/** Runs a step's micro-batches, the last with the update; draws each while the one before runs. */
async function microBatches(run: Run, rates: HostTensors): Promise<UpdateOutputs | undefined> {
  const { settings, step, feed } = run;
  const { signal, onProgress } = run.options;
  const micros = settings.gradientAccumulationSteps;
  let loss = 0;
  for (let micro = 0; ; micro++) {
    await setImmediate(); // let timers and signals in
    if (micro > 0 && signal?.aborted) return undefined;
    const last = micro === micros - 1;
    const inputs = feed.take(step, micro);
    const running = last ? run.update({ ...inputs, ...rates }) : run.accumulate(inputs);
    running.catch(() => {}); // it is awaited below, after what may take longer than its failure
    await setImmediate(); // it has begun
    if (!last) feed.prepare(step, micro + 1);
    else if (step + 1 < settings.maxIters) feed.prepare(step + 1, 0);
    const outputs = await running;
    loss += scalar(outputs, "loss") / micros;
    if (last) {
      const lossScale = outputs.lossScale && { lossScale: scalar(outputs, "lossScale") };
      return { loss, gradNorm: scalar(outputs, "gradNorm"), ...lossScale };
    }
    onProgress?.({ step, doing: "step", done: micro + 1, total: micros });
  }
}

async function checkpoint(
  run: Run,
  { best, numbered }: { best: boolean; numbered: boolean },
): Promise<CheckpointRecord> {
  const { session, settings, machine, runId, origin, step, tokens, evaluated, bestValLoss, trainedMs, dataset } = run;
  const [params, m, v] = [await session.read("params"), await session.read("m"), await session.read("v")];
  const scaler = isScaled(settings) ? { scaler: await session.read("scaler") } : {};
  const broken = brokenWeights(params);
  if (broken) throw exploded(run, broken);
  const versions = {
    folio: folioVersion(),
    node: process.versions.node,
    ...engineVersions(machine),
  };
  const { tokenizer } = dataset.meta;
  const path = saveCheckpoint(
    settings.outDir,
    {
      params,
      m,
      v,
      ...scaler,
      runId,
      origin,
      step,
      tokens,
      evaluated,
      bestValLoss,
      trainedMs,
      settings,
      tokenizer,
      numerics: numericsOf(machine),
      versions,
    },
    { best, ...(numbered ? { keep: settings.keepCheckpoints } : {}) },
  );
  run.savedStep = step;
  return { kind: "checkpoint", step, path, best };
}

function scalar(outputs: HostTensors, name: string): number {
  return outputs[name]!.values[0]!;
}
