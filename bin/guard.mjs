#!/usr/bin/env node
/**
 * `node guard.mjs COMMAND [argument …]`: runs a program that does not outlive the process that started this one,
 * however that ends. Even a killed process closes its end of this one's standard input, which works on every system.
 */
import { spawn } from "node:child_process";

/** How long the program may take to end after the signal before it is killed. */
const patienceMs = 10_000;

const [command = "", ...args] = process.argv.slice(2);
// A process group of its own, which can be ended as a whole.
const child = spawn(command, args, { detached: true, stdio: ["ignore", "inherit", "inherit"] });
child.once("error", (error) => {
  console.error(`Cannot start ${command}: ${error.message}`);
  process.exit(1);
});
child.once("exit", (code) => {
  signal("SIGKILL"); // for the processes that it has left behind
  process.exit(code ?? 1);
});

for (const name of /** @type {const} */ (["SIGINT", "SIGTERM", "SIGHUP"])) process.on(name, end);
process.stdin.on("end", end).on("error", end).resume();

let ending = false;
function end() {
  if (ending) return;
  ending = true;
  signal("SIGTERM");
  setTimeout(() => signal("SIGKILL"), patienceMs);
}

/** @param {NodeJS.Signals} name */
function signal(name) {
  try {
    if (child.pid) process.kill(-child.pid, name);
  } catch {
    // It has already ended.
  }
}
