/** A worker thread that makes a share of the bootstrap's refits: see fit/pool.ts, which starts it. */
import { parentPort, workerData } from "node:worker_threads";
import { type BootstrapJob, bootstrapRows } from "./bootstrap.js";

const rows = bootstrapRows(workerData as BootstrapJob);
parentPort!.postMessage(rows, [rows.buffer as ArrayBuffer]);
