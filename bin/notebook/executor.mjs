/**
 * Runs cells with tslab's executor: each cell is prepared first (cell-text.mjs), its JavaScript is made interruptible,
 * and its value and errors are returned instead of printed. server.mjs sends them.
 */
import vm from "node:vm";
import { beforeTslab, interruptible, lineAndColumn, offsetOf } from "./cell-text.mjs";
import { describeError, describeTypeErrors } from "./errors.mjs";
import { Interrupted } from "./interruption.mjs";

/**
 * @typedef {import("./errors.mjs").Described} Described
 * @typedef {{ ok: boolean, value?: unknown, error?: Described | undefined }} Outcome
 * @typedef {import("./interruption.mjs").Interruption} Interruption
 * @typedef {{ tslab: ReturnType<typeof import("./tslab.mjs").openTslab>, interruption: Interruption, root: string }}
 * Parts
 */

/** The name of the object with `until` and `each` for the code of cells; tslab uses it too. */
const shared = "__tslab__";
const firstLine = "export {};\n"; // tslab inserts it before each cell

/** @param {Parts} parts */
export function createCells({ tslab, interruption, root }) {
  const { ts, state } = tslab;
  const { createConverter } = tslab.require("./dist/converter.js");
  const { createExecutor } = tslab.require("./dist/executor.js");
  /** @type {Map<number, import("./errors.mjs").Cell>} */
  const cells = new Map();
  /** The current or last cell. */
  const current = {
    number: 0,
    text: /** @type {import("./cell-text.mjs").Changed | undefined} */ (undefined),
    source: "",
    outcome: /** @type {Outcome} */ ({ ok: true }),
  };

  const converters = openConverters(createConverter, {
    changed(source) {
      const text = beforeTslab(ts, source);
      Object.assign(current, { text, source });
      return text;
    },
    noteFaults(faults) {
      if (faults.length > 0) current.outcome.error = describeTypeErrors(faults, current);
    },
  });
  const executor = createExecutor(process.cwd(), converters, {
    log: (/** @type {unknown} */ value) => {
      current.outcome.value = value;
    },
    error: noteError,
  });
  const reached = /** @type {Record<string, unknown>} */ (/** @type {any} */ (globalThis)[shared]);
  reached.until = interruption.until;
  reached.each = interruption.each;
  runCells();

  function noteError(/** @type {unknown} */ error) {
    if (current.outcome.error) return;
    const { message, code } = /** @type {NodeJS.ErrnoException} */ (error ?? {});
    // tslab's and Node's own errors for an interrupt.
    const interrupted = message === "Interrupted asynchronously" || code === "ERR_SCRIPT_EXECUTION_INTERRUPTED";
    current.outcome.error = describeError(interrupted ? new Interrupted() : error, { cells, root });
  }

  /** Runs cells under a name that appears in stack traces, in a way that allows interrupts. */
  function runCells() {
    const run = vm.runInThisContext;
    vm.runInThisContext = (code, options) => {
      const [prefix] = /^\((?:async )?function\(exports, require\) \{ /.exec(code) ?? [];
      if (!prefix || current.text === undefined) return run(code, options);
      const made = interruptible(ts, code, shared);
      cells.set(current.number, {
        source: current.source,
        given: mapped({ made, code, prefix }, { ...current, origin: state.origin }),
      });
      interruption.inCell(true);
      // Without breakOnSigint, with which a second signal would end the process; control.mjs can end a loop.
      return run(made.text, { filename: `cell ${current.number}` });
    };
  }

  return {
    inspect: executor.inspect,
    complete: executor.complete,
    interrupt: executor.interrupt,
    close: executor.close,
    /** @param {unknown} error */
    describe: (error) => describeError(error, { cells, root }),
    /**
     * Runs a cell until it ends or is interrupted.
     * @param {string} source
     * @param {number} number the number that Jupyter shows as In [n]
     * @returns {Promise<Outcome>}
     */
    async run(source, number) {
      interruption.reset();
      /** @type {Outcome} */
      const outcome = { ok: true };
      Object.assign(current, { number, outcome, text: undefined, source });
      outcome.ok = await executor.execute(source);
      interruption.inCell(false);
      return outcome;
    },
  };
}

/**
 * tslab's converters from TypeScript to JavaScript, with their hooks. The browser's is opened when a cell needs it.
 * @param {(options: { isJS: boolean, isBrowser: boolean }) => any} createConverter tslab's
 * @param {{
 *   changed: (source: string) => import("./cell-text.mjs").Changed,
 *   noteFaults: (faults: import("./errors.mjs").Fault[]) => void
 * }} hooks `changed` prepares a cell's text; `noteFaults` records type errors, which tslab prints, too, with positions
 * in its own text
 */
function openConverters(createConverter, { changed, noteFaults }) {
  const node = createConverter({ isJS: false, isBrowser: false });
  const { convert, addModule } = node;
  node.convert = (/** @type {string} */ before, /** @type {string} */ source) => {
    const text = changed(source);
    const converted = convert(before, text.text);
    noteFaults(merged(converted.diagnostics, text.given));
    return converted;
  };
  node.addModule = (/** @type {string} */ name, /** @type {string} */ source, /** @type {unknown} */ meta) => {
    const faults = addModule(name, source, meta);
    noteFaults(merged(faults, (offset) => offset));
    return faults;
  };
  let browser = /** @type {any} */ (undefined);
  return {
    node,
    get browser() {
      browser ??= createConverter({ isJS: false, isBrowser: true });
      return browser;
    },
    close() {
      node.close();
      browser?.close();
    },
  };
}

/**
 * Type errors at their places in the cell, each with its explanations.
 * @param {readonly { start: { offset: number, line: number }, messageText: string, code: number, fileName?: string
 * }[]} found
 * @param {(offset: number) => number} given
 */
function merged(found, given) {
  /** @type {import("./errors.mjs").Fault[]} */
  const faults = [];
  for (const { start, messageText: text, code, fileName } of found) {
    const file = fileName && `${fileName}, line ${start.line + 1}`;
    const fault = { offset: given(start.offset), text, code, file };
    const last = faults.at(-1);
    // A message and its explanations have the same position.
    if (last && last.offset === fault.offset && last.file === file) last.text += `\n  ${text}`;
    else faults.push(fault);
  }
  return faults;
}

/**
 * Maps a position in the executed code to the cell's text, through all transformations.
 * @param {{ made: import("./cell-text.mjs").Changed, code: string, prefix: string }} executed
 * @param {{
 *   text: import("./cell-text.mjs").Changed | undefined,
 *   source: string,
 *   origin: ReturnType<typeof import("./tslab.mjs").openTslab>["state"]["origin"]
 * }} cell
 */
function mapped({ made, code, prefix }, { text, source, origin }) {
  const lastLine = code.split("\n").length - 1; // tslab's call of the cell
  return (/** @type {number} */ line, /** @type {number} */ column) => {
    if (line >= lastLine) return undefined;
    const offset = made.given(offsetOf(made.text, line, column)) - prefix.length;
    const { line: l, column: c } = lineAndColumn(code.slice(prefix.length), offset);
    const typed = origin?.(l, c);
    if (!typed || !text) return undefined;
    const inText = offsetOf(firstLine + text.text, typed.line, typed.column) - firstLine.length;
    return lineAndColumn(source, text.given(Math.max(0, inText)));
  };
}
