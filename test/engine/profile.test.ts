import * as tf from "@tensorflow/tfjs-core";
import { beforeAll, describe, expect, it } from "vitest";
import { float32, int32, toHost } from "../../lib/engine/host-tensors.js";
import { chromeTrace, readStepTrace, type TracedStep, timeByPart, timeByType } from "../../lib/engine/profile.js";
import { openSession } from "../../lib/engine/session.js";
import { loadTensorFlow } from "../../lib/engine/tensorflow/load.js";
import { initialParameters } from "../../lib/model/model.js";
import { parseSettings } from "../../lib/settings/settings.js";
import { trainingSteps } from "../../lib/train/steps.js";

// Protocol buffers by hand: a field's key is its number and kind (0 a number, 2 bytes), numbers in groups of 7 bits.
const variable = (value: number): number[] =>
  value < 128 ? [value] : [(value % 128) + 128, ...variable(Math.floor(value / 128))];
const number = (field: number, value: number) => [...variable(field * 8), ...variable(value)];
const bytes = (field: number, value: readonly number[]) => [
  ...variable(field * 8 + 2),
  ...variable(value.length),
  ...value,
];
const text = (field: number, value: string) => bytes(field, [...Buffer.from(value)]);

/** NodeExecStats: name 1, all_start_micros 2, op_start_rel_nanos 14, op_end_rel_nanos 15, timeline_label 8. */
const node = (name: string, label: string, [start, from, to]: [number, number, number]) =>
  bytes(2, [...text(1, name), ...number(2, start), ...text(8, label), ...number(14, from), ...number(15, to)]);
const metadata = (...nodes: number[][]) => Uint8Array.from(bytes(1, bytes(1, [...text(1, "/cpu:0"), ...nodes.flat()])));

describe("readStepTrace()", () => {
  it("reads names, kinds, inputs and times, in the order of their start", () => {
    const now = 1_795_521_600_000_000; // a date in microseconds needs 51 bits
    const step = readStepTrace(
      metadata(
        node("Mul_2", "Mul_2 = Mul(MatMul_1, ^Const_0)", [now + 50, 1000, 3500]),
        node("MatMul_1", "MatMul_1 = MatMul(a, b:1)", [now, 500, 40_500]),
      ),
    );
    expect(step.operations).toMatchObject([
      { name: "MatMul_1", type: "MatMul", inputs: ["a", "b:1"], device: "/cpu:0", startMicros: 0, micros: 40 },
      { name: "Mul_2", type: "Mul", inputs: ["MatMul_1", "^Const_0"], startMicros: 50.5, micros: 2.5 },
    ]);
    expect(step.micros).toBe(53);
  });

  it("skips unknown fields, and returns no operations for empty input", () => {
    const fixed = [...variable(7 * 8 + 1), 0, 0, 0, 0, 0, 0, 0, 0, ...variable(9 * 8 + 5), 0, 0, 0, 0];
    const known = metadata(node("A_1", "A_1 = A()", [1, 0, 1000]));
    expect(readStepTrace(Uint8Array.from([...fixed, ...number(12, 300), ...known])).operations).toHaveLength(1);
    expect(readStepTrace(new Uint8Array())).toEqual({ operations: [], micros: 0 });
  });

  it("refuses truncated or unrelated bytes", () => {
    const whole = metadata(node("A_1", "A_1 = A()", [1, 0, 1000]));
    expect(() => readStepTrace(whole.subarray(0, -3))).toThrow(new RangeError("Cannot read a trace: it is cut off."));
    expect(() => readStepTrace(Uint8Array.of(0x0b, 0))).toThrow(
      new RangeError("Cannot read a trace: Unimplemented type: 3."),
    );
  });
});

