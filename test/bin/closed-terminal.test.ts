/** What a terminal that closes does to a program that is at work in it. */
import { spawn } from "node:child_process";
import path from "node:path";
import { expect, test } from "vitest";
import { endedWithThis } from "../tiny-run.js";

const root = path.join(import.meta.dirname, "..", "..");
const python = path.join(root, "test", "proofs", "closed-terminal.py");

test("a program that saves when its terminal closes ends with its own exit code, and does not abort", async () => {
  const script = `
    import { outliveTerminal } from ${JSON.stringify(path.join(root, "bin", "closed-terminal.mjs"))};
    outliveTerminal();
    const work = setInterval(() => {}, 1000);
    process.on("SIGHUP", () => {
      clearInterval(work);
      process.exitCode = 129;
    });
    process.stdout.on("error", () => {});
    console.log(process.stdout.isTTY ? "on a terminal" : "on none");`;
  const command = [python, process.execPath, "--input-type=module", "-e", script];
  const child = endedWithThis(spawn("python3", command, { stdio: ["pipe", "pipe", "inherit"] }));
  let out = "";
  child.stdout!.on("data", (chunk: Buffer) => {
    out += chunk;
    if (out.includes("on a terminal")) child.stdin!.end();
  });
  await new Promise((resolve) => child.on("close", resolve));
  expect(out).toMatch(/on a terminal[\s\S]*\nended 129\n$/);
});
