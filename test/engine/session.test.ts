/** Eager and compiled sessions have the same contract: the same values, the same errors, no leaks. */
import timers from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, test } from "vitest";
import { float32, type HostState, type HostTensors, int32 } from "../../lib/engine/host-tensors.js";
import { adamUpdate } from "../../lib/engine/operations/raw.js";
import { openSession } from "../../lib/engine/session.js";
import type { RunStep, Session, Step } from "../../lib/engine/steps.js";
import { crossEntropy, embedding, gelu, layerNorm } from "../../lib/model/functional.js";

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
      expect(outputs).toEqual({ sum: [43] }); // the state before the third call
      expect(state).toEqual({ a: [31, 32], b: [30, 40] });
    });

    test("that returns the state unchanged, or no state, changes nothing", async () => {
      expect((await perform((state) => ({ state, outputs: {} }), none, 2)).state).toEqual({ a: [1, 2], b: [30, 40] });
      expect((await perform(() => ({ outputs: {} }), none, 2)).state).toEqual({ a: [1, 2], b: [30, 40] });
    });

    test("swaps two entries", async () => {
      const step: Step = ({ s }) => ({ state: { s: { a: s!.b!, b: s!.a! } }, outputs: {} });
      expect((await perform(step)).state).toEqual({ a: [30, 40], b: [1, 2] });
      expect((await perform(step, none, 4)).state).toEqual({ a: [1, 2], b: [30, 40] });
    });

    test("gives one tensor to two entries, which later change independently", async () => {
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

    test("reads a parameter before AdamW updates it in place, even for an entry that shares its memory", async () => {
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

const slow: Step = ({ s }, { x }) => {
  let product = x!;
  for (let i = 0; i < 12; i++) product = tf.mul(tf.matMul(product, x!), 1e-3);
  return { state: { s: { a: tf.add(s!.a!, 1) } }, outputs: { norm: tf.sum(product) } };
};
const large: HostTensors = { x: float32(new Float32Array(1024 * 1024).fill(0.5), [1024, 1024]) };

for (const { compile, name } of kinds) {
  describe(`a session, ${name}`, () => {
    test("refuses unknown state, and state of another shape or type", async () => {
      await withSession(compile, ab(), async (session) => {
        const returning = (group: string, entry: string, value: () => tf.Tensor) =>
          session.define(() => ({ state: { [group]: { [entry]: value() } }, outputs: {} }))(none);
        await expect(returning("s", "c", () => tf.zeros([2]))).rejects.toThrow(/s\/c, which the session's state does/);
        await expect(returning("t", "a", () => tf.zeros([2]))).rejects.toThrow(/t\/a, which the session's state does/);
        await expect(returning("s", "a", () => tf.zeros([3]))).rejects.toThrow(/s\/a as float32 \[3\]; the state has/);
        await expect(returning("s", "a", () => tf.zeros([2], "int32"))).rejects.toThrow(
          /as int32 \[2\]; the state has/,
        );
        expect(values(await session.read("s"))).toEqual({ a: [1, 2], b: [30, 40] });
        await expect(session.read("nothing")).rejects.toThrow(
          /Cannot find "nothing" in the session.s state: it has s\.$/,
        );
      });
    });

    test("accepts new values for its state, in order with its steps, and refuses others", async () => {
      await withSession(compile, ab(), async (session) => {
        const run = session.define(({ s }) => ({ state: { s: { a: tf.add(s!.a!, s!.b!) } }, outputs: {} }));
        const all = [run(none), session.write("s", { a: float32([0, 1], [2]) }), run(none), session.read("s")] as const;
        expect(values((await Promise.all(all))[3])).toEqual({ a: [30, 41], b: [30, 40] });
        const { numTensors } = tf.memory();
        await session.write("s", { a: float32([5, 6], [2]), b: float32([7, 8], [2]) });
        expect(tf.memory().numTensors).toBe(numTensors);
        await expect(session.write("t", {})).rejects.toThrow(/Cannot find "t" in the session.s state: it has s\.$/);
        await expect(session.write("s", { a: float32([9, 9], [2]), c: float32([1], []) })).rejects.toThrow(
          "Cannot write s/c as float32 []: the state does not have it.",
        );
        await expect(session.write("s", { b: float32([1], [1]) })).rejects.toThrow(
          "Cannot write s/b as float32 [1]: the state has it as float32 [2].",
        );
        await expect(session.write("s", { b: int32([1, 2], [2]) })).rejects.toThrow(/as int32 \[2\]: the state has it/);
        expect(values(await session.read("s"))).toEqual({ a: [5, 6], b: [7, 8] });
      });
      await withSession(compile, {}, async (session) => {
        await expect(session.read("params")).rejects.toThrow(/in the session.s state: it is empty\.$/);
      });
      await withSession(compile, { none: {} }, async (session) => {
        expect(await session.read("none")).toEqual({});
      });
    });

    test("refuses values that do not match their shape, and continues", async () => {
      await withSession(compile, ab(), async (session) => {
        const run = session.define((_, { x }) => ({ outputs: { x: tf.neg(x!) } }));
        for (const x of [int32([1, 2, 3], [2, 2]), int32([1, 2, 3, 4, 5], [2, 2])]) {
          await expect(run({ x })).rejects.toThrow(Error);
        }
        expect(values(await run({ x: int32([1, 2, 3, 4], [2, 2]) }))).toEqual({ x: [-1, -2, -3, -4] });
      });
      await expect(openSession({ s: { a: float32([1], [2]) } }, { compile })).rejects.toThrow(Error);
    });

    test("reports TensorFlow's error as one Error, keeps the state and continues", async () => {
      await withSession(compile, ab(), async (session) => {
        const divide = session.define(({ s }, { by }) => ({
          state: { s: { a: tf.add(s!.a!, 1) } },
          outputs: { x: tf.floorDiv(tf.tensor1d([6], "int32"), by!) },
        }));
        await expect(divide({ by: int32([0], [1]) })).rejects.toThrow(/division by zero/i);
        expect(values(await divide({ by: int32([2], [1]) }))).toEqual({ x: [3] });
        const mismatched = session.define((_, { x }) => ({
          outputs: { y: tf.matMul(x as tf.Tensor2D, x as tf.Tensor2D) },
        }));
        await expect(mismatched({ x: float32([1, 2], [1, 2]) })).rejects.toThrow(/size-incompatible|\[1,2\]/);
        const thrown = session.define(() => {
          throw new RangeError("mine");
        });
        await expect(thrown(none)).rejects.toThrow(new RangeError("mine"));
      });
    });

    test("reports TensorFlow's error in one line, with the operation", async () => {
      await withSession(compile, ab(), async (session) => {
        const label = session.define((_, { y }) => ({
          outputs: { loss: crossEntropy(tf.zeros([3, 5]), y as tf.Tensor1D) },
        }));
        const row = session.define((_, { y }) => ({
          outputs: { rows: embedding(tf.zeros([5, 2]), y as tf.Tensor1D) },
        }));
        const reshape = session.define((_, { y }) => ({ outputs: { y: tf.reshape(y!, [2, 7]) } }));
        const y = int32([1, 50, 2], [3]);
        const failure = (run: RunStep) =>
          run({ y }).then(
            () => "",
            (error: Error) => error.message,
          );
        expect(await failure(label)).toMatch(
          /^Cannot run a step: Received a label value of 50 which is outside the valid range of \[0, 5\)[^:\n]*\.$/,
        );
        expect(await failure(row)).toMatch(/^Cannot run a step: indices\[1\] = 50 is not in \[0, 5\)[^\n[{]*\.$/);
        expect(await failure(reshape)).toMatch(/^Cannot [^\n{]*reshape [^\n{]*\b3 [^\n{]*14[^\n{]*$/);
      });
    });

    test("runs calls and reads in order", async () => {
      await withSession(compile, { s: { a: float32([0], [1]) } }, async (session) => {
        const run = session.define(({ s }) => ({ state: { s: { a: tf.add(s!.a!, 1) } }, outputs: { a: s!.a! } }));
        const order: number[] = [];
        const calls = [0, 1, 2, 3].map((i) =>
          run(none).then(({ a }) => {
            order.push(i);
            return a!.values[0];
          }),
        );
        const read = session.read("s");
        expect(await Promise.all(calls)).toEqual([0, 1, 2, 3]);
        expect(order).toEqual([0, 1, 2, 3]);
        expect(values(await read)).toEqual({ a: [4] });
      });
    });

    test("is disposed of once, after the current step, and refuses later calls", async () => {
      const session = await openSession({ s: { a: float32([0], [1]) } }, { compile });
      const run = session.define(slow);
      const [, underWay] = [await run(large), run(large)];
      await new Promise((resolve) => setImmediate(resolve));
      const waiting = run(large).catch((error: Error) => error.message);
      session.dispose();
      session.dispose();
      expect((await underWay).norm!.values[0]).toBeGreaterThan(0);
      expect(await waiting).toMatch(/the session was disposed of/);
      await expect(run(large)).rejects.toThrow(/the session was disposed of/);
      await expect(session.read("s")).rejects.toThrow(/the session was disposed of/);
    });

    test("shares no state with another", async () => {
      const [one, two] = [await openSession(ab(), { compile }), await openSession(ab(), { compile })];
      const add: Step = ({ s }) => ({ state: { s: { a: tf.add(s!.a!, 1) } }, outputs: {} });
      await Promise.all([one.define(add)(none), two.define(add)(none), one.define(add)(none)]);
      one.dispose();
      expect(values(await two.read("s"))).toEqual({ a: [2, 3], b: [30, 40] });
      two.dispose();
    });

    test("leaves no tensors behind, even after errors", async () => {
      const once = () =>
        withSession(compile, ab(), async (session) => {
          const swap = session.define(({ s }, { x }) => ({
            state: { s: { a: s!.b!, b: s!.a! } },
            outputs: { x: x!, old: s!.a!, y: tf.square(x!) },
          }));
          const fails = session.define(({ s }) => ({ state: { s: { a: s!.b!, c: tf.neg(s!.a!) } }, outputs: {} }));
          await swap({ x: float32([2], [1]) });
          await fails(none).catch(() => {});
          const { numTensors } = tf.memory();
          await swap({ x: float32([2], [1]) });
          await fails(none).catch(() => {});
          await session.read("s");
          expect(tf.memory().numTensors).toBe(numTensors);
        });
      await once();
      const { numTensors } = tf.memory();
      await once();
      expect(tf.memory().numTensors).toBe(numTensors);
    });
  });
}

describe("a compiled session", () => {
  test("does not block the event loop during a step", async () => {
    await withSession(true, { s: { a: float32([0], [1]) } }, async (session) => {
      let [turns, done] = [0, false];
      const turn = () => {
        turns++;
        if (!done) setImmediate(turn);
      };
      setImmediate(turn);
      // The first call, which is not yet known to be short; short ones run on the calling thread.
      await session.define(slow)(large);
      done = true;
      expect(turns).toBeGreaterThan(0); // a blocking step would end before the loop ran again
    });
  });

  test("frees its memory: a hundred sessions of 4 MB in turn stay within 100 MB", async () => {
    const cycle = async (count: number) => {
      for (let i = 0; i < count; i++) {
        await withSession(true, { s: { a: float32(new Float32Array(2 ** 20), [2 ** 20]) } }, async (session) => {
          await session.define(({ s }) => ({ state: { s: { a: tf.add(s!.a!, 1) } }, outputs: {} }))(none);
        });
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
      return process.memoryUsage().rss / 2 ** 20;
    };
    const before = await cycle(10);
    expect((await cycle(100)) - before).toBeLessThan(100);
  });

  test("does not keep the initial values of its variables", async () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const open = async () => {
      const initial = new Float32Array(100_000);
      return { session: await openSession({ s: { a: float32(initial, [100_000]) } }), initial: new WeakRef(initial) };
    };
    const { session, initial } = await open();
    await timers.setImmediate(); // a WeakRef holds until then
    collect();
    expect(initial.deref()).toBeUndefined();
    expect((await session.read("s")).a!.shape).toEqual([100_000]);
    session.dispose();
  });

  test("alone supports bfloat16", async () => {
    await expect(openSession(ab(), { compile: false, dtype: "bfloat16" })).rejects.toThrow(/eagerly in bfloat16/);
    const session = await openSession(ab(), { dtype: "bfloat16" });
    const x = float32([1, 2, 3, 4], [2, 2]);
    const run = session.define((_, { x }) => ({ outputs: { y: tf.matMul(x as tf.Tensor2D, x as tf.Tensor2D) } }));
    expect(values(await run({ x })).y).toEqual([7, 10, 15, 22]); // small integers are exact
    session.dispose();
  });

  test("alone supports float16: only factors and products are rounded to 11 bits, not their gradients", async () => {
    await expect(openSession(ab(), { compile: false, dtype: "float16" })).rejects.toThrow(/eagerly in float16/);
    await expect(openSession(ab(), { dtype: "int8" as "float16" })).rejects.toThrow(/wanted float32, bfloat16 or flo/);
    const session = await openSession(ab(), { dtype: "float16" });
    const fine = 1 + 2 ** -12;
    const x = float32([fine, 0, 0, 70_000], [2, 2]);
    const run = session.define((_, { x }) => {
      const one = tf.eye(2);
      const gradient = tf.grad((y: tf.Tensor) => tf.mul(tf.sum(tf.matMul(y as tf.Tensor2D, one)), 3))(x!);
      const heads = tf.matMul(tf.reshape(x!, [1, 2, 2]), tf.reshape(one, [1, 2, 2]));
      const ids = tf.matMul(tf.cast(x!, "int32") as tf.Tensor2D, tf.cast(one, "int32"));
      return { outputs: { y: tf.matMul(x as tf.Tensor2D, one), heads, gradient, x: tf.mul(x!, 1), ids } };
    });
    const outputs = values(await run({ x }));
    expect(outputs.y!.slice(0, 1)).toEqual([1]);
    expect(outputs.y!.slice(3)).toEqual([Number.POSITIVE_INFINITY]); // 65,504 is the largest
    expect(outputs.heads!.slice(0, 1)).toEqual([1]);
    expect(outputs.gradient).toEqual([3, 3, 3, 3]);
    expect(outputs.x).toEqual([fine, 0, 0, 70_000]);
    expect(outputs.ids).toEqual([1, 0, 0, 70_000]);
    session.dispose();
  });

  test("lets XLA compile clusters of operations, without Folio's, with the same results", async () => {
    await expect(openSession(ab(), { compile: false, xla: true })).rejects.toThrow(/eagerly with xla/);
    const matrix = (seed: number) =>
      float32(
        Float32Array.from({ length: 64 }, (_, i) => Math.sin(seed + i)),
        [8, 8],
      );
    const gradientStep: Step = ({ s }, { x }) => {
      const f = (w: tf.Tensor) => {
        const hidden = gelu(layerNorm(tf.matMul(x as tf.Tensor2D, w as tf.Tensor2D), tf.ones([8])), "erf");
        return tf.mean(tf.square(tf.tanh(tf.add(tf.mul(hidden, 2), 1)))) as tf.Scalar;
      };
      const { value, grad } = tf.valueAndGrad(f)(s!.w!);
      return { state: { s: { w: tf.sub(s!.w!, tf.mul(grad, 0.5)) } }, outputs: { loss: value } };
    };
    const losses = async (xla: boolean) => {
      const session = await openSession({ s: { w: matrix(1) } }, { xla, profiled: true });
      const run = session.define(gradientStep);
      const all: number[] = [];
      let ran = "";
      for (let i = 0; i < 4; i++) {
        const seen = (metadata: Uint8Array) => {
          ran = Buffer.from(metadata).toString("latin1");
        };
        all.push((await run({ x: matrix(i) }, i === 3 ? seen : undefined)).loss!.values[0]!);
      }
      session.dispose();
      return { all, clusters: /_XlaRun/.test(ran) };
    };
    const [plain, compiled] = [await losses(false), await losses(true)];
    expect([plain.clusters, compiled.clusters]).toEqual([false, true]);
    for (const [i, loss] of plain.all.entries()) expect(Math.abs(compiled.all[i]! / loss - 1)).toBeLessThan(1e-5);
  });

  test("traces with shapes only, and gets its values later", async () => {
    const shape = [1024, 1024];
    const session = await openSession({ s: { a: { dtype: "float32", shape }, n: int32([1], []) } });
    let traces = 0;
    const step: Step = ({ s }, { x }) => {
      traces++;
      return { state: { s: { a: tf.add(s!.a!, x!) } }, outputs: { n: s!.n! } };
    };
    const { operations, elapsedMs } = await session.trace(step, { x: { dtype: "float32", shape: [] } });
    expect(operations).toBeGreaterThan(3);
    expect(elapsedMs).toBeGreaterThan(0);
    const run = session.define(step);
    await expect(run({ x: float32([1], []) })).rejects.toThrow(/^Cannot run a step: .*s\/a.*uninitialized/i);
    await session.write("s", { a: float32(new Float32Array(2 ** 20).fill(2), shape) });
    expect(values(await run({ x: float32([1], []) }))).toEqual({ n: [1] });
    expect((await session.read("s")).a!.values[2 ** 20 - 1]).toBe(3);
    expect(traces).toBe(1);
    expect(await session.trace(step, { x: { dtype: "float32", shape: [] } })).toMatchObject({ operations: 0 });
    session.dispose();
  });
});

describe("an eager session", () => {
  test("needs all values, and traces nothing", async () => {
    const empty = { s: { a: float32([1], [1]), b: { dtype: "float32", shape: [2] } as const } };
    await expect(openSession(empty, { compile: false })).rejects.toThrow(
      /Cannot run eagerly: s\/b has no values; use c/,
    );
    await withSession(false, ab(), async (session) => {
      await expect(session.trace(() => ({ outputs: {} }), {})).rejects.toThrow(/Cannot trace in an eager session/);
    });
  });
});

describe("a state", () => {
  const count: Step = ({ s }) => ({
    state: { s: { a: tf.mul(tf.add(s!.a!, 1 / 3), 1.1) } },
    outputs: { a: s!.a! },
  });

  test("moves between eager and compiled sessions and back without losing a bit", async () => {
    const odd = [Number.NaN, -0, 1e-45, 3.4e38, Number.NEGATIVE_INFINITY, 0.1];
    let state: HostState = {
      s: { a: float32(odd, [6]), none: float32([], [0, 3]), one: float32([7], []) },
      i: { n: int32([-(2 ** 31), 5], [2]), flag: { dtype: "bool", shape: [2], values: Uint8Array.of(1, 0) } },
    };
    for (const compile of [true, false, true, false]) {
      await withSession(compile, state, async (session) => {
        const moved = { s: await session.read("s"), i: await session.read("i") };
        expect(moved).toEqual(state);
        expect(new Uint8Array(moved.s.a!.values.buffer)).toEqual(new Uint8Array(state.s!.a!.values.buffer));
        state = moved;
      });
    }
  });

  test("continues in the other kind of session", async () => {
    let state = ab();
    for (const compile of [true, false, true]) {
      await withSession(compile, state, async (session) => {
        await session.define(count)(none);
        state = { s: await session.read("s") };
      });
    }
    await withSession(false, ab(), async (session) => {
      for (let i = 0; i < 3; i++) await session.define(count)(none);
      const [expected, found] = [(await session.read("s")).a!, state.s!.a!];
      for (const [i, value] of expected.values.entries()) expect(found.values[i]).toBeCloseTo(value, 5);
    });
  });
});
