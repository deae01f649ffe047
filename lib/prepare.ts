/**
 * What the datasets' prepare modules (data/NAME/prepare.ts) share: their options and the reading of a text. To add a
 * dataset, add a folder with a module that exports `prepare(options)` and a README with source, licence and sizes.
 */
import fs from "node:fs";
import { fetchFile } from "./download.js";
import type { TokenMeta } from "./tokens.js";

/** What `prepare` of a dataset takes. */
export interface PrepareOptions {
  /** The folder of all datasets; the files go to `<dataDir>/<name>`. */
  dataDir: string;
  /** A local file to take the text from, in place of the usual source. */
  source?: string;
  /** Where to download the text from, in place of its public URL. */
  url?: string;
  /** Stops a download; the next call goes on with it. */
  signal?: AbortSignal;
  /** Takes a line that tells what is done. */
  log(line: string): void;
}

/** What every data/NAME/prepare.ts exports. */
export interface PrepareModule {
  prepare(options: PrepareOptions): Promise<TokenMeta>;
}

/** Where one text is downloaded to and from. */
export interface DownloadPlan {
  url: string;
  sha256: string;
  filePath: string;
}

/** `fetchFile`, with a line at the start, at each further quarter and at the end. */
export async function download(plan: DownloadPlan, options: Pick<PrepareOptions, "log" | "signal">): Promise<void> {
  const { url, sha256, filePath } = plan;
  const { log, signal } = options;
  log(`downloading ${url}`);
  let quarter = 1;
  await fetchFile(url, filePath, {
    sha256,
    ...(signal && { signal }),
    onProgress({ receivedBytes, totalBytes }) {
      if (totalBytes === undefined || receivedBytes * 4 < totalBytes * quarter) return;
      quarter = Math.floor((receivedBytes * 4) / totalBytes) + 1;
      log(`  ${receivedBytes.toLocaleString("en")} of ${totalBytes.toLocaleString("en")} bytes`);
    },
  });
}

/**
 * A UTF-8 text file, with line ends as "\n" (as Python reads it).
 * @throws {RangeError} if it is missing, empty, or not UTF-8
 */
export function readText(filePath: string): string {
  const refuse = (found: string) =>
    new RangeError(`Cannot read the text ${filePath}: ${found}; give a UTF-8 text file as source.`);
  let bytes: Buffer;
  try {
    bytes = fs.readFileSync(filePath);
  } catch (error) {
    throw refuse((error as NodeJS.ErrnoException).code === "ENOENT" ? "it is missing" : (error as Error).message);
  }
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw refuse("it is not UTF-8");
  }
  if (text.trim() === "") throw refuse("it is empty");
  return text.replace(/\r\n?/g, "\n");
}
