/** Suppresses what a native library writes to this process's stderr while it loads. */
import fs from "node:fs";
import koffi from "koffi";

/**
 * Runs `action` with stderr's descriptor redirected to nothing, for libraries that write before any setting takes
 * effect.
 */
export function withoutStderr<T>(action: () => T): T {
  const libc = koffi.load(null);
  const duplicate = libc.func("int dup(int)");
  const replace = libc.func("int dup2(int, int)");
  const stderr = duplicate(2) as number;
  const nothing = fs.openSync("/dev/null", "w");
  try {
    replace(nothing, 2);
    return action();
  } finally {
    replace(stderr, 2);
    fs.closeSync(nothing);
    fs.closeSync(stderr);
  }
}
