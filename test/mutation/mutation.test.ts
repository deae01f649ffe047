/** The tool that tests the tests: its mutants one by one, and a small project whose tests notice some of them. */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import ts from "typescript";
import { describe, expect, test } from "vitest";
import { packageRoot } from "../../lib/host/package.js";
import { temporaryFolder } from "../tiny-run.js";
import { type Mutant, mutantsOf, sampleOf, withMutants } from "./mutants.js";
import { rooms } from "./rooms.js";
import { mutantsOfRoom, type Results, scoreOf, testRoom } from "./score.js";

const folder = temporaryFolder();

/** What becomes of what, in one source. */
const changes = (text: string) => mutantsOf("a.ts", text).map(({ name }) => name.slice(name.lastIndexOf(": ") + 2));

describe("mutantsOf()", () => {
  test.each<[what: string, source: string, wanted: string[]]>([
    ["sums and differences", "y = a + b - c;", ["a + b - c → (a + b) + (c)", "a + b → (a) - (b)"]],
    ["products and powers", "f(a * b ** c);", ["a * b ** c → (a) / (b ** c)", "b ** c → (b) * (c)"]],
    ["a comparison, its limit, too", "f(a < b);", ["a < b → (a) <= (b)", "a < b → (a) >= (b)"]],
    ["an equality", "f(a === b);", ["a === b → (a) !== (b)"]],
    ["and, or, and a default", "f(a && b, c ?? d);", ["a && b → (a) || (b)", "c ?? d → (c) && (d)"]],
    ["a negation and a sign", "f(!a, -b);", ["!a → a", "-b → b"]],
    ["a condition", "x = a ? b : c;", ["a → true", "a → false"]],
    ["the condition of a loop, which then never runs", "while (a) b();", ["a → false"]],
    [
      "numbers: a tenth more, small integers one more",
      "f(0, 9, 40, 0.5);",
      ["0 → 1", "9 → 10", "40 → 44", "0.5 → 0.55"],
    ],
    ["booleans", "f(true, false);", ["true → false", "false → true"]],
    ["texts", 'f("a", "", `b`);', ['"a" → ""', '"" → "x"', '`b` → ""']],
    ["lists", "f([a, b], []);", ["[a, b] → []"]],
    ["steps and assignments", "for (;;) i++, (s += i);", ["i++ → i--", "s += i → (s) -= (i)"]],
    ["functions", "f(Math.min(a, b), c.some(d));", ['.min → "max"', '.some → "every"']],
    ["methods that can be left out", "f(a.filter(b).sort());", ["a.filter(b).sort() → a.filter(b)", "a.filter(b) → a"]],
  ])("changes %s", (_, source, wanted) => {
    expect(changes(source).filter((change) => !change.endsWith("→ nothing"))).toEqual(wanted);
  });

  test("leaves out calls and assignments that are statements", () => {
    const source = "a = b;\nawait f();\nconst c = g();\nclass D extends E { constructor() { super(); } }";
    expect(changes(source)).toEqual(["a = b; → nothing", "await f(); → nothing"]);
  });

  test("exchanges tensors' operations only where there are tensors", () => {
    expect(changes("x = a.add(b);")).toEqual(["x = a.add(b); → nothing"]);
    const withTensors = 'import * as tf from "@tensorflow/tfjs-core";\nx = tf.add(a, b);';
    expect(changes(withTensors)).toEqual(["x = tf.add(a, b); → nothing", '.add → "sub"']);
  });

  test("leaves types, names, modules and thrown messages alone", () => {
    const source = `import a from "a";
interface B { readonly "c-d": 1 | "two" }
const e = { "f-g": h as 1 };
const [i, j]: [1, 2] = k;
throw new Error("no " + \`\${e}\`);`;
    expect(changes(source)).toEqual([]);
  });
});

describe("withMutants()", () => {
  const source = `export const text = "static";
export function area(a: number, b: number): number {
  if (a < 0 || b < 0) { log("negative"); return 0; }
  return Math.max(a, 0) * b;
}
const lines: string[] = [];
function log(line: string): void { lines.push(line); }
console.log(JSON.stringify([text, area(2, 3), area(-1, 3), lines]));
`;
  const mutants = mutantsOf("area.ts", source);

  /** What the program prints with one of its mutants active. */
  function printed(env: Record<string, string>): string {
    const file = path.join(folder, "area.mjs");
    const all = withMutants(source, mutants, (mutant) => mutants.indexOf(mutant));
    const compilerOptions = { target: ts.ScriptTarget.ESNext, module: ts.ModuleKind.ESNext };
    fs.writeFileSync(file, ts.transpileModule(all, { compilerOptions }).outputText);
    return execFileSync(process.execPath, [file], { env: { ...process.env, ...env }, encoding: "utf8" }).trim();
  }
  const id = (change: string) => String(mutants.findIndex(({ name }) => name.endsWith(`: ${change}`)));

  test("puts all of them in at once; one acts, or none", () => {
    expect(printed({})).toBe('["static",6,0,["negative"]]');
    expect(printed({ FOLIO_MUTANT: id('"static" → ""') })).toBe('["",6,0,["negative"]]');
    expect(printed({ FOLIO_MUTANT: id("Math.max(a, 0) * b → (Math.max(a, 0)) / (b)") })).toContain("0.6666");
    expect(printed({ FOLIO_MUTANT: id('.max → "min"') })).toBe('["static",0,0,["negative"]]');
    expect(printed({ FOLIO_MUTANT: id('log("negative"); → nothing') })).toBe('["static",6,0,[]]');
  });

  test("notes which ones are reached, without an active one", () => {
    const seen = path.join(folder, "seen");
    printed({ FOLIO_MUTANT_SEEN: seen });
    const reached = fs.readFileSync(seen, "utf8").trim().split("\n");
    expect(new Set(reached).size).toBe(reached.length);
    expect(reached.map(Number).sort((a, b) => a - b)).toEqual(mutants.map((_, i) => i));
  });
});

