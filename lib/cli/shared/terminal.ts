/**
 * Shared by commands for output: colour, readable numbers and durations, tables, and a progress line below the log.
 * Colour and the progress line appear only on a terminal; NO_COLOR switches colour off.
 */
import { styleText } from "node:util";
import type { Output } from "./io.js";
import { ownEscapes, shortened } from "./output.js";

export type { Io, Output } from "./io.js";

export type Style = Parameters<typeof styleText>[0];

/** `text` in colour if `output` shows colour, else unchanged. */
export function styled(output: Output, style: Style, text: string): string {
  const plain = !output.isTTY || process.env.NO_COLOR || process.env.TERM === "dumb";
  if (plain) return text;
  const [before, after] = styleText(style, "\0", { validateStream: false }).split("\0");
  return ownEscapes(before!) + text + ownEscapes(after!);
}

/** 1234567 → "1,234,567". */
export function grouped(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** Parameters in millions with two decimals, as nanoGPT prints them. */
export function millions(value: number): string {
  return `${(value / 1e6).toFixed(2)}M`;
}

/** 3725 s → "1:02:05". */
export function duration(elapsedMs: number): string {
  const seconds = Math.round(elapsedMs / 1000);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const shown = parts[0] === 0 ? parts.slice(1) : parts;
  return shown.map((part, i) => (i === 0 ? String(part) : String(part).padStart(2, "0"))).join(":");
}

/** `text` in lines of at most `columns`, broken at spaces. */
export function wrapped(text: string, columns = 119): string {
  return text.replace(new RegExp(`(.{1,${columns}})(?: +|$)`, "g"), "$1\n").trimEnd();
}

/** Longer cells of a table are shortened. */
const longestCell = 120;

/** A text table: columns padded to their widest cell, numbers right-aligned. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [head, ...rows].map((cells) => cells.map((cell) => shortened(cell, longestCell).replace(/[\n\t]/g, " ")));
  const widths = head.map((_, column) => Math.max(...all.map((cells) => (cells[column] ?? "").length)));
  const right = head.map((_, column) => rows.every((cells) => /^[-\d.,%/ ?]*$/.test(cells[column] ?? "")));
  const pad = (cell: string, column: number) =>
    right[column] ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!);
  return all.map((cells) => cells.map(pad).join("  ").trimEnd());
}

/** A progress line that stays below the log lines; only on a terminal. */
export interface Progress {
  /** Writes a line above the progress line. */
  line(text: string): void;
  /** Redraws it, at most ten times per second. */
  update(done: number, total: number, rest: string): void;
  /** On anything but a terminal: writes a line, if none was written for a minute. */
  stillAt(text: string): void;
  /** Removes the progress line. */
  close(): void;
}

const bar = (share: number, width: number): string => {
  const full = Math.round(share * width);
  return "█".repeat(full) + "░".repeat(width - full);
};

/** The progress line's text, cut to the width of the terminal; without a share, if `total` is infinite. */
export function progressText(done: number, total: number, rest: string, columns: number): string {
  if (total === Number.POSITIVE_INFINITY) return rest.slice(0, Math.max(0, columns - 1));
  const share = total > 0 ? Math.min(1, done / total) : 0;
  const numbers = `${String(Math.floor(share * 100)).padStart(3)} %  ${done}/${total}  ${rest}`;
  const room = columns - 1 - numbers.length - 1;
  const drawn = room >= 8 ? `${bar(share, Math.min(24, room))} ${numbers}` : numbers.trimStart();
  return drawn.slice(0, Math.max(0, columns - 1));
}

export function openProgress(output: Output, now: () => number = () => performance.now()): Progress {
  const erase = ownEscapes("\r\x1b[K");
  let shown = "";
  let drawnAt = Number.NEGATIVE_INFINITY;
  let wroteAt = now();
  return {
    line(text) {
      wroteAt = now();
      output.write(shown ? `${erase}${text}\n${shown}` : `${text}\n`);
    },
    update(done, total, rest) {
      if (!output.isTTY || now() - drawnAt < 100) return;
      drawnAt = now();
      // Read each time, since a window can change its width.
      shown = progressText(done, total, rest, output.columns || 80);
      output.write(erase + shown);
    },
    stillAt(text) {
      if (output.isTTY || now() - wroteAt < 60_000) return;
      wroteAt = now();
      output.write(`${text}\n`);
    },
    close() {
      if (shown) output.write(erase);
      shown = "";
    },
  };
}

/**
 * Replaces the names of settings in a message of the library (`outDir`, `initFrom: "resume"`) by the command line's
 * flags (`--out_dir`, `--init_from=resume`). Text quoted from a file stays unchanged.
 */
export async function withFlags(message: string): Promise<string> {
  const { camelCase, settingRows } = await import("../../settings/settings.js");
  const flag = (key: string) => `--${key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
  if (message.startsWith("Cannot read --")) {
    // The flag is already named; the setting's name is omitted.
    return message
      .replace(/^(Cannot read --([\w-]+)): (\w+) is /, (found, start: string, written: string, key: string) =>
        camelCase(written) === key ? `${start}: it is ` : found,
      )
      .replace(/did you mean (\w+)\?/, (_, key: string) => `did you mean ${flag(key)}?`);
  }
  if (/^Cannot (read|open) /.test(message)) return message;
  const keysOf = (kind: Parameters<typeof settingRows>[0]) => Object.keys(settingRows(kind));
  // Of the other commands' settings only those of two words, since "file: 3" may be part of any sentence.
  const others = (["eval", "bench", "sizes", "check gpu", "check gpt2", "check mac"] as const)
    .flatMap(keysOf)
    .filter((key) => /[A-Z]/.test(key));
  const keys = [...new Set([...(["train", "sample"] as const).flatMap(keysOf), ...others])];
  // Parts of paths and ordinary words are not settings.
  const alone = (names: readonly string[]) => `(?<![\\w/.\\\\"'=-])(${names.join("|")})`;
  const value = /: (?:"([^"]*)"|(true|false)\b|(-?\d[\d.e+-]*\d|\d))/.source;
  const capitalized = (word: string) => word[0]!.toUpperCase() + word.slice(1);
  return message
    .replace(
      new RegExp(alone(keys) + value, "g"),
      (_, key: string, text?: string, truth?: string, number?: string) =>
        `${flag(key)}=${truth ? capitalized(truth) : (number ?? (/^[\w@%+:,./-]+$/.test(text!) ? text : `'${text}'`))}`,
    )
    .replace(new RegExp(`${alone(keys.filter((key) => /[A-Z]/.test(key)))}(?![\\w/=:-])`, "g"), (_, key: string) =>
      flag(key),
    );
}
