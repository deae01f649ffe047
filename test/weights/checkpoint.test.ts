import fs from "node:fs";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { float32, int32 } from "../../lib/engine/host-tensors.js";
import { parameterSpecs } from "../../lib/model/model.js";
import {
  type Checkpoint,
  chooseCheckpoint,
  hasCheckpoint,
  numberedCheckpoints,
  openCheckpoint,
  readState,
  removeCheckpoints,
  saveCheckpoint,
} from "../../lib/weights/checkpoint.js";
import { readSafetensors, writeSafetensors } from "../../lib/weights/safetensors.js";
import { ended, mountDisk, startChild, temporaryFolder, tinySettings } from "../tiny-run.js";

const folder = temporaryFolder();
let runs = 0;
const newRun = () => path.join(folder, `run-${runs++}`);
const settings = { ...tinySettings(folder, "unused"), vocabSize: 28 };
const runId = "0123456789abcdef".repeat(4);

/** A checkpoint in which every value is its step, so that a mixture of two would be visible. */
function checkpointOf(step: number, more: object = {}): Omit<Checkpoint, "path" | "format" | "version"> {
  const all = (value: number) =>
    Object.fromEntries(
      parameterSpecs(settings).map(({ name, shape }) => {
        const count = shape.reduce((product, axis) => product * axis, 1);
        return [name, float32(new Float32Array(count).fill(value), shape)];
      }),
    );
  return {
    runId,
    step,
    evaluated: true,
    bestValLoss: 2.5,
    trainedMs: 12,
    settings,
    tokenizer: { kind: "char", vocabulary: "ab" } as never,
    versions: { folio: "0" },
    params: all(step),
    optimizer: { m: all(-step), v: all(step + 0.5) },
    ...more,
  };
}

function save(
  outDir: string,
  step: number,
  { best = false, ...more }: { best?: boolean } & Partial<Checkpoint> = {},
): string {
  return saveCheckpoint(outDir, checkpointOf(step, more), { best });
}

function expectWhole(outDir: string, pointer: "last" | "best", step: number): void {
  const { params, optimizer, step: found } = openCheckpoint(outDir, pointer);
  expect(found).toBe(step);
  const { m, v } = optimizer;
  for (const [group, value] of [[params, step] as const, [m!, -step] as const, [v!, step + 0.5] as const]) {
    for (const { values } of Object.values(group)) expect(values.every((found) => found === value)).toBe(true);
  }
}

const entries = (outDir: string) => fs.readdirSync(path.join(outDir, "checkpoint")).sort();
const target = (outDir: string) => openCheckpoint(outDir).path;

