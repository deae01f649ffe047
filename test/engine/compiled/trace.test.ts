/** Tracing TensorFlow.js code into a graph: tensors from outside, and errors with the place in the user's code. */
import vm from "node:vm";
import * as tf from "@tensorflow/tfjs-core";
import { afterEach, describe, expect, test } from "vitest";
import { GraphBuilder } from "../../../lib/engine/compiled/graph-builder.js";
import { traceInto } from "../../../lib/engine/compiled/trace.js";
import { float32, type HostTensors, int32 } from "../../../lib/engine/host-tensors.js";
import type { RawBackend } from "../../../lib/engine/operations/raw.js";
import { openSession } from "../../../lib/engine/session.js";
import type { Session, Step } from "../../../lib/engine/steps.js";
import { loadTensorFlow } from "../../../lib/engine/tensorflow/load.js";
import { dropout } from "../../../lib/model/functional.js";

loadTensorFlow();
const open: Session[] = [];
afterEach(() => {
  for (const session of open.splice(0)) session.dispose();
});

async function compiled(step: Step, inputs: HostTensors = { x: float32([1, 2, 3], [3]) }): Promise<HostTensors> {
  const session = await openSession({ s: { a: float32([5], []) } });
  open.push(session);
  return session.define(step)(inputs);
}

/** The message with which tracing fails; afterwards eager TensorFlow.js must work as before. */
async function failure(step: Step, inputs?: HostTensors): Promise<string> {
  const { numTensors } = tf.memory();
  Error.stackTraceLimit = 10; // Node's default, which vitest raises
  const message = await compiled(step, inputs).then(
    () => "",
    (error: Error) => error.message,
  );
  expect(tf.memory().numTensors).toBe(numTensors);
  tf.tidy(() => {
    const x = tf.tensor1d([1, 2, 3]);
    expect([
      ...tf
        .grad((y: tf.Tensor) => tf.sum(tf.square(y)))(x)
        .dataSync(),
    ]).toEqual([2, 4, 6]);
    expect([...tf.gather(x, tf.tensor1d([2, 0], "int32")).dataSync()]).toEqual([3, 1]);
    expect(tf.randomUniform([4]).shape).toEqual([4]);
  });
  expect(tf.memory().numTensors).toBe(numTensors);
  return message;
}

const here = /at .*test\/engine\/compiled\/trace\.test\.ts:\d+:\d+/;

