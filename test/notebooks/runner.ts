/**
 * Runs a notebook from top to bottom in a new kernel and checks it: no type errors, within its time limit, every cell
 * runs to its end, no unhandled rejection, its exercises tell right answers from wrong ones. run.ts prints the results.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";
import { fileURLToPath } from "node:url";
import { type StudyName, studies } from "../../scaling/tables/studies.js";
import { missingStudy } from "../scaling/studies/tables.js";
import { createChecker } from "./check.js";
import { differences } from "./compare.js";
import {
  budgetOf,
  type Cell,
  codeCells,
  committedFaults,
  type Notebook,
  normalizeOutputs,
  type Output,
  outputFaults,
  readNotebook,
  sizeFaults,
  studyOf,
  textOf,
} from "./notebook.js";
import { unboundNumbers } from "./prose.js";

export interface Verdict {
  readonly name: string;
  readonly cells: number;
  readonly elapsedMs: number;
  readonly budgetSeconds: number | undefined;
  /** Why the notebook fails, the cause first; empty if it passes or was not run. */
  readonly faults: readonly string[];
  /** What is missing, if the notebook was not run; its types and what is stored in it were checked. */
  readonly missing?: string;
  /** Where the outputs differ from those in the file. */
  readonly changes: readonly string[];
  /** Warnings that do not make it fail: text on standard error. */
  readonly warnings: readonly string[];
  /** New outputs of each cell; empty if it was not executed. */
  readonly outputs: readonly Output[][];
}

export interface RunOptions {
  /** The kernel is killed after this multiple of the budget. Default 1. */
  readonly patience?: number;
  /** Also check the outputs in the file; false while they are being refreshed. Default true. */
  readonly committed?: boolean;
  /** The folder of answers to exercises; without it, exercises are not tried. */
  readonly answers?: string;
  /** The folder of public studies' tables; by default the one that FOLIO_STUDIES names. */
  readonly studies?: string | undefined;
  readonly signal?: AbortSignal;
  /** Called with the kernel's process id. */
  readonly onKernel?: (pid: number) => void;
  /** From createChecker; sharing one is faster. */
  readonly check?: ReturnType<typeof createChecker>;
}

interface KernelEvent {
  readonly kind: "rejection" | "exit" | "stale";
  readonly cell: number;
  readonly error?: string;
  readonly code?: number;
}

/** The messages of execute.py. */
interface Execution {
  kind: "end" | "thrown" | "budget" | "dead" | "unstarted" | "none";
  cell: number;
  sentinel: boolean;
  error: string;
  outputs: Output[][];
  statuses: Map<number, string>;
  events: KernelEvent[];
  elapsedMs: number;
}

/** The notebook as it is executed: with the answers to its exercises, if there are any, as a last code cell. */
interface Executed {
  readonly notebook: Notebook;
  /** The file of the answers. */
  readonly answers: string | undefined;
}

/** The folder of Folio. */
export const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));
const python = path.join(root, ".venv", "bin", "python");
/** The longest start of a kernel (not in the budget), and the time for execute.py to end before it is killed. */
const [startSeconds, endSeconds] = [60, 10];

let found: string | undefined;

/** What decides how numbers are rounded here: instruction sets, operations, number format. */
export function computedBy(): string {
  if (found === undefined) {
    const doctor = [path.join(root, "bin", "folio.mjs"), "doctor", "--json"];
    const { stdout } = spawnSync(process.execPath, doctor, { encoding: "utf8", maxBuffer: 2 ** 24 });
    const { instructionSets, tensorflow, dtype } = JSON.parse(stdout) as {
      instructionSets: string[];
      tensorflow: { variant?: string };
      dtype: { dtype: string };
    };
    found = [...instructionSets, tensorflow.variant ?? "no operations", dtype.dtype].join(" ");
  }
  return found;
}

/** @throws {Error} if set-up has not installed the Python packages */
export async function runNotebook(file: string, options: RunOptions = {}): Promise<Verdict> {
  const name = path.basename(file, ".ipynb");
  const notebook = readNotebook(file);
  const cells = codeCells(notebook).length;
  const budgetSeconds = budgetOf(notebook);
  const verdict = { name, cells, budgetSeconds, elapsedMs: 0, warnings: [], changes: [], outputs: [] };
  const executed = withAnswers(notebook, name, options.answers);
  const before = [
    ...staticFaults(notebook, name, options),
    ...typeFaults(file, executed, options.check ?? createChecker()),
  ];
  if (budgetSeconds === undefined || before.length > 0) return { ...verdict, faults: before };
  const missing = missingFor(notebook, options);
  if (missing !== undefined) return { ...verdict, missing, faults: storedFaults(notebook, options) };
  if (!fs.existsSync(python)) throw new Error(`Cannot run notebooks: ${python} is missing. Run npm run setup.`);
  const limitSeconds = Math.round(budgetSeconds * (options.patience ?? 1));
  const execution = await execute(file, executed.answers, limitSeconds, options);
  const { elapsedMs } = execution;
  const faults = executionFaults(executed, execution, limitSeconds);
  const outputs = execution.outputs.slice(0, notebook.cells.length);
  let changes: string[] = [];
  if (faults.length === 0) {
    const normal = outputs.map((list) => normalizeOutputs(list, { root }));
    faults.push(
      ...inCells(notebook, normal).flatMap((list, index) => outputFaults(list, index + 1)),
      ...sizeFaults(normal),
    );
    const alike = notebook.metadata.folio?.computedBy === computedBy();
    changes = differences(notebook, inCells(notebook, normal), { alike });
    faults.push(...storedFaults(notebook, options, changes));
  }
  return {
    ...verdict,
    elapsedMs,
    faults,
    changes,
    outputs,
    warnings: [...staleWarnings(execution.events), ...(faults.length > 0 ? [] : standardErrors(notebook, outputs))],
  };
}

