/** The bootstrap on several cores: each worker thread (bootstrap-worker.ts) computes an equal share of the refits. */
import { Worker } from "node:worker_threads";
import { typescriptLoader } from "../../../lib/host/package.js";
import { type BootstrapJob, bootstrapRows } from "./bootstrap.js";

/** The number of points × refits below which starting threads takes longer than it saves. */
const worthIt = 100_000;

export interface BootstrapRun {
  readonly refits: number;
  readonly threads: number;
  /** Called now and then, with the number of refits that are done. */
  readonly onProgress?: ((done: number) => void) | undefined;
}

export async function runBootstrap(
  job: Omit<BootstrapJob, "from" | "to">,
  { refits, threads, onProgress }: BootstrapRun,
): Promise<Float64Array> {
  // A single thread is a worker, too, if it takes long: the main thread stays free to show the progress.
  if (refits * job.data.size < worthIt) return bootstrapRows({ ...job, from: 0, to: refits });
  const shares = Array.from({ length: threads }, (_, k) => ({
    from: Math.floor((refits * k) / threads),
    to: Math.floor((refits * (k + 1)) / threads),
  }));
  const done = shares.map(() => 0);
  const parts = await Promise.all(
    shares.map((share, k) =>
      inThread({ ...job, ...share }, (own) => {
        done[k] = own;
        onProgress?.(done.reduce((sum, each) => sum + each, 0));
      }),
    ),
  );
  const rows = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    rows.set(part, at);
    at += part.length;
  }
  return rows;
}

function inThread(job: BootstrapJob, onProgress: (done: number) => void): Promise<Float64Array> {
  // When run from the sources (in tests), a worker needs the TypeScript loader of its parent.
  const fromSources = import.meta.url.endsWith(".ts");
  const worker = new Worker(new URL(`./bootstrap-worker.${fromSources ? "ts" : "js"}`, import.meta.url), {
    workerData: job,
    execArgv: fromSources ? ["--import", typescriptLoader()] : [],
  });
  return new Promise((resolve, reject) => {
    worker.on("message", (message: Float64Array | number) => {
      if (typeof message === "number") onProgress(message);
      else resolve(message);
    });
    worker.on("error", reject);
    worker.on("exit", (code) =>
      reject(new Error(`Cannot bootstrap: a worker thread ended with code ${code}; run it again.`)),
    );
  });
}
