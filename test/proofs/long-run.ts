/**
 * A training of hours for a proof, in as many sittings as it takes: `folio train` in a process of its own, killed with -9 at
 * given places on the way and resumed, and stopped when the sitting's time is over. The folder is in .cache, outside the
 * proofs' own, so that the next sitting finds it. `FOLIO_PROOF_MINUTES` is the time of a sitting.
 */
import fs from "node:fs";
import path from "node:path";
import { openDataset } from "../../lib/data/batches.js";
import { tokenizerFromSpec } from "../../lib/data/tokenizers/tokenizer.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import { sample } from "../../lib/sample/sample.js";
import { evaluateSplit } from "../../lib/train/evaluate.js";
import {
  type CheckpointName,
  hasCheckpoint,
  numberedCheckpoints,
  openCheckpoint,
  readState,
} from "../../lib/weights/checkpoint.js";
import { campaignShare, folio, folioCommand, noteSitting, root, sittingsOf, start } from "./proof.js";

/** A long training. */
export interface LongRun {
  /** Folder in .cache with dataset, run, and what is known of it. A trial has another one. */
  readonly name: string;
  readonly dataset: string;
  /** Flags of `folio train` for the whole training, and more of them for a trial (FOLIO_PROOF_SHARE below 1). */
  readonly flags: readonly string[];
  readonly trialFlags: readonly string[];
  /** A kill at the first save at or after each of these steps. */
  readonly killAt: readonly number[];
  /** The step at which a sitting ends even if time is left; the schedule still is that of all steps. */
  readonly stopAt?: number;
}

export const isTrial = campaignShare < 1;
const minutes = Number(process.env.FOLIO_PROOF_MINUTES ?? Number.POSITIVE_INFINITY);
if (!(minutes > 0)) throw new RangeError(`FOLIO_PROOF_MINUTES is ${process.env.FOLIO_PROOF_MINUTES}; wanted minutes.`);

const folderOf = ({ name }: LongRun) => path.join(root, ".cache", isTrial ? `${name}-trial` : name);
export const runFolder = (run: LongRun) => path.join(folderOf(run), "run");

/** What the sittings have found so far, beside the run. */
interface Known {
  /** The step of the last save before each kill. */
  kills: number[];
  /** Loss on the whole validation split, by the step of a checkpoint. */
  losses: Record<string, number>;
}

const knownFile = (run: LongRun) => path.join(folderOf(run), "known.json");

function readKnown(run: LongRun): Known {
  const file = knownFile(run);
  return fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : { kills: [], losses: {} };
}

function writeKnown(run: LongRun, known: Known): void {
  fs.writeFileSync(`${knownFile(run)}.partial`, JSON.stringify(known));
  fs.renameSync(`${knownFile(run)}.partial`, knownFile(run));
}

/** Where the training stands after a sitting. */
export interface Standing {
  readonly step: number;
  /** All steps of the training; infinite before its first save. */
  readonly maxIters: number;
  /** Time spent in steps, over all sittings; steps that a kill lost are not counted. */
  readonly hours: number;
  /** The step of the last save before each kill. */
  readonly kills: readonly number[];
  /** The commits of the sittings. */
  readonly trainedAt: string;
}

/** The number formats in which the sittings computed: "auto" is settled where a run is started. */
export function dtypesOf(run: LongRun): string {
  const started = readRunLog(runFolder(run)).flatMap((record) => (record.kind === "start" ? [record.dtype] : []));
  return [...new Set(started)].join(", ");
}

/** Trains until the end, `stopAt`, or the end of the sitting's time. */
export async function goOn(run: LongRun, say: (line: string) => void): Promise<Standing> {
  const deadline = Date.now() + minutes * 60_000;
  const folder = folderOf(run);
  fs.mkdirSync(folder, { recursive: true });
  await folio("prepare", run.dataset, `--data_dir=${folder}`);
  for (;;) {
    const standing = standingOf(run);
    if (standing.step >= Math.min(standing.maxIters, run.stopAt ?? standing.maxIters)) return standing;
    if (Date.now() >= deadline) return standing;
    say(`from step ${standing.step}: ${standing.hours.toFixed(2)} hours, ${standing.kills.length} kills`);
    await sitting(run, deadline, say);
  }
}

