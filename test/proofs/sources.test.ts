/** The checksum of a proof's sources: what changes it and what does not. */
import fs from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../tiny-run.js";
import { fingerprint } from "./sources.js";

const folder = temporaryFolder();
let trees = 0;

/** The checksum of a proof that imports lib/a.ts, which imports lib/b.ts, with a native source; some files changed. */
function checksum(changes: Record<string, string | undefined> = {}, inputs = ["native"]): string {
  const root = path.join(folder, `tree-${trees++}`);
  const files = {
    "proofs/speed.ts": `import { twice } from "../lib/a.js";\nexport const speed = { claim: "fast", inputs: ["native"], run: () => twice(21) };\n`,
    "lib/a.ts": `import { factor } from "./b.js";\n/** Doubles. */\nexport function twice(x: number): number {\n  return factor * x; // times\n}\n`,
    "lib/b.ts": `export interface Unused {\n  x: number;\n}\nexport const factor = 2;\n`,
    "native/ops.cc": `#include "sums.h"\n// adds\nint add(int a, int b) { return a + b; /* the sum */ }\nconst char* url = "http://x";\n`,
    ...changes,
  };
  for (const [name, text] of Object.entries(files)) {
    if (text === undefined) continue;
    fs.mkdirSync(path.dirname(path.join(root, name)), { recursive: true });
    fs.writeFileSync(path.join(root, name), text);
  }
  return fingerprint(root, { proof: "proofs/speed.ts", inputs });
}

const before = checksum();

test.each<[string, Record<string, string | undefined>, string[]?]>([
  [
    "comments, types and white space",
    {
      "lib/a.ts": `import { factor } from "./b.js";\n// Another comment.\nexport function twice(x: 1 | 21): number { return factor * x; }\n`,
      "lib/b.ts": "export const factor = 2;\n",
      "native/ops.cc": `int add(int a, int b) {\n  return a + b;\n}\nconst char* url = "http://x"; // where\n`,
    },
  ],
  [
    "a move",
    {
      "proofs/speed.ts": `import { twice } from "../lib/room/a.js";\nexport const speed = { claim: "fast", inputs: ["native"], run: () => twice(21) };\n`,
      "lib/a.ts": undefined,
      "lib/room/a.ts": `import { factor } from "../b.js";\nexport function twice(x: number): number {\n  return factor * x;\n}\n`,
      "native/ops.cc": undefined,
      "engine/native/ops.cc": `int add(int a, int b) { return a + b; }\nconst char* url = "http://x";\n`,
    },
    ["engine"],
  ],
  [
    "a function that moves to another file",
    {
      "lib/a.ts": `export * from "./c.js";\n`,
      "lib/c.ts": `import { factor } from "./b.js";\nexport function twice(x: number): number {\n  return factor * x;\n}\n`,
    },
  ],
  [
    "the proof's claim",
    {
      "proofs/speed.ts": `import { twice } from "../lib/a.js";\nexport const speed = { claim: "quick", inputs: [], run: () => twice(21) };\n`,
    },
  ],
])("%s: the same sources", (_, changes, inputs) => {
  expect(checksum(changes, inputs)).toBe(before);
});

test.each<[string, Record<string, string>]>([
  ["a constant in an indirect import", { "lib/b.ts": "export const factor = 3;\n" }],
  [
    "a number in the proof",
    { "proofs/speed.ts": `import { twice } from "../lib/a.js";\nexport const speed = { run: () => twice(22) };\n` },
  ],
  ["a native source", { "native/ops.cc": "int add(int a, int b) { return a - b; }\n" }],
  [
    "text that looks like a comment",
    { "native/ops.cc": `int add(int a, int b) { return a + b; }\nconst char* url = "http://y";\n` },
  ],
  ["an additional native source", { "native/mul.cc": "int mul(int a, int b) { return a * b; }\n" }],
])("%s: other sources", (_, changes) => {
  expect(checksum(changes)).not.toBe(before);
});

test("declarations of types alone do not change it", () => {
  expect(checksum({ "native/binary.d.ts": 'declare module "*.wasm" {\n  const bytes: Uint8Array;\n}\n' })).toBe(before);
});
