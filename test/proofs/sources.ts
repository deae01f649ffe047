/**
 * A checksum of everything that affects a proof's result: the statements of all compiled JavaScript that it imports,
 * and the sources in other languages, without comments, types, white space and paths. It does not change when a file is
 * moved or split, or a comment is rewritten, but when a constant changes.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import ts from "typescript";

/** The contribution of a file: pieces of text, and the files that it imports by relative paths. */
interface Source {
  readonly pieces: readonly string[];
  readonly imports: readonly string[];
}

/**
 * SHA-256 of the sources of a proof, the inputs that it lists, and everything that they import.
 * @param proof its file, without `claim` and `inputs`
 * @param leaveOut files that only store results
 */
export function fingerprint(
  root: string,
  { proof, inputs, leaveOut = [] }: { proof: string; inputs: readonly string[]; leaveOut?: readonly string[] },
): string {
  const pieces = new Set<string>();
  const files = new Set([proof, ...inputs.flatMap((input) => filesOf(root, input))]);
  for (const file of files) {
    if (leaveOut.includes(file)) continue;
    const source = readSource(path.join(root, file), file === proof);
    for (const piece of source.pieces) pieces.add(createHash("sha256").update(piece).digest("hex"));
    for (const name of source.imports) {
      const target = path.join(path.dirname(file), name);
      if (!target.startsWith("node_modules") && fs.existsSync(path.join(root, target))) files.add(target);
    }
  }
  return createHash("sha256")
    .update([...pieces].sort().join("\n"))
    .digest("hex");
}

function filesOf(root: string, input: string): string[] {
  const at = path.join(root, input);
  if (!fs.statSync(at).isDirectory()) return [input];
  return fs
    .readdirSync(at, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.name.endsWith(".d.ts")) // types alone change no result
    .filter((entry) => entry.isFile() && /\.(ts|mjs|json|safetensors|txt|csv|cc|h|py|sh)$/.test(entry.name))
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)))
    .filter((file) => !/(^|\/)(node_modules|results\.json|meta\.json|input\.txt|\.)/.test(file));
}

const known = new Map<string, Source>();

function readSource(file: string, isProof: boolean): Source {
  const found = known.get(file);
  if (found) return found;
  const source = /\.[mc]?[jt]s$/.test(file) ? compiled(file, isProof) : { pieces: [plain(file)], imports: [] };
  known.set(file, source);
  return source;
}

/** A file in a language other than JavaScript; data files are used unchanged. */
function plain(file: string): string {
  if (/\.(cc|h)$/.test(file)) {
    const commentOrText = /\/\/.*|\/\*[\s\S]*?\*\/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/g;
    const code = fs.readFileSync(file, "utf8").replace(commentOrText, (part) => (part.startsWith("/") ? " " : part));
    return code
      .replace(/^\s*#include ".*"/gm, "")
      .replace(/\s+/g, " ")
      .trim();
  }
  if (/\.(py|sh)$/.test(file)) return fs.readFileSync(file, "utf8").replace(/^\s*(#.*)?\n/gm, "");
  return fs.readFileSync(file, "base64");
}

function compiled(file: string, isProof: boolean): Source {
  const { ESNext } = ts.ScriptTarget;
  const { outputText } = ts.transpileModule(fs.readFileSync(file, "utf8"), {
    fileName: file,
    compilerOptions: { target: ESNext, module: ts.ModuleKind.ESNext, removeComments: true, allowJs: true },
    transformers: isProof ? { before: [withoutWords] } : {},
  });
  const statements = ts.createSourceFile("a.js", outputText, ESNext).statements;
  const own = statements.filter(
    (statement) => !ts.isImportDeclaration(statement) && !ts.isExportDeclaration(statement),
  );
  const relative = [...outputText.matchAll(/["'](\.{1,2}\/[^"'\s]+)["']/g)].map(([, name]) => name!);
  return {
    pieces: own.map((statement) => withoutPaths(outputText.slice(statement.pos, statement.end))),
    imports: relative
      .flatMap((name) => [name, name.replace(/\.js$/, ".ts")])
      .filter((name) => /\.[mc]?[jt]s$/.test(name)),
  };
}

function withoutPaths(statement: string): string {
  return statement
    .replace(/^\s*export (default )?/, "")
    .replace(/(["'])\.{1,2}\/[^"'\s]*\1/g, '"./"')
    .replace(/`\.{1,2}\/[\w./-]*/g, "`./")
    .replace(/\s+/g, " ")
    .trim();
}

/** Removes the description of a proof. */
const withoutWords: ts.TransformerFactory<ts.SourceFile> = (context) => {
  const visit = (node: ts.Node): ts.Node | undefined => {
    const said = ts.isPropertyAssignment(node) && ts.isIdentifier(node.name) && /^(claim|inputs)$/.test(node.name.text);
    return said ? undefined : ts.visitEachChild(node, visit, context);
  };
  return (file) => ts.visitEachChild(file, visit, context);
};
