import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { describe, expect, it, test } from "vitest";
import type { BenchResult, ModeResult } from "../../lib/bench/bench.js";
import { describeResult } from "../../lib/cli/bench.js";
import { main } from "../../lib/cli/main.js";
import { parseBenchSettings } from "../../lib/settings/settings.js";
import { ended, startChild, temporaryFolder, writeFox } from "../tiny-run.js";

const folder = temporaryFolder();
writeFox(folder);

const shape = ["--n_layer=1", "--n_head=2", "--n_embd=8", "--block_size=8", "--batch_size=2", `--data_dir=${folder}`];
const short = ["--dataset=fox", "--burn_in=2", "--steps=4", "--rounds=2", "--dtype=float32"];

async function folio(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const stream = (append: (text: string) => void) => ({ write: append, isTTY: false });
  const io = {
    stdout: stream((text) => {
      out += text;
    }),
    stderr: stream((text) => {
      err += text;
    }),
  };
  return { code: await main(["bench", ...args], io), out, err };
}

describe("folio bench", () => {
  it("prints a table and writes JSON, charts and a trace into out_dir", async () => {
    const outDir = path.join(folder, "out");
    const { code, out, err } = await folio(...shape, ...short, "--profile", `--out_dir=${outDir}`);
    expect(err).toBe("");
    expect(code).toBe(0);
    expect(out).toMatch(/^model: 1L 2H 8, batch 2 × 8, vocabulary 28, 0\.00M parameters without positions$/m);
    expect(out).toMatch(/^per step: 16 tokens of fox, \S+ GFLOP by 6N \+ 12·L·H·Q·T per token$/m);
    expect(out).toMatch(/^matrix products reach [\d,]+ GFLOP\/s float32 \(1024³\)$/m);
    expect(out).toMatch(/^mode +dtype +ms\/step +min +quartiles +tokens\/s +GFLOP\/s +% of peak +MiB/m);
    expect(out).toMatch(/^Folio compiled +float32 +[\d.]+ +[\d.]+ +[\d.]+ - [\d.]+ +[\d,]+ +[\d.]+ +[\d.]+ +[\d,]+/m);
    expect(out).toMatch(/^operation +count +thread ms +%$/m);
    expect(out).toMatch(/^part of the model +count/m);
    expect(out.split("\n").at(-2)).toMatch(/^wrote .*bench\.json, .*bench\.svg, .*bench\.html, .*trace-/);
    const result = JSON.parse(fs.readFileSync(path.join(outDir, "bench.json"), "utf8"));
    expect(result.modes).toMatchObject([{ engine: "folio", compiled: true, dtype: "float32" }]);
    expect(result.profiles[0].parts[0]).toMatchObject({ name: expect.any(String), micros: expect.any(Number) });
    expect(fs.readFileSync(path.join(outDir, "bench.svg"), "utf8")).toMatch(/^<svg/);
    expect(fs.readFileSync(path.join(outDir, "bench.html"), "utf8")).toMatch(/^<!doctype html>/);
    const trace = JSON.parse(fs.readFileSync(path.join(outDir, "trace-folio-compiled-float32.json"), "utf8"));
    expect(trace.traceEvents.length).toBeGreaterThan(50);
  });

  it("reads presets, and writes nothing into the folder of the run that they name", async () => {
    const config = path.join(folder, "preset.json");
    const outDir = path.join(folder, "run");
    fs.writeFileSync(config, JSON.stringify({ outDir, compile: false, top_k: 5, n_layer: 7 }));
    const { code, out } = await folio(config, ...shape, ...short, "--steps=1", "--burn_in=1");
    expect(code).toBe(0);
    expect(out).toContain(`Overriding config with ${config}`);
    expect(out).toMatch(/^Folio eager +float32/m);
    expect(fs.existsSync(outDir)).toBe(false);
  });

  it.each([
    [
      ["--dtype=float8"],
      'Cannot read --dtype: it is "float8"; wanted one or more of auto, float32, bfloat16, float16, separated by commas.',
    ],
    [["--compile=twice"], 'Cannot read --compile: it is "twice", text; wanted true, false or both.'],
    [["--devices=1,0"], 'Cannot read --devices: it is "1,0"; wanted numbers from 1 to 1,024, separated by commas.'],
    [["--steps=0"], "Cannot read --steps: it is 0; wanted a whole number of at least 1 (steps)."],
    [["--stepz=3"], "Cannot read --stepz: there is no setting stepz; did you mean --steps?"],
    [["--n_head=3", "--n_embd=8"], "--n_embd 8 is not divisible by --n_head 3"],
    [["--chart=bench.png"], "Cannot draw bench.png: a chart is a file that ends in .svg or .html."],
    [["--json=/nowhere/bench.json"], "Cannot write /nowhere/bench.json: there is no folder /nowhere; make it,"],
    [["--top_k=4"], "top_k is a setting of `folio sample`, not of `folio bench`."],
  ])("%j is one clear message", async (args, message) => {
    const { code, err, out } = await folio(...args);
    expect(code).toBe(1);
    expect(err).toContain(message);
    expect(err.trimEnd()).not.toContain("\n");
    expect(out).toBe("");
  });

  it("reports an error of a measuring process", async () => {
    const { code, err } = await folio(...shape, ...short, "--dtype=bfloat16", "--compile=False");
    expect(code).toBe(1);
    expect(err).toMatch(/^folio: Cannot use dtype bfloat16 eagerly/);
    expect(err.trimEnd()).not.toContain("\n");
  });

  it("ends at Ctrl-C with 130 and writes nothing", async () => {
    const json = path.join(folder, "stopped.json");
    const code = `
      const { main } = await load("lib/cli/main.ts");
      const terminal = { write: (text) => process.stdout.write(text), isTTY: true };
      process.exitCode = await main(argument, { stdout: terminal, stderr: terminal });`;
    const child = startChild(code, ["bench", ...shape, ...short, "--steps=1000000", `--json=${json}`]);
    // Once it shows progress, it listens for signals.
    while (!child.output() && child.exitCode === null) await setTimeout(20);
    child.kill("SIGINT");
    expect(await ended(child)).toMatchObject({ code: 130 });
    expect(child.output()).toContain("stopped: nothing was written.");
    expect(fs.existsSync(json)).toBe(false);
  });
});

