/** The runner fails for each kind of bad notebook, and says where and why. */
import fs from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { needs } from "../needs.js";
import { createChecker } from "./check.js";
import {
  committedFaults,
  type Notebook,
  normalizeOutputs,
  notebookText,
  outputFaults,
  readNotebook,
  withOutputs,
} from "./notebook.js";
import { root, runNotebook, type Verdict } from "./runner.js";

const folder = path.join(import.meta.dirname, "bad");
const setUp = fs.existsSync(path.join(root, ".venv", "share", "jupyter", "kernels", "tslab", "kernel.json"));

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/\) Z /.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8")); // a zombie counts as dead
  } catch {
    return false;
  }
}

describe("the notebook runner", needs(setUp ? undefined : "set-up has not registered the kernel"), () => {
  const check = createChecker();
  const run = (name: string): Promise<Verdict> =>
    // Enough time for notebooks that end by themselves; a kernel may start slowly.
    runNotebook(path.join(folder, `${name}.ipynb`), {
      committed: false,
      answers: path.join(folder, "answers"),
      check,
      patience: name === "over-budget" ? 1 : 20,
    });

  test("passes a good notebook and returns its outputs", async () => {
    const { faults, warnings, outputs, cells, elapsedMs } = await run("good");
    expect([faults, warnings]).toEqual([[], []]);
    expect(cells).toBe(3);
    expect(elapsedMs).toBeGreaterThan(0);
    expect(JSON.stringify(outputs)).toContain("answer 42");
  });

  test("fails a notebook that throws, naming the cell and the error", async () => {
    expect((await run("thrown")).faults).toEqual(["cell 2 threw: RangeError: the list is empty"]);
  });

  test("fails a notebook with a type error before it runs, naming cell and line", async () => {
    const { faults, elapsedMs } = await run("type-error");
    expect(faults).toEqual(["type error in cell 2, line 2: TS18048: 'found' is possibly 'undefined'."]);
    expect(elapsedMs).toBe(0);
  });

  test("fails a notebook with an unhandled rejection, naming the cell of the promise", async () => {
    const { faults } = await run("rejection");
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(
      /^un-awaited rejection: a promise of cell 1 failed while cell [23] .*: Error: the disk is full$/,
    );
  });

  test("fails a notebook whose kernel dies, naming the cell and the exit code", async () => {
    const { faults } = await run("dead-kernel");
    expect(faults).toEqual(["the kernel died in cell 2: the process exited with code 3 (process.exit?)"]);
  });

  test("fails a notebook that stops early, naming the cell after which nothing ran", async () => {
    const { faults } = await run("stops-early");
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(/^it stops early: cell 2 ended with status "error", 1 of 3 cells did not run/);
  });

  test("passes a notebook whose exercise tells right answers from wrong ones", async () => {
    const { faults, outputs, cells } = await run("exercise");
    expect(faults).toEqual([]);
    expect([cells, outputs.length]).toEqual([1, 2]); // the answers are no cell of it
  });

  test("fails a notebook whose exercise takes a wrong answer for right, naming the file of the answers", async () => {
    const { faults } = await run("lenient-exercise");
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(
      /^test\/notebooks\/bad\/answers\/lenient-exercise\.ts threw: AssertionError.*: 4 is taken for right/,
    );
  });

  test("fails a notebook whose answers have a type error, naming their file and line", async () => {
    const { faults, elapsedMs } = await run("mistyped-answer");
    expect(faults).toEqual([
      expect.stringMatching(/^type error in .*\/answers\/mistyped-answer\.ts, line 2: TS2345: /),
    ]);
    expect(elapsedMs).toBe(0);
  });

  test("fails a notebook that has an exercise without answers", async () => {
    const { faults } = await run("unanswered");
    expect(faults).toEqual([expect.stringMatching(/bad\/answers\/unanswered\.ts is missing$/)]);
  });

  test("kills a notebook that exceeds its budget, and its kernel", async () => {
    const { faults } = await run("over-budget");
    expect(faults).toEqual([expect.stringMatching(/^over 2 s in cell [12]; the kernel was killed$/)]);
  });

  test("leaves no kernel behind when it is stopped", async () => {
    const controller = new AbortController();
    let kernel = 0;
    const onKernel = (pid: number) => {
      kernel = pid;
      controller.abort(new Error("stopped"));
    };
    const file = path.join(folder, "over-budget.ipynb");
    await expect(runNotebook(file, { check, signal: controller.signal, onKernel })).rejects.toThrow("stopped");
    expect(kernel).toBeGreaterThan(0);
    await expect.poll(() => isAlive(kernel), { timeout: 300_000 }).toBe(false);
  });
});

