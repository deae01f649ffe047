/**
 * `folio prepare NAME`: runs data/NAME/prepare, prepares a text of the user's own, or checks a prepared dataset.
 */
import { existsSync, statSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { closest } from "fastest-levenshtein";
import type { TokenMeta } from "../data/dataset.js";
import { type PrepareModule, type PrepareOptions, prepareText } from "../data/prepare/prepare.js";
import { TEXT_RULE } from "../data/text.js";

import type { TokenizerSpec } from "../data/tokenizers/tokenizer.js";
import { readWords } from "../settings/flags.js";

import { camelCase } from "../settings/settings.js";
import { datasetNames, modulePath } from "./shared/datasets.js";
import { stopOnSignals } from "./shared/stop-signals.js";
import type { Io } from "./shared/terminal.js";

export function help(): string {
  return `folio prepare: makes a dataset's token files.

Usage: folio prepare NAME [--source=file] [--url=address] [--data_dir=data] [--overwrite]
       folio prepare NAME --from=PATH [--tokenizer=gpt2] [--val_fraction=0.1] [--text_key=text]
       folio prepare --check NAME

Datasets: ${datasetNames().join(", ")}.

  --data_dir=data     folder of the prepared datasets; the files go to data_dir/NAME
  --overwrite         prepare it again if it is already prepared
  --source=FILE       read the text from this file instead of its usual source
  --url=ADDRESS       download the text from here instead of its public address

A text of your own, under a name of your own:
  --from=PATH         a text, JSONL, JSON (an array) or Parquet file, detected by content, or a folder of them
  --tokenizer=gpt2    char, gpt2, or bpe:N, which learns N byte pairs from the text; or, to finetune a model, the path
                      of its tokenizer (a run, a Hugging Face folder, a tokenizer.json)
  --val_fraction=0.1  the fraction for validation
  --text_key=text     the field of JSON or the column of Parquet that contains the text

  --check             decode samples of a prepared dataset and report what looks wrong

${TEXT_RULE}
The texts in JSON and Parquet are left unchanged.

To continue after an interruption, run the same command again. Before any download, files are looked for in the folder
named by the environment variable FOLIO_DATA_DIR.

  folio prepare typescript
  folio prepare poems --from=poems.txt --tokenizer=bpe:1024
  folio prepare poems --from=poems.txt --tokenizer=their-gpt2    # then: folio train --init_from=their-gpt2
  FOLIO_DATA_DIR=texts folio prepare shakespeare_char`;
}

/** How long a preparation may take to stop. */
const patienceMs = 10_000;

type Flags = Readonly<Record<string, string | undefined>>;

const flagNames = ["data_dir", "source", "url", "from", "tokenizer", "val_fraction", "text_key", "overwrite", "check"];
const switches = ["overwrite", "check"];
const ofText = ["from", "tokenizer", "valFraction", "textKey"];

export async function run(args: readonly string[], io: Io): Promise<number> {
  const { names, flags } = parseArguments(args);
  if (names.length === 0)
    throw new TypeError(`Cannot prepare: no dataset is named; wanted one of ${datasetNames().join(", ")}.`);
  const log = (line: string) => io.stdout.write(`${line}\n`);
  const { dataDir = "data", source, url } = flags;
  if (flags.check) return await check(names, dataDir, log);
  const overwrite = flags.overwrite !== undefined;
  return await stoppable(io, async (signal) => {
    const options = { dataDir, overwrite, log, signal };
    for (const name of names) {
      const foreign = ofText.find((key) => flags[key] !== undefined);
      if (foreign === undefined)
        await prepareDataset(name, { ...options, ...(source && { source }), ...(url && { url }) });
      else await prepareOwn(name, options, flags);
    }
  });
}

/**
 * Prepares until it is done or stopped. If it does not stop in time, it ends with the process; the same command
 * continues in any case.
 * @returns the exit code
 */
export async function stoppable(io: Io, prepare: (signal: AbortSignal) => Promise<void>): Promise<number> {
  let timer: NodeJS.Timeout | undefined;
  const stop = stopOnSignals(io, (reason) => {
    io.stderr.write(`${reason}: saving finished work (again: stop at once)\n`);
    timer = setTimeout(() => process.exit(stop.exitCode()), patienceMs);
  });
  try {
    await prepare(stop.signal);
    return 0;
  } catch (error) {
    if (!stop.signal.aborted || error !== stop.signal.reason) throw error;
    io.stderr.write("stopped; the same command continues from there.\n");
    return stop.exitCode() ?? 1;
  } finally {
    clearTimeout(timer);
    stop.close();
  }
}

async function prepareOwn(
  name: string,
  options: Pick<PrepareOptions, "dataDir" | "overwrite" | "log" | "signal">,
  flags: Flags,
): Promise<void> {
  const { from, tokenizer, textKey, valFraction } = flags;
  if (datasetNames().includes(name)) {
    throw new RangeError(
      `Cannot prepare ${name} from a text of your own: Folio has a dataset of that name; choose another name.`,
    );
  }
  if (from === undefined) throw new TypeError(`Cannot prepare ${name}: no text is named; add --from=PATH.`);
  if (valFraction !== undefined && !(Number(valFraction) > 0 && Number(valFraction) < 1)) {
    throw new RangeError(`Cannot prepare ${name}: --val_fraction is ${valFraction}; it must be between 0 and 1.`);
  }
  await prepareText({
    ...options,
    name,
    from,
    ...(tokenizer !== undefined && { tokenizer: await tokenizerOf(tokenizer) }),
    ...(textKey !== undefined && { textKey }),
    ...(valFraction !== undefined && { valFraction: Number(valFraction) }),
  });
}

/** A tokenizer's name, or the tokenizer of the model at a path. */
async function tokenizerOf(flag: string): Promise<string | TokenizerSpec> {
  const { isTokenizerName } = await import("../data/prepare/survey.js");
  if (/^gpt2-(medium|large|xl)$/.test(flag)) return "gpt2";
  if (isTokenizerName(flag) || !existsSync(flag)) return flag; // a wrong name is refused later
  const { hasCheckpoint, readState } = await import("../weights/checkpoint.js");
  if (hasCheckpoint(flag)) return readState(flag, hasCheckpoint(flag, "best") ? "best" : "last").tokenizer;
  const { readFolderTokenizer } = await import("../data/tokenizers/read-hugging-face.js");
  const folder = path.basename(flag) === "tokenizer.json" ? path.dirname(flag) : flag;
  const { spec, unread } = statSync(folder).isDirectory() ? readFolderTokenizer(folder) : {};
  if (spec) return spec;
  const found =
    unread === undefined
      ? "it has no tokenizer.json, and no vocab.json with merges.txt"
      : `its ${unread} cannot be read`;
  throw new RangeError(
    `Cannot prepare with the tokenizer of ${flag}: ${found}; wanted a run, or a folder that AutoTokenizer.save_pretrained wrote.`,
  );
}

/** Prints the results of `checkDataset`. @returns 1 if something looks wrong */
async function check(names: readonly string[], dataDir: string, log: (line: string) => void): Promise<number> {
  const { checkDataset } = await import("../data/check-dataset.js");
  let problems = 0;
  for (const name of names) {
    const found = await checkDataset(dataDir, name);
    log(`${path.join(dataDir, name)}`);
    for (const fact of found.facts) log(`  ${fact}`);
    for (const { where, text } of found.samples) log(`  ${where}: ${JSON.stringify(text)}`);
    for (const problem of found.problems) log(`  WRONG? ${problem}`);
    log(found.problems.length === 0 ? "  nothing looks wrong" : ` possible problems: ${found.problems.length}`);
    problems += found.problems.length;
  }
  return problems > 0 ? 1 : 0;
}

function parseArguments(args: readonly string[]): { names: string[]; flags: Flags } {
  const names: string[] = [];
  const flags: Record<string, string> = {};
  readWords(args, {
    word: (name) => names.push(name),
    flag({ written, inline, next }) {
      const key = camelCase(written.replace(/^--?/, ""));
      if (!flagNames.map(camelCase).includes(key)) {
        const nearest = closest(key, flagNames);
        throw new RangeError(`Cannot prepare: there is no flag ${written}; did you mean --${nearest}?`);
      }
      const value = switches.includes(key) ? "true" : (inline ?? next());
      if (!value) throw new TypeError(`Cannot prepare: ${written} has no value; write ${written}=VALUE.`);
      flags[key] = value;
    },
  });
  return { names, flags };
}

/** Prepares one dataset. @throws RangeError naming the nearest dataset when there is none of that name */
export async function prepareDataset(name: string, options: PrepareOptions): Promise<TokenMeta> {
  const names = datasetNames();
  if (!names.includes(name)) {
    throw new RangeError(
      `Cannot prepare ${name}: there is no dataset of that name; did you mean ${closest(name, names)}? The datasets are ${names.join(", ")}; for a text of your own add --from=PATH.`,
    );
  }
  const module = (await import(pathToFileURL(modulePath(name)!).href)) as PrepareModule;
  const meta = await module.prepare(options);
  if (meta.dataset !== name) {
    throw new Error(
      `data/${name}/prepare.ts wrote the dataset ${meta.dataset}, not ${name}: the module contains a fixed name; use folderName(import.meta.url) instead.`,
    );
  }
  return meta;
}
