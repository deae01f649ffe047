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
  return {
    complete: (/** @type {string} */ code, /** @type {number} */ position) => complete(language, code, position),
    inspect: (/** @type {string} */ code, /** @type {number} */ position) => {
      const info = language.inspect(code, position) ?? inspectNear(language, code, position);
      return { status: "ok", found: info !== undefined, data: info ? described(info) : {}, metadata: {} };
    },
  };
}

/** The cell as tslab last compiled it. */
function fileOf(/** @type {Language} */ language) {
  return language.program().getSourceFile(`${process.cwd().split(path.sep).join("/")}/__tslab__.ts`);
}

/**
 * @param {Language} language
 * @param {string} code
 * @param {number} position
 */
function complete(language, code, position) {
  const { start, end, candidates, original } = language.complete(code, position);
  const symbols = symbolsAt(language, position);
  const entries = new Map((original?.entries ?? []).map((entry) => [entry.name, entry]));
  const [from, to] = [inCharacters(code, start), inCharacters(code, end)];
  const types = candidates.map((text, index) => {
    const symbol = index < 200 ? symbols.get(text) : undefined;
    return { start: from, end: to, text, type: typeOf(language, symbol) ?? entries.get(text)?.kind ?? "" };
  });
  const metadata = { _jupyter_types_experimental: types };
  return { status: "ok", matches: candidates, cursor_start: from, cursor_end: to, metadata };
}

/**
 * The names possible at this place: an object's settings, a value's properties, or everything in scope.
 * @param {Language} language
 * @param {number} position
 * @returns {Map<string, any>}
 */
function symbolsAt(language, position) {
  const { ts } = language;
  const source = fileOf(language);
  const checker = language.program().getTypeChecker();
  const named = (/** @type {any[]} */ symbols) => new Map(symbols.map((symbol) => [symbol.name, symbol]));
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

/**
 * The type, such as `number` or `"erf" | "tanh"`; undefined for a name that is not a value.
 * @param {Language} language
 * @param {any} given the name's symbol
 */
function typeOf(language, given) {
  if (!given) return undefined;
  const { SymbolFlags } = language.ts;
  const checker = language.program().getTypeChecker();
  const symbol = given.flags & SymbolFlags.Alias ? checker.getAliasedSymbol(given) : given;
  if (!(symbol.flags & (SymbolFlags.Variable | SymbolFlags.Property | SymbolFlags.Accessor))) return undefined;
  const type = checker.getNonNullableType(checker.getTypeOfSymbolAtLocation(symbol, fileOf(language)));
  const text = checker.typeToString(type);
  return text.length > longestType ? `${text.slice(0, longestType - 1)}…` : text;
}

/**
 * A name's signature, documentation and tags as text and as Markdown.
 * @param {any} info TypeScript's
 */
function described(info) {
  const join = (/** @type {{ text: string }[] | undefined} */ parts) => (parts ?? []).map(({ text }) => text).join("");
  const signature = join(info.displayParts);
  const documentation = join(info.documentation);
  const tags = /** @type {{ name: string, text?: { text: string }[] }[]} */ (info.tags ?? []).map(({ name, text }) => ({
    name,
    text: join(text),
  }));
  const plain = [signature, documentation, tags.map(({ name, text }) => `@${name} ${text}`.trim()).join("\n")];
  const marked = [
    `\`\`\`typescript\n${signature}\n\`\`\``,
    documentation,
    ...tags.map(({ name, text }) =>
      name === "example" ? `**@example**\n\`\`\`typescript\n${text}\n\`\`\`` : `**@${name}** ${text}`,
    ),
  ];
  return {
    "text/plain": plain.filter(Boolean).join("\n\n"),
    "text/markdown": marked.filter(Boolean).join("\n\n"),
  };
}

/**
 * Between names: the name just before, else the function whose arguments these are.
 * @param {Language} language
 * @param {string} code
 * @param {number} position
 */
function inspectNear(language, code, position) {
  const { ts } = language;
  const source = fileOf(language);
  const at = (/** @type {any} */ name) => language.inspect(code, name.getStart(source) - prefix);
  const token = ts.findPrecedingToken(position + prefix, source);
  for (let node = token; node && node !== source; node = node.parent) {
    if (ts.isIdentifier(node)) return at(node);
    if (ts.isPropertyAssignment(node)) return at(node.name);
    if (ts.isCallExpression(node)) {
      const { expression } = node;
      return at(ts.isPropertyAccessExpression(expression) ? expression.name : expression);
    }
  }
  return undefined;
}
