/**
 * A notebook as a file: reading it, checking the committed one, and the form of committed outputs, which must not
 * depend on the machine or the day. runner.ts executes notebooks.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import * as z from "zod";
import { faultOf } from "../../lib/host/checked-json.js";

/** The largest size of the outputs as JSON, in bytes; larger notebooks are unreadable as pages. */
export const maxOutputBytes = 400_000;

export interface Output {
  output_type: string;
  name?: string;
  text?: string | string[];
  data?: Record<string, unknown>;
  [key: string]: unknown;
}

export interface Cell {
  cell_type: "code" | "markdown" | "raw";
  id?: string;
  metadata: Record<string, unknown>;
  source: string | string[];
  execution_count?: number | null;
  outputs?: Output[];
}

export interface Notebook {
  cells: Cell[];
  metadata: { folio?: { budgetSeconds?: unknown; computedBy?: string; needsStudy?: unknown }; [key: string]: unknown };
  nbformat: number;
  nbformat_minor: number;
}

/** @throws {TypeError} if the file is not a notebook */
export function readNotebook(file: string): Notebook {
  let notebook: unknown;
  try {
    notebook = JSON.parse(fs.readFileSync(file, "utf8"));
  } catch (error) {
    throw new TypeError(`Cannot read the notebook ${file}: ${error instanceof Error ? error.message : error}`);
  }
  const fault = faultOf(schema, notebook);
  if (fault) throw new TypeError(`Cannot read the notebook ${file}: its ${fault}.`);
  return notebook as Notebook;
}

const text = z.union([z.string(), z.array(z.string())]);
const schema = z.looseObject({
  cells: z.array(z.looseObject({ cell_type: z.string(), source: text.optional() })),
  metadata: z.looseObject({ folio: z.looseObject({}).optional() }),
});

/** Text that a notebook stores as one string or as an array of lines. */
export function textOf(text: string | string[] | undefined): string {
  return Array.isArray(text) ? text.join("") : (text ?? "");
}

/** Code cells that have code, in order: the cell that Jupyter shows as `In [n]` is the n-th, from 1. */
export function codeCells(notebook: Notebook): Cell[] {
  return notebook.cells.filter((cell) => cell.cell_type === "code" && textOf(cell.source).trim() !== "");
}

/** The time limit of a notebook, `metadata.folio.budgetSeconds`; undefined if it has none. */
export function budgetOf(notebook: Notebook): number | undefined {
  const seconds = notebook.metadata.folio?.budgetSeconds;
  return typeof seconds === "number" && seconds > 0 && seconds <= 600 ? seconds : undefined;
}

/** The name of the public study whose table a notebook reads, `metadata.folio.needsStudy`; undefined if it needs none. */
export function studyOf(notebook: Notebook): string | undefined {
  const name = notebook.metadata.folio?.needsStudy;
  return name === undefined ? undefined : String(name);
}

/** Faults of the outputs in the file; empty if there are none. */
export function committedFaults(notebook: Notebook): string[] {
  const cells = codeCells(notebook);
  const bad = cells.findIndex((cell, index) => cell.execution_count !== index + 1);
  const never = cells.every((cell) => cell.execution_count === null || cell.execution_count === undefined);
  const faults = cells.flatMap((cell, index) => outputFaults(cell.outputs ?? [], index + 1));
  if (never) faults.unshift("the committed notebook has no outputs");
  else if (bad >= 0) faults.unshift(`the committed outputs were not made in order, from cell ${bad + 1} on`);
  return [...faults, ...sizeFaults(cells.map((cell) => cell.outputs ?? []))];
}

export function sizeFaults(outputs: readonly Output[][]): string[] {
  const sizes = outputs.map((list) => Buffer.byteLength(JSON.stringify(list)));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total <= maxOutputBytes) return [];
  const largest = sizes.indexOf(Math.max(...sizes)) + 1;
  return [
    `the outputs are ${Math.round(total / 1000)} kB, at most ${maxOutputBytes / 1000} are wanted; most in cell ${largest}`,
  ];
}

/** Finds time stamps, machine paths, Plotly's bundle and errors in outputs. */
export function outputFaults(outputs: readonly Output[], cell: number): string[] {
  const text = JSON.stringify(outputs);
  const places: [RegExp, string][] = [
    [/\d{4}-\d\d-\d\d[T ]\d\d:\d\d/, "a time stamp"],
    [
      /(?<![\w.~/])\/(home|Users|root|tmp|private|var\/folders|work|mnt|workspaces?)\/[\w.-]+/,
      "a path of this machine",
    ],
    [new RegExp(`${literally(os.homedir())}/[\\w.-]+`), "a path of this machine"],
    [/[A-Z]:\\\\Users/, "a path of this machine"],
    [/plotly\.js (\([^)]*\) )?v\d/, "Plotly's bundle"],
  ];
  const found = places.flatMap(([pattern, what]) => {
    const match = pattern.exec(text);
    return match ? [`the output of cell ${cell} has ${what}: ${match[0]}`] : [];
  });
  if (outputs.some(({ output_type }) => output_type === "error")) found.push(`the output of cell ${cell} is an error`);
  return [...new Set(found)];
}

