/**
 * Answers the front end's requests while a cell is edited: completion with types, and a name's type and documentation,
 * including its tags (`@throws`, `@example`).
 */
import path from "node:path";
import { inCharacters } from "./server.mjs";

/**
 * @typedef {{ name: string, kind: string, sortText: string }} Entry of TypeScript's completions
 * @typedef {{
 *   ts: any, program: () => any,
 *   inspect: (code: string, position: number) => any,
 *   complete: (code: string, position: number) => { start: number, end: number, candidates: string[], original?: {
 * entries: Entry[] } } }} Language
 */

const prefix = "export {};\n".length; // tslab inserts it before each cell
const longestType = 60;

/** @param {Language} language */
export function createLanguage(language) {
  const { ts } = language;

  /** The cell as tslab last compiled it. */
  function file() {
    return language.program().getSourceFile(`${process.cwd().split(path.sep).join("/")}/__tslab__.ts`);
  }

  /**
   * @param {string} code
   * @param {number} position
   */
  function complete(code, position) {
    const { start, end, candidates, original } = language.complete(code, position);
    const symbols = symbolsAt(position);
    const entries = new Map((original?.entries ?? []).map((entry) => [entry.name, entry]));
    const checker = language.program().getTypeChecker();
    const [from, to] = [inCharacters(code, start), inCharacters(code, end)];
    const types = candidates.map((text, index) => {
      const symbol = index < 200 ? symbols.get(text) : undefined;
      return { start: from, end: to, text, type: typeOf(symbol, checker) ?? entries.get(text)?.kind ?? "" };
    });
    const metadata = { _jupyter_types_experimental: types };
    return { status: "ok", matches: candidates, cursor_start: from, cursor_end: to, metadata };
  }

  /** The names possible at this place: an object's settings, a value's properties, or everything in scope. */
  function symbolsAt(/** @type {number} */ position) {
    const source = file();
    const checker = language.program().getTypeChecker();
    const token = ts.findPrecedingToken(position + prefix, source) ?? source;
    for (let node = token; node && node !== source; node = node.parent) {
      if (ts.isPropertyAccessExpression(node) && position + prefix > node.expression.end) {
        return named(checker.getPropertiesOfType(checker.getApparentType(checker.getTypeAtLocation(node.expression))));
      }
      if (ts.isPropertyAssignment(node) && position + prefix > node.name.end) break;
      if (ts.isObjectLiteralExpression(node)) {
        const wanted = checker.getContextualType(node);
        if (wanted) return named(checker.getPropertiesOfType(wanted));
      }
    }
    return named(checker.getSymbolsInScope(token, ts.SymbolFlags.Value | ts.SymbolFlags.Type | ts.SymbolFlags.Alias));
  }

  /** @param {any[]} symbols @returns {Map<string, any>} */
  function named(symbols) {
    return new Map(symbols.map((symbol) => [symbol.name, symbol]));
  }

  /** The type, such as `number` or `"erf" | "tanh"`; empty for a name that is not a value. */
  function typeOf(/** @type {any} */ given, /** @type {any} */ checker) {
    if (!given) return undefined;
    const symbol = given.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(given) : given;
    if (!(symbol.flags & (ts.SymbolFlags.Variable | ts.SymbolFlags.Property | ts.SymbolFlags.Accessor)))
      return undefined;
    const type = checker.getNonNullableType(checker.getTypeOfSymbolAtLocation(symbol, file()));
    const text = checker.typeToString(type);
    return text.length > longestType ? `${text.slice(0, longestType - 1)}…` : text;
  }

  /**
   * @param {string} code
   * @param {number} position
   */
  function inspect(code, position) {
    const info = language.inspect(code, position) ?? inspectNear(code, position);
    if (!info) return { status: "ok", found: false, data: {}, metadata: {} };
    const join = (/** @type {{ text: string }[] | undefined} */ parts) =>
      (parts ?? []).map(({ text }) => text).join("");
    const signature = join(info.displayParts);
    const documentation = join(info.documentation);
    const tags = /** @type {{ name: string, text?: { text: string }[] }[]} */ (info.tags ?? []).map(
      ({ name, text }) => ({
        name,
        text: join(text),
      }),
    );
    const plain = [signature, documentation, tags.map(({ name, text }) => `@${name} ${text}`.trim()).join("\n")];
    const marked = [
      `\`\`\`typescript\n${signature}\n\`\`\``,
      documentation,
      ...tags.map(({ name, text }) =>
        name === "example" ? `**@example**\n\`\`\`typescript\n${text}\n\`\`\`` : `**@${name}** ${text}`,
      ),
    ];
    const data = {
      "text/plain": plain.filter(Boolean).join("\n\n"),
      "text/markdown": marked.filter(Boolean).join("\n\n"),
    };
    return { status: "ok", found: true, data, metadata: {} };
  }

  /** Between names: the name just before, else the function whose arguments these are. */
  function inspectNear(/** @type {string} */ code, /** @type {number} */ position) {
    const source = file();
    const token = ts.findPrecedingToken(position + prefix, source);
    for (let node = token; node && node !== source; node = node.parent) {
      if (ts.isIdentifier(node)) return language.inspect(code, node.getStart(source) - prefix);
      if (ts.isPropertyAssignment(node)) return language.inspect(code, node.name.getStart(source) - prefix);
      if (ts.isCallExpression(node)) {
        const { expression } = node;
        const name = ts.isPropertyAccessExpression(expression) ? expression.name : expression;
        return language.inspect(code, name.getStart(source) - prefix);
      }
    }
    return undefined;
  }

  return { complete, inspect };
}
