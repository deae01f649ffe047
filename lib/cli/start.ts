/**
 * `folio start`, which `npm start` runs: prepares the corpus if it is missing, trains configs/quickstart.ts, prints
 * three samples, compares the loss with n-gram models, and writes a report. Called again, it continues where it was
 * stopped.
 */

import { basename, join, resolve } from "node:path";
import quickstart from "../../configs/quickstart.js";
import { type Dataset, isPrepared, openDataset } from "../data/batches.js";
import type { LookedAt } from "../inspect/look.js";
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
  return `folio start: prepares, trains, samples and reports; \`npm start\` runs it.

Usage: npm start, or: npm start -- [--setting=value …]

Prepares the corpus if it is missing, trains configs/quickstart.ts, prints three samples and the validation loss beside
those of n-gram models, and writes a report with the loss curve. Every setting of \`folio train\` can be changed:

  npm start -- --dataset=shakespeare_char
  npm start -- --max_iters=3000 --out_dir=out-long

Called again after Ctrl-C, it continues; after the end, it samples and reports again. --overwrite starts over, and
--init_from=resume continues with other settings:

  npm start -- --init_from=resume --max_iters=3000

${helpText("train", quickstart)}`;
}

const numSamples = 3;
const maxNewTokens = 300;
/** Counting n-grams keeps all ids in memory; it is skipped for a larger corpus. */
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
      io.stdout.write("Its samples and report follow; --overwrite trains it again.\n");
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

/** The settings of quickstart with the flags on top; another dataset has a folder of its own. */
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

/** @returns the exit code: 0, or the one for the reason that stopped it */
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

/** Whether the folder already has this very run, finished or to be resumed. */
function standing(
  settings: Readonly<Settings>,
  { meta }: Dataset,
): { settings: Readonly<Settings>; finished: boolean } {
  if (settings.overwrite || settings.initFrom === "resume" || !hasCheckpoint(settings.outDir)) {
    return { settings, finished: false };
  }
  const { runId, step, origin } = readState(settings.outDir);
  // For another run, train() says what to do.
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

  heading("Loss on the whole validation split, in nats per token");
  const { loss, targets } = await evaluateSplit(model, dataset.val);
  const counted = await countedLosses(dataset);
  const names = ["unigram model", "bigram model", "trigram model"];
  const rows = [
    ...counted.map((loss, n) => [names[n]!, loss] as const),
    [`this GPT, step ${model.step}`, loss] as const,
  ];
  for (const [name, loss] of rows) io.stdout.write(`  ${name.padEnd(26)} ${loss.toFixed(4)}\n`);
  const trigram = counted[2];
  if (trigram !== undefined) {
    const verdict = loss < trigram ? "beats the trigram model" : "does not beat the trigram model yet: train longer";
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
  const first = dataset.tokenizer.decode(
    dataset.val.read(0, Math.min(48, model.settings.blockSize, dataset.val.length)),
  );
  await writePage({ ...model, tokenizer: dataset.tokenizer }, outDir, first, io, heading);
}

/** The page in which the model runs, beside the report. A model that is too large for one has none. */
async function writePage(
  model: LookedAt,
  outDir: string,
  prompt: string,
  io: Io,
  heading: (text: string) => void,
): Promise<void> {
  const { writeLivePage } = await import("../inspect/live/write-page.js");
  const file = join(outDir, "model.html");
  heading("The model in a page, to look inside and to train on");
  try {
    await writeLivePage(model, file, { title: basename(resolve(outDir)), prompt });
    io.stdout.write(`${resolve(file)}\n`);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    io.stdout.write(`${error.message}\n`);
  }
}

/** A line end if the tokenizer has it, else the first token of the training split. */
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
