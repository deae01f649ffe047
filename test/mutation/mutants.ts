/**
 * Mutants: small changes of a source, such as `<` for `<=`, of which each should turn a test red. All chosen mutants of
 * a file are put into it at once, `(mutant(17) ? (changed) : (original))`, and the environment variable FOLIO_MUTANT says
 * which one is active, so that the tests are transformed once, and worker threads and child processes have it, too.
 */
import { createHash } from "node:crypto";
import ts from "typescript";

export interface Mutant {
  readonly file: string;
  /** Range of the replaced text. */
  readonly start: number;
  readonly end: number;
  readonly becomes: string;
  /** `member` replaces `.name` by `["other"]`; `statement` removes it. */
  readonly kind: "expression" | "member" | "statement";
  /** The file, the line and the change, in words: the same mutant has the same name after changes elsewhere. */
  readonly name: string;
}

const { SyntaxKind } = ts;

/** Operators and what they become. */
const operators: Readonly<Record<string, readonly string[]>> = {
  ...{ "+": ["-"], "-": ["+"], "*": ["/"], "/": ["*"], "%": ["*"], "**": ["*"], "&": ["|"], "|": ["&"], "^": ["&"] },
  ...{ "<<": [">>"], ">>": ["<<"], ">>>": ["<<"] },
  ...{ "<": ["<=", ">="], "<=": ["<", ">"], ">": [">=", "<="], ">=": [">", "<"] },
  ...{ "===": ["!=="], "!==": ["==="], "&&": ["||"], "||": ["&&"], "??": ["&&"] },
  ...{ "+=": ["-="], "-=": ["+="], "*=": ["/="], "/=": ["*="] },
};

/** Functions and methods that are exchanged, in every file and in those that compute with tensors. */
const exchanged: Readonly<Record<string, string>> = {
  ...{ min: "max", max: "min", floor: "ceil", ceil: "floor", round: "floor", some: "every", every: "some" },
  ...{ startsWith: "endsWith", endsWith: "startsWith" },
};
const exchangedOfTensors: Readonly<Record<string, string>> = {
  ...{ add: "sub", sub: "add", mul: "div", div: "mul", sum: "mean", mean: "sum", minimum: "maximum" },
  ...{ maximum: "minimum", greater: "greaterEqual", greaterEqual: "greater", less: "lessEqual", lessEqual: "less" },
  ...{ logicalAnd: "logicalOr", logicalOr: "logicalAnd" },
};
/** Methods without which the rest still makes sense. */
const removed = new Set(["filter", "sort", "toSorted", "reverse", "toReversed", "slice", "trim"]);

