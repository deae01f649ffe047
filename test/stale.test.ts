/** A notebook's kernel is told when its library is stale. */
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { staleness } from "../bin/stale.mjs";

const builtMs = Date.now() - 60_000;
let root: string;

beforeEach(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), "folio-stale-"));
  const version = createHash("sha256").update("one").digest("hex");
  write("lib/model.ts", "one", builtMs - 1000);
  write("dist/lib/model.js", "one", builtMs);
  write("dist/.tsbuildinfo", JSON.stringify({ fileNames: ["../lib/model.ts"], fileInfos: [{ version }] }), builtMs);
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
  write("lib/model.ts", "one", builtMs + 20_000);
  expect(staleness(loaded())).toBeUndefined();
});

test("a build made after the library was loaded is told once, and again after the next build", () => {
  const library = loaded();
  write("dist/lib/model.js", "two", builtMs + 20_000);
  expect(staleness(library)).toMatch(/older build.*model\.js.*Restart the kernel/);
  expect(staleness(library)).toBeUndefined();
  write("dist/lib/model.js", "three", builtMs + 30_000);
  expect(staleness(library)).toMatch(/older build/);
});

test("a source that was not built is named", () => {
  write("lib/model.ts", "two", builtMs + 20_000);
  expect(staleness(loaded())).toMatch(/lib\/model\.ts changed after folio was built/);
});

test("nothing is said before the library is loaded", () => {
  write("lib/model.ts", "two", builtMs + 20_000);
  expect(staleness({ root, loadedMs: undefined, warned: undefined })).toBeUndefined();
});