const isListed = (study: string | undefined): study is StudyName =>
  study !== undefined && Object.hasOwn(studies, study);

/** What a notebook needs that is not on this machine. */
function missingFor(notebook: Notebook, { studies: folder = process.env.FOLIO_STUDIES }: RunOptions) {
  const study = studyOf(notebook);
  return isListed(study) ? missingStudy(study, folder) : undefined;
}

/** Faults of what is stored in the file, unless it is being refreshed. */
function storedFaults(notebook: Notebook, { committed }: RunOptions, changes: readonly string[] = []): string[] {
  if (committed === false) return [];
  const stale = [...committedFaults(notebook), ...changes, ...unboundNumbers(notebook)];
  return stale.map((fault) => `${fault} (npm run notebooks:refresh)`);
}

function withAnswers(notebook: Notebook, name: string, folder: string | undefined): Executed {
  const answers = folder && path.join(folder, `${name}.ts`);
  if (!answers || !fs.existsSync(answers)) return { notebook, answers: undefined };
  const cell: Cell = { cell_type: "code", metadata: {}, source: fs.readFileSync(answers, "utf8") };
  return { notebook: { ...notebook, cells: [...notebook.cells, cell] }, answers };
}

/** What messages call the n-th code cell. */
function placeOf({ notebook, answers }: Executed, cell: number): string {
  return answers && cell === codeCells(notebook).length ? path.relative(root, answers) : `cell ${cell}`;
}

