/** A thread that kills this process, with a last line that says why, when it does the same thing for too long. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";

const program = `
const fs = require("node:fs");
const { parentPort, workerData: { state, name, limitMs, pid } } = require("node:worker_threads");
parentPort.postMessage("ready");
let [turn, sinceMs] = [-1, 0];
for (;;) {
  const now = Atomics.load(state, 0);
  if (now !== turn) [turn, sinceMs] = [now, performance.now()];
  const leftMs = sinceMs + limitMs - performance.now();
  if (leftMs <= 0) {
    fs.writeSync(2, "\\nhangs: " + Buffer.from(name).toString("utf8").replace(/\\0.*$/s, "") + "\\n");
    process.kill(pid, "SIGKILL");
  }
  Atomics.wait(state, 0, turn, leftMs);
}`;

/** @returns what is called with the name of what begins; if nothing else begins within the limit, this process is killed */
export async function watch(afterMs: number): Promise<(name: string) => void> {
  const state = new Int32Array(new SharedArrayBuffer(4));
  const name = new Uint8Array(new SharedArrayBuffer(1024));
  const workerData = { state, name, limitMs: afterMs, pid: process.pid };
  const thread = new Worker(program, { eval: true, execArgv: [], workerData });
  await once(thread, "message"); // it cannot begin while this thread is in a loop
  thread.unref();
  return (begins) => {
    name.fill(0);
    name.set(Buffer.from(begins).subarray(0, name.length));
    Atomics.add(state, 0, 1);
    Atomics.notify(state, 0);
  };
}
