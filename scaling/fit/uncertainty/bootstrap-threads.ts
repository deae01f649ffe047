/** The bootstrap on several cores: each worker thread (bootstrap-worker.ts) computes an equal share of the refits. */
import { Worker } from "node:worker_threads";
import { typescriptLoader } from "../../../lib/host/package.js";
import { type BootstrapJob, bootstrapRows } from "./bootstrap.js";

/** The number of points × refits below which starting threads takes longer than it saves. */
const worthIt = 100_000;

export async function runBootstrap(
  job: Omit<BootstrapJob, "from" | "to">,
  refits: number,
  threads: number,
): Promise<Float64Array> {
  if (threads <= 1 || refits * job.data.size < worthIt) return bootstrapRows({ ...job, from: 0, to: refits });
  const shares = Array.from({ length: threads }, (_, k) => ({
    from: Math.floor((refits * k) / threads),
    to: Math.floor((refits * (k + 1)) / threads),
  }));
  const parts = await Promise.all(shares.map((share) => inThread({ ...job, ...share })));
  const rows = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    rows.set(part, at);
    at += part.length;
  }
  return rows;
}

function inThread(job: BootstrapJob): Promise<Float64Array> {
  // When run from the sources (in tests), a worker needs the TypeScript loader of its parent.
  const fromSources = import.meta.url.endsWith(".ts");
  const worker = new Worker(new URL(`./bootstrap-worker.${fromSources ? "ts" : "js"}`, import.meta.url), {
    workerData: job,
    execArgv: fromSources ? ["--import", typescriptLoader()] : [],
  });
  return new Promise((resolve, reject) => {
    worker.on("message", resolve);
    worker.on("error", reject);
    worker.on("exit", (code) =>
      reject(new Error(`Cannot bootstrap: a worker thread ended with code ${code}; run it again.`)),
    );
  });
}
