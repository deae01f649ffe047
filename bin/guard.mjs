#!/usr/bin/env node
/**
 * `node guard.mjs COMMAND [argument …]`: a program that does not outlive whoever started this, however that ends: a
 * process that is killed outright closes its end of this one's standard input, and nothing else tells of it everywhere.
 */
import { spawn } from "node:child_process";

/** How long an asked program may take to end before it is killed. */
const patienceMs = 10_000;

const [command = "", ...args] = process.argv.slice(2);
// A group of its own, which is ended as one.
const child = spawn(command, args, { detached: true, stdio: ["ignore", "inherit", "inherit"] });
child.once("error", (error) => {
  console.error(`Cannot start ${command}: ${error.message}`);
  process.exit(1);
});
child.once("exit", (code) => {
  signal("SIGKILL"); // what it has left behind
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
    // It has ended by itself.
  }
}
