/** The kernel as seen by a front end: cells, errors, interrupts, running again, completion. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeDataset } from "../../lib/data/batches.js";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { openKernel, type TestKernel } from "./kernel.js";
import { root } from "./runner.js";

const setUp = fs.existsSync(path.join(root, ".venv", "share", "jupyter", "kernels", "tslab", "kernel.json"));

/** A folder without package.json, so that no modules are found in it. */
let folder: string;
let kernel: TestKernel;

beforeAll(async () => {
  if (!setUp) return;
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-kernel-"));
  const text = "the quick brown fox jumps over the lazy dog. ".repeat(60);
  const tokenizer = charTokenizer(text);
  const ids = tokenizer.encode(text);
  writeDataset(path.join(folder, "data"), { name: "fox", tokenizer, train: ids, val: ids.slice(0, 600) });
  kernel = await openKernel(folder);
}, 400_000);

afterAll(async () => {
  await kernel?.close();
  if (folder) fs.rmSync(folder, { recursive: true });
});

describe.skipIf(!setUp)("a cell", { timeout: 300_000 }, () => {
  test("may begin with `for await`", async () => {
    const { stdout, status } = await kernel.run(
      "async function* upTo(n: number) { for (let i = 1; i <= n; i++) yield i; }\nfor await (const i of upTo(3)) console.log(i);",
    );
    expect([status, stdout]).toEqual(["ok", "1\n2\n3\n"]);
  });

  test("may use another cell's variables in object shorthand and in patterns", async () => {
    await kernel.run("let settings = { size: 2 };\nlet a = 1;");
    const { result } = await kernel.run("({ settings, a })");
    expect(result?.["text/plain"]).toBe("{ settings: { size: 2 }, a: 1 }");
    expect((await kernel.run("({ a } = { a: 7 });\na")).result?.["text/plain"]).toBe("7");
  });

  // tslab exports a cell's variables, so it must be able to name their types.
  test("may keep an abort signal and a response in a variable", async () => {
    const { status, traceback } = await kernel.run(
      'import * as folio from "folio";\nconst held = { signal: new AbortController().signal, reply: new Response("1") };\nconst presets = folio.presets;',
    );
    expect(status, traceback).toBe("ok");
  });

  test("prints all of 3,000 lines from one loop", async () => {
    const { stdout } = await kernel.run("for (let i = 0; i < 3000; i++) console.log(i);");
    expect(stdout.split("\n").length).toBe(3001);
  });

  test("that throws is shown with its line, an excerpt, and only the calls in cells", async () => {
    await kernel.run(
      'function half(n: number): number {\n  const whole = { n };\n\n  throw new RangeError(whole.n + " is odd");\n}',
    );
    const { ename, evalue, traceback, status } = await kernel.run("const odd = 3;\nhalf(odd);");
    expect([status, ename, evalue]).toEqual(["error", "RangeError", "3 is odd"]);
    const lines = traceback.split("\n");
    expect(lines[0]).toBe("RangeError: 3 is odd");
    expect(lines[1]).toMatch(/^cell \d+, line 4, in half$/);
    expect(lines).toContain('> 4 |   throw new RangeError(whole.n + " is odd");');
    expect(lines.at(-3)).toMatch(/^called in cell \d+, line 2$/);
    expect(lines.at(-2)).toBe("> 2 | half(odd);");
    expect(traceback).not.toMatch(/tslab|node:|node_modules/);
  });

  test("that throws after `for await` and short names is shown with the column too", async () => {
    const { traceback } = await kernel.run(
      "for await (const one of [1]) {\n  const both = { one, a }; null![both.one];\n}",
    );
    const at = traceback.split("\n").findIndex((line) => line.startsWith("> 2 |"));
    const column = traceback.split("\n")[at + 1]!.indexOf("^") - "  2 | ".length;
    expect("  const both = { one, a }; null![both.one];".indexOf("null")).toBeLessThanOrEqual(column);
    expect("  const both = { one, a }; null![both.one];".indexOf(".one]")).toBeGreaterThanOrEqual(column - 1);
  });

  test("with an unknown setting does not compile, and the nearest name is suggested", async () => {
    const { traceback, status } = await kernel.run(
      'import { parseSettings } from "folio";\nconst shape = parseSettings({\n  nLayr: 4,\n});',
    );
    expect(status).toBe("error");
    expect(traceback).toMatch(/^Type error TS\d+: .*'nLayr' does not exist.*'nLayer'/s);
    expect(traceback).toMatch(/cell \d+, line 3\n/);
    expect(traceback).toContain("> 3 |   nLayr: 4,");
  });
});

describe.skipIf(!setUp)("an interrupt", { timeout: 300_000 }, () => {
  const alive = async () => expect((await kernel.run("1 + 1")).result?.["text/plain"]).toBe("2");

  test("ends a loop that never waits", async () => {
    expect(await kernel.run('console.log("going");\nfor (;;) {}', "going")).toMatchObject({ ename: "Interrupted" });
    await alive();
  });

  test("ends a loop that never waits after an await", async () => {
    expect(await kernel.run('await 0;\nconsole.log("going");\nfor (;;) {}', "going")).toMatchObject({
      ename: "Interrupted",
    });
    await alive();
  });

  test("ends a loop that waits, also in the background", async () => {
    const { ename } = await kernel.run(
      'let turns = 0;\nconsole.log("going");\nfor (;;) {\n  await new Promise((resolve) => setTimeout(resolve, 5));\n  (globalThis as unknown as { turns: number }).turns = ++turns;\n}',
      "going",
    );
    expect(ename).toBe("Interrupted");
    const { result } = await kernel.run(
      "const before = (globalThis as unknown as { turns: number }).turns;\nawait new Promise((resolve) => setTimeout(resolve, 100));\n(globalThis as unknown as { turns: number }).turns === before",
    );
    expect(result?.["text/plain"]).toBe("true");
  });
});

