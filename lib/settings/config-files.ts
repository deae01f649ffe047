/**
 * Config files and flags → overrides of the settings, as nanoGPT's configurator reads them: any number of files in
 * order, flags on top. A config file is data in TypeScript, JavaScript or JSON, or nanoGPT's in Python; TypeScript and
 * JavaScript are run, so only name files that you trust. Not here: what a setting means (lib/settings/settings.ts). Also: the text of --help.
 */
import { existsSync, readdirSync, statSync } from "node:fs";
import { basename, extname, join, relative, resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import { inspect } from "node:util";
import { closest, distance } from "fastest-levenshtein";
import { createJiti } from "jiti";
import { packageRoot } from "../host/package.js";
import { readRegularText } from "../host/regular-file.js";
import { parsePythonConfig } from "./python-config.js";
import {
  camelCase,
  checkValue,
  otherOwner,
  parseSampleSettings,
  parseSettings,
  resolveKey,
  type SampleSettings,
  type SettingRow,
  type Settings,
  type SettingsKind,
  settingRows,
} from "./settings.js";

/** What the words of a command line set. `values` are checked one by one, not yet against each other. */
export interface Overrides {
  /** The config files read, in order, as paths. */
  readonly files: readonly string[];
  readonly values: Readonly<Record<string, unknown>>;
  /** What was read otherwise than written, a line each: nanoGPT's names that mean Folio's. */
  readonly notes: readonly string[];
}

type Value = SettingRow["default"];

/**
 * The settings of a training run from config files and flags: `[file …] [--key=value | --key value | --flag …]`.
 * Files count in order, flags win over files, later flags over earlier ones.
 * @example await loadSettings(["configs/train_shakespeare_char.ts", "--device=cpu", "--compile=False", "--n-layer", "4"])
 * @throws Error, TypeError or RangeError that names the file or flag, what it holds and what is wanted.
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
    if (word.endsWith(".py") && file !== word) notes.push(`${word} is no file here: Folio's own ${file} is read`);
    Object.assign(values, await readConfig(kind, file, notes));
  }
  return { files, values: { ...values, ...flags }, notes: [...new Set(notes)] };
}

// nanoGPT's settings that have nothing to decide here. A Map: a setting may be called "constructor".
const withoutEffect: ReadonlyMap<string, string> = new Map([
  ["backend", "backend is nanoGPT's and has no effect: Folio reduces gradients in TensorFlow's graph"],
]);

// ---------------------------------------------------------------------------------------------------------- flags

interface Flags {
  readonly words: string[];
  readonly flags: Record<string, Value>;
  readonly notes: string[];
}

function readFlags(kind: SettingsKind, args: readonly string[]): Flags {
  const words: string[] = [];
  const flags: Record<string, Value> = {};
  const notes: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    if (!arg.startsWith("--") || arg === "--") {
      if (arg !== "--") words.push(configWord(arg));
      continue;
    }
    const equals = arg.indexOf("=");
    const written = equals < 0 ? arg : arg.slice(0, equals);
    const negated = equals < 0 ? negatedKey(kind, written) : undefined;
    if (negated) {
      flags[negated] = false;
      continue;
    }
    const ignored = withoutEffect.get(camelCase(written.slice(2)));
    if (ignored) {
      notes.push(ignored);
      if (equals < 0) i++;
      continue;
    }
    const key = resolveKey(kind, written.slice(2), `Cannot read ${written}`);
    const row = settingRows(kind)[key]!;
    let value: string | undefined = equals < 0 ? undefined : arg.slice(equals + 1);
    if (value === undefined && row.type === "boolean") {
      value = /^(true|false)$/i.test(args[i + 1] ?? "") ? args[++i]! : "True";
    } else if (value === undefined) {
      value = args[++i];
      if (value === undefined || value.startsWith("--")) {
        throw new TypeError(`Cannot read ${written}: it has no value; wanted ${row.wanted}, as ${written}=VALUE.`);
      }
    }
    flags[key] = checkValue(kind, key, parseValue(row, value!), `Cannot read ${written}`);
  }
  return { words, flags, notes };
}

/** `--no-compile` → "compile". */
function negatedKey(kind: SettingsKind, written: string): string | undefined {
  const key = camelCase(/^--no[-_](.+)$/.exec(written)?.[1] ?? "");
  return Object.hasOwn(settingRows(kind), key) && settingRows(kind)[key]!.type === "boolean" ? key : undefined;
}

function configWord(arg: string): string {
  if (arg.includes("\0")) throw new TypeError("Cannot read the command line: a word has a NUL in it.");
  if (!/^-[A-Za-z]/.test(arg)) return arg;
  throw new TypeError(`Cannot read ${arg}: flags begin with two dashes, as in --batch_size=8.`);
}

/** A literal of Python, JavaScript or JSON; anything else is text, as in nanoGPT. */
function parseValue(row: SettingRow, written: string): unknown {
  const word = written.trim();
  if (row.type === "text" || row.type === "choice") {
    return /^(["']).*\1$/s.test(word) && word.length > 1 ? word.slice(1, -1) : written;
  }
  if (/^(True|true)$/.test(word)) return true;
  if (/^(False|false)$/.test(word)) return false;
  if (/^(None|null)$/.test(word)) return null;
  if (/^[-+]?(\d+(_\d+)*\.?(\d+(_\d+)*)?|\.\d+)(e[-+]?\d+)?$/i.test(word)) return Number(word.replaceAll("_", ""));
  return written;
}

// ---------------------------------------------------------------------------------------------------------- files

const extensions = [".ts", ".mts", ".js", ".mjs", ".cjs", ".json", ".py"];
const presetFolder = join(packageRoot(), "configs");

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

function presetNames(): string[] {
  return readdirSync(presetFolder)
    .filter((file) => file.endsWith(".ts"))
    .map((file) => file.slice(0, -3));
}

/** The file that a word names: a path, a path without its extension, or one of Folio's own by its name. */
function findConfig(word: string): string {
  const name = basename(word, extname(word));
  const preset = presetNames().find((preset) => preset === name);
  const presetPath = preset && relative(process.cwd(), join(presetFolder, `${preset}.ts`));
  const file = [word, ...extensions.map((extension) => word + extension)].find(isFile);
  if (file && !extensions.includes(extname(file))) {
    throw new TypeError(`Cannot read ${word}: a config file ends in ${extensions.join(", ")}.`);
  }
  // nanoGPT keeps them in config/, users may name none or ours: the name decides.
  const ours = /^(\.\/)?(configs?\/)?[^/\\]+$/.test(word) && ["", ".py", ".ts", ".js"].includes(extname(word));
  if (file) return file;
  if (ours && presetPath) return presetPath;
  if (statSync(word, { throwIfNoEntry: false })?.isDirectory()) {
    throw new TypeError(`Cannot read the config file ${word}: it is a folder; a run is named --out_dir=${word}.`);
  }
  if (existsSync(word)) {
    throw new TypeError(`Cannot read the config file ${word}: it is a pipe or a device; a config file is a file.`);
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
    content.catch(() => {}); // whatever becomes of it, this is what is said
    throw new TypeError(`${action}: its default export is a promise; write export default await ….`);
  }
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    const wanted = file.endsWith(".json") ? "one object" : "an object as its default export";
    throw new TypeError(`${action}: wanted ${wanted}, as { nLayer: 4, dropout: 0.2 }.`);
  }
  const values: Record<string, unknown> = {};
  for (const [written, value] of entriesOf(content, action)) {
    // One file may serve several commands: the others' settings are known, and left to them.
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

/** What was thrown, which in a module can be anything, in a line. */
function firstLine(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : `it throws ${inspect(error, { depth: 0 })}`;
  return text.split("\n")[0]!;
}

/** How long a module's promises may take to fail after it is loaded, and still be told as the module's. */
const afterLoadMs = 5;

/** Loads a module; a promise of it that fails, and that nobody awaits, is a failure of the module. */
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

/** What a config file holds, as its default export: in an object, since a promise would be awaited. */
async function evaluate(file: string, action: string): Promise<{ readonly default?: unknown }> {
  try {
    if (file.endsWith(".py")) return { default: parsePythonConfig(readRegularText(file)) };
    if (file.endsWith(".json")) return { default: JSON.parse(readRegularText(file).replace(/^\uFEFF/, "")) };
    // Neither cache: a notebook may edit a file and load it again, and no folder is written to.
    const jiti = createJiti(import.meta.url, { fsCache: false, moduleCache: false, interopDefault: false });
    return await withItsRejections(() => jiti.import<{ default?: unknown }>(resolve(file)));
  } catch (error) {
    throw new Error(`${action}: ${firstLine(error)}`, { cause: error });
  }
}

// ----------------------------------------------------------------------------------------------------------- help

/** Every setting of a command: flag, type, default, unit, doc, in groups, from the one table in lib/settings/settings.ts. */
export function helpText(kind: SettingsKind, preset: Readonly<Partial<Settings>> = {}): string {
  const rows = Object.entries(settingRows(kind));
  const lines: string[] = [];
  let group = "";
  for (const [key, row] of rows) {
    if (row.group !== group) lines.push("", `${row.group}:`);
    group = row.group;
    const standard = preset[key as keyof Settings] ?? row.default;
    const value = typeof standard === "string" ? JSON.stringify(standard) : String(standard);
    const values = row.type === "choice" ? row.wanted.replaceAll(", ", "|") : row.unit || row.type;
    lines.push(`  ${`--${snakeCase(key)}=${value}`.padEnd(36)}  ${values}`, `      ${row.doc}`);
  }
  return lines.slice(1).join("\n");
}

/** nanoGPT's spelling of a key: `n_layer`. */
function snakeCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
