import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { type BenchRecord, type BenchResult, bench, modeName } from "../../lib/bench/bench.js";
import { startWorker } from "../../lib/bench/protocol.js";
import { median, medianRatio, quantile } from "../../lib/host/statistics.js";
import { countParameters } from "../../lib/model/sizing.js";
import { type BenchSettings, parseBenchSettings, parseSettings } from "../../lib/settings/settings.js";
import { needs } from "../needs.js";
import { runsSource, temporaryFolder, writeFox } from "../tiny-run.js";

const folder = temporaryFolder();
writeFox(folder);
const waiting = { timeout: 300_000, interval: 100 };

const tiny = (overrides: Partial<BenchSettings> = {}) =>
  parseBenchSettings({
    dataDir: folder,
    dataset: "fox",
    nLayer: 1,
    nHead: 2,
    nEmbd: 8,
    blockSize: 8,
    batchSize: 2,
    burnIn: 2,
    steps: 4,
    rounds: 2,
    dtype: "float32",
    ...overrides,
  });

async function resultOf(settings: Readonly<BenchSettings>): Promise<BenchResult> {
  const records: BenchRecord[] = [];
  for await (const record of bench(settings)) records.push(record);
  const last = records.at(-1)!;
  if (last.kind !== "result") throw new Error("no result");
  return last.result;
}

interface Fake {
  /** Times of the steps, over and over, of an eager and of a compiled process. */
  readonly eager?: readonly number[];
  readonly compiled?: readonly number[];
  readonly fails?: boolean;
}

/** What is started as Python: it answers the protocol with the times that it is told, and writes down what it was asked. */
function fakePython(name: string, { eager = [1], compiled = [1], fails = false }: Fake): string {
  const file = path.join(folder, name);
  const script = `#!${process.execPath}
const fs = require("node:fs");
if (${fails}) { console.error("Traceback\\nModuleNotFoundError: No module named 'torch'"); process.exit(1); }
fs.appendFileSync(${JSON.stringify(`${file}.environment`)}, JSON.stringify(process.env) + "\\n");
let [times, taken] = [[], 0];
require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
  const request = JSON.parse(line);
  const answers = {
    open: () => {
      times = request.settings.compile ? ${JSON.stringify(compiled)} : ${JSON.stringify(eager)};
      return { device: "cpu", deviceName: "cpu", dtype: request.settings.dtype, version: "PyTorch 0" };
    },
    run: () => ({ ms: Array.from({ length: request.count }, () => times[taken++ % times.length]), loss: 1 }),
    memory: () => ({ peakBytes: 2 ** 20 }),
  };
  console.log("not an answer");
  console.log(JSON.stringify(answers[request.op]()));
});
`;
  fs.writeFileSync(file, script, { mode: 0o755 });
  return file;
}

describe("quantile()", () => {
  it("interpolates linearly between two values, like NumPy's default", () => {
    // numpy.quantile([4, 1, 3, 2], [0, .25, .5, 1]) = [1, 1.75, 2.5, 4]
    expect([0, 0.25, 0.5, 1].map((q) => quantile([4, 1, 3, 2], q))).toEqual([1, 1.75, 2.5, 4]);
    expect(median([7])).toBe(7);
    expect(median([])).toBeNaN();
  });
});

describe("medianRatio()", () => {
  it("is the ratio of medians; without variation, its interval is a point", () => {
    expect(medianRatio([[3, 3], [3]], [[2], [2, 2]])).toEqual({ ratio: 1.5, low: 1.5, high: 1.5 });
  });

  it("has an interval that contains the ratio and is narrower if noise affects both sides of a round equally", () => {
    const noise = [1, 1.3, 1.1, 2, 1.05, 1.6, 1.2, 1.01];
    const ours = noise.map((n) => [10 * n, 10.1 * n]);
    const theirs = noise.map((n) => [20 * n, 20.2 * n]);
    const together = medianRatio(theirs, ours);
    const apart = medianRatio(theirs, ours, { together: false });
    expect(together.ratio).toBeCloseTo(2, 10);
    expect(together.high - together.low).toBeLessThan(1e-9);
    expect(apart.low).toBeLessThan(2);
    expect(apart.high).toBeGreaterThan(2);
  });
});

