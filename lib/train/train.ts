/**
 * The training loop: an async generator that yields a record of each action; the caller shows them. Batches, dropout
 * and evaluations are functions of (seed, step), so a run that was stopped and resumed gives the same numbers as an
 * uninterrupted one. steps.ts has the steps; open-run.ts opens a run. Shown in notebook 01-train.
 */
import { setImmediate } from "node:timers/promises";
import { drawBatch } from "../data/batches.js";
import { float32, type HostTensors, mapRecord } from "../engine/host-tensors.js";
import { tokensPerStep } from "../model/sizing.js";
import type { EvalRecord, IterRecord, StepRecord } from "../runs/records.js";
import type { Settings } from "../settings/settings.js";
import { hasCheckpoint } from "../weights/checkpoint.js";
import { batchInputs } from "./batch-feed.js";
import { checkLoss, checkUpdate, explained } from "./failures.js";
import { openRun, type Run, type TrainOptions } from "./open-run.js";
import { learningRate } from "./optimizers/schedule.js";
import { saveRun } from "./save-run.js";
import { startRecord } from "./start-record.js";
import { microsPerDevice, updateInputs } from "./steps.js";

/**
 * Trains. Every update yields an `iter` record; every `evalInterval` updates, and at the end, an `eval` record comes
 * first, and a `checkpoint` record when one was saved. The log in `outDir` keeps every `logInterval`-th `iter`.
 * @throws {RangeError} for settings, data, weights or a checkpoint that do not fit together
 * @throws {Error} when the loss is no longer finite, memory runs out, nothing can be saved, or another process trains
 * into the same folder
 * @example
 * for await (const record of train(settings)) if (record.kind === "eval") console.log(record.step, record.valLoss);
 */
export async function* train(settings: Settings, options: TrainOptions = {}): AsyncGenerator<StepRecord> {
  const run = await openRun(settings, options);
  try {
    for await (const record of loop(run)) {
      run.note(record);
      yield record;
    }
  } catch (error) {
    throw explained(error, run.settings);
  } finally {
    await run.close();
  }
}

async function* loop(run: Run): AsyncGenerator<StepRecord> {
  const { settings, options } = run;
  const { evalOnly, maxIters } = settings;
  // The processes of a cluster stop after the same step.
  const isAborted = () => (run.cluster ? run.stopping : (options.signal?.aborted ?? false));
  yield startRecord(run);

  let finished = false;
  while (!finished && !isAborted()) {
    // Evaluate, and save.
    let evaluated: EvalRecord | undefined;
    if (evalOnly || isEvaluationDue(run)) {
      evaluated = await evaluate(run);
      if (!evaluated) break; // aborted
      yield evaluated;
    }
    if (run.writes && isCheckpointDue(run, evaluated))
      yield await saveRun(run, { best: evaluated?.best, numbered: isNumbered(run) });
    finished = evalOnly || run.step >= maxIters;
    if (finished || isAborted()) continue;

    // Update.
    const updated = await update(run);
    if (updated) yield updated;
  }
  if (!finished && run.writes && isUnsaved(run)) yield await saveRun(run);
  const { step, bestValLoss, trainedMs } = run;
  yield { kind: "end", step, reason: finished ? "finished" : "aborted", bestValLoss, trainedMs };
}

function isEvaluationDue({ settings: { maxIters, evalInterval }, step, evaluated }: Run): boolean {
  return !evaluated && (step >= maxIters || step % evalInterval === 0);
}

function isCheckpointDue(run: Run, evaluated: EvalRecord | undefined): boolean {
  const { alwaysSaveCheckpoint, evalOnly, maxIters } = run.settings;
  if (run.step === 0 || evalOnly) return false;
  const isGood = evaluated && (evaluated.best || alwaysSaveCheckpoint || run.step >= maxIters);
  return isGood || isNumbered(run);
}

const isUnsaved = ({ settings, step, savedStep }: Run) => step > 0 && savedStep !== step && !settings.evalOnly;

/** Whether a checkpoint of this step is to be kept by its step and has not been saved yet. */
function isNumbered({ settings: { saveInterval, outDir }, step }: Run): boolean {
  return saveInterval > 0 && step > 0 && step % saveInterval === 0 && !hasCheckpoint(outDir, step);
}

/**
 * Mean loss over `evalIters` random batches of each split, the same ones whenever this step is evaluated. Undefined if
 * aborted.
 */
async function evaluate(run: Run): Promise<EvalRecord | undefined> {
  const { settings, step } = run;
  const trainLoss = await estimatedLoss(run, "train");
  const valLoss = trainLoss === undefined ? undefined : await estimatedLoss(run, "val");
  if (trainLoss === undefined || valLoss === undefined) return undefined;
  // Checked before a checkpoint of diverged weights could replace a good one.
  for (const loss of [trainLoss, valLoss]) checkLoss(run, loss, "the evaluated loss");
  const best = valLoss < (run.bestValLoss ?? Number.POSITIVE_INFINITY);
  if (best) run.bestValLoss = valLoss;
  run.evaluated = true;
  return { kind: "eval", step, trainLoss, valLoss, learningRate: learningRate(step, settings), best };
}