test("sampleOf() depends on its seed and on the mutants' names, not on what else changed", () => {
  const mutants = mutantsOf("a.ts", "f(1, 2, 3, 4, 5, 6, 7, 8, 9);");
  const names = (of: readonly Mutant[]) => of.map(({ name }) => name);
  expect(names(sampleOf(mutants, 4, 1))).toEqual(names(sampleOf(mutants.toReversed(), 4, 1)));
  expect(names(sampleOf(mutants, 4, 1))).not.toEqual(names(sampleOf(mutants, 4, 2)));
  const moved = mutantsOf("a.ts", "\n// new\nf(1, 2, 3, 4, 5, 6, 7, 8, 9);");
  expect(names(sampleOf(moved, 4, 1))).toEqual(names(sampleOf(mutants, 4, 1)));
  expect(sampleOf(mutants, 100, 1)).toHaveLength(mutants.length);
});

test("scoreOf() leaves equivalent mutants out, and counts those that hang as killed", () => {
  const results: Results = {
    a: { status: "killed" },
    b: { status: "hangs", by: "a test" },
    c: { status: "survives" },
    d: { status: "is not reached" },
    e: { status: "survives" },
  };
  expect(scoreOf(20, results, { e: "the same", a: "named, but killed" })).toEqual({
    ...{ mutants: 20, sample: 5, killed: 2, equivalent: 1, percent: 50, survivors: ["c", "d"] },
  });
});

test("every mutant that is named as equivalent exists, with a reason", () => {
  const names = new Set(
    Object.values(rooms).flatMap((room) => mutantsOfRoom(packageRoot(), room).map(({ name }) => name)),
  );
  const equivalent = JSON.parse(fs.readFileSync(path.join(import.meta.dirname, "equivalent.json"), "utf8"));
  for (const [name, reason] of Object.entries<string>(equivalent)) {
    expect(names).toContain(name);
    expect(reason).toMatch(/^[A-Z].{20,}\.$/);
  }
});

describe("testRoom()", () => {
  const root = path.join(folder, "project");
  const sources: Readonly<Record<string, string>> = {
    "package.json": `{ "type": "module" }\n`,
    "vitest.config.ts": `export default { test: { pool: "forks", projects: [{ extends: true, test: { name: "folio", include: ["test/*.test.ts"] } }] } };\n`,
    "lib/sum.ts": "export const sum = (a: number, b: number) => a + b;\n",
    "lib/half.ts": "export const half = (a: number) => a / 2;\n",
    "lib/count.ts":
      "export function count(n: number) {\n  let i = 0;\n  do {\n    i++;\n  } while (i < n);\n  return i;\n}\n",
    "lib/remove.ts":
      'import fs from "node:fs";\nexport const remove = (at: string) => fs.rmSync(at + "/none", { recursive: true, force: true });\n',
    "lib/unused.ts": "export const unused = (a: number) => !a;\n",
    "test/all.test.ts": `import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { count } from "../lib/count.js";
import { half } from "../lib/half.js";
import { remove } from "../lib/remove.js";
import { sum } from "../lib/sum.js";
test("counts", () => expect(count(3)).toBe(3));
test("cannot fail", () => expect(half(4) + 1).not.toBe(half(4)));
test("removes", () => {
  remove(process.cwd());
  expect(existsSync("lib")).toBe(true);
});
test("adds", () => expect(sum(2, 3)).toBe(5));
`,
  };

  test("names what survives, what hangs and what is not reached, and leaves the sources whole", async () => {
    for (const [file, text] of Object.entries(sources)) {
      fs.mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
      fs.writeFileSync(path.join(root, file), text);
    }
    for (const name of ["host.ts", "setup.ts", "score.ts"]) {
      fs.cpSync(path.join(import.meta.dirname, name), path.join(root, "test", "mutation", name));
    }
    fs.symlinkSync(path.join(packageRoot(), "node_modules"), path.join(root, "node_modules"));
    fs.writeFileSync(path.join(root, ".gitignore"), "node_modules\n");
    execFileSync("git", ["init", "--quiet"], { cwd: root });

    const room = { sources: ["lib"], leaveOut: [], tests: ["test/all.test.ts"] };
    const said: string[] = [];
    const options = {
      count: 100,
      seed: 1,
      say: (line: string) => said.push(line),
      storedIn: path.join(folder, "kept"),
    };
    const results = await testRoom(root, room, { ...options, patienceMs: 10_000 });
    const found = Object.entries(results).map(([name, { status, by }]) => [name.replace(/^.*: /, ""), status, by]);
    expect(found).toEqual(
      expect.arrayContaining([
        ["a + b → (a) - (b)", "killed", "test/all.test.ts: adds"],
        ["a / 2 → (a) * (2)", "survives", undefined],
        ["2 → 3", "survives", undefined],
        ["i++ → i--", "hangs", "test/all.test.ts: counts"],
        ["!a → a", "is not reached", undefined],
      ]),
    );
    // This one deletes the copy that the tests run in; the next mutants have a new one.
    expect(found).toContainEqual(['"/none" → ""', "killed", "test/all.test.ts: removes"]);
    for (const [file, text] of Object.entries(sources)) {
      expect(fs.readFileSync(path.join(root, file), "utf8")).toBe(text);
    }

    // Everything is stored: nothing runs again.
    said.length = 0;
    expect(await testRoom(root, room, options)).toEqual(results);
    expect(said).toEqual([]);
  });
});
