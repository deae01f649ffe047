/**
 * Config files and flags → overrides of the settings, as nanoGPT's configurator reads them: any number of files in
 * order, flags on top. A config file is data in TypeScript, JavaScript or JSON, or one of nanoGPT's in Python.
 * TypeScript and JavaScript files are run, so only name files that you trust. What a setting means is in settings.ts;
 * flags are read by flags.ts.
 */
import { existsSync, readdirSync } from "node:fs";
import { basename, extname, join, relative, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { inspect } from "node:util";
import { closest, distance } from "fastest-levenshtein";
import { createJiti } from "jiti";
import { packageRoot } from "../host/package.js";
import { readRegularText, statusOf } from "../host/regular-file.js";
import { readFlags, withoutEffect } from "./flags.js";
import { parsePythonConfig } from "./python-config.js";
import {
  camelCase,
  checkValue,
  otherOwner,
  parseSampleSettings,
  parseSettings,
  resolveKey,
  type SampleSettings,
  type Settings,
  type SettingsKind,
} from "./settings.js";

/** What the arguments of a command line set. `values` are checked one by one, not yet against each other. */
export interface Overrides {
  /** The config files read, in order, as paths. */
  readonly files: readonly string[];
  readonly values: Readonly<Record<string, unknown>>;
  /** Names that were replaced, one line each: nanoGPT's config files for which Folio's own are read. */
  readonly notes: readonly string[];
}

/**
 * The settings of a training run from config files and flags: `[file …] [--key=value | --key value | --flag …]`.
 * Later files override earlier ones, flags override files, and later flags override earlier ones.
 * @example await loadSettings(["configs/train_shakespeare_char.ts", "--device=cpu", "--compile=False", "--n-layer", "4"])
 * @throws Error, TypeError or RangeError that names the file or flag, the value found and what is wanted.
 */
export async function loadSettings(args: readonly string[]): Promise<Readonly<Settings>> {
  return parseSettings((await readOverrides("train", args)).values);
}

/** The settings of a sampler from config files and flags; as {@link loadSettings}. */
export async function loadSampleSettings(args: readonly string[]): Promise<Readonly<SampleSettings>> {
  return parseSampleSettings((await readOverrides("sample", args)).values);
}

/** Config files and flags, read and checked one value at a time. */
export async function readOverrides(kind: SettingsKind, args: readonly string[]): Promise<Overrides> {
  const { words, flags, notes } = readFlags(kind, args);
  const files = words.map(findConfig);
  const values: Record<string, unknown> = {};
  for (const [index, file] of files.entries()) {
    const word = words[index]!;
    if (word.endsWith(".py") && file !== word) notes.push(`${word} does not exist here: Folio's own ${file} is read`);
    Object.assign(values, await readConfig(kind, file, notes));
  }
  return { files, values: { ...values, ...flags }, notes: [...new Set(notes)] };
}

const extensions = [".ts", ".mts", ".js", ".mjs", ".cjs", ".json", ".py"];
const presetFolder = join(packageRoot(), "configs");

function isFile(path: string): boolean {
  return statusOf(path)?.isFile() ?? false;
}

function presetNames(): string[] {
  return readdirSync(presetFolder)
    .filter((file) => file.endsWith(".ts"))
    .map((file) => file.slice(0, -3));
}

/** The file that an argument names: a path, a path without its extension, or one of Folio's own by its name. */
function findConfig(word: string): string {
  const name = basename(word, extname(word));
  const preset = presetNames().find((preset) => preset === name);
  const presetPath = preset && relative(process.cwd(), join(presetFolder, `${preset}.ts`));
  const file = [word, ...extensions.map((extension) => word + extension)].find(isFile);
  if (file && !extensions.includes(extname(file))) {
    throw new TypeError(`Cannot read ${word}: a config file ends in ${extensions.join(", ")}.`);
  }
  // nanoGPT keeps its files in config/; users may name that folder, configs/ or none. Only the file's name counts.
  const ours = /^(\.\/)?(configs?\/)?[^/\\]+$/.test(word) && ["", ".py", ".ts", ".js"].includes(extname(word));
  if (file) return file;
  if (ours && presetPath) return presetPath;
  if (statusOf(word)?.isDirectory()) {
    throw new TypeError(`Cannot read the config file ${word}: it is a folder; a run is named --out_dir=${word}.`);
  }
  if (existsSync(word)) {
    throw new TypeError(`Cannot read the config file ${word}: it is a pipe or a device; wanted a regular file.`);
  }
  const near = closest(name, presetNames());
  const hint = distance(name, near) <= Math.max(2, near.length / 2) ? `did you mean ${near}? ` : "";
  const known = `${hint}Folio's own are ${presetNames().join(", ")}.`;
  throw new Error(`Cannot read the config file ${word}: there is no such file; ${known}`);
}

async function readConfig(kind: SettingsKind, file: string, notes: string[]): Promise<Record<string, unknown>> {
  const action = `Cannot read ${file}`;
  const content = (await evaluate(file, action)).default;
  if (content instanceof Promise) {
    content.catch(() => {}); // its own failure must not replace this message
    throw new TypeError(`${action}: its default export is a promise; write export default await ….`);
  }
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    const wanted = file.endsWith(".json") ? "one object" : "an object as its default export";
    throw new TypeError(`${action}: wanted ${wanted}, as { nLayer: 4, dropout: 0.2 }.`);
  }
  const values: Record<string, unknown> = {};
  for (const [written, value] of entriesOf(content, action)) {
    // One file may serve several commands: settings of other commands are skipped here.
    const ignored = withoutEffect.get(camelCase(written));
    if (ignored) notes.push(ignored);
    if (ignored || value === undefined || otherOwner(kind, camelCase(written))) continue;
    const key = resolveKey(kind, written, action);
    values[key] = checkValue(kind, key, value, action);
  }
  return values;
}

