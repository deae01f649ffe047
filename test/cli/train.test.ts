/** The commands on a real, tiny run: this process calls main(), and child processes receive signals. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { main } from "../../lib/cli/main.js";
import { warnings } from "../../lib/cli/shared/preflight.js";
import { writeDataset } from "../../lib/data/batches.js";
import { charTokenizer } from "../../lib/data/tokenizers/tokenizer.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import { defaultSettings } from "../../lib/settings/settings.js";
import { runsSource } from "../tiny-run.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "folio-cli-train-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const text = "the quick brown fox jumps over the lazy dog\n".repeat(40);
const tokenizer = charTokenizer(text);
const ids = tokenizer.encode(text);
writeDataset(folder, { name: "long", tokenizer, train: ids, val: ids });
writeDataset(folder, { name: "fox", tokenizer, train: ids.subarray(0, 1500), val: ids.subarray(1500) });

const tiny = (outDir: string, ...more: string[]) => [
  `--data_dir=${folder}`,
  "--dataset=fox",
  `--out_dir=${join(folder, outDir)}`,
  ..."--n_layer=1 --n_head=1 --n_embd=8 --block_size=8 --batch_size=2 --gradient_accumulation_steps=1".split(" "),
  ..."--eval_iters=1 --device=cpu --compile=False".split(" "),
  ...more,
];

async function folio(...argv: string[]) {
  let [out, err] = ["", ""];
  const stdout = { write: (more: string) => (out += more) };
  const code = await main(argv, { stdout, stderr: { write: (more: string) => (err += more) } });
  return { code, out, err };
}

/** Runs `folio` from the sources in a separate process. With INTERRUPT_AGAIN, a second Ctrl-C follows the first. */
function spawnFolio(...argv: string[]): ChildProcess & { output(): string; seen(pattern: RegExp): Promise<void> } {
  const script = `
    import { main } from "./lib/cli/main.ts";
    const heard = (stream) => ({
      write(text) {
        stream.write(text);
        if (!process.env.INTERRUPT_AGAIN || !/SIGINT: finishing/.test(text)) return;
        // Within half a second, it would count as the same Ctrl-C, passed on by npm.
        const began = performance.now();
        performance.now = () => began + 1000;
        process.nextTick(() => process.emit("SIGINT", "SIGINT"));
      },
    });
    process.exitCode = await main(process.argv.slice(1), { stdout: heard(process.stdout), stderr: heard(process.stderr) });`;
  const child = spawn(process.execPath, [...runsSource, script, "--", ...argv], { cwd: root });
  let output = "";
  const waiting: (() => void)[] = [];
  const take = (chunk: Buffer) => {
    output += chunk;
    for (const check of waiting) check();
  };
  child.stdout.on("data", take);
  child.stderr.on("data", take);
  const seen = (pattern: RegExp) =>
    new Promise<void>((resolve, reject) => {
      const check = () => pattern.test(output) && resolve();
      waiting.push(check);
      child.on("exit", () => reject(new Error(`it ended before it wrote ${pattern}:\n${output}`)));
      check();
    });
  return Object.assign(child, { output: () => output, seen });
}

const ended = (child: ChildProcess) =>
  new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.on("exit", (code, signal) => resolve({ code, signal })),
  );

