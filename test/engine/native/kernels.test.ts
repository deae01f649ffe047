/**
 * Each variant of Folio's own kernels against loops in double precision (kernels_test.cc), without TensorFlow. Those
 * that this processor lacks are compiled all the same; their logic runs as "wide": vectors of 16 in plain instructions.
 */
import { execFile } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compileVariants, type NativeVariant, nativeFolder, nativeVariants } from "../../../bin/native.mjs";
import { findCompiler } from "../../../bin/prerequisites.mjs";
import { packageRoot } from "../../../lib/host/package.js";

const start = promisify(execFile);
const compiler = findCompiler();
const [first] = nativeVariants() as [NativeVariant, ...NativeVariant[]];
// Optimized less, for compilers take a minute over vectors that the processor does not have.
const wide: NativeVariant = { ...first, name: "wide", lanes: 16, flags: [...first.flags, "-O1"] };

describe.skipIf(!Array.isArray(compiler))("kernels", { timeout: 900_000 }, () => {
  const [command = "c++", ...args] = Array.isArray(compiler) ? compiler : [];
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-kernels-"));
  let compiled: Awaited<ReturnType<typeof compileVariants>>;
  beforeAll(async () => {
    const run = async (program: string, args: string[]) => void (await start(program, args));
    const variants = [...nativeVariants(), wide];
    compiled = await compileVariants({ root: packageRoot(), compiler: [command, ...args], folder, run, variants });
  }, 900_000);
  afterAll(() => fs.rmSync(folder, { recursive: true }));

  test("of all variants that run here are their plain forms, on one thread and on three", async () => {
    const list = compiled.made.map(({ name }) => `V(${name})`).join("");
    const program = path.join(folder, "kernels-test");
    const source = path.join(packageRoot(), "test", "engine", "native", "kernels_test.cc");
    const flags = [
      "-std=c++17",
      "-O1",
      "-w",
      "-pthread",
      `-DFOLIO_VARIANTS=${list}`,
      `-I${nativeFolder(packageRoot())}`,
    ];
    await start(command, [...args, ...flags, source, ...compiled.objects, "-o", program]);
    const { stdout } = await start(program).catch((error: { stdout: string }) => error);
    const lines = stdout.trim().split("\n");
    for (const { name } of compiled.made) {
      const line = lines.find((each) => each.startsWith(`${name}: `));
      expect(line).toMatch(/: (\d{3,} results compared, 0 wrong|not run, this processor lacks its instructions)$/);
    }
    for (const name of [first.name, "wide"]) expect(stdout).toMatch(new RegExp(`^${name}: \\d+ results`, "m"));
  });

  // Of a function that two variants define, the linker keeps one: it may have instructions that the processor lacks.
  test.skipIf(process.platform !== "linux")(
    "define nothing but their table, so that no variant runs another's code",
    async () => {
      for (const [i, object] of compiled.objects.entries()) {
        const { stdout } = await start("nm", ["--defined-only", object]);
        const shared = stdout.split("\n").filter((line) => / [A-Zuvw] /.test(line));
        expect(shared.map((line) => line.split(" ")[2])).toEqual([`folio_kernels_${compiled.made[i]!.name}`]);
      }
    },
  );
});
