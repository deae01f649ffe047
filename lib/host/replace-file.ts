/** Writes files that others may read at any moment: completely or not at all. */
import fs from "node:fs";
import path from "node:path";

/**
 * Replaces or makes a file atomically: a reader, even after a kill or a power cut, finds either the old content or all
 * of the new. A kill may leave a file behind whose name begins with `.partial-`.
 * @throws {Error} the file system's error; the old file is then still there
 */
export function replaceFile(file: string, content: string | Uint8Array): void {
  const partial = path.join(path.dirname(file), `.partial-${process.pid}-${path.basename(file)}`);
  try {
    fs.writeFileSync(partial, content, { flush: true });
    fs.renameSync(partial, file);
  } catch (error) {
    fs.rmSync(partial, { force: true });
    throw error;
  }
}