function staticFaults(notebook: Notebook, name: string, { answers }: RunOptions): string[] {
  if (budgetOf(notebook) === undefined) {
    return ['its metadata has no budget: "folio": { "budgetSeconds": 60 }, more than 0 and at most 600'];
  }
  if (codeCells(notebook).length === 0) return ["it has no code cell"];
  const study = studyOf(notebook);
  if (study !== undefined && !isListed(study)) {
    return [`its metadata needs the study ${study}, which is none of ${Object.keys(studies).join(", ")}`];
  }
  const file = answers && path.join(answers, `${name}.ts`);
  const asks = codeCells(notebook).some((cell) => /\bexercise\(/.test(textOf(cell.source)));
  if (!file || !asks || fs.existsSync(file)) return [];
  return [`it has exercises, and no right and wrong answers to them: ${path.relative(root, file)} is missing`];
}

function typeFaults(file: string, executed: Executed, check: ReturnType<typeof createChecker>): string[] {
  return check(file, executed.notebook).map(
    ({ cell, line, message }) => `type error in ${placeOf(executed, cell)}, line ${line}: ${message}`,
  );
}

function executionFaults(executed: Executed, execution: Execution, limitSeconds: number): string[] {
  const { notebook } = executed;
  const { kind, cell, events, statuses } = execution;
  const cells = codeCells(notebook).length;
  const rejections = events
    .filter((event) => event.kind === "rejection")
    .map((event) => rejectionFault(event, executed));
  const skipped = Array.from({ length: cells }, (_, index) => index + 1).filter(
    (number) => statuses.get(number) !== "ok",
  );
  switch (kind) {
    case "thrown":
      return [`${placeOf(executed, cell)} threw: ${thrownText(notebook, execution)}`, ...rejections];
    case "budget":
      return [`over ${limitSeconds} s in ${placeOf(executed, cell || cells)}; the kernel was killed`, ...rejections];
    case "dead":
      return [`the kernel died in ${placeOf(executed, cell || cells)}: ${deathText(events)}`, ...rejections];
    case "end": {
      const [first] = skipped;
      const early = `it stops early: ${first && placeOf(executed, first)} ended with status "${first && statuses.get(first)}", ${skipped.length} of ${cells} cells did not run to their end`;
      const silent = "it stops early: the kernel did not answer after the last cell";
      return [...(first ? [early] : execution.sentinel ? [] : [silent]), ...rejections];
    }
    default:
      return [`the kernel did not run: ${execution.error || "its driver ended without a word"}`, ...rejections];
  }
}

function rejectionFault({ cell, error = "" }: KernelEvent, executed: Executed): string {
  const origin = /\bcell (\d+):\d+/.exec(error)?.[1];
  const where = origin ? `a promise of ${placeOf(executed, Number(origin))}` : "a promise";
  const last = placeOf(executed, Math.min(cell, codeCells(executed.notebook).length));
  return `un-awaited rejection: ${where} failed while ${last} was the last to run: ${error.split("\n")[0]}`;
}

/** The error without its stack, or the message of tslab's type check. */
function thrownText(notebook: Notebook, { cell, outputs }: Execution): string {
  const list = inCells(notebook, outputs)[cell - 1] ?? [];
  const thrown = list.find(({ output_type }) => output_type === "error");
  if (thrown) return `${thrown.ename}: ${String(thrown.evalue).split("\n").slice(0, 5).join(" ")}`;
  const text = list.flatMap((output) => (output.name === "stderr" ? [textOf(output.text)] : [])).join("");
  const said = text
    .split(/\n {4}at /)[0]!
    .trim()
    .split("\n");
  const error = said.findLast((line) => /^(Uncaught )?\w*(Error|Exception)\b/.test(line));
  return (error ?? said.slice(-5).join(" ")) || "an unknown error (nothing on standard error)";
}

function deathText(events: readonly KernelEvent[]): string {
  const exit = events.findLast((event) => event.kind === "exit");
  if (!exit) return "killed from outside, out of memory, or crashed in native code";
  return `the process exited with code ${exit.code} (process.exit?)`;
}

function staleWarnings(events: readonly KernelEvent[]): string[] {
  return events.flatMap(({ kind, error = "" }) => (kind === "stale" ? [error.replace(/^Warning: /, "")] : []));
}

function standardErrors(notebook: Notebook, outputs: readonly Output[][]): string[] {
  return inCells(notebook, outputs).flatMap((list, index) =>
    list.flatMap((output) =>
      output.name === "stderr"
        ? [`cell ${index + 1} wrote to standard error: ${textOf(output.text).trim().split("\n")[0]}`]
        : [],
    ),
  );
}

/** Outputs by the number of the code cell instead of the position in the file. */
function inCells(notebook: Notebook, outputs: readonly Output[][]): Output[][] {
  return codeCells(notebook).map((cell) => outputs[notebook.cells.indexOf(cell)] ?? []);
}

async function execute(
  file: string,
  answers: string | undefined,
  limitSeconds: number,
  { signal, onKernel, patience = 1 }: RunOptions,
): Promise<Execution> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-notebook-"));
  const eventsFile = path.join(folder, "events.jsonl");
  const startMs = performance.now();
  const execution: Execution = {
    kind: "none",
    cell: 0,
    sentinel: false,
    error: "",
    outputs: [],
    statuses: new Map(),
    events: [],
    elapsedMs: 0,
  };
  const kernelSeconds = startSeconds * patience;
  const program = path.join(root, "test", "notebooks", "execute.py");
  const child = spawn(
    python,
    [program, file, String(limitSeconds), String(kernelSeconds), ...(answers ? [answers] : [])],
    {
      // Its standard input stays open as long as this process lives; execute.py kills the kernel when it closes.
      stdio: ["pipe", "pipe", "pipe"],
      detached: true, // its own process group, so that Ctrl-C reaches it only through this process
      env: {
        ...process.env,
        FOLIO_KERNEL_EVENTS: eventsFile,
        FOLIO_INSPECT: "",
        JUPYTER_PREFER_ENV_PATH: "1",
        PYDEVD_DISABLE_FILE_VALIDATION: "1",
      },
    },
  );
  let kernel: number | undefined;
  const killAll = () => {
    killGroup(kernel);
    killGroup(child.pid);
  };
  const timer = setTimeout(
    () => {
      Object.assign(execution, { kind: "budget" });
      killAll();
    },
    (limitSeconds + kernelSeconds + endSeconds * patience) * 1000,
  );
  signal?.addEventListener("abort", killAll, { once: true });
  try {
    const ended = exitOf(child);
    const errors = collect(child);
    for await (const line of readline.createInterface({ input: child.stdout! })) {
      const event = JSON.parse(line) as { kind: string; pid: number; cell: number; status: string };
      if (event.kind === "kernel") {
        kernel = event.pid;
        onKernel?.(kernel);
      } else if (event.kind === "cell") execution.statuses.set(event.cell, event.status);
      else Object.assign(execution, event);
    }
    await ended;
    if (execution.kind === "none") execution.error = errors().trim().split("\n").at(-1) ?? "";
    const events = fs.existsSync(eventsFile) ? fs.readFileSync(eventsFile, "utf8") : "";
    execution.events = events
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as KernelEvent);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", killAll);
    killAll();
    fs.rmSync(folder, { recursive: true, force: true });
  }
  signal?.throwIfAborted();
  execution.elapsedMs = performance.now() - startMs;
  return execution;
}

function killGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

function exitOf(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", () => resolve());
  });
}

/** Standard error of the driver and of TensorFlow in the kernel, used only if there is no other explanation. */
function collect(child: ChildProcess): () => string {
  let text = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    text = (text + chunk).slice(-4000);
  });
  return () => text;
}
