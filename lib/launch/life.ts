/**
 * A rank's signs of life. A thread of its own writes them into a pipe, so that they go on while the rank traces a graph or
 * saves a large checkpoint, and stop when the process is stopped or has ended.
 */
import { Worker } from "node:worker_threads";
import { BEAT_MS } from "./messages.js";

/** The pipe's number in a rank: after the standard streams and Node's IPC. */
export const LIFE_PIPE = 4;

export function giveSignsOfLife(): void {
  const source = `
    const fs = require("node:fs");
    setInterval(() => {
      try {
        fs.writeSync(${LIFE_PIPE}, ".");
      } catch {
        // The launcher has ended, or is stopped and reads nothing.
      }
    }, ${BEAT_MS});`;
  new Worker(source, { eval: true }).unref();
}
