/**
 * Jupyter's control channel, on a thread of its own, so that an interrupt arrives even if the kernel's thread is busy
 * in a loop that never waits. Other messages are passed to the kernel unchanged, and its answers are passed back.
 */
import crypto from "node:crypto";
import inspector from "node:inspector";
import { createRequire } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import { flags } from "./interruption.mjs";

/**
 * @typedef {{ address: string, key: string, tslab: string, state: Int32Array }} Control
 * @typedef {{ frames: Uint8Array[] }} Relayed
 */

/** How long the kernel may take to answer an interrupt before its cell is ended from here. */
const patienceMs = 500;

const { address, key, tslab, state } = /** @type {Control} */ (workerData);
const zmq = createRequire(tslab)("zeromq");
const socket = new zmq.Router();
const session = new inspector.Session();
session.connectToMainThread();
let heard = 0;

parentPort?.on("message", (/** @type {Relayed | "close"} */ message) => {
  heard++;
  if (message === "close") socket.close();
  else socket.send(message.frames);
});

await socket.bind(address);
endWithParent();
for await (const frames of /** @type {AsyncIterable<Buffer[]>} */ (socket)) {
  if (messageType(frames) === "interrupt_request") interrupt();
  parentPort?.postMessage({ frames });
}
parentPort?.close();
session.disconnect();
// The kernel waits for this when it exits, since zeromq aborts a process that ends with the socket in use.
setTimeout(() => {
  Atomics.store(state, flags.closed, 1);
  Atomics.notify(state, flags.closed);
}, 0);

/** As the kernel does itself if it is not busy. */
function endWithParent() {
  const parent = process.ppid;
  setInterval(() => process.ppid === parent || process.kill(process.pid, "SIGKILL"), 3000).unref();
}

/** The type of a message, if its signature is valid. */
function messageType(/** @type {Buffer[]} */ frames) {
  const start = frames.findIndex((frame) => frame.toString() === "<IDS|MSG>");
  const [signature, ...parts] = frames.slice(start + 1);
  const hmac = crypto.createHmac("sha256", key);
  for (const part of parts.slice(0, 4)) hmac.update(part);
  if (start < 0 || !signature || signature.toString() !== hmac.digest("hex")) return undefined;
  return JSON.parse(parts[0]?.toString() ?? "{}").msg_type;
}

/**
 * The kernel handles the message once the running code waits for something. A loop that never waits is ended from here,
 * as by a debugger; while the kernel compiles a cell, there is nothing to end yet.
 */
function interrupt() {
  const before = heard;
  const sinceMs = Date.now();
  const timer = setInterval(() => {
    if (heard !== before) return clearInterval(timer);
    if (Atomics.load(state, flags.inCell) === 0 || Date.now() - sinceMs < patienceMs) return;
    clearInterval(timer);
    Atomics.store(state, flags.ended, 1);
    session.post("Runtime.terminateExecution");
  }, 100);
}
