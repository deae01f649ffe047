/** The progress of long fits on a terminal, and Ctrl-C there. */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { main } from "../../../lib/cli/main.js";
import { fitLaw } from "../../../scaling/fit.js";
import type { Point } from "../../../scaling/points.js";
import { compareForms } from "../../../scaling/questions/compare.js";
import { isoflopSweep, strewnSweep } from "../../scaling/simulate.js";
import { endedWithThis, runsSource, temporaryFolder } from "../../tiny-run.js";

const root = fileURLToPath(new URL("../../..", import.meta.url));
const folder = temporaryFolder();
const table = path.join(folder, "runs.csv");
const tableOf = (points: readonly Point[]) =>
  `n,d,loss\n${points.map(({ n, d, loss }) => `${n},${d},${loss}`).join("\n")}\n`;
writeFileSync(table, tableOf(strewnSweep({ points: 5000, noise: 0.01 })));

/** Runs a command on a terminal; a line on standard input presses Ctrl-C there. Writes what it wrote, then how it ended. */
const onTerminal = `
import os, pty, select, signal, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
while True:
    ready, _, _ = select.select([terminal, 0], [], [])
    if 0 in ready and os.read(0, 4096):
        os.write(terminal, b"\\x03")
    if terminal in ready:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:
            break
        if not chunk:
            break
        os.write(1, chunk)
_, status = os.waitpid(pid, 0)
how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
os.write(1, f"\\nended {how}\\n".encode())`;

const folio = `
  import { main } from "./lib/cli/main.ts";
  main(process.argv.slice(1)).then((code) => { process.exitCode = code; });`;

function start(...argv: string[]) {
  const command = [process.execPath, ...runsSource, folio, "--", ...argv];
  const child = endedWithThis(
    spawn("python3", ["-c", onTerminal, ...command], { cwd: root, stdio: ["pipe", "pipe", "inherit"] }),
  );
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => {
    text += chunk;
  });
  const seen = (pattern: RegExp) =>
    new Promise<void>((resolve, reject) => {
      const check = () => pattern.test(text) && resolve();
      child.stdout.on("data", check);
      child.on("close", () => reject(new Error(`it ended before it wrote ${pattern}:\n${text}`)));
      check();
    });
  const end = new Promise<string>((resolve) => child.on("close", () => resolve(text)));
  return { child, seen, end };
}

describe("a fit of 5,000 rows with refits that take hours", () => {
  // Far more refits than a test could wait for: only Ctrl-C ends it in time.
  test.each([
    ["while it searches", /0 % {2}0\/100000 {2}refits/],
    ["while it refits", /[1-9]\d*\/100000 {2}refits/],
  ])("shows its progress and ends with Ctrl-C, %s", { timeout: 300_000 }, async (_, progress) => {
    const { child, seen, end } = start(
      "scaling",
      "fit",
      table,
      "--method=projection",
      "--bootstrap=100000",
      "--threads=1",
    );
    await seen(progress);
    child.stdin.write("\n");
    const text = await end;
    expect(text).toMatch(/ended SIGINT\n$/);
    expect(text).not.toContain("estimate");
  });
});

test("the number of refits that are done grows to at most all", async () => {
  const told: [number, number][] = [];
  const fit = await fitLaw(strewnSweep({ points: 500, noise: 0.01 }), {
    ...{ method: "projection", bootstrap: 60, threads: 2, diagnostics: false },
    onProgress: (done, refits) => told.push([done, refits]),
  });
  expect(fit.bootstrap).toHaveLength(60);
  expect(told[0]).toEqual([0, 60]);
  expect(told.every(([done, refits], k) => refits === 60 && done <= 60 && done >= (told[k - 1]?.[0] ?? 0))).toBe(true);
});

test("compare counts its fits", () => {
  const told: [number, number][] = [];
  const sweep = isoflopSweep({ sizes: 5, noise: 0.01 });
  const { forms } = compareForms(sweep, ["tied", "kaplan"], (done, fits) => told.push([done, fits]));
  const fits = 2 * (1 + forms[0]!.steps.length);
  expect(told).toEqual(Array.from({ length: fits }, (_, done) => [done, fits]));
});

test("elsewhere than on a terminal, nothing of it is written", async () => {
  const small = path.join(folder, "small.csv");
  writeFileSync(small, tableOf(strewnSweep({ points: 60, noise: 0.01 })));
  const run = async (isTTY: boolean) => {
    let [out, err] = ["", ""];
    const stdout = { write: (more: string) => (out += more) };
    const stderr = { write: (more: string) => (err += more), isTTY };
    const code = await main(["scaling", "fit", small, "--method=projection", "--bootstrap=30"], { stdout, stderr });
    return { code, out, err };
  };
  const { out, ...rest } = await run(false);
  expect(rest).toEqual({ code: 0, err: "" });
  expect(out).not.toContain("refits  ");
  const onTerminal = await run(true);
  expect(onTerminal.err).toContain("/30  refits");
  expect(onTerminal.out).toBe(out);
});