describe("while tracing, a tensor from outside", () => {
  test("is a constant of the step, and unchanged afterwards", async () => {
    const outside = tf.tensor1d([10, 20, 30]);
    const computed = tf.mul(outside, 2); // TensorFlow has its values; TensorFlow.js still has those of the first tensor
    const run = (): Promise<HostTensors> =>
      compiled((_, { x }) => ({
        outputs: {
          sum: tf.add(x!, outside),
          twice: tf.add(computed, outside),
          itself: outside,
          clone: tf.clone(computed),
        },
      }));
    for (let round = 0; round < 2; round++) {
      const outputs = await run();
      expect(outputs.sum).toEqual(float32([11, 22, 33], [3]));
      expect(outputs.twice).toEqual(float32([30, 60, 90], [3]));
      expect(outputs.itself).toEqual(float32([10, 20, 30], [3]));
      expect(outputs.clone).toEqual(float32([20, 40, 60], [3]));
      expect([...outside.dataSync()]).toEqual([10, 20, 30]);
      expect([...computed.dataSync()]).toEqual([20, 40, 60]);
      expect([...tf.tidy(() => tf.add(outside, computed)).dataSync()]).toEqual([30, 60, 90]);
    }
    tf.dispose([outside, computed]);
    expect(outside.isDisposed && computed.isDisposed).toBe(true);
  });

  test("is frozen: the step uses the values from the time of tracing", async () => {
    const variable = tf.variable(tf.scalar(1));
    const session = await openSession({});
    open.push(session);
    const run = session.define((_, { x }) => ({ outputs: { y: tf.add(x!, variable) } }));
    expect((await run({ x: float32([1], []) })).y!.values[0]).toBe(2);
    variable.assign(tf.scalar(100));
    expect((await run({ x: float32([1], []) })).y!.values[0]).toBe(2);
    expect(variable.dataSync()[0]).toBe(100);
    variable.dispose();
  });

  test("may be of integers or booleans, and be read", async () => {
    const ids = tf.tensor1d([2, 0], "int32");
    const flags = tf.tensor1d([true, false, true], "bool");
    const step: Step = (_, { x }) => ({
      outputs: {
        rows: tf.gather(x!, ids),
        where: tf.where(flags, x!, tf.neg(x!)),
        read: tf.mul(x!, ids.dataSync()[0]!),
      },
    });
    const { rows, where, read } = await compiled(step);
    expect(rows).toEqual(float32([3, 1], [2]));
    expect(where).toEqual(float32([1, -2, 3], [3]));
    expect(read).toEqual(float32([2, 4, 6], [3]));
    tf.dispose([ids, flags]);
  });

  test("may be disposed of in the step, and eager work may come between two traces", async () => {
    const session = await openSession({ s: { a: float32([5], []) } });
    open.push(session);
    const first = session.define(({ s }) => ({ outputs: { y: tf.tidy(() => tf.square(tf.mul(s!.a!, 2))) } }));
    expect((await first({})).y!.values[0]).toBe(100);
    const eager = tf.tensor1d([1, 2]);
    const second = session.define(({ s }) => {
      const temporary = tf.mul(eager, 3);
      const y = tf.add(temporary, s!.a!);
      temporary.dispose();
      return { outputs: { y } };
    });
    expect((await second({})).y).toEqual(float32([8, 11], [2]));
    expect([...eager.dataSync()]).toEqual([1, 2]);
    eager.dispose();
  });
});