async function estimatedLoss(run: Run, split: "train" | "val"): Promise<number | undefined> {
  const { step } = run;
  const options = run.cluster ? { ...run.options, signal: undefined } : run.options;
  const { evalIters, batchSize, blockSize, seed, vocabSize } = run.settings;
  const devices = run.session.replicas;
  const shape = { batchSize, blockSize, seed, vocabSize };
  let sum = 0;
  for (let first = 0; first < evalIters; first += devices) {
    await setImmediate(); // eager steps never leave the microtask queue; lets timers and signals run
    if (options.signal?.aborted) return undefined;
    const batches = Array.from({ length: devices }, (_, device) => {
      const row = (first + device) * batchSize;
      return batchInputs(drawBatch(run.dataset[split], { ...shape, step, row, use: `eval-${split}` }));
    });
    const done = Math.min(first + devices, evalIters);
    // Where the devices outnumber the batches that are left, the others repeat the work in vain.
    const outputs = (await run.evaluate(batches)).slice(0, done - first);
    for (const output of outputs) sum += scalar(output, "loss");
    options.onProgress?.({
      step,
      doing: "evaluation",
      done: done + (split === "val" ? evalIters : 0),
      total: 2 * evalIters,
    });
  }
  return options.signal?.aborted ? undefined : sum / evalIters;
}

/** One update: micro-batches, then the optimizer. Undefined if aborted between two micro-batches. */
async function update(run: Run): Promise<IterRecord | undefined> {
  const { settings, step } = run;
  const started = performance.now();
  const rates = updateInputs(step, settings);
  const outputs = await microBatches(run, rates);
  if (!outputs) return undefined;
  const skipped = checkUpdate(run, outputs);
  const elapsedMs = performance.now() - started;
  const tokens = tokensPerStep(settings);
  run.trainedMs += elapsedMs;
  run.step += 1;
  run.tokens += tokens;
  run.evaluated = false;
  const isObserved = settings.logUpdates && step % settings.logInterval === 0;
  return {
    kind: "iter",
    step,
    loss: outputs.loss,
    learningRate: learningRate(step, settings),
    gradNorm: outputs.gradNorm,
    ...(outputs.lossScale === undefined ? {} : { lossScale: outputs.lossScale }),
    ...(skipped ? { skipped } : {}),
    ...(isObserved ? { updateRatios: mapRecord(await run.updateRatios(rates), ({ values }) => values[0]!) } : {}),
    elapsedMs,
    tokens: run.tokens,
    tokensPerSecond: (tokens / elapsedMs) * 1000,
  };
}

/** The outputs of an update; the loss is the mean over all micro-batches. */
interface UpdateOutputs {
  readonly loss: number;
  readonly gradNorm: number;
  readonly lossScale?: number;
}

/** Runs a step's micro-batches, the last with the update; each is drawn while the previous one runs. */
async function microBatches(run: Run, rates: HostTensors): Promise<UpdateOutputs | undefined> {
  const { settings, step, feed, options } = run;
  const micros = microsPerDevice(settings);
  const earlier = Array<number>(run.session.replicas).fill(0); // by device, its part of the mean loss so far
  for (let micro = 0; ; micro++) {
    await setImmediate(); // lets timers and signals run
    if (micro > 0 && !run.cluster && options.signal?.aborted) return undefined;
    const last = micro === micros - 1;
    const inputs = feed.take(step, micro);
    const running = last ? run.update(updates(run, inputs, { rates, earlier })) : run.accumulate(inputs);
    running.catch(() => {}); // it is awaited below, possibly after it has failed
    await setImmediate(); // lets it begin
    if (!last) feed.prepare(step, micro + 1);
    else if (step + 1 < settings.maxIters) feed.prepare(step + 1, 0);
    const outputs = await running;
    if (last) {
      const [first] = outputs as [HostTensors];
      const loss = scalar(first, "loss");
      if (first.stop) run.stopping = scalar(first, "stop") > 0;
      return {
        // Several devices give the mean over all micro-batches.
        loss: settings.devices > 1 || run.cluster ? loss : earlier[0]! + loss / micros,
        gradNorm: scalar(first, "gradNorm"),
        ...(first.lossScale && { lossScale: scalar(first, "lossScale") }),
      };
    }
    for (const [device, output] of outputs.entries()) earlier[device]! += scalar(output, "loss") / micros;
    options.onProgress?.({ step, doing: "step", done: micro + 1, total: micros });
  }
}

/** Each device's inputs of an update. In a cluster, each process says whether it wants to stop. */
function updates(
  { settings, cluster, options }: Run,
  inputs: readonly HostTensors[],
  { rates, earlier }: { rates: HostTensors; earlier: readonly number[] },
): HostTensors[] {
  const stop = cluster && { stop: float32([options.signal?.aborted ? 1 : 0], []) };
  if (settings.devices === 1 && !cluster) return inputs.map((own) => ({ ...own, ...rates }));
  return inputs.map((own, device) => ({ ...own, ...rates, earlierLoss: float32([earlier[device]!], []), ...stop }));
}

function scalar(outputs: HostTensors, name: string): number {
  return outputs[name]!.values[0]!;
}