describe.skipIf(!setUp)("a training", { timeout: 400_000 }, () => {
  const settings = (more: string) =>
    `{ ...presets.toy, outDir: "out", dataset: "fox", nLayer: 1, nHead: 1, nEmbd: 16, blockSize: 16, device: "cpu", evalInterval: 1000, ${more} }`;

  test("saves a checkpoint when interrupted, and the same cell resumes it", async () => {
    await kernel.run('import { presets, train, trainRun, readRunLog, lossCurves } from "folio";');
    const cell = `for await (const record of train(${settings("maxIters: 100000")})) {\n  if (record.kind === "iter" && record.step === 20) console.log("going");\n}\nconsole.log("not reached");`;
    const stopped = await kernel.run(cell, "going");
    expect(stopped).toMatchObject({ status: "error", ename: "Interrupted" });
    expect(stopped.stdout).not.toContain("not reached");
    expect(stopped.evalue).toMatch(/step \d+ is saved in out\. Run the cell again to continue/);
    expect(fs.existsSync(path.join(folder, "out", ".lock"))).toBe(false);
    const again = await kernel.run(cell, "continues at step");
    const [, step] = /step (\d+) is saved/.exec(stopped.evalue!)!;
    expect(JSON.stringify(again.displays)).toContain(`continues at step ${step} of 100000`);
  });

  test("with another setting replaces this kernel's run, and says so", async () => {
    const { status, displays, result } = await kernel.run(`await trainRun(${settings("maxIters: 30, seed: 2")})`);
    expect(status).toBe("ok");
    expect(JSON.stringify(displays)).toMatch(
      /the run made earlier by this kernel is replaced \(.*seed 1337 before, 2 now/,
    );
    expect(result?.["text/plain"]).toMatch(/Run in out/);
    expect(result?.["text/html"]).toMatch(/<img/);
    // One progress bar that is redrawn, not one line per step.
    expect(new Set(displays.map(({ type }) => type))).toEqual(new Set(["display_data", "update_display_data"]));
  });

  test("that is quiet shows no progress, and has its losses and evaluations", async () => {
    const { status, displays, stdout } = await kernel.run(
      `const quiet = await trainRun(${settings("maxIters: 5").replace('"out"', '"quiet"')}, { quiet: true });\nconsole.log(quiet.losses.length, quiet.evaluations.map(({ step }) => step));`,
    );
    expect([status, displays]).toEqual(["ok", []]);
    expect(stdout).toContain("5 [ 0, 5 ]");
  });

  test("does not touch a run that this kernel did not make", async () => {
    fs.cpSync(path.join(folder, "out"), path.join(folder, "other"), { recursive: true });
    const state = path.join(folder, "other", "checkpoint");
    const last = fs.readFileSync(path.join(state, "last"), "utf8");
    const { evalue } = await kernel.run(
      `await trainRun(${settings("maxIters: 30, seed: 2").replace('"out"', '"other"')})`,
    );
    expect(evalue).toMatch(/Cannot train into other: it already has a run/);
    expect(fs.readFileSync(path.join(state, "last"), "utf8")).toBe(last);
  });

  test("in the background is reported as a run of this kernel", async () => {
    await kernel.run(
      `const background = train(${settings("maxIters: 100000, overwrite: true")});\nawait background.next();`,
    );
    const { evalue } = await kernel.run(`await trainRun(${settings("maxIters: 20")})`);
    expect(evalue).toMatch(/this kernel is already training there, started by cell \d+/);
    expect((await kernel.run("await background.return(undefined);")).status).toBe("ok");
  });
});

describe.skipIf(!setUp)("the value of a cell", { timeout: 300_000 }, () => {
  test("is a table where it describes a dataset, prepared or open", async () => {
    const { result } = await kernel.run(
      'import { openDataset, prepareText } from "folio";\nimport { writeFileSync } from "node:fs";\nwriteFileSync("abc.txt", "abc ".repeat(500));\nawait prepareText({ dataDir: "data", name: "abc", from: "abc.txt", tokenizer: "char" })',
    );
    expect(result?.["text/plain"]).toMatch(/^Dataset abc\n +ids to train on +1,\d+\n(.*\n)+? +vocabulary +4 ids/);
    const { result: open } = await kernel.run('openDataset("data", "abc")');
    expect(open?.["text/plain"]).toMatch(/^Dataset abc\n +ids to train on +1,\d+\n(.*\n)+ +begins +"abc abc/);
    expect(open?.["text/html"]).toMatch(/^<table>/);
  });
});

describe.skipIf(!setUp)("the front end", { timeout: 300_000 }, () => {
  test("completes settings with their types", async () => {
    const { matches, types } = await kernel.complete('import { parseSettings } from "folio";\nparseSettings({ nL| });');
    expect(matches).toContain("nLayer");
    expect(types).toMatchObject({ nLayer: "number" });
    const { types: more } = await kernel.complete('import { presets } from "folio";\npresets.toy.sch|');
    expect(more.schedule).toBe("Schedule");
  });

  test("gets the description of a setting with unit and default, and the errors that a function throws", async () => {
    const setting = await kernel.inspect('import { parseSettings } from "folio";\nparseSettings({ nLay|er: 4 });');
    expect(setting).toContain("Transformer blocks, one after the other.");
    expect(setting).toContain("(blocks); default 12");
    const called = await kernel.inspect('import { parseSettings } from "folio";\nparseSettings(|);');
    expect(called).toMatch(/parseSettings\(overrides\?: Partial<.*Settings>/);
    expect(called).toMatch(/@throws RangeError .*|@throws \{RangeError\}/);
    expect(called).toContain("@example");
  });
});
