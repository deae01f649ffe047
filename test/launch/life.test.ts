import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import type { Readable } from "node:stream";
import { expect, test } from "vitest";
import { typescriptLoader } from "../../lib/host/package.js";
import { LIFE_PIPE } from "../../lib/launch/life.js";

/** How many signs of life a process gives that is busy for so many milliseconds. */
async function signs(busyMs: number): Promise<number> {
  const program = path.join(import.meta.dirname, "living.ts");
  const child = spawn(process.execPath, ["--import", typescriptLoader(), program, String(busyMs)], {
    stdio: ["ignore", "ignore", "inherit", "ipc", "pipe"],
  });
  let count = 0;
  (child.stdio[LIFE_PIPE] as Readable).on("data", (chunk: Buffer) => {
    count += chunk.length;
  });
  const [code] = await once(child, "close");
  expect(code).toBe(0);
  return count;
}

test("signs of life go on while a rank is busy, and do not keep it from ending", async () => {
  expect(await signs(4000)).toBeGreaterThanOrEqual(2);
  await signs(0);
});
