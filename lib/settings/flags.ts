/**
 * Flags of the command line: `--key=value`, `--key value`, `--flag`, `--no-flag`, by the tables of settings, and the text
 * of --help from the same tables. Config files are config-files.ts' matter.
 */
import {
  camelCase,
  checkValue,
  resolveKey,
  type SettingRow,
  type Settings,
  type SettingsKind,
  settingRows,
} from "./settings.js";

export interface Flags {
  readonly words: string[];
  readonly flags: Record<string, SettingRow["default"]>;
  readonly notes: string[];
}

export function readFlags(kind: SettingsKind, args: readonly string[]): Flags {
  const words: string[] = [];
  const flags: Record<string, SettingRow["default"]> = {};
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

// nanoGPT's settings that have nothing to decide here. A Map: a setting may be called "constructor".
export const withoutEffect: ReadonlyMap<string, string> = new Map([
  ["backend", "backend is nanoGPT's and has no effect: Folio reduces gradients in TensorFlow's graph"],
]);

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
