/** A breakpoint in lib/model/model.ts stops the forward pass of a script and of a notebook (see CONTRIBUTING.md). */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { SourceMap } from "node:module";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildIfNeeded } from "../../bin/setup.mjs";
import { layout } from "../../bin/state.mjs";
import { root, runNotebook } from "../notebooks/runner.js";

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-debug-"));
const file = path.join(folder, "stop.json");
const client = path.join(root, "test", "debug", "debugger.cjs");
const model = path.join(root, "dist", "lib", "model", "model.js");
let map: SourceMap;
/** The line of lib/model/model.ts to stop at, from 0. */
let sourceLine: number;

beforeAll(async () => {
  await buildIfNeeded(layout());
  map = new SourceMap(JSON.parse(fs.readFileSync(`${model}.map`, "utf8")));
  const source = fs.readFileSync(path.join(root, "lib", "model", "model.ts"), "utf8").split("\n");
  const attention = source.findIndex((line) => line.startsWith("function attention("));
  sourceLine = source.findIndex((line, index) => index > attention && line.includes("affine(x"));
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

/** The position of that line in the build, by the source map, as a debugger finds it. */
function breakpoint(): string {
  const built = fs.readFileSync(model, "utf8").split("\n");
  const line = built.findIndex((text, index) => originalLine(index, text.search(/\S/)) === sourceLine);
  expect(line).toBeGreaterThan(0);
  return JSON.stringify({ file, line, urlRegex: "dist/lib/model/model\\.js$", expression: "name + ' ' + x.shape" });
}

function originalLine(line: number, column: number): number | undefined {
  const entry = map.findEntry(line, Math.max(column, 0));
  return "originalLine" in entry && entry.originalSource.endsWith("lib/model/model.ts")
    ? entry.originalLine
    : undefined;
}

function expectStopInAttention(shape: string): void {
  const stop = JSON.parse(fs.readFileSync(file, "utf8"));
  fs.rmSync(file);
  expect(stop.functionName).toBe("attention");
  expect(originalLine(stop.line, stop.column)).toBe(sourceLine);
  expect(stop.value).toBe(shape);
}

test("a breakpoint in attention stops a script's forward pass and gives access to its values", () => {
  const { stdout, stderr } = spawnSync(process.execPath, ["--require", client, "test/debug/forward.mjs"], {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, FOLIO_BREAKPOINT: breakpoint() },
  });
  expect(stdout, stderr).toContain("done");
  expectStopInAttention("h.0.attn 1,3,8");
});

test("a breakpoint in attention stops a notebook's forward pass", async () => {
  process.env.FOLIO_BREAKPOINT = breakpoint();
  process.env.NODE_OPTIONS = `${process.env.NODE_OPTIONS ?? ""} --require ${JSON.stringify(client)}`;
  const { faults } = await runNotebook(path.join(root, "test", "debug", "forward.ipynb"), {
    committed: false,
    patience: 20,
  });
  expect(faults).toEqual([]);
  expectStopInAttention("h.0.attn 1,3,8");
});
