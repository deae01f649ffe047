/**
 * Prevents two processes from training into one folder, by flock(2) on a file in it. The system releases the lock when
 * the process ends, however it ends, so no lock is ever stale. A file with a process id would be stale after a kill,
 * and the id means nothing in another container or on another machine. Taking a lock never waits.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import koffi from "koffi";

/** A locked folder; the owner must call `release()`. */
export interface FolderLock {
  release(): void;
}

const EXCLUSIVE_NOW = 2 | 4; // LOCK_EX | LOCK_NB

let flock: ((descriptor: number, operation: number) => number) | undefined;

/**
 * Locks the folder, which is made if it does not exist. A second call is refused even in the same process. File systems
 * without locks give no lock and no error.
 * @returns the lock, or a description of its holder
 * @throws {Error} the file system's error, when the folder cannot be written
 */
export function lockFolder(folder: string): FolderLock | { readonly holder: string } {
  flock ??= koffi.load(null).func("int flock(int, int)") as unknown as typeof flock;
  const made = fs.mkdirSync(folder, { recursive: true });
  const file = path.join(folder, ".lock");
  for (;;) {
    const descriptor = fs.openSync(file, "a+");
    // The number differs between Linux and macOS, the name does not.
    const refused = flock!(descriptor, EXCLUSIVE_NOW) !== 0 && koffi.errno() === os.constants.errno.EWOULDBLOCK;
    if (refused) {
      const holder = fs.readFileSync(file, "utf8").trim();
      fs.closeSync(descriptor);
      return { holder: holder || "another process" };
    }
    // The previous holder has removed the file: the file locked here is no longer the one that others find.
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
        // A folder made for this lock alone is removed.
        if (made) removeEmpty(folder);
      },
    };
  }
}

function removeEmpty(folder: string): void {
  try {
    fs.rmdirSync(folder);
  } catch {
    // it contains a run
  }
}
