import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { runIdentity } from "../../lib/runs/identity.js";
import type { StepRecord } from "../../lib/runs/records.js";
import { inspectRunLog, openRunLog, readRunLog, readRunSettings } from "../../lib/runs/run-folder.js";
import { mountDisk, temporaryFolder, tinySettings } from "../tiny-run.js";

const folder = temporaryFolder();
let runs = 0;
const newRun = () => tinySettings(folder, `run-${runs++}`);
const settings = newRun();

const iter = (step: number): StepRecord => ({
  kind: "iter",
  step,
  loss: 1 / (step + 3),
  learningRate: 1e-3,
  gradNorm: 1,
  elapsedMs: 2,
  tokens: 16 * (step + 1),
  tokensPerSecond: 8000,
});
const evaluation = (step: number): StepRecord => ({
  kind: "eval",
  step,
  trainLoss: 2,
  valLoss: 2,
  learningRate: 1e-3,
  best: true,
});
const checkpoint = (step: number): StepRecord => ({ kind: "checkpoint", step, path: "x", best: true });
const end = (step: number): StepRecord => ({ kind: "end", step, reason: "aborted", bestValLoss: 2, trainedMs: 5 });

describe("runIdentity()", () => {
  test("does not depend on the folder, the log interval, or the order of the settings", () => {
    const id = runIdentity(settings, { data: "a", folio: "1" });
    expect(id).toMatch(/^[\da-f]{64}$/);
    const elsewhere = { ...settings, outDir: "o", dataDir: "d", initFrom: "resume" as const, overwrite: true };
    expect(runIdentity({ ...elsewhere, logInterval: 7 }, { folio: "1", data: "a" })).toBe(id);
    const reversed = Object.fromEntries(Object.entries(settings).reverse()) as unknown as typeof settings;
    expect(runIdentity(reversed, { data: "a", folio: "1" })).toBe(id);
  });

  test("does not depend on the setting for resuming with other numerics", () => {
    const { allowOtherNumerics: _, ...before } = settings;
    const id = runIdentity(before as typeof settings, { data: "a", folio: "1" });
    for (const allowOtherNumerics of [false, true]) {
      expect(runIdentity({ ...settings, allowOtherNumerics }, { data: "a", folio: "1" })).toBe(id);
    }
  });

  test("changes with every setting that has an effect, the data and the version", () => {
    const changed = [
      runIdentity(settings, { data: "a", folio: "1" }),
      runIdentity(settings, { data: "b", folio: "1" }),
      runIdentity(settings, { data: "a", folio: "2" }),
      runIdentity({ ...settings, seed: 1 }, { data: "a", folio: "1" }),
      runIdentity({ ...settings, learningRate: 1e-4 }, { data: "a", folio: "1" }),
      runIdentity({ ...settings, evalInterval: 3 }, { data: "a", folio: "1" }),
      runIdentity({ ...settings, compile: true }, { data: "a", folio: "1" }),
    ];
    expect(new Set(changed).size).toBe(changed.length);
  });
});

