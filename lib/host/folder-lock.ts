/**
 * Keeps two processes from training into one folder: flock(2) on a file in it. The system gives the lock back when the
 * process ends, however it ends, so none is ever stale; a file with a process id in it would be, after a kill, and means
 * nothing in another container or on another machine. It stands here because it needs koffi. Not a queue: it never waits.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import koffi from "koffi";

/** A folder that is held; `release()` it. */
export interface FolderLock {
  release(): void;
}

const EXCLUSIVE_NOW = 2 | 4; // LOCK_EX | LOCK_NB

let flock: ((descriptor: number, operation: number) => number) | undefined;

/**
 * Takes the folder, which is made if need be, for this process, or rather for this call: a second one is refused too.
 * On file systems without locks there is none, and no error.
 * @returns the lock, or who holds it, in words
 * @throws {Error} the file system's, when the folder cannot be written
 */
export function lockFolder(folder: string): FolderLock | { readonly holder: string } {
  flock ??= koffi.load(null).func("int flock(int, int)") as unknown as typeof flock;
  const made = fs.mkdirSync(folder, { recursive: true });
  const file = path.join(folder, ".lock");
  for (;;) {
    const descriptor = fs.openSync(file, "a+");
    // Linux and macOS number it otherwise; the system's name says it on both.
    const refused = flock!(descriptor, EXCLUSIVE_NOW) !== 0 && koffi.errno() === os.constants.errno.EWOULDBLOCK;
    if (refused) {
      const holder = fs.readFileSync(file, "utf8").trim();
      fs.closeSync(descriptor);
      return { holder: holder || "another process" };
    }
    // The one who held it until now has removed the file: what is locked is no longer what others find.
    if (fs.statSync(file, { throwIfNoEntry: false })?.ino !== fs.fstatSync(descriptor).ino) {
      fs.closeSync(descriptor);
      continue;
    }
    fs.ftruncateSync(descriptor);
    fs.writeSync(descriptor, `process ${process.pid} on ${os.hostname()}, since ${new Date().toISOString()}\n`);
    return {
      release() {
        fs.rmSync(file, { force: true });
        fs.closeSync(descriptor);
        // A folder that was made for nothing goes again.
        if (made) removeEmpty(folder);
      },
    };
  }
}

function removeEmpty(folder: string): void {
  try {
    fs.rmdirSync(folder);
  } catch {
    // it holds a run
  }
}
