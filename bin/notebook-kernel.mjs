#!/usr/bin/env node
/**
 * What Jupyter starts for a TypeScript notebook: tslab, with four things that it lacks. Errors name the cell that they
 * come from; a cell is told when the library it uses is older than its build or its sources; the kernel ends with the
 * program that started it; and, for the notebook runner, un-awaited rejections and the kernel's end are written to the
 * file that FOLIO_KERNEL_EVENTS names. FOLIO_INSPECT=PORT lets a debugger attach (on this machine only).
 */
import fs from "node:fs";
import inspector from "node:inspector";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import vm from "node:vm";
import { loadedFrom, operationsWarning, staleness } from "./stale.mjs";

/** @typedef {{ execCount: number, handleExecuteImpl(request: { code: string }, ...rest: unknown[]): Promise<unknown> }} Handler */

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
/** What Jupyter shows as In [n]; 0 before the first cell. */
let cell = 0;

const record = recorder(process.env.FOLIO_KERNEL_EVENTS);
watchCells();
if (record) recordEvents(record);
endWithParent();
if (process.env.FOLIO_INSPECT) inspector.open(Number(process.env.FOLIO_INSPECT), "127.0.0.1");
require("tslab/dist/main.js").main();

/** Before each cell: note its number, and warn if the library is stale. Around it: its code runs under that name. */
function watchCells() {
  const { JupyterHandlerImpl } = require("tslab/dist/jupyter.js");
  const handler = /** @type {Handler} */ (/** @type {unknown} */ (JupyterHandlerImpl.prototype));
  const execute = handler.handleExecuteImpl;
  const library = loadedFrom(root);
  let looked = false;
  handler.handleExecuteImpl = function (request, ...rest) {
    cell = this.execCount + 1;
    const result = execute.call(this, request, ...rest); // from here on standard error belongs to this cell
    const operations = looked || library.loadedMs === undefined ? undefined : operationsWarning();
    looked ||= library.loadedMs !== undefined; // what TensorFlow has loaded stays loaded
    for (const warning of [staleness(library), operations]) {
      if (warning && record) record({ kind: "stale", cell, error: warning });
      else if (warning) process.stderr.write(`${warning}\n`);
    }
    return result;
  };
  const run = vm.runInThisContext;
  vm.runInThisContext = (code, options) =>
    /^\((async )?function\(exports, require\) \{ /.test(code)
      ? run(code, { .../** @type {object} */ (options), filename: `cell ${cell}` })
      : run(code, options);
}

/** @typedef {(event: object) => void} Record */

/** @param {string | undefined} file @returns {Record | undefined} */
function recorder(file) {
  return file ? (event) => fs.appendFileSync(file, `${JSON.stringify(event)}\n`) : undefined;
}

/** @param {Record} record */
function recordEvents(record) {
  process.on("unhandledRejection", (reason) => {
    const error = reason instanceof Error ? (reason.stack ?? String(reason)) : `${reason} (not an Error)`;
    record({ kind: "rejection", cell, error });
  });
  process.on("exit", (code) => record({ kind: "exit", cell, code }));
}

/** A kernel without its Jupyter would go on for ever. */
function endWithParent() {
  const parent = process.ppid;
  setInterval(() => process.ppid === parent || process.exit(1), 1000).unref();
}
