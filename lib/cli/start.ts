/**
 * `folio start`, what `npm start` does: prepares the corpus when it is missing, trains configs/quickstart.ts, prints three
 * samples, sets the loss beside what counting reaches, and writes a report. Called again it goes on where it was stopped.
 */

import { resolve } from "node:path";
import quickstart from "../../configs/quickstart.js";
import { type Dataset, isPrepared, openDataset } from "../data/batches.js";
import { identityOf } from "../runs/identity.js";
import { readRunLog } from "../runs/run-folder.js";
import { readOverrides } from "../settings/config-files.js";
import { helpText } from "../settings/flags.js";
import { parseSettings, type Settings } from "../settings/settings.js";
import { hasCheckpoint, openCheckpoint, readState } from "../weights/checkpoint.js";
import { prepareDataset, stoppable } from "./prepare.js";
import { printSamples } from "./sample.js";
import { grouped, type Io, styled } from "./shared/terminal.js";
import { resumeCommand, showTraining } from "./train.js";

export function help(): string {
  return `folio start: the main job, what \`npm start\` does.

Usage: npm start, or: npm start -- [--setting=value …]

Prepares the corpus when it is missing, trains configs/quickstart.ts, prints three samples and the validation loss
beside what counting gives, and writes a report with the loss curve. Every setting of \`folio train\` can be changed:

  npm start -- --dataset=shakespeare_char
  npm start -- --max_iters=3000 --out_dir=out-long

Called again after Ctrl-C, it goes on; after the end, it samples and reports again. --overwrite trains anew, and
--init_from=resume goes on with other settings:

  npm start -- --init_from=resume --max_iters=3000

${helpText("train", quickstart)}`;
}

const numSamples = 3;
const maxNewTokens = 300;
/** Counting holds all ids in memory; a corpus beyond this is not counted. */
const mostCounted = 20_000_000;

export async function run(args: readonly string[], io: Io): Promise<number> {
  const heading = (text: string) => io.stdout.write(`\n${styled(io.stdout, "bold", text)}\n`);
  const { settings: wanted, notes } = await startSettings(args);
  for (const note of notes) io.stderr.write(`${note}\n`);
  const exitCode = await prepareIfMissing(wanted, io, heading);
  if (exitCode !== 0) return exitCode;
  const dataset = openDataset(wanted.dataDir, wanted.dataset, wanted);
  try {
    const { settings, finished } = standing(wanted, dataset);
    if (finished) {
      heading(`The run in ${settings.outDir} is finished`);
      io.stdout.write("Its samples and report follow; --overwrite trains it anew.\n");
    } else {
      heading(`Training on ${settings.dataset}: ${grouped(settings.maxIters)} steps`);
      const { exitCode, end } = await showTraining(settings, io, resumeCommand("start", args));
      if (exitCode !== 0 || settings.evalOnly || !end?.step) return exitCode;
    }
    await present(settings, dataset, io, heading);
  } finally {
    dataset.close();
  }
  return 0;
}

/** quickstart's settings with the flags on top; another dataset trains into a folder of its own. */
async function startSettings(
  args: readonly string[],
): Promise<{ settings: Readonly<Settings>; notes: readonly string[] }> {
  const { values, notes } = await readOverrides("train", ["quickstart", ...args]);
  const moved = values.dataset !== quickstart.dataset && values.outDir === quickstart.outDir;
  return {
    settings: parseSettings(moved ? { ...values, outDir: `${values.outDir}-${values.dataset}` } : values),
    notes,
  };
}

/** @returns the exit code: 0, or that of what stopped it */
async function prepareIfMissing(
  { dataDir, dataset }: Settings,
  io: Io,
  heading: (text: string) => void,
): Promise<number> {
  if (isPrepared(dataDir, dataset)) return 0;
  heading(`Preparing ${dataset}`);
  const log = (line: string) => io.stdout.write(`${line}\n`);
  return await stoppable(io, async (signal) => {
    await prepareDataset(dataset, { dataDir, log, signal });
  });
}

/** Whether the folder holds this very run already: finished, or to be gone on with. */
function standing(
  settings: Readonly<Settings>,
  { meta }: Dataset,
): { settings: Readonly<Settings>; finished: boolean } {
  if (settings.overwrite || settings.initFrom === "resume" || !hasCheckpoint(settings.outDir)) {
    return { settings, finished: false };
  }
  const { runId, step, origin } = readState(settings.outDir);
  // Another run is left to train(), which says what to do about it.
  if (runId !== identityOf(settings, meta, origin)) return { settings, finished: false };
  return { settings: { ...settings, initFrom: "resume" }, finished: step >= settings.maxIters };
}

async function present(settings: Settings, dataset: Dataset, io: Io, heading: (text: string) => void): Promise<void> {
  const { sample } = await import("../sample/sample.js");
  const { evaluateSplit } = await import("../train/evaluate.js");
  const { outDir, device, compile } = settings;
  const which = hasCheckpoint(outDir, "best") ? "best" : "last";
  const model = openCheckpoint(outDir, which, { optimizer: false });

  heading(`${numSamples} samples`);
  const prompt = firstLine(dataset);
  const options = { prompt, numSamples, maxNewTokens, seed: settings.seed, device, compile };
  const samples = await printSamples(sample(model, dataset.tokenizer, options), { numSamples }, prompt, io);

  heading("Loss on the whole validation split, in nats a token");
  const { loss, targets } = await evaluateSplit(model, dataset.val);
  const counted = await countedLosses(dataset);
  const names = ["counting single tokens", "counting pairs", "counting triples"];
  const rows = [
    ...counted.map((loss, n) => [names[n]!, loss] as const),
    [`this GPT, step ${model.step}`, loss] as const,
  ];
  for (const [name, loss] of rows) io.stdout.write(`  ${name.padEnd(26)} ${loss.toFixed(4)}\n`);
  const trigram = counted[2];
  if (trigram !== undefined) {
    const verdict = loss < trigram ? "beats the triples" : "does not beat the triples yet: train longer";
    io.stdout.write(styled(io.stdout, loss < trigram ? "green" : "yellow", `  It ${verdict}.\n`));
  }

  const { writeReport } = await import("../runs/report.js");
  const path = await writeReport(outDir, {
    settings: model.settings,
    records: readRunLog(outDir),
    samples,
    validation: { loss, targets, counted },
  });
  heading("Report");
  io.stdout.write(`${resolve(path)}\n`);
}

/** A line end where the tokenizer knows it, else the first token of the training split. */
function firstLine({ tokenizer, train }: Dataset): string {
  try {
    return tokenizer.encode("\n").length > 0 ? "\n" : tokenizer.decode(train.read(0, 1));
  } catch {
    return tokenizer.decode(train.read(0, 1));
  }
}

async function countedLosses({ train, val, meta }: Dataset): Promise<number[]> {
  if (train.length + val.length > mostCounted) return [];
  const { ngramLosses } = await import("../data/ngrams.js");
  return ngramLosses(train.read(0, train.length), val.read(0, val.length), { vocabSize: meta.vocabSize, order: 3 });
}