describe("folio train and sample", () => {
  test("train writes nanoGPT's lines, sample its dashes, runs lists it", async () => {
    const trained = await folio("train", ...tiny("plain", "--max_iters=4", "--eval_interval=2", "--log_interval=2"));
    expect(trained).toMatchObject({ code: 0, err: "" });
    const lines = trained.out.trimEnd().split("\n");
    expect(lines[0]).toBe("tokens per iteration will be: 16");
    const steps = lines.filter((line) => /^step \d+: train loss \d+\.\d{4}, val loss \d+\.\d{4}$/.test(line));
    const iters = lines.filter((line) =>
      /^iter \d+: loss \d+\.\d{4}, time \d+\.\d{2}ms, mfu -?\d+\.\d{2}%$/.test(line),
    );
    expect(steps.map((line) => line.split(":")[0])).toEqual(["step 0", "step 2", "step 4"]);
    expect(iters.map((line) => line.split(":")[0])).toEqual(["iter 0", "iter 2"]);
    expect(lines.at(-1)).toMatch(/^finished: 4 steps in [\d:]+, [\d,]+ tokens\/s, best validation loss /);

    const flags = ["--start=the ", "--num_samples=2", "--max_new_tokens=5", "--compile=False"];
    const sampled = await folio("sample", `--out_dir=${join(folder, "plain")}`, ...flags);
    expect(sampled.code).toBe(0);
    const samples = sampled.out.split("\n---------------\n");
    expect(samples.length).toBe(3);
    expect(samples.slice(0, 2).every((text) => text.startsWith("the ") && text.length === 9)).toBe(true);
    expect(await folio("sample", `--out_dir=${join(folder, "plain")}`, ...flags)).toEqual(sampled);
    expect(trained.out.split("\n").some((line) => line.startsWith("hint"))).toBe(false);
    const unknown = await folio("sample", `--out_dir=${join(folder, "plain")}`, "--start=€", "--compile=False");
    expect(unknown.err).toContain("€");

    expect((await folio("runs", folder)).out).toMatch(/plain +finished +4\/4/);
  });

  test("a resumed run keeps its settings unless others are given", async () => {
    await folio("train", ...tiny("longer", "--max_iters=2", "--warmup_iters=1"));
    const resumed = await folio("train", `--out_dir=${join(folder, "longer")}`, "--init_from=resume", "--max_iters=3");
    expect(resumed).toMatchObject({ code: 0, err: "" });
    expect(resumed.out).toContain("tokens per iteration will be: 16");
    expect((await folio("runs", join(folder, "longer"))).out).toMatch(/longer +finished +3\/3/);
    const none = await folio("train", `--out_dir=${join(folder, "nothing")}`, "--init_from=resume");
    expect([none.code, none.err]).toEqual([1, expect.stringContaining("Cannot find a checkpoint")]);
  });

  test("starts from the weights of another run, with its shape", async () => {
    await folio("train", ...tiny("base", "--max_iters=2"));
    const flags = [`--data_dir=${folder}`, "--dataset=fox", `--out_dir=${join(folder, "tuned")}`, "--batch_size=2"];
    const more = "--gradient_accumulation_steps=1 --eval_iters=1 --device=cpu --compile=False --max_iters=1".split(" ");
    const tuned = await folio("train", ...flags, ...more, `--init_from=${join(folder, "base")}`);
    expect(tuned).toMatchObject({ code: 0, err: "" });
    expect(tuned.out).toContain(`Initializing from the weights of ${join(folder, "base")}`);
    expect(tuned.out).toContain("tokens per iteration will be: 16");
  });

  test("says how to prepare a missing dataset, and which datasets exist", async () => {
    const known = await folio("train", ...tiny("x", "--dataset=shakespeare_char"));
    expect(known.err).toMatch(
      /^folio: Cannot train on shakespeare_char: .* has no prepared dataset; run `folio prepare shakespeare_char` first, or choose one that is prepared \(--dataset=fox or long\)\./,
    );
    const unknown = await folio("train", ...tiny("x", "--dataset=mine"));
    expect(unknown.err).toMatch(/`folio prepare` makes .*shakespeare.*, or a dataset from your own text, or choose/);
  });

  test("warns of an unused GPU and of too little memory", async () => {
    const bin = join(folder, "bin");
    mkdirSync(bin);
    writeFileSync(join(bin, "nvidia-smi"), "#!/bin/sh\necho NVIDIA A100-SXM4-80GB, 550.54, 81920, 80000\n", {
      mode: 0o755,
    });
    const path = process.env.PATH;
    process.env.PATH = `${bin}:${path}`;
    const said: string[] = [];
    const settings = { ...defaultSettings, dataDir: folder, dataset: "fox", batchSize: 1_000_000 };
    await warnings(settings, (text) => said.push(text));
    process.env.PATH = path;
    expect(said).toEqual([
      expect.stringContaining("TensorFlow does not see this machine's NVIDIA A100-SXM4-80GB, so this runs on the CPU"),
      expect.stringMatching(
        /^This run needs about [\d.]+ GB of memory, but there are only [\d.]+ GB; try .*--batch_size/,
      ),
    ]);
  });

  test("gives a hint, once, when the loss does not fall", async () => {
    const flags = ["--max_iters=300", "--eval_interval=100", "--warmup_iters=0", "--learning_rate=0", "--min_lr=0"];
    const { code, out } = await folio("train", ...tiny("flat", ...flags, "--log_interval=100"));
    expect(code).toBe(0);
    const hints = out.split("\n").filter((line) => line.startsWith("hint: "));
    expect(hints).toEqual([
      expect.stringMatching(
        /^hint: the training loss does not fall \(3\.\d\d at step 0, 3\.\d\d at step 100\): try a tenth or /,
      ),
    ]);
  });

  test("a folder with a run is not overwritten unless requested", async () => {
    const flags = tiny("kept", "--max_iters=1");
    expect((await folio("train", ...flags)).code).toBe(0);
    const again = await folio("train", ...flags);
    expect(again.code).toBe(1);
    expect(again.err).toContain("--overwrite");
    expect((await folio("train", ...flags, "--overwrite")).code).toBe(0);
  });
});

