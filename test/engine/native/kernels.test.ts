/**
 * Compares each variant of Folio's kernels with loops in double precision (kernels_test.cc), without TensorFlow.
 * Variants that this processor cannot run are only compiled.
 */
import { execFile } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { nativeVariants } from "../../../bin/native.mjs";
import { findCompiler } from "../../../bin/prerequisites.mjs";
import { needs } from "../../needs.js";
import { compileKernels, type KernelsProgram } from "./kernels-program.js";

const start = promisify(execFile);
const compiler = findCompiler();

const missing = Array.isArray(compiler) ? undefined : "there is no C++ compiler";

describe("kernels", { timeout: 900_000, ...needs(missing) }, () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "folio-kernels-"));
  let compiled: KernelsProgram;
  beforeAll(async () => {
    compiled = await compileKernels(compiler as string[], folder);
  }, 900_000);
  afterAll(() => fs.rmSync(folder, { recursive: true }));

  test("of all variants that run here equal their plain forms, with one thread and with three", async () => {
    const { stdout } = await start(compiled.program).catch((error: { stdout: string }) => error);
    for (const { name } of compiled.made) {
      const line = stdout.split("\n").find((each) => each.startsWith(`${name}: `));
      expect(line).toMatch(/: (\d{3,} results compared, 0 wrong|not run, this processor lacks its instructions)$/);
    }
    for (const name of [nativeVariants()[0]!.name, "wide"])
      expect(stdout).toMatch(new RegExp(`^${name}: \\d+ results`, "m"));
  });

  // If two variants define a function, the linker keeps one, which may use instructions that the processor lacks.
  test(
    "define nothing but their table: no variant runs another's code",
    needs(process.platform === "linux" ? undefined : "nm reads the objects of Linux's compilers"),
    async () => {
      for (const [i, object] of compiled.objects.entries()) {
        const { stdout } = await start("nm", ["--defined-only", object]);
        const shared = stdout.split("\n").filter((line) => / [A-Zuvw] /.test(line));
        expect(shared.map((line) => line.split(" ")[2])).toEqual([`folio_kernels_${compiled.made[i]!.name}`]);
      }
    },
  );
});