describe("a traced training step", () => {
  let step: TracedStep;
  const settings = parseSettings({ nLayer: 2, nHead: 2, nEmbd: 64, blockSize: 32, batchSize: 4, vocabSize: 50 });

  beforeAll(async () => {
    loadTensorFlow();
    const tensors = initialParameters(settings, 1);
    const entries = Object.entries(tensors);
    const params = Object.fromEntries(await Promise.all(entries.map(async ([name, t]) => [name, await toHost(t)])));
    tf.dispose(tensors);
    const zeros = () =>
      Object.fromEntries(entries.map(([name, { shape, size }]) => [name, float32(new Float32Array(size), shape)]));
    const session = await openSession({ params, m: zeros(), v: zeros() }, { profiled: true });
    const update = session.define(trainingSteps({ ...settings, gradientAccumulationSteps: 1 }).update);
    const ids = int32(new Int32Array(4 * 32).fill(7), [4, 32]);
    const scalar = (value: number) => float32([value], []);
    const inputs = {
      x: ids,
      y: ids,
      dropoutKey: int32([1, 2], [2]),
      learningRate: scalar(1e-3),
      biasCorrection1: scalar(0.1),
      biasCorrection2: scalar(0.05),
    };
    const plain = await update(inputs);
    let metadata = new Uint8Array();
    const traced = await update(inputs, (bytes) => {
      metadata = Uint8Array.from(bytes);
    });
    expect(Object.keys(traced)).toEqual(Object.keys(plain));
    step = readStepTrace(metadata);
    session.dispose();
  });

  it("has each operation, within the time of the step", () => {
    expect(step.operations.length).toBeGreaterThan(50);
    for (const { startMicros, micros } of step.operations) {
      expect(startMicros).toBeGreaterThanOrEqual(0);
      expect(micros).toBeGreaterThanOrEqual(0);
      expect(startMicros + micros).toBeLessThanOrEqual(step.micros);
    }
    expect(
      timeByType([step])
        .map(({ name }) => name)
        .join(),
    ).toMatch(/MatMul/);
  });

  it("divides all of its time among the parts of the model", () => {
    const parts = timeByPart([step, step]);
    const names = ["attention", "embedding", "head and loss", "layer norm", "mlp", "optimizer"];
    expect(parts.map(({ name }) => name)).toEqual(expect.arrayContaining(names));
    expect(parts.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 10);
    // Each product counts as one, because its time depends on the machine.
    const isProduct = (type: string) => /MatMul|LinearGrad/.test(type);
    const operations = step.operations.map((each) => ({ ...each, micros: isProduct(each.type) ? 1 : 0 }));
    const ofProducts = timeByPart([{ ...step, operations }]);
    expect(ofProducts.find(({ name }) => name === "other")?.share ?? 0).toBe(0);
    for (const name of ["attention", "head and loss", "mlp"])
      expect(ofProducts.find((part) => part.name === name)?.share, name).toBeGreaterThan(0.05);
    // Two equal steps: counts and times of one.
    expect(parts).toEqual(
      timeByPart([step]).map((row) => ({
        ...row,
        micros: expect.closeTo(row.micros, 6),
        share: expect.closeTo(row.share, 9),
      })),
    );
  });

  it("becomes a trace in which operations of a row do not overlap", () => {
    const { traceEvents, displayTimeUnit } = chromeTrace([step, step], "Folio");
    expect(displayTimeUnit).toBe("ms");
    expect(traceEvents[0]).toEqual({ name: "process_name", ph: "M", pid: 1, tid: 0, args: { name: "Folio" } });
    const spans = traceEvents.filter(({ ph }) => ph === "X");
    expect(spans).toHaveLength(2 * step.operations.length + 2);
    for (const row of new Set(spans.map(({ tid }) => tid))) {
      expect(traceEvents.some(({ name, tid }) => name === "thread_name" && tid === row)).toBe(true);
      const onRow = spans.filter(({ tid }) => tid === row).sort((a, b) => a.ts! - b.ts!);
      for (const [index, { ts }] of onRow.entries()) {
        const before = onRow[index - 1];
        if (before) expect(ts!).toBeGreaterThanOrEqual(before.ts! + before.dur! - 1e-6);
      }
    }
  });
});
