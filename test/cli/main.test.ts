import { mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test, vi } from "vitest";
import { main } from "../../lib/cli/main.js";
import { printSamples, readPrompt } from "../../lib/cli/sample.js";
import { printable } from "../../lib/cli/shared/output.js";
import { duration, openProgress, progressText, styled, table, withFlags } from "../../lib/cli/shared/terminal.js";
import { logLines, resumeCommand, signOfLife } from "../../lib/cli/train.js";
import { folioVersion } from "../../lib/host/package.js";
import { defaultSettings, parseSettings, settingRows } from "../../lib/settings/settings.js";

const folder = mkdtempSync(join(tmpdir(), "folio-cli-"));
afterAll(() => rmSync(folder, { recursive: true }));

function screen(terminal: { isTTY?: boolean; columns?: number } = {}) {
  let text = "";
  return { ...terminal, write: (more: string) => (text += printable(more)), text: () => text };
}

async function folio(...argv: string[]) {
  const [stdout, stderr] = [screen(), screen()];
  const code = await main(argv, { stdout, stderr });
  return { code, out: stdout.text(), err: stderr.text() };
}

const commands = [
  "start",
  "prepare",
  "train",
  "sample",
  "bench",
  "export",
  "eval",
  "sizes",
  "runs",
  "scaling",
  "doctor",
];

describe("main()", () => {
  test("folio, folio help and folio --help list the commands", async () => {
    const texts = [await folio(), await folio("help"), await folio("--help"), await folio("help", "help")];
    for (const { code, out, err } of texts) {
      expect(code).toBe(0);
      expect(err).toBe("");
      for (const name of [...commands, "setup", "help"]) {
        expect(out).toMatch(new RegExp(`^ {2}${name} `, "m"));
      }
    }
  });

  test.each(commands)("folio %s --help says how to call it", async (name) => {
    const direct = await folio(name, "--help");
    expect(direct).toEqual(await folio("help", name));
    expect(direct).toMatchObject({ code: 0, err: "" });
    expect(direct.out).toContain("Usage: ");
    expect(direct.out.split("\n").every((line) => line.length <= 120)).toBe(true);
  });

  test("folio train --help begins with the settings that people change first, then lists every setting", async () => {
    const { out } = await folio("train", "n_layer=4", "--help");
    const [first] = out.split("\nRun:\n");
    expect([...first!.matchAll(/^ {2}--(\w+)=/gm)].map(([, flag]) => flag)).toEqual([
      ...["dataset", "out_dir", "init_from", "max_iters", "batch_size", "block_size", "n_layer", "n_head", "n_embd"],
      ...["dropout", "learning_rate", "device", "dtype"],
    ]);
    expect(first).toContain("  --n_layer=12              Transformer blocks, one after the other.\n");
    for (const key of Object.keys(settingRows("train"))) {
      expect(out).toContain(`--${key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}=`);
    }
  });

  test("folio --version prints the package's version", async () => {
    expect(await folio("--version")).toEqual({ code: 0, out: `${folioVersion()}\n`, err: "" });
  });

  test.each([
    ["trian", "There is no command trian; did you mean `folio train`?"],
    ["run", "There is no command run; did you mean `folio runs`?"],
    ["somethingelse", "There is no command somethingelse; `folio help` lists the commands."],
    ["constructor", "There is no command constructor"],
  ])("folio %s fails with code 2, naming the nearest command", async (name, message) => {
    const { code, out, err } = await folio(name);
    expect([code, out]).toEqual([2, ""]);
    expect(err).toContain(`folio: ${message}`);
  });

  test.each<[string[], string]>([
    [["train", "--n_layr=4"], "folio: Cannot read --n_layr: there is no setting n_layr; did you mean --n_layer?\n"],
    [
      ["train", "--n_embd=130", "--n_head=4"],
      "folio: Cannot build the model: --n_embd 130 is not divisible by --n_head 4;",
    ],
    [["train", "nowhere.ts"], "folio: Cannot read the config file nowhere.ts: there is no such file"],
    [["train", `--data_dir=${folder}`, "--dataset=none"], "folio: Cannot train on none: "],
    [["start", "--n_layr=4"], "did you mean --n_layer?"],
    [["start", "--dataset=shakspeare_char", `--data_dir=${folder}`], "did you mean shakespeare_char?"],
    [["sample", "--n_layer=4"], "n_layer is a setting of `folio train`, not of `folio sample`"],
    [["sample", `--out_dir=${folder}/none`], "folio: Cannot find a checkpoint"],
    [["sample", "--start=FILE:nowhere.txt"], "folio: Cannot read the text nowhere.txt"],
    [["prepare"], "folio: Cannot prepare: no dataset is named; wanted one of "],
    [["prepare", "shakespear_char"], "did you mean shakespeare_char? The datasets are "],
    [["prepare", "../lib"], "there is no dataset of that name"],
    [["prepare", "typescript", "--sorce=x"], "folio: Cannot prepare: there is no flag --sorce; did you mean --source?"],
    [["prepare", "typescript", "--source"], "folio: Cannot prepare: --source has no value"],
    [["runs", `${folder}/none`], "folio: Cannot list runs: there is no folder"],
    [["runs", "--jsn"], "folio: Cannot list runs: there is no flag --jsn"],
  ])("folio %j fails with code 1 and one line", async (argv, message) => {
    const { code, err } = await folio(...argv);
    expect(code).toBe(1);
    expect(err).toContain(message);
    expect(err.trimEnd()).not.toContain("\n");
  });
});

