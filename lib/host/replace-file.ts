/** Files that others read at any moment: written whole or not at all. */
import fs from "node:fs";
import path from "node:path";

/**
 * Replaces a file, or makes it, at one stroke: whoever opens it, also after a kill or a power cut, finds what was there
 * before or all of the new. What a kill leaves behind begins with `.partial-`.
 * @throws {Error} the file system's; the file before is then still there
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
