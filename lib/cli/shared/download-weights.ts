/**
 * Downloads GPT-2's weights by name before a command needs them, showing progress. Weights in the cache and models that
 * are not named like GPT-2's need no download.
 */
import type { Gpt2Name } from "../../weights/gpt2-folder.js";
import { type Io, openProgress } from "./terminal.js";

/** Downloads the weights if `initFrom` is one of GPT-2's names and they are not in the cache. */
export async function fetchWeights(initFrom: string, io: Io): Promise<void> {
  if (!initFrom.startsWith("gpt2")) return;
  const { gpt2Names } = await import("../../weights/gpt2-folder.js");
  if (!(gpt2Names as readonly string[]).includes(initFrom)) return;
  const { gpt2Folder } = await import("../../weights/gpt2-hub.js");
  const progress = openProgress(io.stderr);
  let file = "";
  const megabytes = (bytes: number) => Math.round(bytes / 1e6);
  try {
    await gpt2Folder(initFrom as Gpt2Name, {
      onProgress({ file: name, receivedBytes, totalBytes = 0 }) {
        if (name !== file) progress.line(`downloading ${initFrom}: ${name}, ${megabytes(totalBytes)} MB`);
        file = name;
        progress.update(megabytes(receivedBytes), megabytes(totalBytes), `MB of ${name}`);
        progress.stillAt(`${megabytes(receivedBytes)} of ${megabytes(totalBytes)} MB`);
      },
    });
  } finally {
    progress.close();
  }
}
