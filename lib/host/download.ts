/**
 * Downloads a file: resumed after an interruption, checked by SHA-256, and put in place by one rename, so that the path
 * holds either the complete, correct file or what it held before.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { cellSignal } from "./notebook.js";
import { openRegularFile } from "./regular-file.js";

/** Progress of a download. */
export interface DownloadProgress {
  receivedBytes: number;
  /** If the server reports it. */
  totalBytes: number | undefined;
}

/** Options of `fetchFile`. */
export interface FetchFileOptions {
  /** Of the whole file, in hexadecimal; without it, only the length that the server reports is checked. */
  sha256?: string;
  /** Largest accepted length; default 64 GB. The download of a longer file stops, and what has arrived is removed. */
  maxBytes?: number;
  onProgress?(progress: DownloadProgress): void;
  signal?: AbortSignal;
  /** How long the server may send nothing; default 30,000. */
  stallMs?: number;
  /** Failed attempts in a row, without a byte received, before it gives up; default 3. */
  attempts?: number;
}

/** A failure that another attempt cannot fix. */
class FinalError extends Error {}

const advice = "Check the URL and the network, or give a local file as source.";

/** SHA-256 of a file, read as a stream. */
export async function fileSha256(filePath: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of fs.createReadStream("", { fd: openRegularFile(filePath) })) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

function sizeOf(filePath: string): number {
  return fs.statSync(filePath, { throwIfNoEntry: false })?.size ?? 0;
}

/**
 * Downloads `url` to `filePath`. What has arrived is kept in `<filePath>.part`, which the next attempt, of this call or
 * another, continues (HTTP Range). If `filePath` already has the right checksum, nothing is fetched.
 * @throws {Error} if the server cannot be reached, answers with an error or sends a file whose SHA-256 is not `sha256`,
 * or if the disk is full; `filePath` is then untouched
 * @throws the signal's reason when it is aborted; the next call resumes the download
 * @example
 * await fetchFile("https://example.org/text.txt", "data/text.txt", { sha256: "…" });
 */
export async function fetchFile(url: string, filePath: string, options: FetchFileOptions = {}): Promise<void> {
  const { sha256, signal = cellSignal(), attempts = 3 } = options;
  if (!/^https?:\/\//.test(url) || !URL.canParse(url)) {
    throw new TypeError(`Cannot download ${JSON.stringify(url)}: it is not an http or https URL.`);
  }
  if (sha256 && fs.existsSync(filePath) && (await fileSha256(filePath)) === sha256.toLowerCase()) return;
  const part = `${filePath}.part`;
  fs.mkdirSync(path.dirname(filePath), { recursive: true });

  const inherited = sizeOf(part) > 0; // from an earlier call: the file on the server may have changed since
  for (let failures = 0, round = 0; ; ) {
    const before = sizeOf(part);
    try {
      await receive(url, part, options);
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof FinalError) throw error;
      failures = sizeOf(part) > before ? 0 : failures + 1;
      if (failures >= attempts)
        throw new Error(`Cannot download ${url}: ${causeOf(error)}. ${advice}`, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 100 * failures));
      continue;
    }
    const found = sha256 && (await fileSha256(part));
    if (found === sha256?.toLowerCase()) break;
    fs.rmSync(part, { force: true });
    if (inherited && round++ === 0) continue; // once more, from the start
    throw new Error(
      `Cannot download ${url}: the file that arrived has SHA-256 ${found}; wanted ${sha256}. It was deleted: it is another file or was changed on the way. ${advice}`,
    );
  }
  fs.renameSync(part, filePath);
}

/** What went wrong, from fetch's nested errors. */
function causeOf(error: unknown): string {
  if (!(error instanceof TypeError)) return (error as Error).message;
  let deepest: Error & { code?: string } = error;
  while (deepest.cause instanceof Error) deepest = deepest.cause;
  const { code, message } = deepest;
  return `the connection failed (${[...new Set([code, message])].filter(Boolean).join(": ")})`;
}

/** One request: appends what arrives to `part`. */
async function receive(url: string, part: string, options: FetchFileOptions): Promise<void> {
  const { onProgress, signal = cellSignal(), stallMs = 30_000, maxBytes = 64e9 } = options;
  const stalled = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => stalled.abort(new Error(`nothing arrived for ${stallMs} ms`)), stallMs);
  };
  alive();
  try {
    let offset = sizeOf(part);
    const headers: Record<string, string> = { "accept-encoding": "identity" };
    if (offset > 0) headers.range = `bytes=${offset}-`;
    const response = await fetch(url, {
      headers,
      signal: signal ? AbortSignal.any([signal, stalled.signal]) : stalled.signal,
    });
    const range = /^bytes (?:(\d+)-\d+|\*)\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "");
    if (response.status === 416 && offset > 0) {
      await response.body?.cancel();
      if (Number(range?.[2]) === offset) return; // all of it had arrived already
      fs.rmSync(part);
      throw new Error("the server no longer has the part that is missing");
    }
    if (!response.ok) {
      await response.body?.cancel();
      const message = `the server answered ${response.status} ${response.statusText}`.trim();
      if (response.status >= 500 || response.status === 429 || response.status === 408) throw new Error(message);
      throw new FinalError(`Cannot download ${url}: ${message}. ${advice}`);
    }
    const resumed = response.status === 206 && Number(range?.[1]) === offset;
    if (response.status === 206 && !resumed) {
      await response.body?.cancel();
      fs.rmSync(part, { force: true });
      throw new Error("the server sent a different part from the one requested");
    }
    if (!resumed) offset = 0; // the server cannot resume: start again
    const length = response.headers.get("content-length");
    const totalBytes = length === null ? undefined : offset + Number(length);
    const descriptor = fs.openSync(part, resumed ? "a" : "w");
    try {
      let receivedBytes = offset;
      for await (const chunk of response.body ?? []) {
        alive();
        receivedBytes += chunk.length;
        if (receivedBytes > maxBytes) {
          fs.rmSync(part, { force: true });
          throw new FinalError(
            `Cannot download ${url}: it is longer than the ${maxBytes} bytes that are accepted. ${advice}`,
          );
        }
        write(descriptor, chunk, part);
        onProgress?.({ receivedBytes, totalBytes });
      }
      fs.fsyncSync(descriptor);
      if (totalBytes !== undefined && receivedBytes !== totalBytes) {
        throw new Error(`${receivedBytes} of ${totalBytes} bytes arrived`);
      }
    } finally {
      fs.closeSync(descriptor);
    }
  } catch (error) {
    if (stalled.signal.aborted) throw stalled.signal.reason;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function write(descriptor: number, chunk: Uint8Array, part: string): void {
  try {
    for (let done = 0; done < chunk.length; ) done += fs.writeSync(descriptor, chunk, done);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const found = code === "ENOSPC" || code === "EDQUOT" ? "the disk is full" : message;
    throw new FinalError(`Cannot write ${part}: ${found}. What has arrived is kept; free some space and try again.`, {
      cause: error,
    });
  }
}
