/**
 * `folio prepare NAME`: finds data/NAME/prepare and runs it. What a dataset is and where it comes from is that module's
 * business.
 */
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { closest } from "fastest-levenshtein";
import { camelCase } from "../config.js";
import type { PrepareModule, PrepareOptions } from "../prepare.js";
import type { TokenMeta } from "../tokens.js";
import type { Io } from "./terminal.js";

// data/ beside lib/: the sources when this is a source, the built modules in dist/ when it is built.
const dataFolder = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "data");

export function help(): string {
  return `folio prepare: makes a dataset's token files.

Usage: folio prepare NAME [--source=file] [--url=address] [--data_dir=data]

Datasets: ${datasetNames().join(", ")}.

  --data_dir=data   folder of the prepared datasets; the files go to data_dir/NAME
  --source=FILE     take the text from this file in place of its usual source
  --url=ADDRESS     download the text from here in place of its public address

A folder named by the environment variable FOLIO_DATA_DIR is looked in before any download.

  folio prepare typescript
  FOLIO_DATA_DIR=texts folio prepare shakespeare_char`;
}

export async function run(args: readonly string[], io: Io): Promise<number> {
  const { names, options } = parseArguments(args);
  if (names.length === 0)
    throw new TypeError(`Cannot prepare: no dataset is named; there are ${datasetNames().join(", ")}.`);
  for (const name of names) await prepareDataset(name, { ...options, log: (line) => io.stdout.write(`${line}\n`) });
  return 0;
}

function parseArguments(args: readonly string[]): { names: string[]; options: Omit<PrepareOptions, "log"> } {
  const names: string[] = [];
  const options: Record<string, string> = { dataDir: "data" };
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (!arg.startsWith("-")) {
      names.push(arg);
      continue;
    }
    const [written, inline] = [arg.split("=", 1)[0]!, arg.includes("=") ? arg.slice(arg.indexOf("=") + 1) : undefined];
    const key = camelCase(written.replace(/^--?/, ""));
    if (!["dataDir", "source", "url"].includes(key)) {
      const nearest = closest(key, ["data_dir", "source", "url"]);
      throw new RangeError(`Cannot prepare: there is no flag ${written}; did you mean --${nearest}?`);
    }
    const value = inline ?? args[++i];
    if (!value) throw new TypeError(`Cannot prepare: ${written} has no value; write ${written}=VALUE.`);
    options[key] = value;
  }
  return { names, options: options as unknown as Omit<PrepareOptions, "log"> };
}

/** The datasets that can be prepared. */
export function datasetNames(): string[] {
  return readdirSync(dataFolder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && modulePath(entry.name) !== undefined)
    .map((entry) => entry.name);
}

function modulePath(name: string): string | undefined {
  return ["prepare.js", "prepare.ts"].map((file) => join(dataFolder, name, file)).find(existsSync);
}

/** Prepares one dataset. @throws RangeError naming the nearest dataset when there is none of that name */
export async function prepareDataset(name: string, options: PrepareOptions): Promise<TokenMeta> {
  const names = datasetNames();
  if (!names.includes(name)) {
    throw new RangeError(
      `Cannot prepare ${name}: there is no dataset of that name; did you mean ${closest(name, names)}? There are ${names.join(", ")}.`,
    );
  }
  const module = (await import(pathToFileURL(modulePath(name)!).href)) as PrepareModule;
  return await module.prepare(options);
}