describe("saveCheckpoint() and openCheckpoint()", () => {
  test("may be of a run that has just begun", () => {
    const outDir = newRun();
    save(outDir, 0, { trainedMs: 0, tokens: 0 });
    expect(readState(outDir)).toMatchObject({ step: 0, trainedMs: 0, tokens: 0 });
  });

  test("round-trip tensors, step, settings, versions", () => {
    const outDir = newRun();
    expect(hasCheckpoint(outDir)).toBe(false);
    const saved = save(outDir, 7, { bestValLoss: null, evaluated: false });
    const { path: opened, ...rest } = openCheckpoint(outDir);
    expect(opened).toBe(saved);
    const wanted = checkpointOf(7, { bestValLoss: null, evaluated: false });
    expect(rest).toEqual({ ...wanted, format: "folio-checkpoint", version: 1 });
    expect(openCheckpoint(outDir, "last", { optimizer: false })).toMatchObject({ step: 7, optimizer: {} });
    expect(hasCheckpoint(outDir, "best")).toBe(false);
    const nanoGpt = newRun();
    fs.mkdirSync(nanoGpt, { recursive: true });
    fs.writeFileSync(path.join(nanoGpt, "ckpt.pt"), "");
    expect(() => openCheckpoint(nanoGpt)).toThrow(
      `It has nanoGPT's ${nanoGpt}/ckpt.pt: start from its weights with initFrom: "${nanoGpt}/ckpt.pt", or name another outDir.`,
    );
    expect(() => openCheckpoint(outDir, "best")).toThrow(`there is no ${path.join(outDir, "checkpoint", "best")}`);
  });

  test("keep the folders of the last and the best checkpoint, and no others", () => {
    const outDir = newRun();
    save(outDir, 1, { best: true });
    save(outDir, 2);
    expect(entries(outDir)).toEqual(["best", "last", "step-000001-01234567", "step-000002-01234567"]);
    save(outDir, 3);
    expectWhole(outDir, "best", 1);
    expectWhole(outDir, "last", 3);
    expect(entries(outDir)).toEqual(["best", "last", "step-000001-01234567", "step-000003-01234567"]);
    save(outDir, 4, { best: true });
    expect(entries(outDir)).toEqual(["best", "last", "step-000004-01234567"]);
  });

  test("remove the remains of a kill at the next save", () => {
    const outDir = newRun();
    save(outDir, 1);
    fs.mkdirSync(path.join(outDir, "checkpoint", ".partial-x1"));
    fs.writeFileSync(path.join(outDir, "checkpoint", ".partial-x1", "model.safetensors"), "half");
    fs.writeFileSync(path.join(outDir, "checkpoint", ".partial-last"), "st");
    fs.mkdirSync(path.join(outDir, "checkpoint", "step-000009-89abcdef"));
    save(outDir, 2);
    expect(entries(outDir)).toEqual(["last", "step-000002-01234567"]);
  });

  test("update a step that was saved at a stop after its evaluation", () => {
    const outDir = newRun();
    save(outDir, 5, { evaluated: false, bestValLoss: 3 });
    save(outDir, 5, { best: true });
    for (const pointer of ["last", "best"] as const) {
      expect(readState(outDir, pointer)).toMatchObject({ evaluated: true, bestValLoss: 2.5 });
      expectWhole(outDir, pointer, 5);
    }
    expect(entries(outDir)).toEqual(["best", "last", "step-000005-01234567-2"]);
  });

  test("save other weights for the same step of the same run", () => {
    const outDir = newRun();
    save(outDir, 5, { best: true });
    const { params, ...rest } = checkpointOf(5);
    const other = Object.fromEntries(
      Object.entries(params).map(([name, t]) => [name, { ...t, values: (t.values as Float32Array).map(() => 9) }]),
    );
    saveCheckpoint(outDir, { ...rest, params: other }, { best: false });
    expect(openCheckpoint(outDir).params["wte.weight"]!.values[0]).toBe(9);
    expectWhole(outDir, "best", 5);
    expect(entries(outDir)).toEqual(["best", "last", "step-000005-01234567", "step-000005-01234567-2"]);
  });

  test("keep the requested checkpoints by step, the newest of them, besides last and best", () => {
    const outDir = newRun();
    const keep = (step: number, best = false) => saveCheckpoint(outDir, checkpointOf(step), { best, keep: 2 });
    keep(1, true);
    save(outDir, 2);
    for (const step of [3, 4, 5]) keep(step);
    save(outDir, 6);
    expect(numberedCheckpoints(outDir)).toEqual([4, 5]);
    expect(entries(outDir)).toEqual([
      "best",
      "last",
      "numbered",
      ...[1, 4, 5, 6].map((step) => `step-00000${step}-01234567`),
    ]);
    expect(openCheckpoint(outDir, 4)).toMatchObject({ step: 4 });
    expect([3, 4].map((step) => hasCheckpoint(outDir, step))).toEqual([false, true]);
    expect(() => openCheckpoint(outDir, 3)).toThrow(
      /^Cannot find the checkpoint of step 3 in .*: those of steps 1, 4, 5, 6 exist; set saveInterval to keep checkpoints by step\.$/,
    );
    expect(() => openCheckpoint(newRun(), 3)).toThrow("none was kept by step");
    saveCheckpoint(outDir, checkpointOf(7), { best: false, keep: 0 });
    expect(numberedCheckpoints(outDir)).toEqual([4, 5, 7]);
    removeCheckpoints(outDir);
    expect(numberedCheckpoints(outDir)).toEqual([]);
  });

  test("resolve a path and a choice to the best, the last, one of a step, or the folder itself", () => {
    const outDir = newRun();
    const kept = saveCheckpoint(outDir, checkpointOf(2), { best: true, keep: 0 });
    save(outDir, 3);
    expect(chooseCheckpoint(outDir)).toEqual({ outDir, name: "best" });
    expect(chooseCheckpoint(outDir, "last")).toEqual({ outDir, name: "last" });
    expect(chooseCheckpoint(outDir, "2")).toEqual({ outDir, name: 2 });
    expect(chooseCheckpoint(kept, "last")).toEqual({ outDir, name: path.basename(kept) });
    expect(chooseCheckpoint(path.join(folder, "none"))).toBeUndefined();
    expect(() => chooseCheckpoint(path.join(folder, "none"), "2")).toThrow(/^Cannot find the checkpoint of step 2: /);
    for (const wanted of ["auto", "2"]) {
      const { outDir: of, name } = chooseCheckpoint(outDir, wanted)!;
      expect(openCheckpoint(of, name).step).toBe(2);
    }
    expect(openCheckpoint(outDir, path.basename(kept) as "step-2").step).toBe(2);
    expect(openCheckpoint(outDir, 3).step).toBe(3); // the last checkpoint also has a step
    expect(() => openCheckpoint(outDir, 9)).toThrow("those of steps 2, 3 exist; set saveInterval");
  });

  test("write files with the permissions of the run's folder", () => {
    const outDir = newRun();
    const at = save(outDir, 1);
    const mode = (file: string) => (fs.statSync(file).mode & 0o777).toString(8);
    expect([mode(at), mode(path.dirname(at))]).toEqual([mode(outDir), mode(outDir)]);
  });

  test("removeCheckpoints() removes all checkpoints and nothing else", () => {
    const outDir = newRun();
    save(outDir, 1, { best: true });
    fs.writeFileSync(path.join(outDir, "log.jsonl"), "mine");
    removeCheckpoints(outDir);
    removeCheckpoints(outDir);
    expect(fs.readdirSync(outDir)).toEqual(["log.jsonl"]);
  });
});

