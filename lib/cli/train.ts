/**
 * `folio train`: shows the records of lib/train/train.ts as nanoGPT's log lines, with a progress line below them on a
 * terminal. On the first Ctrl-C it saves a checkpoint and prints the command that resumes.
 */

import { setImmediate } from "node:timers/promises";
import type { EndRecord, EvalRecord, IterRecord, StartRecord, StepRecord } from "../runs/records.js";
import { readRunLog } from "../runs/run-folder.js";
import { readOverrides } from "../settings/config-files.js";
import { helpText, shortHelpText } from "../settings/flags.js";
import { shapeOf } from "../settings/model.js";
import { defaultSettings, parseSettings, type Settings } from "../settings/settings.js";
import type { TrainOptions } from "../train/open-run.js";
import { fetchWeights } from "./shared/download-weights.js";
import { checkDataset, describeDevice, eagerNote, peakFlops, warnings } from "./shared/preflight.js";
import { stopOnSignals } from "./shared/stop-signals.js";
import { duration, grouped, type Io, millions, openProgress, type Progress, styled } from "./shared/terminal.js";

export function help(): string {
  return `folio train: trains a model, or resumes a training.

Usage: folio train [config file …] [--setting=value …]

Config files are TypeScript, JavaScript or JSON, or nanoGPT's in Python (read as data, not run). They are named by path,
or Folio's own by name, and later ones override earlier ones; TypeScript and JavaScript are run. Flags override files.
--n_layer=4, --n-layer 4 and --nLayer=4 are the same; --eval_only means True, --no-compile False. The run is written to
out_dir: config.json, log.jsonl, tensorboard/, checkpoint/. Ctrl-C saves and shows how to resume; a second one stops at
once. SIGTERM, a closed terminal and a closed pipe (folio train … | head) save as well. Exit codes: 0 finished, 1
failed, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP, 141 a closed pipe.

  folio train configs/train_shakespeare_char.ts
  folio train cpu_demo --max_iters=500 --out_dir=out-short
  folio train --out_dir=out-short --init_from=resume --max_iters=1000

  folio train --init_from=out-short --out_dir=out-tuned --dataset=shakespeare_char --learning_rate=1e-4

A resumed run (--init_from=resume) keeps its own settings unless others are given. This also works for a run of nanoGPT,
whose ckpt.pt in out_dir has moments and settings; the file is left unchanged. A run that starts from the weights of
another (--init_from=out-short; --checkpoint=1000 or the folder of a checkpoint chooses one) has their shape. mfu is the
fraction of the GPU's peak by its data sheet or, as in nanoGPT, of an A100's if the peak is unknown, as it is for a CPU.

The settings that people change first:
${shortHelpText("train", changedFirst)}

${helpText("train")}`;
}

/** What people change first. */
const changedFirst = [
  ...["dataset", "outDir", "initFrom", "maxIters", "batchSize", "blockSize"],
  ...["nLayer", "nHead", "nEmbd", "dropout", "learningRate", "device", "dtype"],
];

export async function run(args: readonly string[], io: Io): Promise<number> {
  const { files, values, notes } = await readOverrides("train", args);
  for (const note of notes) io.stderr.write(`${note}\n`);
  for (const file of files) io.stdout.write(`Overriding config with ${file}\n`);
  const settings = parseSettings(values, await baseSettings(values));
  await checkDataset(settings);
  const { exitCode } = await showTraining(settings, io, resumeCommand("train", args));
  return exitCode;
}

/** The base of the given settings: those of the run to resume, or the defaults. */
async function baseSettings({
  initFrom,
  outDir = defaultSettings.outDir,
  checkpoint,
}: Partial<Settings>): Promise<Readonly<Settings>> {
  if (initFrom === undefined || initFrom === "scratch") return defaultSettings;
  const { trainedSettings } = await import("../weights/open-weights.js");
  if (initFrom === "resume") return trainedSettings(outDir);
  const { chooseCheckpoint, readState } = await import("../weights/checkpoint.js");
  const chosen = chooseCheckpoint(initFrom, checkpoint);
  if (!chosen) return defaultSettings;
  const { settings } = readState(chosen.outDir, chosen.name);
  const { dropout } = settings;
  const { vocabSize } = defaultSettings; // the dataset's
  return { ...defaultSettings, ...shapeOf(settings), dropout, vocabSize };
}