/** All mutants of a source, in its order. Texts of messages that are thrown are left alone, and types. */
export function mutantsOf(file: string, text: string): Mutant[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const tensors = text.includes("@tensorflow/tfjs-core");
  const found: Mutant[] = [];
  const seen = new Map<string, number>();
  const add = (start: number, end: number, becomes: string, kind: Mutant["kind"] = "expression") => {
    const { line } = source.getLineAndCharacterOfPosition(start);
    const from = source.getPositionOfLineAndCharacter(line, 0);
    const lineText = text.slice(from, text.indexOf("\n", from)).trim();
    const was = text.slice(start, end);
    const words = `${file}: ${lineText}: ${short(was)} → ${short(becomes) || "nothing"}`;
    const times = (seen.get(words) ?? 0) + 1;
    seen.set(words, times);
    found.push({ file, start, end, becomes, kind, name: times === 1 ? words : `${words} (${times})` });
  };
  const replace = (node: ts.Node, becomes: string) => add(node.getStart(source), node.end, becomes);

  const visit = (node: ts.Node, thrown: boolean): void => {
    const inType = ts.isTypeNode(node) && !ts.isExpressionWithTypeArguments(node);
    if (inType || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node)) return;
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return;
    if (ts.isBinaryExpression(node)) binary(node);
    else if (ts.isPrefixUnaryExpression(node) || ts.isPostfixUnaryExpression(node)) unary(node);
    else if (ts.isCallExpression(node)) call(node);
    else if (ts.isExpressionStatement(node)) statement(node);
    else literal(node, thrown);
    const condition = conditionOf(node);
    if (condition && !isConstant(condition)) {
      if (ts.isIfStatement(node) || ts.isConditionalExpression(node)) replace(condition, "true");
      replace(condition, "false");
    }
    ts.forEachChild(node, (child) => visit(child, thrown || ts.isThrowStatement(node)));
  };

  const binary = (node: ts.BinaryExpression) => {
    const { left, operatorToken: operator, right } = node;
    if (operator.kind === SyntaxKind.PlusToken && [left, right].some(isText)) return;
    for (const other of operators[operator.getText(source)] ?? []) {
      replace(node, `(${left.getText(source)}) ${other} (${right.getText(source)})`);
    }
  };

  const unary = (node: ts.PrefixUnaryExpression | ts.PostfixUnaryExpression) => {
    const operand = node.operand.getText(source);
    const { PlusPlusToken: up, MinusMinusToken: down, MinusToken, ExclamationToken } = SyntaxKind;
    const other = node.operator === up ? "--" : "++";
    if (node.operator === up || node.operator === down) {
      replace(node, ts.isPrefixUnaryExpression(node) ? other + operand : operand + other);
    } else if (node.operator === MinusToken || node.operator === ExclamationToken) replace(node, operand);
  };

  const call = (node: ts.CallExpression) => {
    const { expression: callee } = node;
    if (!ts.isPropertyAccessExpression(callee) || node.flags & ts.NodeFlags.OptionalChain) return;
    const name = callee.name.text;
    const other = Object.hasOwn(exchanged, name) ? exchanged[name] : undefined;
    const ofTensors = tensors && Object.hasOwn(exchangedOfTensors, name) ? exchangedOfTensors[name] : undefined;
    const becomes = other ?? ofTensors;
    if (becomes) add(callee.expression.end, callee.end, JSON.stringify(becomes), "member");
    else if (removed.has(name)) replace(node, callee.expression.getText(source));
  };

  const statement = (node: ts.ExpressionStatement) => {
    const of = ts.isAwaitExpression(node.expression) ? node.expression.expression : node.expression;
    const isSuper = ts.isCallExpression(of) && of.expression.kind === SyntaxKind.SuperKeyword;
    const isAssignment = ts.isBinaryExpression(of) && of.operatorToken.kind === SyntaxKind.EqualsToken;
    if ((ts.isCallExpression(of) && !isSuper) || isAssignment) add(node.getStart(source), node.end, "", "statement");
  };

  const literal = (node: ts.Node, thrown: boolean) => {
    if (ts.isSourceFile(node) || isName(node)) return;
    if (ts.isNumericLiteral(node)) replace(node, String(otherNumber(Number(node.text))));
    else if (node.kind === SyntaxKind.TrueKeyword) replace(node, "false");
    else if (node.kind === SyntaxKind.FalseKeyword) replace(node, "true");
    else if (ts.isArrayLiteralExpression(node)) {
      if (node.elements.length > 0 && !isTarget(node)) replace(node, "[]");
    } else if (isText(node) && !thrown) replace(node, ts.isStringLiteral(node) && node.text === "" ? '"x"' : '""');
  };

  visit(source, false);
  return found.sort((a, b) => a.start - b.start || b.end - a.end);
}

/** A tenth more, so that a limit or a default moves; small integers by 1. */
function otherNumber(value: number): number {
  if (!Number.isInteger(value)) return Number((value * 1.1).toPrecision(15));
  return value < 10 ? value + 1 : Math.round(value * 1.1);
}

const short = (text: string) => {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length <= 60 ? line : `${line.slice(0, 40)} … ${line.slice(-15)}`;
};

const isText = (node: ts.Node) => ts.isStringLiteralLike(node) || ts.isTemplateExpression(node);
const isConstant = ({ kind }: ts.Node) => kind === SyntaxKind.TrueKeyword || kind === SyntaxKind.FalseKeyword;

