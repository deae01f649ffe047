/** Eager and compiled sessions keep one contract: the same values, the same refusals, nothing left behind. */
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, test } from "vitest";
import { adamUpdate } from "../../lib/engine/ops.js";
import {
  float32,
  type HostState,
  type HostTensors,
  int32,
  openSession,
  type Session,
  type Step,
} from "../../lib/engine/session.js";

const kinds = [false, true].map((compile) => ({ compile, name: compile ? "compiled" : "eager" }));
const ab = (): HostState => ({ s: { a: float32([1, 2], [2]), b: float32([30, 40], [2]) } });
const none: HostTensors = {};

async function withSession(compile: boolean, state: HostState, body: (session: Session) => Promise<void>) {
  const session = await openSession(state, { compile });
  try {
    await body(session);
  } finally {
    session.dispose();
  }
}

const values = (tensors: HostTensors) =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, [...tensor.values]]));

for (const { compile, name } of kinds) {
  describe(`a step of a session, ${name}`, () => {
    const perform = async (step: Step, inputs: HostTensors = none, calls = 1) => {
      let result = { outputs: {}, state: {} } as Record<"outputs" | "state", Record<string, number[]>>;
      await withSession(compile, ab(), async (session) => {
        const run = session.define(step);
        for (let call = 0; call < calls; call++) result.outputs = values(await run(inputs));
        result = { ...result, state: values(await session.read("s")) };
      });
      return result;
    };
    const { add, mul } = tf;

    test("gives outputs and the next state", async () => {
      const step: Step = ({ s }, { x }) => ({ state: { s: { a: add(s!.a!, x!) } }, outputs: { sum: tf.sum(s!.a!) } });
      const { outputs, state } = await perform(step, { x: float32([10], []) }, 3);
      expect(outputs).toEqual({ sum: [43] }); // of the state before the third call
      expect(state).toEqual({ a: [31, 32], b: [30, 40] });
    });

    test("that returns the state as it was, or none, changes nothing", async () => {
      expect((await perform((state) => ({ state, outputs: {} }), none, 2)).state).toEqual({ a: [1, 2], b: [30, 40] });
      expect((await perform(() => ({ outputs: {} }), none, 2)).state).toEqual({ a: [1, 2], b: [30, 40] });
    });

    test("swaps two entries", async () => {
      const step: Step = ({ s }) => ({ state: { s: { a: s!.b!, b: s!.a! } }, outputs: {} });
      expect((await perform(step)).state).toEqual({ a: [30, 40], b: [1, 2] });
      expect((await perform(step, none, 4)).state).toEqual({ a: [1, 2], b: [30, 40] });
    });

    test("gives one tensor to two entries, which then go their own ways", async () => {
      const share: Step = ({ s }) => {
        const twice = mul(s!.a!, 2);
        return { state: { s: { a: twice, b: twice } }, outputs: { one: twice, two: twice } };
      };
      await withSession(compile, ab(), async (session) => {
        expect(values(await session.define(share)(none))).toEqual({ one: [2, 4], two: [2, 4] });
        await session.define(({ s }) => ({ state: { s: { a: add(s!.a!, 1) } }, outputs: {} }))(none);
        expect(values(await session.read("s"))).toEqual({ a: [3, 5], b: [2, 4] });
      });
    });

    test("may output the state, old and new, and an input", async () => {
      const step: Step = ({ s }, { x }) => {
        const next = add(s!.a!, x!);
        return { state: { s: { a: next } }, outputs: { old: s!.a!, next, x: x!, again: x! } };
      };
      const { outputs, state } = await perform(step, { x: float32([1, 1], [2]) }, 2);
      expect(outputs).toEqual({ old: [2, 3], next: [3, 4], x: [1, 1], again: [1, 1] });
      expect(state.a).toEqual([3, 4]);
    });

    test("may keep an input, and a tensor from outside, as state", async () => {
      const outside = tf.tensor1d([5, 6]);
      const step: Step = (_, { x }) => ({ state: { s: { a: x!, b: outside } }, outputs: {} });
      expect((await perform(step, { x: float32([7, 8], [2]) }, 2)).state).toEqual({ a: [7, 8], b: [5, 6] });
      expect([...outside.dataSync()]).toEqual([5, 6]);
      outside.dispose();
    });

    test("reads the parameter before AdamW moves it in place, even into an entry that shares its memory", async () => {
      const zero = float32([0], [1]);
      await withSession(compile, { s: { p: float32([1], [1]), m: zero, v: zero, copy: zero } }, async (session) => {
        const run = session.define(({ s }) => {
          const { p, m, v } = s as Record<"p" | "m" | "v", tf.Tensor>;
          const [rate, one] = [tf.scalar(0.1), tf.scalar(1)];
          const rates = { learningRate: rate, biasCorrection1: rate, biasCorrection2: rate, gradientScale: one };
          const fixed = { beta1: 0.9, beta2: 0.9, epsilon: 0, weightDecay: 0 };
          const { param, ...moments } = adamUpdate({ param: p, m, v, gradient: tf.ones([1]), ...rates, ...fixed });
          return { state: { s: { ...moments, p: param, copy: p } }, outputs: { old: p, double: mul(p, 2) } };
        });
        for (const old of [1, 0.9]) {
          const outputs = values(await run(none));
          expect(outputs.old![0]).toBeCloseTo(old, 5);
          expect(outputs.double![0]).toBeCloseTo(2 * old, 5);
          expect((await session.read("s")).copy!.values[0]).toBeCloseTo(old, 5);
        }
      });
    });

    test("takes inputs of other shapes, integers, booleans and no elements", async () => {
      await withSession(compile, ab(), async (session) => {
        let traces = 0;
        const run = session.define((_, { x, yes }) => {
          traces++;
          return { outputs: { sum: tf.sum(x!), x: tf.add(x!, tf.scalar(1, "int32")), no: tf.logicalNot(yes!) } };
        });
        const yes = { dtype: "bool", shape: [2], values: Uint8Array.of(1, 0) } as const;
        const first = await run({ x: int32([1, 2, 3], [3]), yes });
        expect(first.x).toEqual(int32([2, 3, 4], [3]));
        expect([first.no!.dtype, ...first.no!.values]).toEqual(["bool", 0, 1]);
        expect(values(await run({ x: int32([1, 2, 3, 4], [2, 2]), yes })).sum).toEqual([10]);
        expect((await run({ x: int32([], [0, 2]), yes })).x).toEqual(int32([], [0, 2]));
        expect(values(await run({ x: int32([5, 5, 5], [3]), yes })).sum).toEqual([15]);
        expect(traces).toBe(compile ? 3 : 4);
      });
    });
  });
}