describe("a notebook that needs a public study", () => {
  fs.mkdirSync(path.join(root, ".cache"), { recursive: true });
  const temporary = fs.mkdtempSync(path.join(root, ".cache", "needs-study-"));
  afterAll(() => fs.rmSync(temporary, { recursive: true }));

  /** The verdict of a notebook with these stored words, where the study's folder is empty. */
  async function verdictOf(text: string, { study = "besiroglu", ...options } = {}): Promise<Verdict> {
    const file = path.join(temporary, "reads-a-study.ipynb");
    const cells = [
      { cell_type: "markdown", metadata: {}, source: "# 45 runs" },
      { cell_type: "code", metadata: {}, source: text, execution_count: 1, outputs: [] },
    ];
    const metadata = { folio: { budgetSeconds: 30, needsStudy: study } };
    fs.writeFileSync(file, JSON.stringify({ cells, metadata, nbformat: 4, nbformat_minor: 5 }));
    return await runNotebook(file, { studies: temporary, ...options });
  }

  test("is not run without it, says why, and is checked in what does not need it", async () => {
    const good = await verdictOf("const runs: number = 45;");
    expect(good).toMatchObject({ faults: [], elapsedMs: 0, outputs: [] });
    expect(good.missing).toMatch(/^epoch-research\/.*svg_extracted_data\.csv at \w{7}: it is not in FOLIO_STUDIES$/);
    const mistyped = await verdictOf("const runs: string = 45;");
    expect(mistyped.faults).toEqual([expect.stringMatching(/^type error in cell 1, line 1: TS2322/)]);
    const unbound = await verdictOf("const runs: number = 46;");
    expect(unbound.faults).toEqual([expect.stringMatching(/^the prose says 45, which no cell/)]);
  });

  test("names one that is listed", async () => {
    const { faults } = await verdictOf("const runs: number = 45;", { study: "hoffman" });
    expect(faults).toEqual([expect.stringMatching(/^its metadata needs the study hoffman, which is none of porian, /)]);
  });

  test("still needs it after it is refreshed", () => {
    const metadata = { folio: { budgetSeconds: 30, needsStudy: "besiroglu" } };
    const refreshed = withOutputs({ cells: [], metadata, nbformat: 4, nbformat_minor: 5 }, [], { root });
    expect(refreshed.metadata.folio).toEqual(metadata.folio);
  });
});

test("every file of answers belongs to a notebook", () => {
  const names = (dir: string, end: string) =>
    fs.existsSync(dir)
      ? fs.readdirSync(dir).flatMap((file) => (file.endsWith(end) ? [path.basename(file, end)] : []))
      : [];
  const notebooks = names(path.join(root, "notebooks"), ".ipynb");
  expect(names(path.join(import.meta.dirname, "answers"), ".ts").filter((name) => !notebooks.includes(name))).toEqual(
    [],
  );
});

describe("a committed notebook", () => {
  let good: Notebook;
  beforeAll(() => {
    good = readNotebook(path.join(folder, "good.ipynb"));
  });

  test("must have outputs, made in order", () => {
    expect(committedFaults(good)).toEqual(["the committed notebook has no outputs"]);
    const executed = withOutputs(good, [], { root });
    expect(committedFaults(executed)).toEqual([]);
    const swapped = { ...executed, cells: [...executed.cells].reverse() };
    expect(committedFaults(swapped)[0]).toMatch(/not made in order, from cell 1 on/);
  });

  test("has no time stamp, no machine path, no Plotly bundle and no error in its outputs", () => {
    const stream = (text: string) => outputFaults([{ output_type: "stream", name: "stdout", text }], 4);
    expect(stream("saved at 2026-01-02T03:04:05")[0]).toMatch(/cell 4 has a time stamp/);
    expect(stream("saved in /tmp/folio-train-x1/run")[0]).toMatch(/cell 4 has a path of this machine/);
    expect(stream("saved in /home/ada/folio")[0]).toMatch(/cell 4 has a path of this machine/);
    expect(stream("/* plotly.js v4.1.1 */")[0]).toMatch(/Plotly/);
    expect(stream("ids / tokens 3/4, ../runs/tmp/x, https://example.org/tmp/x")).toEqual([]);
    expect(outputFaults([{ output_type: "error", ename: "Error" }], 1)).toEqual(["the output of cell 1 is an error"]);
  });

  test("keeps the static picture beside a Plotly figure, joined streams and relative paths", () => {
    const outputs = normalizeOutputs(
      [
        { output_type: "stream", name: "stdout", text: "a\n" },
        { output_type: "stream", name: "stdout", text: `${root}/out\n` },
        { output_type: "display_data", data: { "text/html": "<script>/* plotly.js v4.1.1 */</script>" }, metadata: {} },
        { output_type: "display_data", data: { "image/png": "iVBO" }, metadata: {}, transient: { display_id: "x" } },
      ],
      { root },
    );
    expect(outputs).toEqual([
      { output_type: "stream", name: "stdout", text: "a\nout\n" },
      { output_type: "display_data", data: { "image/png": "iVBO" }, metadata: {} },
    ]);
  });

  test("is written identically if nothing has changed", () => {
    const once = notebookText(withOutputs(good, [], { root }));
    expect(notebookText(withOutputs(JSON.parse(once) as Notebook, [], { root }))).toBe(once);
  });
});
