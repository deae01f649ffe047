/**
 * Transforms the text of a cell for tslab, which does not support all top-level TypeScript: the changes before tslab,
 * the changes to the JavaScript that it returns, and the original position of each character.
 */

/** @typedef {{ at: number, text: string }} Insertion an offset in the given text, and the text to insert */
/**
 * @typedef {{ text: string, given: (offset: number) => number }} Changed the new text, and the mapping of its offsets
 * to the given text
 */

/**
 * Text with insertions, and the mapping of its offsets to the original text.
 * @param {string} text
 * @param {Insertion[]} insertions
 * @returns {Changed}
 */
function insert(text, insertions) {
  const sorted = insertions.map((each, order) => ({ ...each, order })).sort((a, b) => a.at - b.at || a.order - b.order);
  let result = "";
  let from = 0;
  /** @type {{ start: number, end: number, at: number }[]} */
  const spans = [];
  for (const { at, text: added } of sorted) {
    result += text.slice(from, at);
    spans.push({ start: result.length, end: result.length + added.length, at });
    result += added;
    from = at;
  }
  result += text.slice(from);
  return {
    text: result,
    given(offset) {
      let added = 0;
      for (const { start, end, at } of spans) {
        if (offset < start) break;
        if (offset < end) return at;
        added += end - start;
      }
      return offset - added;
    },
  };
}

/**
 * A cell prepared for tslab. `{ settings }` becomes `{ settings: settings }`, since tslab recognizes a name from
 * another cell only as a value. An `await` is put before a top-level `for await`, since tslab makes a cell asynchronous
 * only for an `await`.
 * @param {any} ts tslab's TypeScript
 * @param {string} source
 * @returns {Changed}
 */
export function beforeTslab(ts, source) {
  /** @type {Insertion[]} */
  const insertions = [];
  const file = ts.createSourceFile("cell.ts", source, ts.ScriptTarget.Latest, true, ts.ScriptKind.TS);
  /**
   * @param {any} node
   * @param {any} statement the top-level statement that contains it, unless it is inside a function
   */
  const visit = (node, statement) => {
    if (ts.isShorthandPropertyAssignment(node)) insertions.push({ at: node.name.end, text: `: ${node.name.text}` });
    const isLoop = ts.isForOfStatement(node) && node.awaitModifier !== undefined;
    if (isLoop && statement) insertions.push({ at: statement.getStart(file), text: "await 0; " });
    const inside = ts.isFunctionLike(node) || ts.isClassLike(node) ? undefined : statement;
    ts.forEachChild(node, (/** @type {any} */ child) => visit(child, inside));
  };
  for (const statement of file.statements) visit(statement, statement);
  return insert(source, insertions);
}

/**
 * The JavaScript of a cell in which every `await` and `for await` can be interrupted, by `until` and `each` of the
 * object called `name` (interruption.mjs).
 * @param {any} ts
 * @param {string} code
 * @param {string} name
 * @returns {Changed}
 */
export function interruptible(ts, code, name) {
  /** @type {Insertion[]} */
  const insertions = [];
  const file = ts.createSourceFile("cell.js", code, ts.ScriptTarget.Latest, true, ts.ScriptKind.JS);
  /** @param {any} expression @param {string} call */
  const wrap = (expression, call) => {
    insertions.push({ at: expression.getStart(file), text: `${name}.${call}(` }, { at: expression.end, text: ")" });
  };
  /** @param {any} node */
  const visit = (node) => {
    if (ts.isAwaitExpression(node)) wrap(node.expression, "until");
    if (ts.isForOfStatement(node) && node.awaitModifier) wrap(node.expression, "each");
    ts.forEachChild(node, visit);
  };
  // tslab puts the code into a function later; outside one, the parser of a script takes `await` for a name.
  visit(file);
  return insert(code, insertions);
}

/** @param {string} text @param {number} offset @returns {{ line: number, column: number }} both from 0 */
export function lineAndColumn(text, offset) {
  const before = text.slice(0, offset).split("\n");
  return { line: before.length - 1, column: before.at(-1)?.length ?? 0 };
}

/** @param {string} text @param {number} line @param {number} column both from 0 */
export function offsetOf(text, line, column) {
  const lines = text.split("\n");
  return lines.slice(0, line).reduce((sum, each) => sum + each.length + 1, 0) + column;
}
