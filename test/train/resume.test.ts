/** A stopped and resumed run equals an uninterrupted one: weights and moments bit for bit, the log except for times. */
import fs from "node:fs";
import path from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import type { Settings } from "../../lib/settings/settings.js";
import { train } from "../../lib/train/train.js";
import { hasCheckpoint, readState } from "../../lib/weights/checkpoint.js";
import {
  checkpointFile,
  collect,
  ended,
  killingItself,
  results,
  startChild,
  temporaryFolder,
  tinySettings,
  writeFox,
} from "../tiny-run.js";

const folder = temporaryFolder();
let runs = 0;
const newRun = (overrides: Partial<Settings> = {}) => tinySettings(folder, `run-${runs++}`, overrides);

beforeAll(() => {
  loadTensorFlow();
  writeFox(folder);
});

function expectSameRun(outDir: string, reference: string): void {
  for (const pointer of ["last", "best"]) {
    for (const file of ["model.safetensors", "optimizer.safetensors"]) {
      const equal = checkpointFile(outDir, file, pointer).equals(checkpointFile(reference, file, pointer));
      expect(equal, `${file} of ${pointer}`).toBe(true);
    }
  }
  expect(results(outDir)).toEqual(results(reference));
}

describe("a run stopped by a signal and resumed", () => {
  const kinds: Record<string, Partial<Settings>> = {
    eager: {},
    compiled: { compile: true },
    "compiled, dropout, accumulation": { compile: true, dropout: 0.2, gradientAccumulationSteps: 2 },
    "eager, dropout, accumulation": { dropout: 0.2, gradientAccumulationSteps: 2 },
    "log every third step": { logInterval: 3 },
    "only the best saved": { alwaysSaveCheckpoint: false },
  };
  for (const [name, more] of Object.entries(kinds)) {
    test(`is the same run: ${name}`, async () => {
      const reference = newRun(more);
      await collect(train(reference));
      // Stops between two evaluations, right before one, and in the last step.
      for (const stops of more.compile ? [[0, 3]] : [[2], [1, 3], [0, 4, 5]]) {
        const settings = newRun(more);
        for (const [sitting, stop] of [...stops, Number.POSITIVE_INFINITY].entries()) {
          const controller = new AbortController();
          const initFrom = sitting === 0 ? "scratch" : "resume";
          for await (const record of train({ ...settings, initFrom }, { signal: controller.signal })) {
            if (record.kind === "iter" && record.step === stop) controller.abort();
          }
        }
        expectSameRun(settings.outDir, reference.outDir);
      }
    });
  }

  test("is the same run when stopped right after an evaluation", async () => {
    const reference = newRun();
    await collect(train(reference));
    const settings = newRun();
    const controller = new AbortController();
    for await (const record of train(settings, { signal: controller.signal })) {
      if (record.kind === "eval" && record.step === 4) controller.abort();
    }
    expect(readState(settings.outDir)).toMatchObject({ step: 4, evaluated: true });
    await collect(train({ ...settings, initFrom: "resume" }));
    expectSameRun(settings.outDir, reference.outDir);
  });
});

test("a log that ends within a line, or is ahead of the checkpoint, is truncated", async () => {
  const reference = newRun({ maxIters: 6 });
  await collect(train(reference));
  const settings = newRun({ maxIters: 6 });
  for await (const record of train(settings)) if (record.kind === "iter" && record.step === 4) break;
  const log = path.join(settings.outDir, "log.jsonl");
  fs.appendFileSync(log, '{"kind":"iter","step":5,"lo');
  expect(readState(settings.outDir).step).toBe(4);
  await collect(train({ ...settings, initFrom: "resume" }));
  expectSameRun(settings.outDir, reference.outDir);
  const lines = fs.readFileSync(log, "utf8").trimEnd().split("\n");
  for (const line of lines) expect(() => JSON.parse(line)).not.toThrow();
});

test("a run killed twice with -9 at random places and resumed is the same run", async () => {
  // Of twelve checkpoints, the two interrupted sittings write at most eight.
  const long: Partial<Settings> = { compile: true, dropout: 0.1, gradientAccumulationSteps: 2, evalInterval: 5 };
  const reference = newRun({ ...long, maxIters: 60, lrDecayIters: 60 });
  const settings = newRun({ ...reference, outDir: undefined as never });
  settings.outDir = path.join(folder, "killed");
  await collect(train(reference));
  const initFrom = () => (hasCheckpoint(settings.outDir) ? "resume" : "scratch");
  const script = `
    const { train } = await load("lib/train/train.ts");
    for await (const _ of train(argument));`;
  const steps: number[] = [];
  for (let kills = 0; kills < 2; kills++) {
    // During the next five logged steps, or in the middle of the next save.
    const place = killingItself(1 + Math.floor(Math.random() * 3), Math.floor(Math.random() * 30));
    const child = startChild(script, { ...settings, initFrom: initFrom() }, place);
    expect(await ended(child), `${place.FOLIO_KILL_SELF}\n${child.output()}`).toEqual({
      code: null,
      signal: "SIGKILL",
    });
    steps.push(readState(settings.outDir).step);
  }
  expect(steps.every((step) => step > 0 && step < 60)).toBe(true);
  const [start] = await collect(train({ ...settings, initFrom: initFrom() }));
  expect(start).toMatchObject({ step: steps.at(-1) });
  expectSameRun(settings.outDir, reference.outDir);
});
