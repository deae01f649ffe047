/** Warnings of a stale library in a notebook's kernel, and of stale or missing operations. */
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { operationsWarning, staleness } from "../../bin/stale.mjs";
import * as state from "../../bin/state.mjs";

const builtMs = Date.now() - 60_000;
let root: string;

beforeEach(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), "folio-stale-"));
  const version = createHash("sha256").update("one").digest("hex");
  write("lib/model/model.ts", "one", builtMs - 1000);
  write("dist/lib/model/model.js", "one", builtMs);
  write(
    "dist/.tsbuildinfo",
    JSON.stringify({ fileNames: ["../lib/model/model.ts"], fileInfos: [{ version }] }),
    builtMs,
  );
});
afterEach(() => fs.rmSync(root, { recursive: true }));

function write(name: string, text: string, mtimeMs: number): void {
  const file = path.join(root, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
  fs.utimesSync(file, mtimeMs / 1000, mtimeMs / 1000);
}

const loaded = () => ({ root, loadedMs: builtMs + 10_000, warned: undefined });

test("an up-to-date library gives no warning, nor does a source with a new date and the same text", () => {
  expect(staleness(loaded())).toBeUndefined();
  write("lib/model/model.ts", "one", builtMs + 20_000);
  expect(staleness(loaded())).toBeUndefined();
});

test("a build made after the library was loaded gives one warning, and another one after the next build", () => {
  const library = loaded();
  write("dist/lib/model/model.js", "two", builtMs + 20_000);
  expect(staleness(library)).toMatch(/older build.*model\.js.*Restart the kernel/);
  expect(staleness(library)).toBeUndefined();
  write("dist/lib/model/model.js", "three", builtMs + 30_000);
  expect(staleness(library)).toMatch(/older build/);
});

test("a source that was not built is named", () => {
  write("lib/model/model.ts", "two", builtMs + 20_000);
  expect(staleness(loaded())).toMatch(/lib\/model\/model\.ts changed after folio was built/);
});

test("there is no warning before the library is loaded", () => {
  write("lib/model/model.ts", "two", builtMs + 20_000);
  expect(staleness({ root, loadedMs: undefined, warned: undefined })).toBeUndefined();
});

describe("Folio's own operations", () => {
  const compiler = () => ["c++"];
  let at: state.Layout;

  beforeEach(() => {
    vi.stubEnv("FOLIO_FUSED", undefined);
    write("package-lock.json", "{}", builtMs);
    write("lib/engine/native/ops.cc", "one", builtMs);
    write("node_modules/@tensorflow/tfjs-node-gpu/package.json", "{}", builtMs);
    write(".venv/folio.json", JSON.stringify({ variant: "cpu", tensorflow: { version: "2" } }), builtMs);
    at = state.layout(root);
    compile();
  });
  afterEach(() => vi.unstubAllEnvs());

  function compile(more = {}): void {
    const { file, stamp } = state.operationsPaths(at);
    const key = state.operationsKey(at, state.venvStamp(at)!);
    write(path.relative(root, file), "library", builtMs);
    write(path.relative(root, stamp), JSON.stringify({ key, bytes: 7, ...more }), builtMs);
  }

  test("that match their sources give no warning; after an edit, they give one with the remedy, until they are compiled", () => {
    expect(operationsWarning(at, compiler)).toBeUndefined();
    write("lib/engine/native/ops.cc", "two", builtMs);
    expect(operationsWarning(at, compiler)).toBe(
      "Warning: TensorFlow's operations are used instead of Folio's faster ones: their sources or TensorFlow changed. `npm run setup` compiles them.",
    );
    compile();
    expect(operationsWarning(at, compiler)).toBeUndefined();
  });

  test("that were never compiled, or whose file is gone, give a warning", () => {
    fs.rmSync(state.operationsPaths(at).file);
    expect(operationsWarning(at, compiler)).toMatch("their file is missing or changed");
    fs.rmSync(state.operationsPaths(at).stamp);
    expect(operationsWarning(at, compiler)).toMatch("they are missing or incomplete");
  });

  test("there is a warning without a compiler, after a failed compilation, and if operations are switched off", () => {
    const warning = (text: string) =>
      `Warning: TensorFlow's operations are used instead of Folio's faster ones: ${text}`;
    fs.rmSync(state.operationsPaths(at).stamp);
    const remedy = { debian: "get g++", fedora: "get g++", macos: "get g++" };
    expect(operationsWarning(at, () => ({ what: "a compiler", remedy }))).toMatch(
      /they are missing or incomplete.*, and there is no C\+\+ compiler\. Install one(?: \(get g\+\+\))?, then `npm run setup`\.$/,
    );
    compile({ failed: "no such instruction", remedy: "Install clang", bytes: 0, compilers: state.compilersHere() });
    expect(operationsWarning(at, compiler)).toBe(
      warning("they could not be made: no such instruction. Install clang; then `npm run setup`."),
    );
    vi.stubEnv("FOLIO_FUSED", "0");
    expect(operationsWarning(at, compiler)).toBe(warning("FOLIO_FUSED=0 is set. Unset FOLIO_FUSED."));
  });

  test("give no warning with TensorFlow for a GPU, nor before set-up", () => {
    fs.rmSync(state.operationsPaths(at).stamp);
    vi.stubEnv("FOLIO_FUSED", "0");
    write(".venv/folio.json", JSON.stringify({ variant: "cuda", tensorflow: { version: "2" } }), builtMs);
    expect(operationsWarning(at, compiler)).toBeUndefined();
    fs.rmSync(path.join(root, ".venv/folio.json"));
    expect(operationsWarning(at, compiler)).toBeUndefined();
  });
});
