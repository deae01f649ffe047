#!/usr/bin/env node
/**
 * The kernel that Jupyter starts for a TypeScript notebook: tslab with additions (bin/notebook/). An interrupt stops
 * whatever runs; errors show the line of the cell; a cell warns if the loaded library is older than its build or its
 * sources; the kernel ends with the program that started it; and, for the notebook runner, unhandled rejections and the
 * kernel's end are written to the file that FOLIO_KERNEL_EVENTS names. FOLIO_INSPECT=PORT lets a debugger attach (only
 * on this machine).
 */
import fs from "node:fs";
import inspector from "node:inspector";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { bundleOf } from "./notebook/display.mjs";
import { createCells } from "./notebook/executor.mjs";
import { Interrupted, Interruption } from "./notebook/interruption.mjs";
import { createLanguage } from "./notebook/language.mjs";
import { createServer } from "./notebook/server.mjs";
import { openTslab } from "./notebook/tslab.mjs";
import { loadedFrom, operationsWarning, staleness } from "./stale.mjs";

/** How long an interrupted cell may take to end by itself. */
const patienceMs = 2000;

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const record = recorder(process.env.FOLIO_KERNEL_EVENTS);
const library = loadedFrom(root);
/** The number that Jupyter shows as In [n]; 0 before the first cell. */
let cell = 0;
/** @type {string | undefined} */
let cellId;

const interruption = new Interruption();
/** The services for the library in this kernel (lib/host/notebook.ts). */
const shared = {
  hold: () => interruption.hold(),
  get signal() {
    return interruption.signal;
  },
  get cell() {
    return cell;
  },
  get cellId() {
    return cellId;
  },
  /** Runs made by this kernel, by their folder. */
  runs: new Map(),
  /** @type {((value: unknown) => Record<string, unknown> | undefined) | undefined} */
  describe: undefined,
  /** @param {Record<string, string>} data @param {string} [id] */
  display(data, id) {
    const again = id !== undefined && displayed.has(id);
    if (id !== undefined) displayed.add(id);
    sendNow?.(again ? "update_display_data" : "display_data", {
      data,
      metadata: {},
      transient: id ? { display_id: id } : {},
    });
  },
};
/** @type {Set<string>} */
const displayed = new Set();
/** @type {import("./notebook/server.mjs").Send | undefined} */
let sendNow;
Object.defineProperty(globalThis, Symbol.for("folio.kernel"), { value: shared });

const tslab = openTslab(root);
const cells = createCells({ tslab, interruption, root });
const language = createLanguage({ ...cells, ts: tslab.ts, program: () => tslab.state.program });
const server = createServer(
  tslab,
  { ...cells, ...language, interruption, execute, interrupt },
  process.argv.at(-1) ?? "",
);

// Replaces tslab's handler, which would end a cell's wait but not the work that it waits for.
process.on("SIGINT", interrupt);
process.on("uncaughtException", (error) => print(`An uncaught error.\n${cells.describe(error).traceback.join("\n")}`));
process.on("unhandledRejection", (reason) => {
  print(`An unhandled promise rejection.\n${cells.describe(reason).traceback.join("\n")}`);
  const error = reason instanceof Error ? (reason.stack ?? String(reason)) : `${reason} (not an Error)`;
  record?.({ kind: "rejection", cell, error });
});
if (record) process.on("exit", (code) => record({ kind: "exit", cell, code }));
endWithParent();
if (process.env.FOLIO_INSPECT) inspector.open(Number(process.env.FOLIO_INSPECT), "127.0.0.1");
await server.init();

/**
 * @param {string} code
 * @param {number} number
 * @param {import("./notebook/server.mjs").Reply} reply
 */
async function execute(code, number, reply) {
  const { send } = reply;
  cell = number;
  cellId = reply.cellId;
  sendNow = send;
  running = true;
  /** @type {Promise<import("./notebook/server.mjs").Outcome>} */
  const ending = new Promise((resolve) => {
    const failed = (/** @type {unknown} */ error) => resolve({ ok: false, error: cells.describe(error) });
    leave = () => failed(new Interrupted());
    // In a turn of the event loop of its own, since an interrupt may end everything in the current turn.
    setTimeout(() => cells.run(code, number).then(resolve, failed));
  });
  for (const warning of staleWarnings()) {
    if (record) record({ kind: "stale", cell, error: warning });
    else print(warning);
  }
  const outcome = await ending;
  running = false;
  interruption.inCell(false);
  clearTimeout(leaving);
  if (outcome.error || outcome.value === undefined) return outcome;
  try {
    const data = await bundleOf(outcome.value, shared.describe);
    if (Object.keys(data).length > 0) send("execute_result", { execution_count: number, data, metadata: {} });
  } catch (error) {
    return { ...outcome, error: cells.describe(error) };
  }
  return outcome;
}

/** Ends the wait for the running cell. */
let leave = () => {};
/** @type {NodeJS.Timeout | undefined} */
let leaving;
let running = false;
let looked = false;

function staleWarnings() {
  const operations = looked || library.loadedMs === undefined ? undefined : operationsWarning();
  looked ||= library.loadedMs !== undefined; // TensorFlow's libraries stay loaded
  return [staleness(library), operations].filter((warning) => warning !== undefined);
}

/** Work that saves does so first; a cell that does not end by itself is abandoned. */
async function interrupt() {
  if (!running) return;
  const interrupted = cell;
  await interruption.interrupt();
  if (!running || cell !== interrupted) return;
  clearTimeout(leaving);
  const leaveCell = () => {
    cells.interrupt();
    leave();
  };
  if (interruption.wasEnded()) leaveCell();
  else leaving = setTimeout(leaveCell, patienceMs);
}

/** Prints to the standard error of the current or last cell. @param {string} text */
function print(text) {
  process.stderr.write(`${text}\n`);
}

/** @param {string | undefined} file @returns {((event: object) => void) | undefined} */
function recorder(file) {
  return file ? (event) => fs.appendFileSync(file, `${JSON.stringify(event)}\n`) : undefined;
}

/** Without this, a kernel whose Jupyter has ended would run forever. */
function endWithParent() {
  const parent = process.ppid;
  setInterval(() => process.ppid === parent || process.exit(1), 1000).unref();
}
