/**
 * The output of commands: quoted text (names of files and tensors, cells of a table) must not control the terminal, and
 * a closed standard output must not end the work. Every command's Io passes through here; terminal.ts does colour and
 * progress.
 */
import { randomInt } from "node:crypto";
import type { Io, LostOutput, Output } from "./io.js";

/** A random mark before Folio's own escape sequences; it is drawn in each process, so that no file can contain it. */
const own = String.fromCodePoint(...Array.from({ length: 4 }, () => randomInt(0x10_0000, 0x10_fffe)));

/** Marks the escape sequences in `text` as Folio's own; all others are printed as `\u001b`. */
export function ownEscapes(text: string): string {
  return text.replaceAll("\r", `${own}r`).replaceAll("\x1b", `${own}e`);
}

// Control characters except \n and \t; direction marks and zero-width characters; non-characters and lone surrogates.
const unprintable =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it looks for
  /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufdd0-\ufdef\ufeff\ufff9-\ufffb\ufffe\uffff]|[\u{e0000}-\u{e007f}]|[\ud800-\udfff]/gu;

/** Escapes what a terminal would obey or hide as `\u001b`, as in JSON, so that JSON keeps its meaning. */
export function printable(text: string): string {
  return text
    .replace(unprintable, (found) => found.split("").map(escaped).join(""))
    .replaceAll(`${own}r`, "\r")
    .replaceAll(`${own}e`, "\x1b");
}

const escaped = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;

const [longestWord, longestLine] = [400, 2000];

/** `text` shortened to its beginning and its end, with the number of characters left out. */
export function shortened(text: string, most: number): string {
  if (text.length <= most) return text;
  const head = Math.floor(most * 0.6);
  const tail = most - head;
  return `${text.slice(0, head)} … ${text.length - most} more … ${text.slice(-tail)}`;
}

/** A message with overlong words and lines shortened. */
export function readable(message: string): string {
  return message
    .split("\n")
    .map((line) =>
      shortened(
        line.replace(/\S{401,}/g, (word) => shortened(word, longestWord)),
        longestLine,
      ),
    )
    .join("\n");
}

/** `io` with control characters escaped and messages of a readable length. Requested text is not shortened. */
export function printableIo({ stdout, stderr, onLost }: Io): Io {
  const through = (output: Output, shown: (text: string) => string): Output => ({
    write: (text) => output.write(shown(text)),
    // A terminal would obey escape sequences; a file or a program gets the text unchanged.
    writeText: (text) => output.write(output.isTTY ? printable(text) : text),
    get isTTY() {
      return output.isTTY;
    },
    get columns() {
      return output.columns;
    },
  });
  return {
    stdout: through(stdout, printable),
    stderr: through(stderr, (text) => printable(readable(text))),
    ...(onLost && { onLost }),
  };
}

/** The process's own output, and how it ended. */
export interface ProcessOutput {
  readonly io: Io;
  /** Waits until everything is written; returns why standard output was lost, if it was. */
  settled(): Promise<LostOutput | undefined>;
}

/**
 * Standard output and error as an Io that survives their loss. When standard output can no longer be written, the
 * listener is told, which may have something to save; without one, `end` is called.
 */
export function openProcessOutput(end: (lost: LostOutput) => void): ProcessOutput {
  const listeners = new Set<(lost: LostOutput) => void>();
  let lost: LostOutput | undefined;
  // A lost standard error is ignored; the work and its result do not depend on it.
  process.stderr.on("error", () => {});
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (lost) return;
    lost = lostBy(error);
    if (lost.exitCode === 1) process.stderr.write(`folio: Cannot write to standard output: ${lost.found}.\n`);
    for (const listener of listeners) listener(lost);
    if (listeners.size === 0) end(lost);
  });
  const stdout: Output = {
    write: (text) => (lost ? true : process.stdout.write(text)),
    get isTTY() {
      return process.stdout.isTTY;
    },
    get columns() {
      return process.stdout.columns;
    },
  };
  return {
    io: {
      stdout,
      stderr: process.stderr,
      onLost(listener) {
        listeners.add(listener);
        if (lost) listener(lost);
      },
    },
    async settled() {
      if (!lost) await new Promise((resolve) => process.stdout.write("", resolve));
      return lost;
    },
  };
}

function lostBy({ code, message }: NodeJS.ErrnoException): LostOutput {
  if (code === "EPIPE") return { exitCode: 141, found: "nothing reads standard output any more" };
  if (code === "EIO" && process.stdout.isTTY) return { exitCode: 129, found: "the terminal is gone" };
  const full = code === "ENOSPC" || code === "EDQUOT";
  return { exitCode: 1, found: full ? `the device is full (${code})` : message };
}