describe("the log lines", () => {
  const settings = parseSettings({ nLayer: 4, nHead: 4, nEmbd: 128, blockSize: 64, vocabSize: 65, logInterval: 10 });
  const groups = { decayed: { tensors: 18, parameters: 802_944 }, undecayed: { tensors: 9, parameters: 1152 } };
  const sizes = { parameters: 804_096, parametersWithoutPositions: 795_904, flopsPerToken: 5e6, tokensPerStep: 768 };
  const start = { kind: "start", step: 0, runId: "", ...sizes, ...groups } as const;

  test("are nanoGPT's", () => {
    const lines = logLines({ ...start, device: "cpu", dtype: "float32", compiled: true }, settings);
    expect(lines).toContain("tokens per iteration will be: 768");
    expect(lines).toContain("Initializing a new model from scratch");
    expect(lines).toContain("number of parameters: 0.80M");
    expect(lines).toContain("num decayed parameter tensors: 18, with 802,944 parameters");
    expect(lines).toContain("num non-decayed parameter tensors: 9, with 1,152 parameters");
    const machine = { device: "cpu", dtype: "float32", compiled: true };
    expect(logLines({ ...start, ...machine, resumedFrom: "out/checkpoint/step-1", step: 1 }, settings)[1]).toBe(
      "Resuming training from out (step 1)",
    );
    for (const [initFrom, line] of [
      ["gpt2-xl", "Initializing from OpenAI GPT-2 weights: gpt2-xl"],
      ["out-a", "Initializing from the weights of out-a"],
    ] as const) {
      expect(logLines({ ...start, ...machine, initFrom }, settings)[1]).toBe(line);
    }
    const evaluated = {
      kind: "eval",
      step: 250,
      trainLoss: 2.4,
      valLoss: 2.40004,
      learningRate: 6e-4,
      best: true,
    } as const;
    const line = "step 250: train loss 2.4000, val loss 2.4000";
    expect(logLines(evaluated, settings)).toEqual([line, "learning rate 6.00e-4"]);
    expect(logLines(evaluated, { ...settings, evalOnly: true })).toEqual([line]);
    const saved = { kind: "checkpoint", step: 250, path: "out/checkpoint/x", best: true } as const;
    expect(logLines(saved, settings)).toEqual(["saving checkpoint to out"]);
  });

  test("match the usual patterns for nanoGPT's logs", () => {
    const iter = { kind: "iter", step: 10, loss: 2.34564, learningRate: 0, gradNorm: 1, elapsedMs: 12.341 } as const;
    const record = { ...iter, tokens: 0, tokensPerSecond: 1 };
    const [line] = logLines(record, settings);
    const match = /^iter (\d+): loss (\d+\.\d{4}), time (\d+\.\d{2})ms, mfu (-?\d+\.\d{2})%$/.exec(line!);
    expect(match?.slice(1, 4)).toEqual(["10", "2.3456", "12.34"]);
    // nanoGPT writes -100 % if the value is unknown.
    expect(line).toMatch(/mfu -100\.00%$/);
    expect(logLines(record, settings, 0.3714)[0]).toMatch(/mfu 37\.14%$/);
    expect(logLines({ ...record, step: 11 }, settings)).toEqual([]);
  });
});

