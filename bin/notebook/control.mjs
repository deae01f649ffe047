/**
 * Jupyter's control channel, on a thread of its own: the kernel's may be busy in a loop that never waits, and an interrupt
 * has to come through then. A message other than an interrupt goes to the kernel as it is, and the answer back.
 */
import crypto from "node:crypto";
import inspector from "node:inspector";
import { createRequire } from "node:module";
import { parentPort, workerData } from "node:worker_threads";
import { doing } from "./interruption.mjs";

/**
 * @typedef {{ address: string, key: string, tslab: string, state: Int32Array }} Control
 * @typedef {{ frames: Uint8Array[] }} Relayed
 */

/** How long the kernel may take to answer an interrupt before what it runs is ended from here. */
const patienceMs = 700;

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
// The kernel waits for this when it exits: zeromq aborts a process that ends with the socket in use.
setTimeout(() => {
  Atomics.store(state, 0, 1);
  Atomics.notify(state, 0);
}, 0);

/** As the kernel does itself when it is not busy. */
function endWithParent() {
  const parent = process.ppid;
  setInterval(() => process.ppid === parent || process.kill(process.pid, "SIGKILL"), 3000).unref();
}

/** Which message it is, if its signature is right. */
function messageType(/** @type {Buffer[]} */ frames) {
  const start = frames.findIndex((frame) => frame.toString() === "<IDS|MSG>");
  const [signature, ...parts] = frames.slice(start + 1);
  const hmac = crypto.createHmac("sha256", key);
  for (const part of parts.slice(0, 4)) hmac.update(part);
  if (start < 0 || !signature || signature.toString() !== hmac.digest("hex")) return undefined;
  return JSON.parse(parts[0]?.toString() ?? "{}").msg_type;
}

/**
 * A signal, which ends what a cell does before it waits for anything, and which the kernel hears when it waits. In
 * between, in a loop that begins after an `await`, neither happens: then what runs is ended as a debugger would. While
 * the kernel compiles a cell, it waits.
 */
function interrupt() {
  const before = heard;
  const sinceMs = Date.now();
  process.kill(process.pid, "SIGINT");
  const timer = setInterval(() => {
    const now = Atomics.load(state, 1);
    if (heard === before && now === doing.nothing) return;
    if (heard === before && now === doing.beginning) return process.kill(process.pid, "SIGINT");
    if (heard === before && Date.now() - sinceMs < patienceMs) return;
    clearInterval(timer);
    if (heard === before) session.post("Runtime.terminateExecution");
  }, 100);
}
