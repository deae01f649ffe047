/**
 * Reads files that a user names or that are expected in Folio's folders: only regular files, up to a size limit. A pipe
 * or a device of that name could make a program wait forever or fill its memory. Text from a pipe can come through
 * standard input, which is read here too.
 */
import fs from "node:fs";

/** For metadata and configuration; readers of larger text files give a limit of their own. */
const mostBytes = 256 * 2 ** 20;

/**
 * Opens a regular file for reading, without waiting. The caller closes it.
 * @throws the file system's error when it cannot be opened; {Error} when it is not a regular file, saying what it is
 */
export function openRegularFile(file: string): number {
  // Without O_NONBLOCK, opening a named pipe waits until somebody writes to it.
  const descriptor = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  const status = fs.fstatSync(descriptor);
  if (status.isFile()) return descriptor;
  fs.closeSync(descriptor);
  throw new Error(`it is ${kindOf(status)}, not a file`);
}

function kindOf(status: fs.Stats): string {
  if (status.isDirectory()) return "a folder";
  if (status.isFIFO()) return "a pipe";
  if (status.isSocket()) return "a socket";
  return "a device";
}

/**
 * What a path that a user names leads to; undefined if it leads nowhere, also because its name is too long for a file, its
 * links form a circle, or a folder on the way may not be searched. `fs.statSync` throws for these.
 */
export function statusOf(file: string): fs.Stats | undefined {
  try {
    return fs.statSync(file, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

/** Why a file could not be read, as a clause: "it is missing", "it is a pipe, not a file". */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ENOTDIR" ? "it is missing" : message;
}

/** A regular file's bytes. @throws as openRegularFile; {Error} when it has more than `most` */
export function readRegularFile(file: string, most: number = mostBytes): Buffer {
  const descriptor = openRegularFile(file);
  try {
    const { size } = fs.fstatSync(descriptor);
    if (size > most)
      throw new Error(
        `it has ${size.toLocaleString("en-US")} bytes, more than the limit of ${most.toLocaleString("en-US")}`,
      );
    return fs.readFileSync(descriptor);
  } finally {
    fs.closeSync(descriptor);
  }
}

/** A regular file's text. @throws as readRegularFile */
export function readRegularText(file: string, most: number = mostBytes): string {
  return readRegularFile(file, most).toString("utf8");
}

/** Reads standard input to its end. @throws {Error} when that is more than `most` bytes */
export function readStandardInput(most: number = mostBytes): Buffer {
  const chunks: Buffer[] = [];
  for (let total = 0; ; ) {
    const chunk = Buffer.alloc(1 << 16);
    const count = readSome(chunk);
    if (count === 0) return Buffer.concat(chunks);
    total += count;
    if (total > most) throw new Error(`more than the limit of ${most.toLocaleString("en-US")} bytes`);
    chunks.push(chunk.subarray(0, count));
  }
}

/** Reads again while a non-blocking pipe is empty. */
function readSome(chunk: Buffer): number {
  for (;;) {
    try {
      return fs.readSync(0, chunk, 0, chunk.length, null);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EOF") return 0;
      if (code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
    }
  }
}
