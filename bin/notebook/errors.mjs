/**
 * Describes an error for a notebook: the message, the cell and line, an excerpt, and the calls in cells and in Folio's
 * sources. FOLIO_DEBUG=1 adds the whole stack. server.mjs shows it.
 */
import fs from "node:fs";
import { SourceMap } from "node:module";
import path from "node:path";
import util from "node:util";
import { lineAndColumn } from "./cell-text.mjs";

/**
 * @typedef {{ source: string, given: (line: number, column: number) => { line: number, column: number } | undefined }}
 * Cell
 *   its text, and the mapping of positions in the executed code to it; lines and columns from 0
 * @typedef {{ ename: string, evalue: string, traceback: string[] }} Described as Jupyter's message "error" has it
 * @typedef {{ name: string, cell: number, line: number, column: number }} Frame
 * @typedef {{ offset: number, text: string, code: number, file: string | undefined }} Fault a type error and its place
 * in the cell
 */

const red = (/** @type {string} */ text) => `\u001b[31m${text}\u001b[39m`;
const grey = (/** @type {string} */ text) => `\u001b[90m${text}\u001b[39m`;

/** How many calls between cells are shown. */
const mostFrames = 4;

/**
 * @param {unknown} error what was thrown
 * @param {{ cells: ReadonlyMap<number, Cell>, root: string }} context
 * @returns {Described}
 */
export function describeError(error, { cells, root }) {
  if (!util.types.isNativeError(error) && !(error instanceof Error)) {
    const evalue = util.inspect(error, { depth: 1, maxStringLength: 500 });
    return { ename: "Thrown", evalue, traceback: [`${red("Thrown")}: ${evalue}`] };
  }
  const { name, message } = error;
  if (name === "Interrupted") return { ename: name, evalue: message, traceback: [`${red(name)}: ${message}`] };
  const stack = typeof error.stack === "string" ? error.stack : "";
  const frames = framesOf(stack, cells);
  const [first, ...callers] = frames;
  const cause = error.cause instanceof Error ? [grey(`Caused by: ${error.cause.message.split("\n")[0]}`)] : [];
  // Folio's own messages say what to do; where they are thrown in its sources does not matter.
  const inside = /^Cannot /.test(message) ? [] : libraryFrames(stack, root);
  const traceback = [
    `${red(name)}: ${message}`,
    ...cause,
    ...inside.map((frame) => grey(`  in ${frame}`)),
    ...(first ? [place(first), excerpt(cells.get(first.cell)?.source ?? "", first, 2)] : []),
    ...callers
      .slice(0, mostFrames)
      .flatMap((frame) => [place(frame, "called in "), excerpt(cells.get(frame.cell)?.source ?? "", frame, 0)]),
    ...(callers.length > mostFrames ? [grey(`and ${callers.length - mostFrames} calls more`)] : []),
    ...(process.env.FOLIO_DEBUG === "1" ? [grey(stack)] : []),
  ];
  return { ename: name, evalue: message, traceback };
}

/**
 * Describes the type errors of a cell.
 * @param {readonly Fault[]} faults
 * @param {{ number: number, source: string }} cell
 * @returns {Described}
 */
export function describeTypeErrors(faults, { number, source }) {
  const traceback = faults.flatMap(({ offset, text, code, file }) => {
    const head = `${red(`Type error TS${code}`)}: ${text}`;
    if (file) return [head, grey(file)];
    const at = lineAndColumn(source, offset);
    return [head, place({ name: "", cell: number, ...at }), excerpt(source, at, 1)];
  });
  return { ename: "TypeError", evalue: faults.map(({ text }) => text).join("\n"), traceback };
}

/** @param {Frame} frame @param {string} [before] */
function place({ name, cell, line }, before = "") {
  return grey(`${before}cell ${cell}, line ${line + 1}${name ? `, in ${name}` : ""}`);
}

/**
 * Numbered lines around a position, with a mark below it.
 * @param {string} source
 * @param {{ line: number, column: number }} at
 * @param {number} around how many lines before and after
 */
function excerpt(source, { line, column }, around) {
  const lines = source.split("\n");
  const from = Math.max(0, line - around);
  const to = Math.min(lines.length - 1, line + around);
  const width = String(to + 1).length;
  const shown = [];
  for (let index = from; index <= to; index++) {
    const here = index === line;
    shown.push(`${here ? red(">") : " "} ${String(index + 1).padStart(width)} | ${(lines[index] ?? "").slice(0, 200)}`);
    if (here && column < 200) shown.push(`  ${" ".repeat(width)} | ${" ".repeat(column)}${red("^")}`);
  }
  return shown.join("\n");
}

/**
 * The calls in cells, with their positions in the cells' text.
 * @param {string} stack
 * @param {ReadonlyMap<number, Cell>} cells
 * @returns {Frame[]}
 */
function framesOf(stack, cells) {
  return stack.split("\n").flatMap((text) => {
    const [, name = "", cell, line, column] =
      /^ *at (?:async )?(?:(.+) \()?cell (\d+):(\d+):(\d+)\)?$/.exec(text) ?? [];
    const at = cell && cells.get(Number(cell))?.given(Number(line) - 1, Number(column) - 1);
    if (!at) return [];
    // The function into which tslab puts a cell has no name.
    const shown = /^(Object\.)?<anonymous>$|^eval$/.test(name) ? "" : name.replace(/^(Object|Proxy)\./, "");
    return [{ name: shown, cell: Number(cell), ...at }];
  });
}

/** @type {Map<string, SourceMap | undefined>} */
const sourceMaps = new Map();

/**
 * The calls in Folio's own sources, the innermost three: `layerNorm (lib/model/functional.ts:31)`.
 * @param {string} stack
 * @param {string} root
 */
function libraryFrames(stack, root) {
  const dist = `${path.join(root, "dist")}${path.sep}`;
  const frames = stack.split("\n").flatMap((text) => {
    const [, name, file, line, column] =
      /^ *at (?:async )?(?:(.+) \()?(?:file:\/\/)?(\/.+):(\d+):(\d+)\)?$/.exec(text) ?? [];
    if (!file?.startsWith(dist)) return [];
    if (!sourceMaps.has(file)) sourceMaps.set(file, readMap(`${file}.map`));
    const entry = /** @type {{ originalLine?: number }} */ (
      sourceMaps.get(file)?.findEntry(Number(line) - 1, Number(column) - 1) ?? {}
    );
    const source = file.slice(dist.length).replace(/\.js$/, ".ts");
    const where = `${source}:${(entry.originalLine ?? Number(line) - 1) + 1}`;
    return [name ? `${name} (${where})` : where];
  });
  return frames.slice(0, 3);
}

/** @param {string} file */
function readMap(file) {
  try {
    return new SourceMap(JSON.parse(fs.readFileSync(file, "utf8")));
  } catch {
    return undefined;
  }
}
