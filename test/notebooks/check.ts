/**
 * Checks the types of a notebook's code cells with the project's TypeScript and `strict`, before anything runs. (tslab
 * checks, too, but with TypeScript 5.0 and without `strict`.) The cells form one module; errors name the cell and the
 * line in it.
 */
import path from "node:path";
import ts from "typescript";
import { codeCells, type Notebook, textOf } from "./notebook.js";

export interface TypeFault {
  /** n of `In [n]`. */
  readonly cell: number;
  readonly line: number;
  readonly message: string;
}

/** The options of tslab, with strict checks. */
const options: ts.CompilerOptions = {
  strict: true,
  noImplicitReturns: true,
  noFallthroughCasesInSwitch: true,
  target: ts.ScriptTarget.ES2022,
  lib: ["lib.es2022.d.ts"],
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  moduleDetection: ts.ModuleDetectionKind.Force,
  types: ["node"],
  esModuleInterop: true,
  skipLibCheck: true,
  noEmit: true,
};

/** A checker that caches parsed files, so that further notebooks are much faster. */
export function createChecker(): (file: string, notebook: Notebook) => TypeFault[] {
  let before: ts.Program | undefined;
  const parsed = new Map<string, ts.SourceFile | undefined>();
  return (file, notebook) => {
    const { text, starts } = asModule(notebook);
    const name = `${file}.ts`;
    const host = ts.createCompilerHost(options, true);
    const { getSourceFile, fileExists, readFile } = host;
    host.getCurrentDirectory = () => path.dirname(file);
    host.fileExists = (other) => other === name || fileExists(other);
    host.readFile = (other) => (other === name ? text : readFile(other));
    host.getSourceFile = (other, language) => {
      if (other === name) return ts.createSourceFile(name, text, language, true);
      if (!parsed.has(other)) parsed.set(other, getSourceFile(other, language));
      return parsed.get(other);
    };
    before = ts.createProgram({
      rootNames: [name],
      options: { ...options, typeRoots: typeRoots(file) },
      host,
      ...(before && { oldProgram: before }),
    });
    return ts.getPreEmitDiagnostics(before).map((diagnostic) => {
      const message = `TS${diagnostic.code}: ${ts.flattenDiagnosticMessageText(diagnostic.messageText, " ")}`;
      if (diagnostic.file?.fileName !== name) return { cell: 0, line: 0, message };
      const { line } = diagnostic.file.getLineAndCharacterOfPosition(diagnostic.start ?? 0);
      const cell = starts.findLastIndex((start) => start <= line);
      return { cell: cell + 1, line: line - starts[cell]! + 1, message };
    });
  };
}

/** The cells joined to one text, and the line (from 0) on which each starts. */
function asModule(notebook: Notebook): { text: string; starts: number[] } {
  const starts: number[] = [];
  const lines: string[] = [];
  for (const cell of codeCells(notebook)) {
    starts.push(lines.length);
    lines.push(...textOf(cell.source).split("\n"), ";"); // a cell may end in an expression without its semicolon
  }
  return { text: lines.join("\n"), starts };
}

/** The node_modules/@types of every folder above, wherever the notebook is. */
function typeRoots(file: string): string[] {
  const above: string[] = [];
  for (let folder = path.dirname(file); folder !== path.dirname(folder); folder = path.dirname(folder))
    above.push(folder);
  return above.map((folder) => path.join(folder, "node_modules", "@types"));
}
