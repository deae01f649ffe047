/**
 * Encodes on several cores: worker threads take jobs of about a megabyte and return, in any order, the ids of both
 * splits. Without workers the same code runs in this thread, which is faster for a small text. Shown in notebook
 * 02-data.
 */
import { Worker } from "node:worker_threads";
import { typescriptLoader } from "../../host/package.js";
import type { TokenDtype } from "../token-file.js";
import { type Tokenizer, type TokenizerSpec, tokenizerFromSpec } from "../tokenizers/tokenizer.js";

export type Ids = Uint16Array | Uint32Array;

/** Texts, one after another, as UTF-8. */
export interface EncodeJob {
  readonly bytes: Uint8Array;
  /** [texts × 2]: where each text ends in `bytes`, and its flags: `ofVal` + `endsDocument`. */
  readonly texts: Int32Array;
}

/** Flag: the text goes to validation. */
export const ofVal = 1;
/** Flag: the end-of-text id follows it. */
export const endsDocument = 2;

/** The ids of a job by split. */
export interface Encoded {
  readonly train: Ids;
  readonly val: Ids;
}

/** The data that a worker is started with. */
export interface WorkerSettings {
  readonly tokenizer: TokenizerSpec;
  readonly dtype: TokenDtype;
}

/** A pool of encoders; the owner must call `close()`. */
export interface EncodePool {
  /** How many jobs it processes at once. */
  readonly size: number;
  /** Takes ownership of the job's memory. */
  encode(job: EncodeJob): Promise<Encoded>;
  close(): Promise<void>;
}

/** Encodes a job's texts; `endOfText` follows those that end a document. */
export function encodeJob(tokenizer: Tokenizer, dtype: TokenDtype, job: EncodeJob): Encoded {
  const { bytes, texts } = job;
  const { endOfText } = tokenizer;
  const parts: { train: Ids[]; val: Ids[] } = { train: [], val: [] };
  for (let index = 0; index < texts.length; index += 2) {
    const what = texts[index + 1]!;
    const split = parts[what & ofVal ? "val" : "train"];
    split.push(tokenizer.encodeBytes(bytes.subarray(index === 0 ? 0 : texts[index - 2], texts[index])));
    if (what & endsDocument && endOfText !== undefined) split.push(Uint32Array.of(endOfText));
  }
  return { train: join(parts.train, dtype), val: join(parts.val, dtype) };
}

function join(parts: readonly Ids[], dtype: TokenDtype): Ids {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const joined = dtype === "uint16" ? new Uint16Array(length) : new Uint32Array(length);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/** @param workers how many threads; 0 encodes in this one */
export function openEncodePool(settings: WorkerSettings, workers: number): EncodePool {
  if (workers > 0) return threads(settings, workers);
  const tokenizer = tokenizerFromSpec(settings.tokenizer);
  return {
    size: 1,
    encode: async (job) => encodeJob(tokenizer, settings.dtype, job),
    close: async () => {},
  };
}

interface Waiting {
  resolve(encoded: Encoded): void;
  reject(error: Error): void;
}

/** A worker's answer. */
export type WorkerAnswer = { id: number } & ({ encoded: Encoded } | { error: string });

function startWorker(settings: WorkerSettings): Worker {
  // When run from the sources (tests), a worker needs a TypeScript loader, as its parent does.
  const fromSources = import.meta.url.endsWith(".ts");
  return new Worker(new URL(`./encode-worker.${fromSources ? "ts" : "js"}`, import.meta.url), {
    workerData: settings,
    execArgv: fromSources ? ["--import", typescriptLoader()] : [],
  });
}

function threads(settings: WorkerSettings, count: number): EncodePool {
  const waiting = new Map<number, Waiting>();
  let failure: Error | undefined;
  const fail = (error: Error): void => {
    failure ??= new Error(`Cannot encode: a worker thread ended (${error.message}); run it again.`, { cause: error });
    for (const { reject } of waiting.values()) reject(failure);
    waiting.clear();
  };
  let closing = false;
  const workers = Array.from({ length: count }, () => {
    const worker = startWorker(settings);
    worker.on("error", fail);
    worker.on("exit", (code) => closing || fail(new Error(`code ${code}`)));
    worker.on("message", (answer: WorkerAnswer) => {
      const asked = waiting.get(answer.id);
      waiting.delete(answer.id);
      if ("error" in answer) asked?.reject(new Error(answer.error));
      else asked?.resolve(answer.encoded);
    });
    return worker;
  });
  let id = 0;
  return {
    size: count,
    encode(job) {
      if (failure) return Promise.reject(failure);
      const own = id++;
      return new Promise((resolve, reject) => {
        waiting.set(own, { resolve, reject });
        const memory = [job.bytes.buffer as ArrayBuffer, job.texts.buffer as ArrayBuffer];
        workers[own % count]!.postMessage({ id: own, job }, memory);
      });
    },
    async close() {
      closing = true;
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}