describe("bench()", () => {
  it("compares devices that share the same micro-batches, and the mean of their gradients", async () => {
    const result = await resultOf(tiny({ devices: "2", realData: false, vocabSize: 28, device: "cpu" }));
    // The smallest number of micro-batches that one and two devices can share.
    expect(result.settings.gradientAccumulationSteps).toBe(2);
    expect(result.notes[0]).toMatch(/^Each step has 2 micro-batches in all modes/);
    expect(result.modes.map(({ devices }) => devices)).toEqual([1, 2]);
    expect(result.modes.map(modeName)).toEqual(["Folio compiled float32", "Folio compiled float32 on 2 devices"]);
    const [one, two] = result.modes.map(({ burnInLoss }) => burnInLoss) as [number, number];
    expect(Math.abs(one - two)).toBeLessThan(1e-5);
    const [row, ...others] = result.devices;
    expect(others).toEqual([]);
    expect(row).toMatchObject({ dtype: "float32", devices: 2 });
    expect(row!.bytesSent).toBe(4 * countParameters(result.settings)); // 2 (N − 1) / N = 1
    expect(row!.efficiency).toBeCloseTo(result.modes[0]!.medianMs / row!.medianMs, 6);
    expect(row!.low).toBeLessThanOrEqual(row!.efficiency);
    for (const ms of [row!.meanMs, row!.apartMs]) expect(ms).toBeGreaterThan(0);
    expect(row!.hidden).toBeGreaterThanOrEqual(0);
    expect(row!.hidden).toBeLessThanOrEqual(1);
    // A model of one bucket: all of the mean comes after the backward pass.
    expect(row!.predictedMs).toBeCloseTo(row!.apartMs + row!.meanMs, 6);
  });

  it("refuses several devices without compiled steps", async () => {
    await expect(resultOf(tiny({ devices: "2", compile: false }))).rejects.toThrow(
      "Cannot measure several devices: only compiled steps use them; leave out --compile=false.",
    );
  });

  it("times compiled and eager steps on the dataset and reports speeds", async () => {
    const result = await resultOf(tiny({ compile: "both" }));
    expect(result.modes.map(modeName)).toEqual(["Folio compiled float32", "Folio eager float32"]);
    expect(result).toMatchObject({ data: "fox", device: expect.any(String), notes: expect.any(Array), ratios: [] });
    // 28 characters; by hand: wte 28·8, h.0 8 + 8·24 + 64 + 8 + 8·32 + 32·8, ln_f 8
    expect(result.parameters).toBe(224 + 8 + 192 + 64 + 8 + 256 + 256 + 8);
    expect(result.flopsPerToken).toBe(6 * result.parameters + 12 * 8 * 8);
    for (const mode of result.modes) {
      const [low, high] = mode.quartilesMs;
      expect(mode.rounds.map((times) => times.length)).toEqual([2, 2]);
      const times = mode.rounds.flat().sort((x, y) => x - y) as [number, number, number, number];
      expect([mode.minMs, mode.medianMs]).toEqual([times[0], expect.closeTo((times[1] + times[2]) / 2, 12)]);
      expect(low).toBeCloseTo(times[0] + 0.75 * (times[1] - times[0]), 12);
      expect(high).toBeCloseTo(times[2] + 0.25 * (times[3] - times[2]), 12);
      expect(mode.minMs).toBeGreaterThan(0);
      expect(mode.minMs).toBeLessThanOrEqual(low);
      expect(low).toBeLessThanOrEqual(mode.medianMs);
      expect(mode.medianMs).toBeLessThanOrEqual(high);
      expect(mode.tokensPerSecond).toBeCloseTo((16 / mode.medianMs) * 1000, 6);
      expect(mode.gigaflops).toBeCloseTo((mode.tokensPerSecond * result.flopsPerToken) / 1e9, 12);
      expect(mode.shareOfPeak).toBeCloseTo(mode.gigaflops / result.peaks[0]!.gigaflops, 12);
      expect(mode.peakBytes).toBeGreaterThan(50e6);
      expect(mode.startPeakBytes).toBeGreaterThan(50e6);
      expect(mode.firstStepMs).toBeGreaterThan(0);
      expect(mode.mfu).toBeUndefined(); // there is no published peak for a CPU
      expect(mode.burnInLoss).toBeCloseTo(Math.log(28), 0);
    }
    // The same steps on the same batches: dataset, seed and schedule are training's.
    expect(result.modes[0]!.burnInLoss).toBeCloseTo(result.modes[1]!.burnInLoss, 5);
    expect(result.peaks).toMatchObject([{ dtype: "float32", size: 1024 }]);
    expect(result.peaks[0]!.gigaflops).toBeGreaterThan(0);
  });

  it("uses random ids if the dataset is not prepared, and says so", async () => {
    const result = await resultOf(tiny({ dataset: "nowhere", vocabSize: 50, gradientAccumulationSteps: 2 }));
    expect(result.data).toBe("random ids");
    expect(result.notes[0]).toBe(`nowhere is not prepared in ${folder}: random ids are used instead.`);
    expect(result.tokensPerStep).toBe(32);
    expect(result.modes[0]!.burnInLoss).toBeCloseTo(Math.log(50), 0);
  });

  it("compares its best mode with the peer's best, whose processes get no OpenBLAS setting and as many threads", async () => {
    // Of a turn the first step does not count. The middle half of the four that do: 9.9 % of the median where it is eager, 10.1 % where it is compiled.
    const [eager, compiled] = [
      [33.12, 30, 33.12, 30],
      [44.27, 40, 44.27, 40],
    ];
    const peer = fakePython("python-ok", { eager, compiled });
    process.env.OPENBLAS_CORETYPE = "Haswell";
    const result = await resultOf(tiny({ peer })).finally(() => delete process.env.OPENBLAS_CORETYPE);
    expect(result.modes.map(modeName)).toEqual([
      "Folio compiled float32",
      "PyTorch eager float32",
      "PyTorch compiled float32",
    ]);
    const [ratio] = result.ratios;
    expect(result.ratios).toHaveLength(1);
    expect(ratio).toMatchObject({ dtype: "float32", folio: "Folio compiled float32" });
    expect(ratio!.pytorch).toBe("PyTorch eager float32"); // the faster one
    expect(ratio!.ratio).toBeCloseTo(31.56 / result.modes[0]!.medianMs, 6);
    expect(ratio).toMatchObject(medianRatio(result.modes[1]!.rounds, result.modes[0]!.rounds));
    const [, theirs, slower] = result.modes;
    expect(theirs!.rounds.map((round) => round.length)).toEqual([2, 2]);
    expect(theirs).toMatchObject({ medianMs: expect.closeTo(31.56, 9), minMs: 30, quartilesMs: [30, 33.12] });
    expect(theirs!.tokensPerSecond).toBeCloseTo(16 / 0.03156, 9);
    expect(slower).toMatchObject({ medianMs: expect.closeTo(42.135, 9), peakBytes: 2 ** 20, startPeakBytes: 2 ** 20 });
    const noisy = result.notes.find((note) =>
      note.includes("interquartile range of the step times exceeds 10 % of the median"),
    );
    expect(noisy).toContain("PyTorch compiled float32");
    expect(noisy).not.toContain("PyTorch eager float32");
    const environment = JSON.parse(fs.readFileSync(`${peer}.environment`, "utf8").split("\n")[0]!);
    expect(environment.OPENBLAS_CORETYPE).toBeUndefined();
    expect(environment.OMP_NUM_THREADS).toBe(String(result.machine.cores));
  });

  it("ends with the peer's last line when it fails", async () => {
    const peer = fakePython("python-torchless", { fails: true });
    await expect(resultOf(tiny({ peer }))).rejects.toThrow(
      `Cannot measure: ${peer} ended with 1: ModuleNotFoundError: No module named 'torch'`,
    );
    await expect(resultOf(tiny({ peer: path.join(folder, "none") }))).rejects.toThrow(/^Cannot start .*none/);
  });

  it("ends without a result and leaves no process when it is aborted", async () => {
    const controller = new AbortController();
    // The processes of earlier tests may take a moment to end.
    await expect.poll(children, waiting).toEqual([]);
    const kinds: string[] = [];
    for await (const record of bench(tiny({ steps: 100_000 }), { signal: controller.signal })) {
      kinds.push(record.kind);
      if (record.kind === "progress" && record.done > 0) controller.abort();
    }
    expect(kinds).not.toContain("result");
    await expect.poll(children, waiting).toEqual([]);
  });

  const peer = process.env.FOLIO_PEER_PYTHON ? undefined : "FOLIO_PEER_PYTHON names no Python that has PyTorch";
  it("times PyTorch, whose first loss equals Folio's", needs(peer), async () => {
    const result = await resultOf(tiny({ peer: process.env.FOLIO_PEER_PYTHON!, steps: 2, rounds: 1 }));
    for (const mode of result.modes) expect(mode.burnInLoss).toBeCloseTo(Math.log(28), 0);
    expect(result.ratios[0]!.ratio).toBeGreaterThan(0);
  });
});

