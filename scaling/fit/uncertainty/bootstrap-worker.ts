/** A worker thread that computes a share of the bootstrap's refits, and tells how many it has; bootstrap-threads.ts starts it. */
import { parentPort, workerData } from "node:worker_threads";
import { type BootstrapJob, bootstrapRows } from "./bootstrap.js";

/** Milliseconds between two messages of the progress. */
const every = 200;
let toldAt = performance.now();

const rows = bootstrapRows(workerData as BootstrapJob, (done) => {
  if (performance.now() - toldAt < every) return;
  toldAt = performance.now();
  parentPort!.postMessage(done);
});
parentPort!.postMessage(rows, [rows.buffer as ArrayBuffer]);