describe("openRunLog() and readRunLog()", () => {
  test("keep the appended records and the settings", () => {
    const run = newRun();
    expect(readRunLog(run.outDir)).toEqual([]);
    const log = openRunLog(run, { step: 0, evaluated: false });
    for (const record of [evaluation(0), iter(0), iter(1)]) log.append(record);
    expect(readRunLog(run.outDir)).toEqual([evaluation(0), iter(0), iter(1)]); // also while the log is open
    log.close();
    expect(JSON.parse(fs.readFileSync(path.join(run.outDir, "config.json"), "utf8"))).toEqual(run);
    expect(fs.readdirSync(run.outDir).sort()).toEqual(["config.json", "log.jsonl"]);
  });

  test("a new run empties the log; a resumed one truncates it to the step of its checkpoint", () => {
    const run = newRun();
    const all = [evaluation(0), iter(0), iter(1), evaluation(2), checkpoint(2), iter(2), iter(3), end(4)];
    const reopen = (state: { step: number; evaluated: boolean }) => {
      const log = openRunLog(run, { step: 0, evaluated: false });
      for (const record of all) log.append(record);
      log.close();
      openRunLog(run, state).close();
      return readRunLog(run.outDir);
    };
    expect(reopen({ step: 0, evaluated: false })).toEqual([]);
    expect(reopen({ step: 2, evaluated: true })).toEqual(all.slice(0, 5));
    expect(reopen({ step: 2, evaluated: false })).toEqual(all.slice(0, 3));
    expect(reopen({ step: 3, evaluated: false })).toEqual(all.slice(0, 6));
    expect(reopen({ step: 9, evaluated: false })).toEqual(all.slice(0, 7));
  });

  test("damaged lines are left out when reading", () => {
    const run = newRun();
    fs.mkdirSync(run.outDir);
    const lines = [JSON.stringify(iter(0)), "null", "7", "\0\0\0", "", JSON.stringify(iter(1)), '{"kind":"it'];
    fs.writeFileSync(path.join(run.outDir, "log.jsonl"), lines.join("\n"));
    expect(readRunLog(run.outDir)).toEqual([iter(0), iter(1)]);
    // A last line that was cut short by a kill is not damage.
    expect(inspectRunLog(run.outDir).damaged).toEqual([2, 3, 4, 5]);
  });

  test("a JSON line that is not a record is damaged: of an unknown kind, or with missing or non-numeric numbers", () => {
    const run = newRun();
    fs.mkdirSync(run.outDir);
    const { loss: _, ...without } = iter(1) as Extract<StepRecord, { kind: "iter" }>;
    const lines = [iter(0), { ...iter(1), kind: "x" }, without, { ...iter(1), step: "1" }, { ...iter(1), step: -1 }];
    fs.writeFileSync(path.join(run.outDir, "log.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    expect(inspectRunLog(run.outDir)).toEqual({ records: [iter(0)], damaged: [2, 3, 4, 5] });
  });

  test("config.json is read with every setting checked", () => {
    const run = newRun();
    openRunLog(run, { step: 0, evaluated: false }).close();
    expect(readRunSettings(run.outDir)).toEqual(run);
    for (const [content, fault] of [
      [{ ...run, nLayer: 2 ** 31 }, "nLayer is 2147483648; wanted at most 10,000 (blocks)"],
      [{ ...run, dataset: "../../x" }, 'dataset is "../../x"; wanted a name of letters, digits, _, - and .'],
      [{ ...run, constructor: 1 }, "there is no setting constructor"],
      [[], "is not an object of settings"],
    ] as const) {
      fs.writeFileSync(path.join(run.outDir, "config.json"), JSON.stringify(content));
      expect(() => readRunSettings(run.outDir)).toThrow(fault);
    }
  });

  test("a folder that cannot be created is named", () => {
    fs.writeFileSync(path.join(folder, "file"), "");
    const run = { ...settings, outDir: path.join(folder, "file", "run") };
    expect(() => openRunLog(run, { step: 0, evaluated: false })).toThrow(
      /^Cannot write the run's folder .*file.run: ENOTDIR.*\. Choose another outDir\.$/,
    );
  });

  test("a full disk is named, and the log stays readable", (context) => {
    const run = newRun();
    const disk = mountDisk(run.outDir, "size=16k");
    if ("reason" in disk) return context.skip(disk.reason);
    try {
      const log = openRunLog(run, { step: 0, evaluated: false });
      let step = 0;
      const fill = () => {
        for (; ; step++) log.append(iter(step));
      };
      expect(fill).toThrow(/^Cannot write the run's folder .*: the disk is full\. Free some space, or choose another/);
      log.close();
      expect(readRunLog(run.outDir)).toEqual(Array.from({ length: step }, (_, i) => iter(i)));
      // On a full disk, the log cannot be truncated either, so it stays as it is.
      expect(() => openRunLog(run, { step, evaluated: false })).toThrow("the disk is full");
      expect(readRunLog(run.outDir).length).toBe(step);
      expect(fs.readdirSync(run.outDir).filter((file) => file.includes("partial"))).toEqual([]);
    } finally {
      disk.unmount();
    }
  });
});