/** A module may export an object whose properties throw when they are read. */
function entriesOf(content: object, action: string): [string, unknown][] {
  try {
    return Object.entries(content);
  } catch (error) {
    throw new Error(`${action}: ${firstLine(error)}`, { cause: error });
  }
}

/** One line about what was thrown, which in a module can be any value. */
function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : `it throws ${inspect(error, { depth: 0 })}`;
  return text.split("\n")[0]!;
}

/** How long after a module is loaded a rejected promise still counts as the module's failure. */
const afterLoadMs = 5;

/** Loads a module; a promise that it does not await and that is rejected counts as a failure of the module. */
async function withItsRejections<T>(load: () => Promise<T>): Promise<T> {
  let [failed, reason]: [boolean, unknown] = [false, undefined];
  const fail = (error: unknown) => {
    [failed, reason] = [true, error];
  };
  const others = process.listeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection").on("unhandledRejection", fail);
  try {
    const loaded = await load();
    await setTimeout(afterLoadMs);
    if (failed) throw reason;
    return loaded;
  } finally {
    process.removeAllListeners("unhandledRejection");
    for (const other of others) process.on("unhandledRejection", other);
  }
}

/** A config file's default export, inside an object, since a promise would be awaited. */
async function evaluate(file: string, action: string): Promise<{ readonly default?: unknown }> {
  try {
    if (file.endsWith(".py")) return { default: parsePythonConfig(readRegularText(file)) };
    if (file.endsWith(".json")) return { default: JSON.parse(readRegularText(file).replace(/^\uFEFF/, "")) };
    // No cache: a notebook may edit a file and load it again, and nothing may be written to disk.
    const jiti = createJiti(import.meta.url, { fsCache: false, moduleCache: false, interopDefault: false });
    return await withItsRejections(() => jiti.import<{ default?: unknown }>(resolve(file)));
  } catch (error) {
    throw new Error(`${action}: ${firstLine(error)}`, { cause: error });
  }
}
