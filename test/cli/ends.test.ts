/** All ways to end a command: signals, a closed pipe, a full device. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, openSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { main } from "../../lib/cli/main.js";
import { stoppable } from "../../lib/cli/prepare.js";
import type { LostOutput } from "../../lib/cli/shared/io.js";
import { stopOnSignals } from "../../lib/cli/shared/stop-signals.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import { openCheckpoint, readState } from "../../lib/weights/checkpoint.js";
import { ended, endedWithThis, runsSource, temporaryFolder, writeFox } from "../tiny-run.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = temporaryFolder();
writeFox(folder);

const tiny = (outDir: string, ...more: string[]) => [
  ...["train", `--data_dir=${folder}`, "--dataset=fox", `--out_dir=${path.join(folder, outDir)}`],
  ..."--n_layer=1 --n_head=1 --n_embd=8 --block_size=8 --batch_size=2 --gradient_accumulation_steps=1".split(" "),
  ..."--eval_iters=1 --device=cpu --compile=False --eval_interval=100000 --warmup_iters=1".split(" "),
  ...more,
];
const endless = "--max_iters=100000";

/** Runs `folio` from the sources in a separate process. */
function start(argv: string[], { out = "pipe", err = "pipe" }: { out?: "pipe" | number; err?: "pipe" | number } = {}) {
  const script = `
    import { main } from "./lib/cli/main.ts";
    main(process.argv.slice(1)).then((code) => { process.exitCode = code; });`;
  const args = [...runsSource, script, "--", ...argv];
  const child = endedWithThis(spawn(process.execPath, args, { cwd: root, stdio: ["ignore", out, err] }));
  const [stdout, stderr] = [heard(child.stdout), heard(child.stderr)];
  return Object.assign(child, { out: stdout, err: stderr });
}

function heard(stream: ChildProcess["stdout"]) {
  let text = "";
  stream?.on("data", (chunk: Buffer) => {
    text += chunk;
  });
  const seen = (pattern: RegExp) =>
    new Promise<void>((resolve, reject) => {
      const check = () => pattern.test(text) && resolve();
      stream!.on("data", check).on("close", () => reject(new Error(`it ended before it wrote ${pattern}:\n${text}`)));
      check();
    });
  return { text: () => text, seen };
}

async function folio(...argv: string[]) {
  let [out, err] = ["", ""];
  const stdout = { write: (more: string) => (out += more) };
  const code = await main(argv, { stdout, stderr: { write: (more: string) => (err += more) } });
  return { code, out, err };
}

/** The number of saved steps, which include all steps in the log. */
function savedSteps(outDir: string): number {
  const { step } = readState(path.join(folder, outDir));
  expect(readRunLog(path.join(folder, outDir)).filter(({ kind }) => kind === "iter").length).toBe(step);
  return step;
}

describe("every way to end a training saves a checkpoint", () => {
  test("a terminal that closes (SIGHUP): 129", { timeout: 180_000 }, async () => {
    const child = start(tiny("hangup", endless));
    await child.out.seen(/^iter 3: /m);
    child.kill("SIGHUP");
    expect(await ended(child)).toEqual({ code: 129, signal: null });
    expect(savedSteps("hangup")).toBeGreaterThan(3);
    expect(child.out.text()).toContain("SIGHUP: finishing this batch, then saving");
  });

  test("a closed pipe (| head): 141, reported on standard error", { timeout: 180_000 }, async () => {
    const child = start(tiny("head", endless));
    await child.out.seen(/^iter 3: /m);
    child.stdout!.destroy();
    expect(await ended(child)).toEqual({ code: 141, signal: null });
    const steps = savedSteps("head");
    expect(steps).toBeGreaterThan(3);
    expect(child.err.text()).toContain("nothing reads standard output any more: finishing this batch, then saving");
    expect(child.err.text()).toContain(`stopped at step ${steps} of 100000, saved. Resume with:\n  npx`);

    // The resumed run ends as if it had not been interrupted.
    const more = `--max_iters=${steps + 2}`;
    expect((await folio(...tiny("head", more, "--init_from=resume"))).code).toBe(0);
    expect((await folio(...tiny("straight", more))).code).toBe(0);
    const weights = (name: string) => openCheckpoint(path.join(folder, name)).params;
    expect(weights("head")).toEqual(weights("straight"));
  });

  test("a second Ctrl-C, passed on by npm, counts as one: the run is saved: 130", { timeout: 180_000 }, async () => {
    const child = start(tiny("twice", endless));
    await child.out.seen(/^iter 3: /m);
    child.kill("SIGINT");
    child.kill("SIGINT");
    expect(await ended(child)).toEqual({ code: 130, signal: null });
    expect(savedSteps("twice")).toBeGreaterThan(3);
  });

  test("a full device: 1, and it is named", { timeout: 180_000 }, async (context) => {
    if (!existsSync("/dev/full")) return context.skip("this system has no /dev/full");
    const full = openSync("/dev/full", "w");
    const child = start(tiny("full", endless), { out: full });
    expect(await ended(child)).toEqual({ code: 1, signal: null });
    expect(child.err.text()).toMatch(/^folio: Cannot write to standard output: the device is full \(ENOSPC\)\.$/m);
    expect(child.err.text()).toContain("stopped before the first step: nothing to resume.");
  });
});

