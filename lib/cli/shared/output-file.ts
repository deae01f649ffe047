/**
 * Files that a command writes: they are checked before the work whose result they are for, which may take hours, and
 * never replace a file that the command reads.
 */
import fs from "node:fs";
import path from "node:path";
import { statusOf } from "../../host/regular-file.js";
import { replaceFile } from "../../host/replace-file.js";

/**
 * Checks that a file can be written, and that it is none of those that the command reads.
 * @param flag that names another file, such as --out
 * @throws {RangeError} for a file that the command reads, also under another name; {Error} if there is no such folder
 */
export function checkOutput(file: string, flag: string, reads: readonly string[]): void {
  const status = statusOf(file);
  const read = reads.find((each) => isSame(file, each));
  if (read !== undefined) {
    const same = path.resolve(file) === path.resolve(read) ? "this command reads it" : `it is the same file as ${read}`;
    throw new RangeError(
      `Cannot write ${file}: ${same}, and its content would be lost; name another file with ${flag}.`,
    );
  }
  if (status?.isDirectory()) {
    throw new Error(`Cannot write ${file}: it is a folder; name a file with ${flag}.`);
  }
  const folder = path.dirname(file);
  if (!statusOf(folder)?.isDirectory()) {
    throw new Error(`Cannot write ${file}: there is no folder ${folder}; make it, or name another file with ${flag}.`);
  }
  try {
    fs.accessSync(status?.isFile() ? file : folder, fs.constants.W_OK);
  } catch {
    if (status && !status.isFile()) return; // a device or a pipe tells when it is written
    throw new Error(`Cannot write ${file}: it may not be written by you; name another file with ${flag}.`);
  }
}

/** Whether two names lead to one file: by their paths, or through links. */
function isSame(one: string, other: string): boolean {
  if (path.resolve(one) === path.resolve(other)) return true;
  const [a, b] = [statusOf(one), statusOf(other)];
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino;
}

/** Writes a file completely or not at all; to a device or a pipe, such as /dev/stdout, its text. */
export function writeOutput(file: string, text: string): void {
  const status = statusOf(file);
  if (status && !status.isFile()) fs.writeFileSync(file, text);
  else replaceFile(file, text);
}
