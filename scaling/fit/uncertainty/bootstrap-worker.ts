/** A worker thread that computes a share of the bootstrap's refits; bootstrap-threads.ts starts it. */
import { parentPort, workerData } from "node:worker_threads";
import { type BootstrapJob, bootstrapRows } from "./bootstrap.js";

const rows = bootstrapRows(workerData as BootstrapJob);
parentPort!.postMessage(rows, [rows.buffer as ArrayBuffer]);
