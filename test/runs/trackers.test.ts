import fs from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import type { IterRecord, StepRecord } from "../../lib/runs/records.js";
import { readRunLog } from "../../lib/runs/run-folder.js";
import { loadWandb, scalars, type Wandb, wandbTracker } from "../../lib/runs/trackers.js";
import type { Settings } from "../../lib/settings/settings.js";
import { train } from "../../lib/train/train.js";
import { openCheckpoint } from "../../lib/weights/checkpoint.js";
import { collect, temporaryFolder, tinySettings, writeFox } from "../tiny-run.js";
import { type Event, readEvents } from "./event-files.js";

const folder = temporaryFolder();
let runs = 0;
const newRun = (overrides: Partial<Settings> = {}) => tinySettings(folder, `run-${runs++}`, overrides);
const iters = (records: StepRecord[]) => records.filter((record): record is IterRecord => record.kind === "iter");

beforeAll(() => {
  loadTensorFlow();
  writeFox(folder);
});

const eventFiles = ({ outDir }: Settings) => {
  const at = path.join(outDir, "tensorboard");
  return fs.existsSync(at) ? fs.readdirSync(at).map((file) => path.join(at, file)) : [];
};
/** A curve as TensorBoard shows it: the start of a session removes earlier points from that step on. */
function curve(files: readonly string[], tag: string): [step: number, value: number][] {
  let points: [number, number][] = [];
  for (const event of files.toSorted().flatMap(readEvents)) {
    if (event.sessionStart) points = points.filter(([step]) => step < event.step);
    const value = event.scalars[tag];
    if (value !== undefined) points.push([event.step, value]);
  }
  return points;
}
/** The curve in log.jsonl, as 32-bit floats. */
const logged = (settings: Settings, tag: string) =>
  readRunLog(settings.outDir).flatMap((record) => {
    const value = scalars(record)[tag];
    return value === undefined ? [] : [[record.step, Math.fround(value)] as [number, number]];
  });

describe("TensorBoard's files", () => {
  test("have all curves of the log, start with the version, and contain times", async () => {
    const settings = newRun({ logInterval: 2, logUpdates: true });
    const before = Date.now() / 1000;
    await collect(train(settings));
    const [file, ...others] = eventFiles(settings);
    expect(others).toEqual([]);
    const [first, ...events] = readEvents(file!) as [Event, ...Event[]];
    expect(first.version).toBe("brain.Event:2");
    expect(events.every(({ wallTime }) => wallTime >= before && wallTime <= Date.now() / 1000)).toBe(true);
    const tags = [...new Set(events.flatMap((event) => Object.keys(event.scalars)))];
    expect(tags).toEqual([
      ...["train/loss", "val/loss", "lr"],
      ...["iter/loss", "iter/grad_norm", "iter/time_ms", "iter/tokens", "iter/tokens_per_second"],
      ...["update/attention", "update/embedding", "update/mlp", "update/norm"],
    ]);
    for (const tag of tags) expect(curve([file!], tag)).toEqual(logged(settings, tag));
  });

  test("of a stopped and resumed run show each step once; a replaced run leaves none", async () => {
    const settings = newRun({ maxIters: 4 });
    const controller = new AbortController();
    for await (const record of train(settings, { signal: controller.signal })) {
      if (record.kind === "eval" && record.step === 2) controller.abort();
    }
    await collect(train({ ...settings, initFrom: "resume" }));
    expect(eventFiles(settings).length).toBe(2);
    for (const tag of ["val/loss", "iter/loss"]) {
      expect(curve(eventFiles(settings), tag)).toEqual(logged(settings, tag));
    }
    await collect(train({ ...settings, overwrite: true, tensorboard: false }));
    expect(eventFiles(settings)).toEqual([]);
  });
});