describe("a command that only prints", () => {
  test("ends quietly with 0 at a closed pipe, with 1 at a full device", { timeout: 180_000 }, async (context) => {
    const unread = start(["sizes", "cpu_demo", "--vocab_size=65"]);
    unread.stdout!.destroy();
    expect(await ended(unread)).toEqual({ code: 0, signal: null });
    expect(unread.err.text()).toBe("");
    if (!existsSync("/dev/full")) return context.skip("this system has no /dev/full");
    const full = start(["sizes", "cpu_demo", "--vocab_size=65"], { out: openSync("/dev/full", "w") });
    expect(await ended(full)).toEqual({ code: 1, signal: null });
    expect(full.err.text()).toContain("Cannot write to standard output: the device is full");
  });

  test("gives its result even if progress cannot be printed (2>/dev/full)", {
    timeout: 180_000,
  }, async (context) => {
    if (!existsSync("/dev/full")) return context.skip("this system has no /dev/full");
    await folio(...tiny("told", "--max_iters=2"));
    const flags = [
      `--out_dir=${path.join(folder, "told")}`,
      "--num_samples=1",
      "--max_new_tokens=5",
      "--compile=False",
    ];
    const child = start(["sample", ...flags, "--start=the "], { err: openSync("/dev/full", "w") });
    expect(await ended(child)).toEqual({ code: 0, signal: null });
    expect(child.out.text()).toMatch(/^the .{5}\n-+\n$/s);
  });
});

describe("stopping", () => {
  const lostBy = (lost: LostOutput) => ({ onLost: (listener: (lost: LostOutput) => void) => listener(lost) });

  test("a lost output stops the command like a signal; a second SIGHUP, and Ctrl-C after it, do not end it at once", () => {
    const reasons: string[] = [];
    const stop = stopOnSignals(lostBy({ exitCode: 141, found: "nobody reads" }), (reason) => reasons.push(reason));
    process.emit("SIGHUP", "SIGHUP");
    process.emit("SIGHUP", "SIGHUP");
    process.emit("SIGINT", "SIGINT");
    expect([stop.signal.aborted, stop.exitCode(), reasons]).toEqual([true, 141, ["nobody reads"]]);
    stop.close();
  });

  test.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const)("a preparation that %s stops keeps what is finished and ends with %d", async (signal, code) => {
    let err = "";
    const io = { stdout: { write: () => {} }, stderr: { write: (more: string) => (err += more) } };
    const preparing = stoppable(io, async (stopped) => {
      await new Promise((resolve) => stopped.addEventListener("abort", resolve));
      stopped.throwIfAborted();
    });
    process.emit(signal, signal);
    expect(await preparing).toBe(code);
    expect(err).toBe(
      `${signal}: saving finished work (again: stop at once)\nstopped; the same command continues from there.\n`,
    );
  });

  test("a preparation that fails for another reason reports it", async () => {
    const io = { stdout: { write: () => {} }, stderr: { write: () => {} } };
    await expect(stoppable(io, () => Promise.reject(new Error("no text")))).rejects.toThrow("no text");
  });
});

describe("a config module that ends the program", () => {
  test.each([
    ["exits", "process.exit(0);", /^folio: Cannot continue: the program ended before its work was done\.\n$/],
    [
      "waits",
      "await new Promise(() => {});",
      /^folio: Cannot continue: the program ended before its work was done\.\n$/,
    ],
    [
      "fails-later",
      'setTimeout(() => { throw new Error("too late"); }, 0);\nawait new Promise(() => {});',
      /^folio: too late\n$/,
    ],
  ])("%s: one message, and no success", { timeout: 180_000 }, async (name, source, message) => {
    const file = path.join(folder, `${name}.mts`);
    writeFileSync(file, `${source}\nexport default { vocabSize: 65 };\n`);
    const child = start(["sizes", file]);
    expect(await ended(child)).toEqual({ code: 1, signal: null });
    expect([child.out.text(), child.err.text()]).toEqual(["", expect.stringMatching(message)]);
  });
});