function standingOf(run: LongRun): Standing {
  const { kills } = readKnown(run);
  const outDir = runFolder(run);
  const trainedAt = sittingsOf(folderOf(run));
  if (!hasCheckpoint(outDir)) return { step: 0, maxIters: Number.POSITIVE_INFINITY, hours: 0, kills, trainedAt };
  const { step, settings, trainedMs } = readState(outDir);
  return { step, maxIters: settings.maxIters, hours: trainedMs / 3.6e6, kills, trainedAt };
}

/** One process, until it ends, is killed, or is stopped at the deadline or at `stopAt`. */
async function sitting(run: LongRun, deadline: number, say: (line: string) => void): Promise<void> {
  const outDir = runFolder(run);
  const flags = [...run.flags, ...(isTrial ? run.trialFlags : [])];
  const where = [`--data_dir=${folderOf(run)}`, `--dataset=${run.dataset}`, `--out_dir=${outDir}`];
  const resume = hasCheckpoint(outDir) ? ["--init_from=resume"] : [];
  noteSitting(folderOf(run));
  const child = start(process.execPath, [folioCommand, "train", ...flags, ...where, ...resume]);
  let output = "";
  let [killed, stopped] = [false, false];
  const stop = () => {
    stopped = true;
    child.kill("SIGTERM");
  };
  const timer = setTimeout(stop, Math.min(deadline - Date.now(), 2 ** 31 - 1));
  const listen = (chunk: Buffer) => {
    output = (output + chunk).slice(-4000);
    if (killed || !String(chunk).includes("saving checkpoint") || !hasCheckpoint(outDir)) return;
    const known = readKnown(run);
    const { step } = readState(outDir);
    if (step >= (run.stopAt ?? Number.POSITIVE_INFINITY)) stop();
    else if (step >= (run.killAt[known.kills.length] ?? Number.POSITIVE_INFINITY)) {
      killed = true;
      // At any moment of the next seconds.
      setTimeout(() => child.kill("SIGKILL"), Math.random() * (isTrial ? 300 : 10_000));
    }
  };
  for (const stream of [child.stdout!, child.stderr!]) stream.on("data", listen);
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve([code, signal]));
  });
  clearTimeout(timer);
  if (signal === "SIGKILL" && killed) {
    const known = readKnown(run);
    writeKnown(run, { ...known, kills: [...known.kills, readState(outDir).step] });
    say(`killed with -9; the last save is of step ${readState(outDir).step}`);
  } else if (code !== 0 && code !== 143 && !(stopped && signal === "SIGTERM")) {
    throw new Error(`the training ended with ${signal ?? code}:\n${output.slice(-1500)}`);
  }
}

/** The loss on the whole validation split at each multiple of `every` steps that was kept, and at the last checkpoint. */
export async function wholeLosses(
  run: LongRun,
  every: number,
  say: (line: string) => void,
): Promise<Record<number, number>> {
  const outDir = runFolder(run);
  if (!hasCheckpoint(outDir)) return {};
  const names: [number, CheckpointName][] = numberedCheckpoints(outDir).flatMap((step): [number, number][] =>
    step % every === 0 ? [[step, step]] : [],
  );
  const { step: last } = readState(outDir);
  if (last % every === 0) names.push([last, "last"]);
  const dataset = openDataset(folderOf(run), run.dataset);
  try {
    for (const [step, name] of names) {
      const known = readKnown(run);
      if (known.losses[step] !== undefined) continue;
      const model = openCheckpoint(outDir, name, { optimizer: false });
      const settings = { ...model.settings, compile: true };
      const { loss } = await evaluateSplit({ ...model, settings }, dataset.val);
      say(`step ${step}: ${loss.toFixed(4)} on the whole validation split`);
      writeKnown(run, { ...known, losses: { ...known.losses, [step]: loss } });
    }
  } finally {
    dataset.close();
  }
  return readKnown(run).losses;
}

/** What the model of a checkpoint writes: `length` characters, by the same draws at every step. */
export async function written(run: LongRun, step: number, length: number): Promise<string | undefined> {
  const outDir = runFolder(run);
  const name = readState(outDir).step === step ? "last" : step;
  if (!hasCheckpoint(outDir, name)) return undefined;
  const model = openCheckpoint(outDir, name, { optimizer: false });
  let text = "";
  const how = { prompt: "\n", maxNewTokens: length, device: "cpu", dtype: "float32" } as const;
  for await (const drawn of sample(model, tokenizerFromSpec(model.tokenizer!), how)) text += drawn.text;
  return text;
}