/** Whether a literal is the name of a property or of a module, or belongs to an enumeration or a tagged template. */
function isName(node: ts.Node): boolean {
  const { parent } = node;
  if (ts.isEnumMember(parent) || ts.isTaggedTemplateExpression(parent)) return true;
  if (ts.isCallExpression(parent) && parent.expression.kind === SyntaxKind.ImportKeyword) return true;
  return (parent as ts.Node & { readonly name?: ts.Node }).name === node;
}

/** Whether an array literal is assigned to: `[a, b] = [b, a]`. */
function isTarget(node: ts.Node): boolean {
  const { parent } = node;
  return ts.isBinaryExpression(parent) && parent.operatorToken.kind === SyntaxKind.EqualsToken && parent.left === node;
}

function conditionOf(node: ts.Node): ts.Expression | undefined {
  if (ts.isIfStatement(node) || ts.isWhileStatement(node) || ts.isDoStatement(node)) return node.expression;
  return ts.isConditionalExpression(node) || ts.isForStatement(node) ? node.condition : undefined;
}

/**
 * A sample without replacement that depends on the seed and on the names alone: an edit elsewhere leaves it as it is.
 */
export function sampleOf(mutants: readonly Mutant[], count: number, seed: number): Mutant[] {
  const rank = ({ name }: Mutant) => createHash("sha256").update(`${seed}\n${name}`).digest("hex");
  const ranked = mutants.map((mutant) => ({ mutant, rank: rank(mutant) }));
  return ranked
    .sort((a, b) => (a.rank < b.rank ? -1 : 1))
    .slice(0, count)
    .map(({ mutant }) => mutant);
}

/**
 * Defines `mutant(id)`: whether this mutant is active. Without an active one, it notes in the file FOLIO_MUTANT_SEEN
 * which ones were reached.
 */
const prelude = `const mutant__ = (globalThis.mutant__ ??= (() => {
  const { FOLIO_MUTANT: active, FOLIO_MUTANT_SEEN: file } = globalThis.process?.env ?? {};
  if (active) return (id) => id === Number(active);
  const seen = new Set();
  return (id) => {
    if (file && !seen.has(id)) process.getBuiltinModule("node:fs").appendFileSync(file, id + "\\n");
    seen.add(id);
    return false;
  };
})());`
  .replace(/\n */g, " ")
  .concat(" ");

/** The source with all these mutants of it in it, inactive; `idOf` numbers them. Lines stay where they are. */
export function withMutants(text: string, mutants: readonly Mutant[], idOf: (mutant: Mutant) => number): string {
  const sites = new Map<string, Mutant[]>();
  for (const one of mutants) {
    const at = `${one.start}-${one.end}-${one.kind}`;
    sites.set(at, [...(sites.get(at) ?? []), one]);
  }
  // Outer sites before those inside.
  const ordered = [...sites.values()].sort(([a], [b]) => a!.start - b!.start || b!.end - a!.end);
  let next = 0;
  const until = (end: number, from: number): string => {
    let out = "";
    let at = from;
    for (let site = ordered[next]; site && site[0]!.end <= end; site = ordered[next]) {
      const { start, end: siteEnd, kind } = site[0]!;
      next++;
      out += text.slice(at, start) + switched(site, kind, until(siteEnd, start));
      at = siteEnd;
    }
    return out + text.slice(at, end);
  };
  const switched = (site: readonly Mutant[], kind: Mutant["kind"], original: string) => {
    if (kind === "statement") return `{ if (!mutant__(${idOf(site[0]!)})) { ${original} } }`;
    const otherwise = kind === "member" ? JSON.stringify(original.replace(/^\s*\./, "").trim()) : `(${original})`;
    const choice = site.reduceRight((rest, one) => `mutant__(${idOf(one)}) ? (${one.becomes}) : ${rest}`, otherwise);
    return kind === "member" ? `[${choice}]` : `(${choice})`;
  };
  return prelude + until(text.length, 0);
}
