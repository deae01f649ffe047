/**
 * Reads the flags of the command line, `--key=value`, `--key value`, `--flag` and `--no-flag`, by the tables of
 * settings, and writes the text of --help from the same tables. Config files are read by config-files.ts.
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

/**
 * A flag as it is written, `--batch_size`, with the value after its `=`; `next` takes the following word as its value.
 */
export interface WrittenFlag {
  readonly written: string;
  readonly inline: string | undefined;
  /** The following word, taken if it is `accepted`; else undefined. */
  next(accepted?: (word: string) => boolean): string | undefined;
}

/** Passes on the words of a command line one by one; those that begin with a dash as flags. */
export function readWords(
  args: readonly string[],
  { word, flag }: { word: (word: string) => void; flag: (flag: WrittenFlag) => void },
): void {
  const left = [...args];
  for (let arg = left.shift(); arg !== undefined; arg = left.shift()) {
    const equals = arg.indexOf("=");
    if (!/^--|^-[A-Za-z]/.test(arg)) word(arg);
    else {
      flag({
        written: equals < 0 ? arg : arg.slice(0, equals),
        inline: equals < 0 ? undefined : arg.slice(equals + 1),
        next: (accepted = () => true) => (left[0] !== undefined && accepted(left[0]) ? left.shift() : undefined),
      });
    }
  }
}

export interface Flags {
  readonly words: string[];
  readonly flags: Record<string, SettingRow["default"]>;
  readonly notes: string[];
}

/** The words of a command line, and its flags, each checked against the settings of a command. */
export function readFlags(kind: SettingsKind, args: readonly string[]): Flags {
  const found: Flags = { words: [], flags: {}, notes: [] };
  readWords(args, { word: (word) => found.words.push(checkedWord(word)), flag: (flag) => readFlag(kind, flag, found) });
  return found;
}

function readFlag(kind: SettingsKind, { written, inline, next }: WrittenFlag, { flags, notes }: Flags): void {
  if (written === "--") return;
  if (!written.startsWith("--")) {
    const whole = inline === undefined ? written : `${written}=${inline}`;
    throw new TypeError(`Cannot read ${whole}: flags begin with two dashes, as in --batch_size=8.`);
  }
  const negated = inline === undefined ? negatedKey(kind, written) : undefined;
  if (negated) {
    flags[negated] = false;
    return;
  }
  const ignored = withoutEffect.get(camelCase(written.slice(2)));
  if (ignored) {
    notes.push(ignored);
    if (inline === undefined) next();
    return;
  }
  const key = resolveKey(kind, written.slice(2), `Cannot read ${written}`);
  const row = settingRows(kind)[key]!;
  const value =
    inline ??
    (row.type === "boolean"
      ? (next((word) => /^(true|false)$/i.test(word)) ?? "True")
      : next((word) => !word.startsWith("--")));
  if (value === undefined) {
    throw new TypeError(`Cannot read ${written}: it has no value; wanted ${row.wanted}, written as ${written}=VALUE.`);
  }
  flags[key] = checkValue(kind, key, parseValue(row, value), `Cannot read ${written}`);
}

/** `--no-compile` → "compile". */
function negatedKey(kind: SettingsKind, written: string): string | undefined {
  const key = camelCase(/^--no[-_](.+)$/.exec(written)?.[1] ?? "");
  return Object.hasOwn(settingRows(kind), key) && settingRows(kind)[key]!.type === "boolean" ? key : undefined;
}

function checkedWord(word: string): string {
  if (!word.includes("\0")) return word;
  throw new TypeError("Cannot read the command line: a word contains a NUL character.");
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

// nanoGPT's settings that have no effect here. A Map, since a setting may be called "constructor".
export const withoutEffect: ReadonlyMap<string, string> = new Map([
  ["backend", "backend is nanoGPT's and has no effect: Folio reduces gradients in TensorFlow's graph"],
]);

/** Every setting of a command in groups: flag, type, default, unit and documentation. */
export function helpText(kind: SettingsKind, preset: Readonly<Partial<Settings>> = {}): string {
  const all = Object.entries(settingRows(kind));
  const groups = [...new Set(all.map(([, row]) => row.group))];
  const rows = groups.flatMap((name) => all.filter(([, row]) => row.group === name));
  const lines: string[] = [];
  let group = "";
  for (const [key, row] of rows) {
    if (row.group !== group) lines.push("", `${row.group}:`);
    group = row.group;
    const values = row.type === "choice" ? row.wanted.replaceAll(", ", "|") : row.unit || row.type;
    lines.push(`  ${flagText(key, row, preset).padEnd(36)}  ${values}`, `      ${flagDoc(kind, row)}`);
  }
  return lines.slice(1).join("\n");
}

/** Some settings of a command: flag with default, and documentation beside it. */
export function shortHelpText(kind: SettingsKind, keys: readonly string[]): string {
  const lines = keys.map((key) => {
    const row = settingRows(kind)[key]!;
    const doc = flagDoc(kind, row).match(/.{1,90}(?: |$)/g) ?? [];
    return `  ${flagText(key, row).padEnd(24)}  ${doc.map((line) => line.trim()).join(`\n${" ".repeat(28)}`)}`;
  });
  return lines.join("\n");
}

/** `--n_layer=12`, with the default. */
function flagText(key: string, row: SettingRow, preset: Readonly<Partial<Settings>> = {}): string {
  const standard = preset[key as keyof Settings] ?? row.default;
  return `--${snakeCase(key)}=${typeof standard === "string" ? JSON.stringify(standard) : standard}`;
}

/** The documentation, with the names of other settings as flags spell them. */
function flagDoc(kind: SettingsKind, { doc }: SettingRow): string {
  const rows = { ...settingRows("train"), ...settingRows(kind) };
  return doc.replace(/\b[a-z]+[A-Z]\w*/g, (word) => (Object.hasOwn(rows, word) ? snakeCase(word) : word));
}

/** nanoGPT's spelling of a key: `n_layer`. */
export function snakeCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