describe("openCheckpoint() refuses", () => {
  const broken: Record<string, [damage: (folder: string, pointer: string) => void, message: RegExp]> = {
    "a pointer out of its folder": [
      (_, pointer) => fs.writeFileSync(pointer, "../../elsewhere\n"),
      /names "\.\.\/\.\.\/elsewhere", not a checkpoint/,
    ],
    "a pointer with a path behind a name": [
      (_, pointer) => fs.writeFileSync(pointer, "step-1/../../x"),
      /not a checkpoint/,
    ],
    "an empty pointer": [(_, pointer) => fs.writeFileSync(pointer, ""), /names "", not a checkpoint/],
    "a pointer to a folder that is gone": [
      (_, pointer) => fs.writeFileSync(pointer, "step-000099-x"),
      /step-000099-x.state\.json is missing or damaged/,
    ],
    "a missing model": [(at) => fs.rmSync(path.join(at, "model.safetensors")), /model\.safetensors: it is missing/],
    "a missing optimizer": [(at) => fs.rmSync(path.join(at, "optimizer.safetensors")), /optimizer.*: it is missing/],
    "a model cut short": [
      (at) => fs.truncateSync(path.join(at, "model.safetensors"), 4000),
      /model\.safetensors: .*wanted a complete safetensors file/,
    ],
    "a state.json cut short": [
      (at) => fs.truncateSync(path.join(at, "state.json"), 100),
      /state\.json is missing or damaged/,
    ],
    "a state.json that is null": [
      (at) => fs.writeFileSync(path.join(at, "state.json"), "null"),
      /has format undefined, version undefined; this Folio reads folio-checkpoint 1/,
    ],
    "another format version": [edit({ version: 2 }), /version 2; this Folio reads folio-checkpoint 1/],
    "a step that is no count": [edit({ step: "7" }), /state\.json is damaged: step is "7"/],
    "a state without a tokenizer": [edit({ tokenizer: undefined }), /is damaged: tokenizer is undefined/],
    "an unknown setting": [
      edit({ settings: { ...settings, nLayers: 1 } }),
      /state\.json: Cannot read the settings: there is no setting nLayers; did you mean nLayer\?/,
    ],
    "tensors of another shape than the settings'": [
      edit({ settings: { ...settings, nEmbd: 16 } }),
      /wte\.weight is float32 \[28,8\]; its settings require float32 \[28,16\]/,
    ],
    "a missing tensor": [
      tensors("model", (all) => delete all["wpe.weight"]),
      /wpe\.weight is missing; its settings require/,
    ],
    "a tensor too many": [
      tensors("model", (all) => Object.assign(all, { more: float32([1], [1]) })),
      /it has the tensor more, which its settings do not have/,
    ],
    "a tensor of another type": [
      tensors("model", (all) => Object.assign(all, { "ln_f.weight": int32(new Int32Array(8), [8]) })),
      /ln_f\.weight is int32 \[8\]; its settings require float32 \[8\]/,
    ],
    "a missing moment": [tensors("optimizer", (all) => delete all["v/wpe.weight"]), /wpe\.weight is missing/],
    "an unknown tensor of the optimizer": [
      tensors("optimizer", (all) => Object.assign(all, { x: float32([1], [1]) })),
      /its optimizer has the unknown tensor x/,
    ],
  };
  for (const [name, [damage, message]] of Object.entries(broken)) {
    test(name, () => {
      const outDir = newRun();
      save(outDir, 7);
      damage(target(outDir), path.join(outDir, "checkpoint", "last"));
      expect(() => openCheckpoint(outDir)).toThrow(message);
      expect(() => openCheckpoint(outDir)).toThrow(/^Cannot /);
    });
  }

  test("a folder without a run", () => {
    expect(() => openCheckpoint(path.join(folder, "nothing"))).toThrow(/Cannot find a checkpoint: .* name another/);
  });
});

/** Changes fields of state.json. */
function edit(changes: object): (folder: string) => void {
  return (at) => {
    const file = path.join(at, "state.json");
    fs.writeFileSync(file, JSON.stringify({ ...JSON.parse(fs.readFileSync(file, "utf8")), ...changes }));
  };
}