/** The arguments that resume the run started by these. */
export function resumeArguments(args: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    const key = arg.replace(/[-_]/g, "").toLowerCase();
    if (/^--overwrite/.test(arg)) {
      if (/^(true|false)$/i.test(args[i + 1] ?? "")) i++;
    } else if (key === "initfrom") i++;
    else if (!/^initfrom=/.test(key)) kept.push(arg);
  }
  return [...kept, "--init_from=resume"];
}

/** The command that resumes the run started by these arguments. */
export function resumeCommand(command: string, args: readonly string[]): string {
  return ["npx folio", command, ...resumeArguments(args)].map(quoted).join(" ");
}

function quoted(word: string, index: number): string {
  return index === 0 || /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** How a training ended. */
export interface Shown {
  /** 0 if finished, 128 + the signal's number if stopped. */
  readonly exitCode: number;
  readonly end: EndRecord | undefined;
}

/** Trains and shows it. The first SIGINT or SIGTERM lets the current step finish and saves; a second one kills. */
export async function showTraining(settings: Readonly<Settings>, io: Io, resume: string): Promise<Shown> {
  const { train } = await import("../train/train.js");
  const { joinOthers, rankHere } = await import("../launch/rank.js");
  await fetchWeights(settings.initFrom, io);
  const progress = openProgress(io.stdout);
  const stop = stopOnSignals(io, (reason) => {
    const again = reason === "SIGINT" ? " (Ctrl-C again: stop at once, without saving)" : "";
    const text = `${reason}: finishing this batch, then saving${again}`;
    if (reason.startsWith("SIG")) progress.line(styled(io.stdout, "yellow", text));
    else io.stderr.write(`${styled(io.stderr, "yellow", text)}\n`);
  });
  const show = recordPrinter(settings, progress, io);
  await warnings(settings, (text) => progress.line(styled(io.stdout, "yellow", text)));
  let end: EndRecord | undefined;
  const life = signOfLife(settings, progress);
  const place = rankHere();
  const { progress: tellLauncher, ...others } = place ? joinOthers(place) : { progress() {} };
  const onProgress = ({ step, doing, done, total }: Doing) => {
    tellLauncher();
    const what = doing === "evaluation" ? "evaluating: batch" : "micro-batch";
    life.now(step, `after ${what} ${done}/${total}`);
    progress.update(step, settings.maxIters, `${what} ${done}/${total}`);
    progress.stillAt(`at step ${step}, ${what} ${done} of ${total}`);
  };
  try {
    for await (const record of train(settings, { signal: stop.signal, onProgress, ...others })) {
      tellLauncher();
      show(record);
      if (record.kind === "start") {
        for (const note of await eagerNote(record)) progress.line(styled(io.stdout, "yellow", note));
      }
      life.now(
        record.step,
        record.kind === "start" ? "the first batch, which traces the graph" : `after ${record.kind}`,
      );
      if (record.kind === "end") end = record;
      // Eager steps never leave the microtask queue; lets signals in.
      await setImmediate();
    }
  } finally {
    life.close();
    progress.close();
    stop.close();
  }
  if (end?.reason === "aborted") {
    const text =
      end.step > 0
        ? `stopped at step ${end.step} of ${settings.maxIters}, saved. Resume with:\n  ${place?.resume ?? resume}`
        : "stopped before the first step: nothing to resume.";
    const output = stop.heard(io);
    output.write(`${styled(output, "yellow", text)}\n`);
  }
  // Without a signal of its own, another process of a launched training wanted to stop.
  return { exitCode: end?.reason === "aborted" ? (stop.exitCode() ?? (place ? 130 : 1)) : 0, end };
}

/**
 * Shows that the program is working while there are no records, since a large model may take minutes for its first
 * batch: on a terminal in the progress line, from the third second on; elsewhere as one line per minute.
 */
export function signOfLife({ maxIters }: Pick<Settings, "maxIters">, progress: Pick<Progress, "update" | "stillAt">) {
  let last = { step: 0, what: "making the model", at: performance.now() };
  const timer = setInterval(() => {
    const elapsedMs = performance.now() - last.at;
    if (elapsedMs < 3000) return;
    progress.update(last.step, maxIters, `${last.what}: ${duration(elapsedMs)}`);
    progress.stillAt(`at step ${last.step}, ${last.what}: ${duration(elapsedMs)}`);
  }, 1000);
  timer.unref();
  return {
    now(step: number, what: string) {
      last = { step, what, at: performance.now() };
    },
    close: () => clearInterval(timer),
  };
}

function recordPrinter(settings: Settings, progress: Progress, io: Io): (record: StepRecord) => void {
  const pace = paceMeter(settings.maxIters);
  const hint = lossHint(settings);
  let utilization = (_: IterRecord) => -1;
  const before = settings.initFrom === "resume" ? lastDtype(settings.outDir) : undefined;
  let started: StartRecord | undefined;
  let trained = 0;
  return (record) => {
    if (record.kind === "start") {
      started = record;
      utilization = utilizationMeter(record, peakFlops(record) ?? nanoGptPeakFlops);
    }
    if (record.kind === "iter") trained++;
    for (const line of logLines(record, settings, record.kind === "iter" ? utilization(record) : -1))
      progress.line(line);
    if (record.kind === "start" && before && before !== record.dtype) {
      const text = `this run was computed in ${before} so far and continues in ${record.dtype}, which gives other numbers; --dtype=${before} keeps the format`;
      progress.line(styled(io.stdout, "yellow", text));
    }
    const advice = record.kind === "eval" ? hint(record) : undefined;
    if (advice) progress.line(styled(io.stdout, "yellow", advice));
    if (record.kind === "iter") {
      const { left, tokensPerSecond } = pace(record);
      const rest = `loss ${record.loss.toFixed(4)}  ${grouped(tokensPerSecond)} tokens/s${left ? `  ${left} left` : ""}`;
      progress.update(record.step + 1, settings.maxIters, rest);
    }
    if (record.kind !== "end" || record.reason !== "finished") return;
    if (trained > 0) progress.line(styled(io.stdout, "green", summary(record, settings, started)));
    else if (!settings.evalOnly) {
      progress.line(
        `nothing to do: it is at step ${record.step} of ${settings.maxIters}; continue with a larger --max_iters`,
      );
    }
  };
}

/**
 * nanoGPT's log lines for a record, and the learning rate at each evaluation; none for an iteration between two logged ones.
 * @param mfu fraction of the device's peak or, if that is unknown, of an A100's as in nanoGPT; −1 (−100 %) until
 * measured
 */
export function logLines(record: StepRecord, settings: Settings, mfu = -1): string[] {
  switch (record.kind) {
    case "start": {
      const { decayed, undecayed, parametersWithoutPositions, tokensPerStep } = record;
      return [
        `tokens per iteration will be: ${grouped(tokensPerStep)}`,
        startLine(record, settings),
        `number of parameters: ${millions(parametersWithoutPositions)}`,
        `num decayed parameter tensors: ${decayed.tensors}, with ${grouped(decayed.parameters)} parameters`,
        `num non-decayed parameter tensors: ${undecayed.tensors}, with ${grouped(undecayed.parameters)} parameters`,
        `running on ${describeDevice(record)}`,
      ];
    }
    case "eval": {
      const { step, trainLoss, valLoss, learningRate } = record;
      // A line of its own: nanoGPT's lines are read by patterns that end where they do.
      const rate = settings.evalOnly ? [] : [`learning rate ${learningRate.toExponential(2)}`];
      return [`step ${step}: train loss ${trainLoss.toFixed(4)}, val loss ${valLoss.toFixed(4)}`, ...rate];
    }
    case "iter": {
      if (record.step % settings.logInterval !== 0) return [];
      const { step, loss, elapsedMs } = record;
      return [`iter ${step}: loss ${loss.toFixed(4)}, time ${elapsedMs.toFixed(2)}ms, mfu ${(mfu * 100).toFixed(2)}%`];
    }
    case "checkpoint":
      return [`saving checkpoint to ${settings.outDir}`];
    case "end":
      return [];
  }
}

function startLine({ step, resumedFrom, initFrom }: StartRecord, { outDir }: Settings): string {
  if (resumedFrom) return `Resuming training from ${outDir} (step ${step})`;
  if (initFrom?.startsWith("gpt2")) return `Initializing from OpenAI GPT-2 weights: ${initFrom}`;
  return initFrom ? `Initializing from the weights of ${initFrom}` : "Initializing a new model from scratch";
}

/** nanoGPT always compares with an A100's bfloat16 peak; Folio does so only if the device's peak is unknown. */
const nanoGptPeakFlops = 312e12;

/** The number format of a run so far, from its log. */
function lastDtype(outDir: string): string | undefined {
  return readRunLog(outDir).findLast((record) => record.kind === "start")?.dtype;
}

/** nanoGPT's running average of the MFU, −1 before the sixth step. */
function utilizationMeter({ flopsPerToken }: StartRecord, peakFlops: number) {
  let running = -1;
  let steps = 0;
  return ({ tokensPerSecond }: IterRecord): number => {
    if (++steps <= 5) return running;
    const now = (flopsPerToken * tokensPerSecond) / peakFlops;
    running = running < 0 ? now : 0.9 * running + 0.1 * now;
    return running;
  };
}

/** Hints once that the loss does not fall, after enough steps. */
function lossHint({ warmupIters, learningRate, evalIters, dataset }: Settings) {
  let first: EvalRecord | undefined;
  let said = false;
  return (record: EvalRecord): string | undefined => {
    first ??= record;
    const had = record.step - first.step >= 100 + warmupIters;
    if (said || !had || record.trainLoss < first.trainLoss - 0.02) return undefined;
    said = true;
    const losses = `${first.trainLoss.toFixed(2)} at step ${first.step}, ${record.trainLoss.toFixed(2)} at step ${record.step}`;
    return `hint: the training loss does not fall (${losses}): try a tenth or ten times --learning_rate=${learningRate}; check the text (folio prepare ${dataset} --check); with few --eval_iters (${evalIters}) the loss is also noisy`;
  };
}

function summary(end: EndRecord, settings: Settings, started: StartRecord | undefined): string {
  const rate = started && end.trainedMs > 0 ? (started.tokensPerStep * end.step * 1000) / end.trainedMs : 0;
  const best =
    end.bestValLoss === null
      ? ""
      : `, best validation loss ${end.bestValLoss.toFixed(4)} on ${settings.evalIters} random batches`;
  return `finished: ${end.step} steps in ${duration(end.trainedMs)}, ${grouped(rate)} tokens/s${best}; the run is in ${settings.outDir}`;
}

/** Tokens per second over the last steps, and the remaining time, including evaluations. */
function paceMeter(maxIters: number, now = () => performance.now()) {
  let first: { step: number; at: number } | undefined;
  let rate = 0;
  return ({ step, tokensPerSecond }: IterRecord): { tokensPerSecond: number; left: string } => {
    // The first step also traces the graph, so neither speed nor remaining time include it.
    if (!first) {
      first = { step, at: now() };
      return { tokensPerSecond, left: "" };
    }
    rate = rate === 0 ? tokensPerSecond : 0.9 * rate + 0.1 * tokensPerSecond;
    const perStep = (now() - first.at) / (step - first.step);
    return { tokensPerSecond: rate, left: duration(perStep * (maxIters - step - 1)) };
  };
}

/** The progress that train() reports between two records. */
type Doing = Parameters<NonNullable<TrainOptions["onProgress"]>>[0];
