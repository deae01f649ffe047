/**
 * The progress of long fits, on standard error: a line that is redrawn on a terminal, elsewhere one line per minute.
 * Ctrl-C ends such a command at once: it has nothing to save, so the signal keeps its default effect.
 */
import { type Io, openProgress } from "../../shared/terminal.js";

/** Does the work, which tells its progress. */
export async function withProgress<T>(
  io: Io,
  what: string,
  work: (onProgress: (done: number, total: number) => void) => T | Promise<T>,
): Promise<T> {
  const progress = openProgress(io.stderr);
  try {
    return await work((done, total) => {
      progress.update(done, total, what);
      progress.stillAt(`${done} of ${total} ${what}`);
    });
  } finally {
    progress.close();
  }
}
