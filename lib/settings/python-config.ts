/**
 * Reads a config file of nanoGPT's, which is Python, as data: `name = value` lines, where a value is a literal or
 * arithmetic on literals and names defined above. Nothing is run; any other line is refused. Settings that only name a
 * run at Weights & Biases may have any value: they are ignored.
 */

type Value = number | string | boolean | null;

/** @throws {Error} naming the line. */
export function parsePythonConfig(source: string): Record<string, Value> {
  const values: Record<string, Value> = Object.create(null); // "__proto__" is a name like any other
  const lines = source.replace(/^\uFEFF/, "").replace(/("""|''')[\s\S]*?\1/g, (text) => text.replace(/[^\n]/g, ""));
  for (const [index, line] of lines.split(/\r?\n/).entries()) {
    const code = withoutComment(line).trimEnd();
    if (code.trim() === "" || /^(import|from)\s/.test(code)) continue;
    const [, name, written] = /^([A-Za-z_]\w*)\s*(?::\s*\w+\s*)?=(?!=)\s*(.+)$/.exec(code) ?? [];
    const value = written === undefined ? undefined : evaluate(written, values);
    if (name !== undefined && value !== undefined) values[name] = value;
    else if (!name?.startsWith("wandb_")) {
      throw new Error(
        `line ${index + 1} is ${JSON.stringify(code.slice(0, 60))}; Python is read as data here, NAME = VALUE with numbers, text, True, False, None and arithmetic; write the rest as TypeScript, export default { … }`,
      );
    }
  }
  return values;
}

function withoutComment(line: string): string {
  return /^(?:[^#"']|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')*/.exec(line)![0];
}

const token =
  /\s*(?:(\d[\d_]*\.?[\d_]*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)|("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|([A-Za-z_]\w*)|(\*\*|\/\/|[-+*/()]))/y;

/** The value of an expression, or undefined if it is not one of those read here. */
function evaluate(written: string, names: Readonly<Record<string, Value>>): Value | undefined {
  const tokens: { kind: "number" | "text" | "name" | "sign"; word: string }[] = [];
  token.lastIndex = 0;
  while (token.lastIndex < written.trimEnd().length) {
    const match = token.exec(written);
    if (!match) return undefined;
    const kind = (["number", "text", "name", "sign"] as const).find((_, group) => match[group + 1] !== undefined)!;
    tokens.push({ kind, word: match[0].trim() });
  }
  let at = 0;
  const takes = (...signs: string[]) => {
    const next = tokens[at];
    return next?.kind === "sign" && signs.includes(next.word) ? tokens[at++]!.word : undefined;
  };
  const atom = (): Value | undefined => {
    if (takes("(")) {
      const inside = sum();
      return takes(")") ? inside : undefined;
    }
    const next = tokens[at++];
    if (next?.kind === "number") return Number(next.word.replaceAll("_", ""));
    if (next?.kind === "text") return unquoted(next.word);
    if (next?.kind !== "name") return undefined;
    const constants: Readonly<Record<string, Value>> = { True: true, False: false, None: null };
    return Object.hasOwn(constants, next.word) ? constants[next.word] : ownValue(names, next.word);
  };
  const power = (): Value | undefined => {
    const base = atom();
    return takes("**") ? apply("**", base, signed()) : base;
  };
  const signed = (): Value | undefined => {
    const sign = takes("-", "+");
    return sign ? apply(sign, 0, signed()) : power();
  };
  const chain = (part: () => Value | undefined, signs: string[]): Value | undefined => {
    let left = part();
    for (let sign = takes(...signs); sign; sign = takes(...signs)) left = apply(sign, left, part());
    return left;
  };
  const product = () => chain(signed, ["*", "/", "//"]);
  const sum = (): Value | undefined => chain(product, ["+", "-"]);
  const value = sum();
  return at === tokens.length ? value : undefined;
}

function apply(sign: string, left: Value | undefined, right: Value | undefined): Value | undefined {
  if (sign === "+" && typeof left === "string" && typeof right === "string") return left + right;
  if (typeof left !== "number" || typeof right !== "number") return undefined;
  const operations: Readonly<Record<string, number>> = {
    "+": left + right,
    "-": left - right,
    "*": left * right,
    "/": left / right,
    "//": Math.floor(left / right),
    "**": left ** right,
  };
  return operations[sign];
}

function ownValue(names: Readonly<Record<string, Value>>, name: string): Value | undefined {
  return Object.hasOwn(names, name) ? names[name] : undefined;
}

const escapes = new Map(
  Object.entries({ n: "\n", t: "\t", r: "\r", a: "\x07", b: "\b", f: "\f", v: "\v", "\\": "\\", "'": "'", '"': '"' }),
);

/** A string literal's value, as in Python: an escape that Python does not know stays as it is written. */
function unquoted(word: string): string | undefined {
  let known = true;
  const value = word
    .slice(1, -1)
    .replace(
      /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U([\da-fA-F]{8})|([0-7]{1,3})|(.))/g,
      (found, ...groups: (string | undefined)[]) => {
        const [x, u, long, octal, letter] = groups;
        const code = octal === undefined ? Number.parseInt(x ?? u ?? long ?? "", 16) : Number.parseInt(octal, 8);
        // \\x without two digits is an error in Python, too; \\N{name} needs Python's table of names.
        if (letter !== undefined && /[xuUN]/.test(letter)) known = false;
        if (letter !== undefined) return escapes.get(letter) ?? found;
        if (code > 0x10_ffff) known = false;
        return known ? String.fromCodePoint(code) : "";
      },
    );
  return known ? value : undefined;
}