function tensors(name: string, change: (all: ReturnType<typeof readSafetensors>) => void): (folder: string) => void {
  return (at) => {
    const file = path.join(at, `${name}.safetensors`);
    const all = readSafetensors(file);
    change(all);
    fs.rmSync(file);
    writeSafetensors(file, all);
  };
}

describe("a save that fails", () => {
  test("kill -9 at three random moments leaves a complete checkpoint, at least as new as the last reported one", async () => {
    const outDir = newRun();
    let step = 0;
    for (let round = 0; round < 3; round++) {
      const child = startChild(
        `const { saveCheckpoint } = await load("lib/weights/checkpoint.ts");
        const { outDir, template, from } = argument;
        const filled = (group, fill) => Object.fromEntries(Object.entries(group).map(([name, { shape, values }]) =>
          [name, { dtype: "float32", shape, values: new Float32Array(Object.keys(values).length).fill(fill) }]));
        for (let step = from; ; step++) {
          const { m, v } = template.optimizer;
          const optimizer = { m: filled(m, -step), v: filled(v, step + 0.5) };
          saveCheckpoint(outDir, { ...template, step, params: filled(template.params, step), optimizer },
            { best: step % 3 === 0 });
          process.stdout.write(step + "\\n");
        }`,
        { outDir, template: checkpointOf(0), from: step + 1 },
      );
      while (!/\n/.test(child.output()) && child.exitCode === null) await setTimeout(5);
      await setTimeout(Math.random() * 300);
      child.kill("SIGKILL");
      expect(await ended(child)).toEqual({ code: null, signal: "SIGKILL" });
      const told = Number(child.output().trimEnd().split("\n").at(-1));
      step = readState(outDir).step;
      expect(step).toBeGreaterThanOrEqual(told);
      expectWhole(outDir, "last", step);
      if (hasCheckpoint(outDir, "best")) expectWhole(outDir, "best", readState(outDir, "best").step);
    }
    save(outDir, step + 1, { best: true });
    expect(entries(outDir).length).toBe(3);
  });

  test("a full disk is reported, the previous checkpoint stays intact, and nothing half-written is left", (context) => {
    const outDir = newRun();
    const disk = mountDisk(outDir, "size=256k");
    if ("reason" in disk) return context.skip(disk.reason);
    try {
      save(outDir, 1, { best: true });
      const before = entries(outDir);
      const filler = path.join(outDir, "filler");
      const message =
        /^Cannot save the checkpoint of step 2 to .*: the disk is full; free some space, or choose another outDir\. The previous checkpoint \(step 1\) is intact\.$/;
      const page = 4096;
      let failures = 0;
      // One more page is free each time, so that each file fails in turn, until the checkpoint fits.
      for (let freePages = 0; ; freePages++) {
        fs.rmSync(filler, { force: true });
        const { bavail, bsize } = fs.statfsSync(outDir);
        fs.writeFileSync(filler, Buffer.alloc(bavail * bsize - freePages * page));
        try {
          save(outDir, 2);
          break;
        } catch (error) {
          expect((error as Error).message).toMatch(message);
          failures++;
        }
        expect(entries(outDir)).toEqual(before);
        expectWhole(outDir, "last", 1);
      }
      expectWhole(outDir, "last", 2);
      expect(failures).toBeGreaterThanOrEqual(5);
    } finally {
      disk.unmount();
    }
  });

  test("a full disk at the first checkpoint reports that there is no earlier one", (context) => {
    const outDir = newRun();
    const disk = mountDisk(outDir, "size=16k");
    if ("reason" in disk) return context.skip(disk.reason);
    try {
      expect(() => save(outDir, 1)).toThrow(/the disk is full; .* There is no earlier checkpoint\.$/);
      expect(entries(outDir)).toEqual([]);
    } finally {
      disk.unmount();
    }
  });

  test("a disk that became read-only is reported, and the previous checkpoint stays intact", (context) => {
    const outDir = newRun();
    const disk = mountDisk(outDir, "size=256k");
    if ("reason" in disk) return context.skip(disk.reason);
    try {
      save(outDir, 1);
      disk.makeReadOnly();
      expect(() => save(outDir, 2)).toThrow(
        /^Cannot save the checkpoint of step 2 to .*EROFS.* The previous checkpoint \(step 1\) is intact\.$/,
      );
      expectWhole(outDir, "last", 1);
    } finally {
      disk.unmount();
    }
  });

  test("a file in place of the folder is reported", () => {
    const outDir = newRun();
    fs.mkdirSync(outDir);
    fs.writeFileSync(path.join(outDir, "checkpoint"), "");
    expect(() => save(outDir, 1)).toThrow(/Cannot save the checkpoint of step 1 to .*EEXIST/);
  });
});