/** Ids of this process's children. */
function children(): string[] {
  if (process.platform !== "linux") return [];
  return fs.readFileSync(`/proc/self/task/${process.pid}/children`, "utf8").trim().split(" ").filter(Boolean);
}

describe("a worker", () => {
  const settings = parseSettings({ ...fox(), dtype: "float32" });
  function fox() {
    return {
      dataDir: folder,
      dataset: "fox",
      vocabSize: 28,
      nLayer: 1,
      nHead: 2,
      nEmbd: 8,
      blockSize: 8,
      batchSize: 2,
    };
  }

  it("reports an error, continues, and uses no CPU time while it waits", async () => {
    const worker = startWorker();
    try {
      await expect(worker.ask({ op: "run", count: 1 })).rejects.toThrow("Cannot measure: nothing was opened.");
      const task = { task: "train", settings: { ...settings, gradientAccumulationSteps: 1 }, realData: true } as const;
      await worker.ask({ op: "open", threads: 1, profiled: false, ...task });
      const { ms } = await worker.ask({ op: "run", count: 20 });
      expect(ms).toHaveLength(20);
      if (process.platform !== "linux") return;
      const [pid] = children();
      // On a busy machine, its remaining work may take a while, but a busy loop would never stop.
      const halfSecond = async () => {
        const before = ticks(pid!);
        await setTimeout(500);
        return ticks(pid!) - before;
      };
      await expect.poll(halfSecond, waiting).toBeLessThanOrEqual(5); // of 50 per core
    } finally {
      worker.kill();
    }
  });

  it("ends when its parent process has ended", async () => {
    const code = `
      import { startWorker } from "./lib/bench/protocol.ts";
      const worker = startWorker();
      await worker.ask({ op: "memory" });
      const fs = await import("node:fs");
      console.log(fs.readFileSync("/proc/self/task/" + process.pid + "/children", "utf8"));
      process.kill(process.pid, "SIGKILL");`;
    if (process.platform !== "linux") return;
    const parent: ChildProcess = spawn(process.execPath, [...runsSource, code]);
    const pid = await new Promise<string>((resolve) => {
      parent.stdout!.on("data", (chunk: Buffer) => resolve(String(chunk).trim()));
    });
    expect(pid).toMatch(/^\d+$/);
    await expect.poll(() => fs.existsSync(`/proc/${pid}`), waiting).toBe(false);
  });
});

/** The CPU time of a process in hundredths of a second. */
function ticks(pid: string): number {
  const after = fs.readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return Number(after[11]) + Number(after[12]);
}