describe("logUpdates", () => {
  for (const compile of [false, true]) {
    test(`gives ‖Δp‖ / ‖p‖ of the weights that were saved before and after: ${compile ? "compiled" : "eager"}`, async () => {
      const settings = newRun({
        evalInterval: 1,
        maxIters: 3,
        logUpdates: true,
        tieHead: false,
        weightDecay: 1,
        compile,
      });
      let last: { before: Map<string, Float32Array>; ratios: Readonly<Record<string, number>> } | undefined;
      for await (const record of train(settings)) {
        if (record.kind !== "iter" || record.step === 0) continue;
        const ratios = record.updateRatios!;
        expect(Object.keys(ratios)).toEqual(["attention", "embedding", "head", "mlp", "norm"]);
        if (record.step < 2) continue;
        // The last checkpoint is that of step 2, before the update of this record.
        const { params } = openCheckpoint(settings.outDir);
        const before = new Map(Object.entries(params).map(([name, { values }]) => [name, values as Float32Array]));
        last = { before, ratios };
      }
      const after = openCheckpoint(settings.outDir).params;
      const norm = (kind: RegExp, of: (name: string, i: number) => number) => {
        let sum = 0;
        for (const [name, { values }] of Object.entries(after)) {
          if (kind.test(name)) for (let i = 0; i < values.length; i++) sum += of(name, i) ** 2;
        }
        return Math.sqrt(sum);
      };
      const kinds = { attention: /attn/, embedding: /^w/, head: /head/, mlp: /mlp/, norm: /ln_/ };
      for (const [kind, pattern] of Object.entries(kinds)) {
        const change = norm(pattern, (name, i) => after[name]!.values[i]! - last!.before.get(name)![i]!);
        const ratio = change / norm(pattern, (name, i) => after[name]!.values[i]!);
        expect(Math.abs(last!.ratios[kind]! / ratio - 1)).toBeLessThan(1e-3);
      }
    });
  }
  test("does not change the run, and is recorded only for logged steps", async () => {
    const [a, b] = [newRun({ logInterval: 2 }), newRun({ logInterval: 2, logUpdates: true })];
    const [first, second] = [iters(await collect(train(a))), iters(await collect(train(b)))];
    expect(second.map(({ loss }) => loss)).toEqual(first.map(({ loss }) => loss));
    expect(second.map(({ step, updateRatios }) => [step, updateRatios !== undefined])).toEqual(
      [0, 1, 2, 3, 4, 5].map((step) => [step, step % 2 === 0]),
    );
  });
});

describe("train()'s trackers", () => {
  test("receive the records of the log and the start of the run, and are closed", async () => {
    const settings = newRun({ logInterval: 2, maxIters: 3 });
    const seen: StepRecord[] = [];
    const opened: object[] = [];
    let closed = 0;
    const tracker = {
      append: (record: StepRecord) => void seen.push(record),
      close: async () => void closed++,
    };
    const trackers = [
      ({ runId, step, kept }: { runId: string; step: number; kept: readonly StepRecord[] }) => {
        opened.push({ runId: runId.length, step, kept: kept.length });
        return tracker;
      },
    ];
    await collect(train(settings, { trackers }));
    expect(seen).toEqual(readRunLog(settings.outDir));
    for await (const _ of train({ ...settings, maxIters: 4, initFrom: "resume" }, { trackers })) break;
    expect(opened).toEqual([
      { runId: 64, step: 0, kept: 0 },
      { runId: 64, step: 3, kept: seen.filter(({ kind }) => kind !== "end").length - 1 },
    ]);
    expect(closed).toBe(2);
  });
});

describe("Weights & Biases", () => {
  const none = () => Promise.reject(new Error("Cannot find package"));
  test("without its package or a key, the message names the remedy", async () => {
    await expect(loadWandb(none, {})).rejects.toThrow(
      /^Cannot log to Weights & Biases: its package is not installed; run `npm install @wandb\/sdk graphql`\. Or leave wandbLog: false: TensorBoard's files in the run's folder have the same curves, and `wandb sync` uploads them\.$/,
    );
    await expect(loadWandb(async () => ({}), {})).rejects.toThrow("WANDB_API_KEY is not set");
    await expect(loadWandb(async () => ({}), { WANDB_API_KEY: "k" })).rejects.toThrow("has no init and log");
    const settings = newRun({ wandbLog: true });
    await expect(collect(train(settings))).rejects.toThrow(/^Cannot log to Weights & Biases: /);
    expect(fs.existsSync(settings.outDir)).toBe(false);
  });

  test("receives nanoGPT's curves under the run's project and name", async () => {
    const calls: unknown[][] = [];
    const wandb: Wandb = {
      init: async (options) => calls.push(["init", options]),
      log: (values, step) => calls.push(["log", values, step]),
      finish: async () => void calls.push(["finish"]),
    };
    expect(await loadWandb(async () => ({ default: wandb }), { WANDB_API_KEY: "k" })).toBe(wandb);
    const settings = newRun({ maxIters: 1, wandbProject: "owt", wandbRunName: "it" });
    await collect(train(settings, { trackers: [wandbTracker(wandb)] }));
    expect(calls[0]).toEqual([
      "init",
      expect.objectContaining({ project: "owt", name: "it", config: expect.anything() }),
    ]);
    expect(calls[1]).toEqual([
      "log",
      { iter: 0, "train/loss": expect.any(Number), "val/loss": expect.any(Number), lr: expect.any(Number) },
      0,
    ]);
    expect(calls.map(([name]) => name)).toEqual(["init", "log", "log", "log", "finish"]);
  });
});