describe("resumeCommand()", () => {
  test.each<[string[], string]>([
    [[], "npx folio train --init_from=resume"],
    [
      ["configs/cpu_demo.ts", "--n_layer", "2", "--wandb_run_name=it's mine"],
      "npx folio train configs/cpu_demo.ts --n_layer 2 '--wandb_run_name=it'\\''s mine' --init_from=resume",
    ],
    [["--init_from=scratch", "--initFrom", "scratch", "a.ts"], "npx folio train a.ts --init_from=resume"],
    [["--overwrite", "True", "--overwrite", "--overwrite=True", "a.ts"], "npx folio train a.ts --init_from=resume"],
  ])("of %j", (args, command) => expect(resumeCommand("train", args)).toBe(command));
});

describe("the terminal", () => {
  test("colour is for terminals, and NO_COLOR switches it off", () => {
    const before = process.env.NO_COLOR;
    delete process.env.NO_COLOR;
    expect(printable(styled(screen({ isTTY: true }), "red", "x"))).toBe("\x1b[31mx\x1b[39m");
    expect(styled(screen(), "red", "x")).toBe("x");
    process.env.NO_COLOR = "1";
    expect(styled(screen({ isTTY: true }), "red", "x")).toBe("x");
    if (before === undefined) delete process.env.NO_COLOR;
    else process.env.NO_COLOR = before;
  });

  test("the progress line fits the width and shows a bar if there is room", () => {
    const rest = "loss 2.3456  20,112 tokens/s  1:02 left";
    for (const columns of [10, 20, 40, 60, 80, 200]) {
      expect(progressText(900, 2000, rest, columns).length).toBeLessThan(columns);
    }
    expect(progressText(900, 2000, rest, 100)).toMatch(/^█+░+ {2}45 % {2}900\/2000 {2}loss/);
    expect(progressText(900, 2000, rest, 60)).toMatch(/^45 %/);
    expect(progressText(0, 0, rest, 80)).toContain("0 %");
    expect(progressText(3, Number.POSITIVE_INFINITY, "a step", 5)).toBe("a st");
  });

  test("the progress line stays below the log, at most ten times per second, and goes away", () => {
    let now = 0;
    const output = screen({ isTTY: true, columns: 80 });
    const progress = openProgress(output, () => now);
    progress.line("first");
    progress.update(1, 2, "a");
    now = 50;
    progress.update(1, 2, "dropped");
    progress.line("second");
    now = 200;
    progress.update(2, 2, "b");
    progress.close();
    progress.close();
    expect(output.text()).not.toContain("dropped");
    expect(output.text()).toMatch(/^first\n\r.\[K.* 50 %.*a\r.\[Ksecond\n.* 50 %.*a\r.\[K.*100 %.*b\r.\[K$/);
  });

  test("without a terminal, there are only plain lines", () => {
    const output = screen();
    const progress = openProgress(output);
    progress.update(1, 2, "a");
    progress.line("first");
    progress.close();
    expect(output.text()).toBe("first\n");
  });

  test("without a progress line, there is at least one line per minute", () => {
    let now = 0;
    for (const isTTY of [false, true]) {
      const output = screen({ isTTY, columns: 80 });
      const progress = openProgress(output, () => now);
      progress.line("first");
      for (const seconds of [30, 61, 90, 122]) {
        now += 1000 * (seconds - (now % 1_000_000) / 1000);
        progress.stillAt(`at ${seconds}`);
      }
      progress.close();
      expect(output.text()).toBe(isTTY ? "first\n" : "first\nat 61\nat 122\n");
      now = 1_000_000;
    }
  });

  test("a training without output for some seconds says what it is doing, and for how long", () => {
    vi.useFakeTimers();
    try {
      const told: string[] = [];
      const life = signOfLife(
        { maxIters: 9 },
        { update: (step, _, text) => told.push(`${step} ${text}`), stillAt() {} },
      );
      vi.advanceTimersByTime(2000);
      expect(told).toEqual([]);
      vi.advanceTimersByTime(2000);
      life.now(3, "after iter");
      vi.advanceTimersByTime(61_000);
      life.close();
      vi.advanceTimersByTime(9000);
      expect([told[0], told.at(-1)]).toEqual(["0 making the model: 0:03", "3 after iter: 1:01"]);
    } finally {
      vi.useRealTimers();
    }
  });

  test("messages name flags instead of settings, and leave paths and files unchanged", async () => {
    for (const [message, flags] of [
      ['Go on (initFrom: "resume"), choose another outDir.', "Go on (--init_from=resume), choose another --out_dir."],
      ['use compile: true, seed: 5 or start: "a b"', "use --compile=True, --seed=5 or --start='a b'"],
      ["nEmbd 130; maxIters 5 there, 7 here", "--n_embd 130; --max_iters 5 there, 7 here"],
      ["see /tmp/outDir/x and outDir-2, seeds: many", "see /tmp/outDir/x and outDir-2, seeds: many"],
      ["Cannot read a.json: nLayer is 0", "Cannot read a.json: nLayer is 0"],
      ["Cannot read --n-layer: nLayer is 0; wanted", "Cannot read --n-layer: it is 0; wanted"],
      [
        "Cannot read --x: there is no setting x; did you mean nLayer?",
        "Cannot read --x: there is no setting x; did you mean --n_layer?",
      ],
      ["batchSize: 8, gradClip: 0.5.", "--batch_size=8, --grad_clip=0.5."],
      ["burnIn is 0; realData: false; steps: 3", "--burn_in is 0; --real_data=False; steps: 3"], // of bench
    ]) {
      expect(await withFlags(message!)).toBe(flags);
    }
  });

  test.each([
    [0, "0:00"],
    [62_400, "1:02"],
    [3_725_000, "1:02:05"],
  ])("duration(%d) is %s", (elapsedMs, text) => {
    expect(duration(elapsedMs)).toBe(text);
  });

  test("table() aligns numbers right", () => {
    expect(
      table(
        ["name", "step"],
        [
          ["a", "10"],
          ["bcdefg", "9"],
        ],
      ),
    ).toEqual(["name    step", "a         10", "bcdefg     9"]);
  });
});

describe("samples", () => {
  test("are printed in order with nanoGPT's dashes, prompts included", async () => {
    async function* tokens() {
      for (const [sample, text] of [
        [0, "a"],
        [1, "x"],
        [0, "b"],
        [1, "y"],
      ] as const)
        yield { sample, token: 0, text };
    }
    const stdout = screen();
    const texts = await printSamples(tokens(), { numSamples: 2 }, ">", { stdout, stderr: stdout });
    expect(texts).toEqual([">ab", ">xy"]);
    expect(stdout.text()).toBe(">ab\n---------------\n>xy\n---------------\n");
  });

  test("readPrompt() reads FILE:path and returns any other text unchanged", () => {
    writeFileSync(join(folder, "prompt.txt"), "once\nupon");
    expect(readPrompt(`FILE:${join(folder, "prompt.txt")}`)).toBe("once\nupon");
    expect(readPrompt("file:x")).toBe("file:x");
  });
});

describe("folio runs", () => {
  const runs = join(folder, "runs");
  function run(name: string, settings: object, records: object[], ageMs = 0): string {
    const path = join(runs, name);
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, "config.json"), JSON.stringify({ ...defaultSettings, outDir: name, ...settings }));
    writeFileSync(join(path, "log.jsonl"), records.map((record) => `${JSON.stringify(record)}\n`).join(""));
    const at = new Date(Date.now() - ageMs);
    utimesSync(join(path, "log.jsonl"), at, at);
    return path;
  }
  const decayed = { tensors: 1, parameters: 1 };
  const how = { device: "cpu", dtype: "float32", compiled: true };
  const counts = { parameters: 804_096, parametersWithoutPositions: 795_904, flopsPerToken: 5e6, tokensPerStep: 768 };
  const start = { kind: "start", step: 0, runId: "0123456789abcdef", ...counts, decayed, undecayed: decayed, ...how };
  const rate = { learningRate: 1e-3 };
  const evaluation = (step: number, valLoss: number) => {
    return { kind: "eval", step, trainLoss: valLoss - 0.1, valLoss, ...rate, best: true };
  };
  const iter = (step: number, tokensPerSecond: number) => {
    return { kind: "iter", step, loss: 2, ...rate, gradNorm: 1, elapsedMs: 1, tokens: 1, tokensPerSecond };
  };
  const end = (step: number, reason: string) => ({ kind: "end", step, reason, bestValLoss: 2, trainedMs: 1 });

  const a = run(
    "a",
    { maxIters: 20 },
    [start, evaluation(0, 4), evaluation(10, 2.5), iter(10, 9000), evaluation(20, 3), end(20, "finished")],
    9e6,
  );
  const b = run(
    "deep/b",
    { maxIters: 20, learningRate: 1e-3 },
    [start, evaluation(0, 4), iter(6, 1000), end(7, "aborted")],
    8e6,
  );
  run("killed", {}, [start, evaluation(0, 4), iter(6, 1000)], 7e6);
  run("going", {}, [start]);
  run("too/deep/here", {}, [start]);

  test("lists runs two levels deep, the newest first, with state, step and losses", async () => {
    const { code, out } = await folio("runs", runs);
    expect(code).toBe(0);
    const lines = out.trimEnd().split("\n");
    expect(lines.length).toBe(5);
    expect(lines[1]).toMatch(/going +running\? +0\/600000 +- +- +- +0\.80M +-/);
    expect(lines[2]).toMatch(/killed +interrupted +7\/600000 +3\.9000 +4\.0000 +4\.0000/);
    expect(lines[3]).toMatch(/deep\/b +interrupted +7\/20/);
    expect(lines[4]).toMatch(/a +finished +20\/20 +2\.9000 +3\.0000 +2\.5000 +0\.80M +9,000 /);
  });

  test("compares named runs: settings that differ", async () => {
    const { out } = await folio("runs", a, b);
    expect(out).toMatch(/^learningRate +0\.0006 +0\.001$/m);
    expect(out).not.toMatch(/^outDir|^maxIters/m);
    expect((await folio("runs", a, a)).out).not.toContain("learningRate");
    const same = run("same", { maxIters: 20 }, [start], 9e6);
    expect((await folio("runs", a, same)).out).toContain("The settings are the same.");
    rmSync(same, { recursive: true });
  });

  test("--report writes the report of each named run, only from its log", async () => {
    const speed = { elapsedMs: 80, tokensPerSecond: 9600, learningRate: 1e-3, gradNorm: 1, tokens: 768 };
    const told = run("told", { maxIters: 1 }, [
      { ...start, device: "cpu" },
      evaluation(0, 4),
      { ...iter(0, 9600), ...speed },
    ]);
    const file = join(told, "report.html");
    expect(await folio("runs", told, "--report")).toMatchObject({ code: 0, out: `${file}\n`, err: "" });
    expect(readFileSync(file, "utf8")).toContain("<title>Training report: openwebtext");
    expect((await folio("runs", runs, "--report")).err).toMatch(
      /name the folder of a run, as in `folio runs \S+ --report`/,
    );
    expect((await folio("runs", "--report")).code).toBe(1);
    rmSync(told, { recursive: true });
  });

  test("--json prints what it found", async () => {
    const [found] = JSON.parse((await folio("runs", a, "--json")).out);
    expect(found).toMatchObject({ state: "finished", step: 20, bestValLoss: 2.5, settings: { maxIters: 20 } });
  });

  test("says if there are no runs, or if a config.json is damaged", async () => {
    mkdirSync(join(folder, "empty"));
    expect((await folio("runs", join(folder, "empty"))).out).toContain("There are no runs in");
    const damaged = run("damaged", {}, [start]);
    writeFileSync(join(damaged, "config.json"), "{");
    const { code, out } = await folio("runs", runs);
    expect([code, out.split("\n").length]).toEqual([0, 8]);
    expect(out).toMatch(/damaged +damaged +0\/0/);
    expect(out).toMatch(/^Cannot read \S*damaged.config\.json: .*JSON/m);
    const [found] = JSON.parse((await folio("runs", damaged, "--json")).out);
    expect(found).toMatchObject({ state: "damaged", problems: [expect.stringContaining("config.json")] });
    for (const content of ["null", "[1]"]) {
      writeFileSync(join(damaged, "config.json"), content);
      expect((await folio("runs", damaged)).out).toMatch(/config\.json: .* is not an object of settings/);
    }
    rmSync(damaged, { recursive: true });
  });
});