/**
 * The committed form of outputs: parts of a stream are joined, HTML with Plotly's or the views' bundle is removed (the static
 * picture stays), paths in the repository are relative, ids are removed, and keys are sorted.
 */
export function normalizeOutputs(outputs: readonly Output[], options: { root: string }): Output[] {
  const result: Output[] = [];
  for (const output of outputs) {
    if (output.output_type === "stream") {
      const before = result.at(-1);
      const text = relative(textOf(output.text), options.root);
      if (before?.output_type === "stream" && before.name === output.name) before.text = textOf(before.text) + text;
      else result.push({ output_type: "stream", name: output.name ?? "stdout", text });
      continue;
    }
    const entries = Object.entries(output.data ?? {}).map(([mime, value]) => [
      mime,
      typeof value === "string" || Array.isArray(value) ? relative(textOf(value as string[]), options.root) : value,
    ]);
    const data: Record<string, unknown> = Object.fromEntries(entries);
    if (typeof data["text/html"] === "string" && isBundle(data["text/html"])) delete data["text/html"];
    if (Object.keys(data).length > 0) result.push({ output_type: "display_data", data, metadata: {} });
  }
  return result;
}

/** A library that a kernel gives the notebook once: Plotly, or the views'. */
const isBundle = (html: string) => /plotly\.js (\([^)]*\) )?v\d|^<script>window\.\w+ \|\| \(/.test(html);

/** Of a cell's metadata, what is kept: its tags, and whether its code is hidden, as an exercise's is. */
function keptMetadata({ metadata: { tags, jupyter } }: Cell): Record<string, unknown> {
  const isHidden = (jupyter as { source_hidden?: boolean } | undefined)?.source_hidden === true;
  return { ...(isHidden && { jupyter: { source_hidden: true } }), ...(Array.isArray(tags) && { tags }) };
}

/** The notebook in its committed form, with the outputs of each cell (empty for cells without code). */
export function withOutputs(
  notebook: Notebook,
  outputs: readonly Output[][],
  options: { root: string; computedBy?: string },
): Notebook {
  const numbers = new Map(codeCells(notebook).map((cell, index) => [cell, index + 1]));
  const study = studyOf(notebook);
  const cells = notebook.cells.map((cell, index): Cell => {
    const common = {
      id: cell.id ?? `cell-${String(index).padStart(2, "0")}`,
      metadata: keptMetadata(cell),
      source: lines(textOf(cell.source).trimEnd()),
    };
    if (cell.cell_type !== "code") return { ...common, cell_type: cell.cell_type };
    const list = normalizeOutputs(outputs[index] ?? [], options).map((output) =>
      output.output_type === "stream"
        ? { ...output, text: lines(textOf(output.text)) }
        : {
            ...output,
            data: Object.fromEntries(
              Object.entries(output.data ?? {}).map(([mime, value]) => [mime, asStored(mime, value)]),
            ),
          },
    );
    return { ...common, cell_type: "code", execution_count: numbers.get(cell) ?? null, outputs: list };
  });
  return {
    cells,
    metadata: {
      folio: {
        budgetSeconds: budgetOf(notebook),
        ...(study !== undefined && { needsStudy: study }),
        ...(options.computedBy !== undefined && { computedBy: options.computedBy }),
      },
      kernelspec: { display_name: "TypeScript", language: "typescript", name: "tslab" },
      language_info: { file_extension: ".ts", mimetype: "text/typescript", name: "typescript" },
    },
    nbformat: 4,
    nbformat_minor: 5,
  };
}

/** The format of Jupyter: sorted keys, indented by one space, so that an unchanged notebook gives an identical file. */
export function notebookText(notebook: Notebook): string {
  return `${JSON.stringify(sorted(notebook), null, 1)}\n`;
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, member]) => [key, sorted(member)]));
}

function lines(text: string): string[] {
  return text === "" ? [] : (text.match(/[^\n]*\n|[^\n]+$/g) ?? []);
}

function asStored(mime: string, value: unknown): unknown {
  const isText = typeof value === "string" && (mime.startsWith("text/") || mime === "image/svg+xml");
  return isText ? lines(value) : value;
}

function relative(text: string, root: string): string {
  return text.replaceAll(`file://${root}/`, "").replaceAll(`${root}/`, "").replaceAll(root, path.basename(root));
}

function literally(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
}
