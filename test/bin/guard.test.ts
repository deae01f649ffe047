/** bin/guard.mjs: programs started by `npm run lab` end with it, however it ends. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const guard = fileURLToPath(new URL("../../bin/guard.mjs", import.meta.url));

/** Starts, through a guard, a program that prints its process id and waits; `node -e` replaces `npm run lab`. */
async function startLab(): Promise<{ lab: ReturnType<typeof spawn>; program: number }> {
  const waits = "console.log(process.pid); setInterval(() => {}, 1000)";
  const starts = `
    const stdio = ["pipe", "inherit", "inherit"];
    require("node:child_process").spawn(process.execPath, ${JSON.stringify([guard, process.execPath, "-e", waits])}, { detached: true, stdio });
    setInterval(() => {}, 1000)`;
  const lab = spawn(process.execPath, ["-e", starts], { stdio: ["ignore", "pipe", "inherit"] });
  const [chunk] = (await once(lab.stdout!, "data")) as [Buffer];
  return { lab, program: Number(chunk.toString()) };
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test.each(["SIGKILL", "SIGTERM", "SIGHUP"] as const)("a program ends when %s ends the lab", async (signal) => {
  const { lab, program } = await startLab();
  expect(isRunning(program)).toBe(true);
  lab.kill(signal);
  while (isRunning(program)) await setTimeout(20); // until the time limit of the test
});