test("the table of a result has each mode's numbers under their units, and ratios with their intervals", () => {
  const mode = (engine: "folio" | "pytorch", compiled: boolean, ms: number): ModeResult => ({
    ...{
      engine,
      compiled,
      dtype: "float32",
      devices: 1,
      version: engine === "folio" ? "TensorFlow 9" : "PyTorch 8",
      rounds: [[ms]],
    },
    ...{
      medianMs: ms,
      minMs: ms - 1,
      quartilesMs: [ms - 0.5, ms + 0.75],
      tokensPerSecond: 1e6 / ms,
      gigaflops: 3000 / ms,
    },
    ...{
      shareOfPeak: 10 / ms,
      mfu: undefined,
      peakBytes: 300 * 2 ** 20,
      startPeakBytes: 700 * 2 ** 20,
      firstStepMs: 2345,
    },
    burnInLoss: 3,
  });
  const settings = { nLayer: 3, nHead: 2, nEmbd: 10, blockSize: 7, batchSize: 5, vocabSize: 13 };
  const result: BenchResult = {
    ...{
      date: "",
      folio: "1.2",
      node: "22",
      device: "a processor",
      data: "fox",
      parameters: 2_345_678,
      tokensPerStep: 35,
    },
    ...{ settings: parseBenchSettings(settings), flopsPerToken: 4e9, profiles: [], notes: ["mind the load"] },
    machine: { cpu: "x", cores: 4, memoryGiB: 8, loadBefore: 0.5 },
    peaks: [{ dtype: "float32", size: 1024, gigaflops: 1234.4 }],
    modes: [mode("folio", true, 20), mode("pytorch", false, 150), { ...mode("folio", true, 25), devices: 2 }],
    devices: [
      {
        ...{ dtype: "float32", devices: 2, medianMs: 25, efficiency: 0.8, low: 0.7512, high: 0.849 },
        ...{ bytesSent: 12_340_000, meanMs: 7.5, apartMs: 22, hidden: 0.6, predictedMs: 23.5 },
      },
    ],
    ratios: [
      {
        dtype: "float32",
        folio: "Folio compiled float32",
        pytorch: "PyTorch eager float32",
        ratio: 7.5,
        low: 7.1234,
        high: 8.0127,
      },
    ],
  };
  const lines = describeResult(result, { stdout: { write: () => true }, stderr: { write: () => true } });
  const cells = (start: RegExp) =>
    lines
      .find((line) => start.test(line))!
      .trim()
      .split(/ {2,}/);
  expect(lines[0]).toBe("model: 3L 2H 10, batch 5 × 7, vocabulary 13, 2.35M parameters without positions");
  expect(lines[1]).toMatch(/35 tokens of fox, 140 GFLOP by .*6N/);
  expect(lines[2]).toBe("machine: a processor, 4 cores, load 0.5 before; Folio 1.2, TensorFlow 9, PyTorch 8, Node 22");
  expect(lines[3]).toBe("matrix products reach 1,234 GFLOP/s float32 (1024³)");
  expect(cells(/^mode /)).toEqual([
    ...["mode", "dtype", "ms/step", "min", "quartiles", "tokens/s", "GFLOP/s", "% of peak", "MiB", "MiB at start"],
    "first step s",
  ]);
  expect(cells(/^Folio compiled, 2 devices/).slice(0, 3)).toEqual(["Folio compiled, 2 devices", "float32", "25.00"]);
  expect(cells(/^devices/)).toEqual([
    ...["devices", "dtype", "efficiency", "95 % interval", "MB sent by each", "mean alone ms", "step without ms"],
    ...["hidden %", "step ms", "by the model"],
  ]);
  expect(cells(/^ *2 /)).toEqual([
    "2",
    "float32",
    "0.800",
    "0.751 - 0.849",
    "12.3",
    "7.50",
    "22.00",
    "60",
    "25.00",
    "23.50",
  ]);
  expect(cells(/^Folio compiled +float32/)).toEqual([
    ...[
      "Folio compiled",
      "float32",
      "20.00",
      "19.00",
      "19.50 - 20.75",
      "50,000",
      "150.0",
      "50.0",
      "300",
      "700",
      "2.35",
    ],
  ]);
  expect(cells(/^PyTorch eager +float32 +150/)).toEqual([
    ...["PyTorch eager", "float32", "150.0", "149.0", "149.5 - 150.8", "6,667", "20.0", "6.7", "300", "700", "2.35"],
  ]);
  expect(cells(/^speed over PyTorch/)).toEqual([
    "speed over PyTorch",
    "95 % interval",
    "Folio's best",
    "PyTorch's best",
  ]);
  expect(cells(/^float32/)).toEqual(["float32", "7.500", "7.123 - 8.013", "compiled float32", "eager float32"]);
  expect(lines.at(-1)).toBe("note: mind the load");
});