describe("folio start", () => {
  const flags = tiny("started", "--max_iters=6", "--eval_interval=3");
  const report = join(folder, "started", "report.html");

  test("trains, samples, compares the loss with n-gram counts, writes the report and the model's page and prints their paths", async () => {
    const { code, out, err } = await folio("start", ...flags);
    expect([code, err]).toEqual([0, ""]);
    expect(out).toMatch(/^Training on fox: 6 steps$/m);
    expect(out.split("\n---------------\n").length).toBe(4);
    const losses =
      /unigram model +(\d\.\d{4})\n +bigram model +(\d\.\d{4})\n +trigram model +(\d\.\d{4})\n +this GPT, step 6 +(\d\.\d{4})\n/;
    const [unigram, bigram, trigram, gpt] = losses.exec(out)!.slice(1).map(Number) as [number, number, number, number];
    expect(unigram > bigram && bigram > trigram && gpt > 1).toBe(true);
    expect(out).toContain("It does not beat the trigram model yet");
    const page = join(folder, "started", "model.html");
    const last = out.trimEnd().split("\n");
    expect([last.at(-4), last.at(-1)]).toEqual([report, page]);
    expect(readFileSync(report, "utf8")).toContain("fox");
    expect(readFileSync(page, "utf8")).toContain("<title>started</title>");
  });

  test("called again, it samples and reports without training; --overwrite trains anew", async () => {
    rmSync(report);
    const again = await folio("start", ...flags);
    expect(again).toMatchObject({ code: 0, err: "" });
    expect(again.out).toContain("is finished");
    expect(again.out).not.toContain("iter 0:");
    expect(existsSync(report)).toBe(true);
    const other = await folio("start", ...flags, "--seed=2");
    expect([other.code, other.err]).toEqual([1, expect.stringContaining("it already has a run")]);
    expect(other.err).toMatch(
      /at step 6, with other settings \(seed 1337 there, 2 here\)\. Continue it \(--init_from=resume\)/,
    );
    const longer = await folio("start", ...flags, "--init_from=resume", "--max_iters=7", "--log_interval=2");
    expect([longer.code, longer.err]).toEqual([0, ""]);
    expect(longer.out).toContain("iter 6: ");
    expect((await folio("start", ...flags, "--overwrite")).out).toContain("iter 0:");
  });

  test("prepares a missing corpus, and lists the known ones for an unknown name", async () => {
    const dataDir = join(folder, "empty");
    const named = await folio("start", ...tiny("x", `--data_dir=${dataDir}`, "--dataset=nothing_like_it"));
    expect([named.code, named.err]).toEqual([1, expect.stringContaining("shakespeare, shakespeare_char, typescript")]);
    const prepared = await folio("start", ...tiny("x", `--data_dir=${dataDir}`, "--dataset=typescript", "--eval_only"));
    expect(prepared).toMatchObject({ code: 0, err: "" });
    expect(prepared.out).toMatch(/^Preparing typescript\nreading lib\.dom\.d\.ts/m);
    expect(prepared.out).toContain("step 0: train loss");
  });
});

describe("Ctrl-C", () => {
  test("saves and prints the command that resumes; the resumed run ends as if it had not been stopped", async () => {
    const flags = tiny("stopped", "--max_iters=100000", "--eval_interval=100000");
    const child = spawnFolio("train", ...flags);
    await child.seen(/^iter 5: /m);
    child.kill("SIGINT");
    expect(await ended(child)).toEqual({ code: 130, signal: null });
    const step = Number(/stopped at step (\d+) of 100000, saved/.exec(child.output())?.[1]);
    expect(step).toBeGreaterThan(5);
    const command = `npx folio train ${flags.join(" ")} --init_from=resume`;
    expect(child.output()).toContain(`Resume with:\n  ${command}\n`);

    const more = step + 3;
    const argv = [...command.split(" ").slice(4), `--max_iters=${more}`];
    const resumed = await folio("train", ...argv);
    expect(resumed.code).toBe(0);
    expect(resumed.out).toContain(`Resuming training from ${join(folder, "stopped")} (step ${step})`);
    await folio("train", ...tiny("straight", `--max_iters=${more}`, "--eval_interval=100000"));
    const losses = (name: string) =>
      readRunLog(join(folder, name)).flatMap((record) => (record.kind === "iter" ? [record.loss] : []));
    expect(losses("stopped")).toEqual(losses("straight"));
  });

  test("twice stops at once, without saving", async () => {
    // The child sends the second Ctrl-C before its batch ends; sent from here, it might be too late.
    process.env.INTERRUPT_AGAIN = "1";
    const child = spawnFolio("train", ...tiny("twice", "--max_iters=100000", "--eval_interval=100000"));
    delete process.env.INTERRUPT_AGAIN;
    await child.seen(/^iter 0: /m);
    child.kill("SIGINT");
    expect(await ended(child)).toEqual({ code: null, signal: "SIGINT" });
    expect(child.output()).toMatch(
      /SIGINT: finishing this batch, then saving \(Ctrl-C again: stop at once, without saving\)/,
    );
    expect(existsSync(join(folder, "twice", "checkpoint"))).toBe(false);
  });

  test("SIGTERM, as a scheduler sends it, saves too", async () => {
    const child = spawnFolio("train", ...tiny("terminated", "--max_iters=100000", "--eval_interval=100000"));
    await child.seen(/^iter 2: /m);
    child.kill("SIGTERM");
    expect(await ended(child)).toEqual({ code: 143, signal: null });
    expect(readFileSync(join(folder, "terminated", "checkpoint", "last"), "utf8")).toMatch(/^step-/);
  });
});