describe("while tracing, refused is", () => {
  test("reading a value: the message names the operation and the place in the user's code", async () => {
    const message = await failure((_, { x }) => ({ outputs: { y: tf.mul(x!, tf.square(x!).dataSync()[0]!) } }));
    expect(message).toMatch(/Cannot read the result of Square while tracing at /);
    expect(message).toMatch(here);
    expect(message).toMatch(/Return the tensor as an output and read it there, or run this function eagerly/);
    const ofInput = await failure((_, { x }) => ({ outputs: { y: tf.scalar(x!.arraySync() as number) } }));
    expect(ofInput).toMatch(/Cannot read the result of x while tracing/);
  });

  test("an operation of TensorFlow.js that reads values, such as the check in gather", async () => {
    const step: Step = (_, { ids, x }) => ({ outputs: { y: tf.gather(x!, ids!) } });
    const message = await failure(step, { x: float32([1, 2], [2]), ids: int32([1], [1]) });
    expect(message).toMatch(/Cannot read the result of ids while tracing/);
    expect(message).toMatch(here);
  });

  test("randomness without a key, whose first values would be repeated in every call", async () => {
    for (const make of [
      () => tf.randomUniform([2]),
      () => tf.randomNormal([2]),
      () => tf.truncatedNormal([2]),
      () => tf.dropout(tf.ones([4]), 0.5),
    ]) {
      const message = await failure(() => ({ outputs: { y: make() } }));
      expect(message).toMatch(/first values would be frozen into the graph/);
      expect(message).toMatch(here);
      expect(message).toMatch(/use folio's dropout or randomUniform/);
    }
    const key = int32([1, 2], [2]);
    const folio: Step = (_, inputs) => ({
      outputs: { y: dropout(tf.ones([2, 4]), { rate: 0.5, key: inputs.key as tf.Tensor1D, use: 0 }) },
    });
    expect((await compiled(folio, { key })).y!.shape).toEqual([2, 4]);
  });

  test("a shape that depends on values", async () => {
    const message = await failure((_, { x }) => ({ outputs: { y: tf.unique(x!).values } }));
    expect(message).toMatch(/Cannot trace Unique\w* at \S+: its shape depends on values/);
    expect(message).toMatch(here);
    expect(message).toMatch(/run this function eagerly/);
  });

  test("an operation that TensorFlow does not have, or not with these inputs", async () => {
    const raw = tf.backend() as unknown as RawBackend;
    const unknown = await failure((_, { x }) => ({ outputs: { y: raw.executeSingleOutput("NoSuchThing", [], [x!]) } }));
    expect(unknown).toMatch(/^Cannot trace NoSuchThing at \S+: Op type not registered 'NoSuchThing'/);
    expect(unknown).toMatch(here);
    const wrong = await failure((_, { x }) => ({ outputs: { y: raw.executeSingleOutput("Cholesky", [], [x!]) } }));
    expect(wrong).toMatch(/^Cannot add Cholesky to the graph at \S+: Shape must be at least rank 2 but is rank 1/);
    expect(wrong).toMatch(here);
    const text = await failure(() => ({ outputs: { y: tf.tile(tf.tensor1d(["a"]), [2]) } }));
    expect(text).toMatch(/^Cannot use a tensor of TensorFlow type 7 at \S+: wanted float32, int32 or bool/);
  });

  test("in a notebook's cell as in a file: the message says which line", async () => {
    const cell = "(({ tf }) => ({ x }) => {\n  const y = tf.square(x);\n  return tf.scalar(y.dataSync()[0]);\n})";
    const body = vm.runInThisContext(cell)({ tf }) as (inputs: Record<string, tf.Tensor>) => tf.Tensor;
    expect(await failure((_, inputs) => ({ outputs: { y: body(inputs) } }))).toMatch(
      /^Cannot read the result of Square while tracing \(in a notebook's cell, line 3 of the compiled JavaScript\): it has/,
    );
  });

  test("a trace inside a trace", async () => {
    const backend = tf.backend();
    const message = await failure(() => {
      traceInto(new GraphBuilder(), undefined, () => {});
      return { outputs: {} };
    });
    expect(message).toMatch(/Cannot trace inside a function that is being traced/);
    expect(tf.backend()).toBe(backend);
  });

  test("a tensor left over from another trace", async () => {
    let leftOver: tf.Tensor | undefined;
    await compiled((_, { x }) => {
      leftOver = tf.keep(tf.square(x!));
      return { outputs: { y: leftOver } };
    });
    expect(await failure((_, { x }) => ({ outputs: { y: tf.add(x!, leftOver!) } }))).toMatch(
      /a tensor of another trace/,
    );
    leftOver!.dispose();
  });

  test("only the step that cannot be traced: the same session runs the next step", async () => {
    const session = await openSession({ s: { a: float32([5], []) } });
    open.push(session);
    const bad = session.define(({ s }) => ({ state: { s: { a: tf.scalar(s!.a!.dataSync()[0]!) } }, outputs: {} }));
    await expect(bad({})).rejects.toThrow(/Cannot read the result of s\/a/);
    const good = session.define(({ s }) => ({ state: { s: { a: tf.add(s!.a!, 1) } }, outputs: {} }));
    await good({});
    await expect(bad({})).rejects.toThrow(/Cannot read the result of s\/a/);
    expect((await session.read("s")).a!.values[0]).toBe(6);
  });

  test("an asynchronous step, also in eager mode", async () => {
    const step = (async () => ({ outputs: {} })) as unknown as Step;
    expect(await failure(step)).toMatch(/Cannot run a step: it returned a promise/);
    const eager = await openSession({}, { compile: false });
    open.push(eager);
    await expect(eager.define(step)({})).rejects.toThrow(/Cannot run a step: it returned a promise/);
  });
});
