/**
 * Loaded with `--require` into a process that is to be killed at a place rather than at a time: FOLIO_KILL_SELF is
 * "checkpoints calls signal". After so many saved checkpoints, and then so many calls that change files, it sends itself
 * the signal: SIGKILL ends it as kill -9 does, SIGSTOP holds it until somebody kills it.
 */
const fs = require("node:fs");
const { syncBuiltinESMExports } = require("node:module");

const [checkpoints, calls, signal] = (process.env.FOLIO_KILL_SELF ?? "").split(" ");
let saved = 0;
let called = 0;

/** @type {Record<string, (...args: unknown[]) => unknown>} */
const functions = /** @type {never} */ (fs);

/** @param {string} name of a function that changes files */
function watch(name) {
  const original = functions[name];
  if (!original) throw new Error(`node:fs has no ${name}`);
  functions[name] = (...args) => {
    if (saved >= Number(checkpoints) && called++ >= Number(calls)) process.kill(process.pid, signal);
    const result = original(...args);
    if (name === "renameSync" && /\bcheckpoint.last$/.test(String(args[1]))) saved++;
    return result;
  };
}

if (signal) {
  for (const name of ["writeSync", "writeFileSync", "mkdirSync", "mkdtempSync"]) watch(name);
  for (const name of ["fsyncSync", "renameSync", "rmSync"]) watch(name);
  syncBuiltinESMExports();
}
