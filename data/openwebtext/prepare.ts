/**
 * OpenWebText in GPT-2's byte-pair encoding, from the Parquet files on the Hugging Face hub: each is downloaded
 * (resumably), checked, encoded and removed. The validation documents are nanoGPT's 4,007; the training documents keep
 * the order of the files, while nanoGPT shuffles them. Source, licence and sizes: README.md.
 */
import fs from "node:fs";
import path from "node:path";
import type { TokenMeta } from "../../lib/data/dataset.js";
import { type CorpusOptions, prepareCorpus, type RemoteFiles } from "../../lib/data/prepare/corpus.js";
import { listSource, type SourceFile } from "../../lib/data/prepare/documents.js";
import { countParquetRows, readParquetRows } from "../../lib/data/prepare/parquet-text.js";
import { describeSplits, folderName, type PrepareOptions, preparedAlready } from "../../lib/data/prepare/prepare.js";
import { fetchFile } from "../../lib/host/download.js";

const hub = process.env.HF_ENDPOINT ?? "https://huggingface.co";
const publicUrl = `${hub}/datasets/Skylion007/openwebtext/resolve/main/plain_text/train-{index}-of-00080.parquet`;

/** nanoGPT's split: train_test_split(test_size=0.0005, seed=2357), 4,007 of 8,013,769 documents. */
const recipe = { tokenizer: "gpt2", valFraction: 0.0005, seed: 2357 };

/** The files that a template such as "…/train-{index}-of-00080.parquet" names. */
function urlsOf(template: string): string[] {
  const digits = /-of-(\d+)/.exec(template)?.[1];
  if (!template.includes("{index}") || digits === undefined || Number(digits) === 0) {
    throw new RangeError(
      `Cannot prepare from ${template}: the address must contain {index} and the number of files, as in ${publicUrl}.`,
    );
  }
  return Array.from({ length: Number(digits) }, (_, index) =>
    template.replace("{index}", String(index).padStart(digits.length, "0")),
  );
}

/** The SHA-256 and the length of a file, if the server reports them as the hub does. */
async function reportedBy(url: string): Promise<{ sha256?: string; maxBytes?: number }> {
  const response = await fetch(url, { method: "HEAD", redirect: "manual" }).catch(() => undefined);
  const header = (linked: string, plain: string) => response?.headers.get(linked) ?? response?.headers.get(plain) ?? "";
  const sha256 = /^"?([\da-f]{64})"?$/.exec(header("x-linked-etag", "etag"))?.[1];
  const bytes = Number(header("x-linked-size", "content-length"));
  return { ...(sha256 && { sha256 }), ...(sha256 && bytes > 0 && { maxBytes: bytes }) };
}

/**
 * The documents of the first file, as UTF-8 bytes, for a look at a part: from the hub, of which only as much is read as the
 * caller takes, or from the first file in the folder openwebtext of FOLIO_DATA_DIR.
 */
export async function* firstDocuments(): AsyncGenerator<Uint8Array> {
  const offered = process.env.FOLIO_DATA_DIR && path.join(process.env.FOLIO_DATA_DIR, folderName(import.meta.url));
  const first = offered && fs.existsSync(offered) ? listSource(offered).files[0]!.path : urlsOf(publicUrl)[0]!;
  for await (const { bytes } of readParquetRows(first, "text", 0)) yield bytes;
}

async function countWithPatience(url: string): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await countParquetRows(url);
    } catch (error) {
      if (attempt === 3) throw new Error((error as Error).message, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, 200 * attempt));
    }
  }
}

/** The files behind the URLs; while one is encoded the next is downloaded. */
function remoteFiles(urls: readonly string[], files: readonly SourceFile[], options: PrepareOptions): RemoteFiles {
  const { log = () => {}, signal } = options;
  const started = new Map<number, Promise<string>>();
  const download = async (index: number): Promise<string> => {
    const [url, filePath] = [urls[index]!, files[index]!.path];
    const known = await reportedBy(url);
    if (known.sha256 === undefined && fs.existsSync(filePath)) return filePath;
    log(`downloading ${url}`);
    await fetchFile(url, filePath, { ...known, ...(signal && { signal }) });
    return filePath;
  };
  const start = (index: number): Promise<string> => {
    const running = started.get(index) ?? download(index);
    started.set(index, running);
    running.catch(() => started.delete(index));
    return running;
  };
  return {
    async count() {
      log(`counting the documents of ${urls.length} files`);
      const counts: number[] = [];
      for (let index = 0; index < urls.length; index += 8) {
        signal?.throwIfAborted();
        counts.push(...(await Promise.all(urls.slice(index, index + 8).map(countWithPatience))));
      }
      return counts;
    },
    async fetch(index) {
      const filePath = await start(index);
      if (index + 1 < urls.length) void start(index + 1).catch(() => {});
      return filePath;
    },
    release: (index) => fs.rmSync(files[index]!.path, { force: true }),
  };
}

/** Writes `<dataDir>/openwebtext`. `source` is a folder of Parquet files, `url` a template with {index}. */
export async function prepare(options: PrepareOptions): Promise<TokenMeta> {
  const { dataDir, source, url, log = () => {} } = options;
  const name = folderName(import.meta.url);
  const ready = preparedAlready(name, options);
  if (ready) return ready;
  const directory = path.join(dataDir, name);
  const offered = process.env.FOLIO_DATA_DIR && path.join(process.env.FOLIO_DATA_DIR, name);
  const local = source ?? (url === undefined && offered && fs.existsSync(offered) ? offered : undefined);
  const stop = new AbortController(); // stops the download of the next file
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  const corpus: Omit<CorpusOptions, "files"> = {
    ...{ dataDir, name, ...recipe, recipe, single: false, textKey: "text", signal, log },
    source: {
      name: "OpenWebText (Gokaslan and Cohen 2019)",
      licence: "CC0-1.0 (the packaging)",
      url: url ?? publicUrl,
    },
  };
  try {
    let meta: TokenMeta;
    if (local !== undefined) {
      log(`reading ${local}`);
      meta = await prepareCorpus({ ...corpus, files: listSource(local, corpus.textKey).files });
    } else {
      const urls = urlsOf(url ?? publicUrl);
      const files = urls.map((address) => {
        const file = path.posix.basename(new URL(address).pathname);
        return { path: path.join(directory, "download", file), kind: "parquet" as const, bytes: 0 };
      });
      meta = await prepareCorpus({ ...corpus, files, remote: remoteFiles(urls, files, { ...options, signal }) });
      fs.rmSync(path.join(directory, "download"), { recursive: true, force: true });
    }
    log(`${directory}: ${describeSplits(meta)}`);
    return meta;
  } finally {
    stop.abort();
  }
}
