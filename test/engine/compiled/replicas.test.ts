/** A compiled session on several devices: a replica of the state on each, and means over them. */
import * as tf from "@tensorflow/tfjs-core";
import { describe, expect, onTestFinished, test } from "vitest";
import { float32, type HostState, int32 } from "../../../lib/engine/host-tensors.js";
import { gatherRows } from "../../../lib/engine/operations/raw.js";
import { bucketsOf, meanOverReplicas } from "../../../lib/engine/operations/replicas.js";
import { openSession } from "../../../lib/engine/session.js";
import type { Step } from "../../../lib/engine/steps.js";

async function opened(devices: number, state: HostState = { s: { a: float32([1, 2], [2]) } }) {
  const session = await openSession(state, { devices });
  onTestFinished(() => session.dispose());
  return session;
}
const x = (...values: number[]) => ({ x: float32(values, [values.length]) });

describe("a session on three devices", () => {
  /** a += mean(x); both outputs differ in shape. */
  const step: Step = ({ s }, { x }) => {
    const { sum, both } = meanOverReplicas({ sum: tf.sum(x!), both: x! });
    return { state: { s: { a: tf.add(s!.a!, both!) } }, outputs: { sum: sum!, own: x! } };
  };

  test("gives each replica its inputs, and all of them the means", async () => {
    const session = await opened(3);
    expect(session.replicas).toBe(3);
    const run = session.defineOnAll(step);
    for (let call = 1; call <= 3; call++) {
      const outputs = await run([x(1, 2), x(4, 4), x(7, 9)]);
      expect(outputs.map(({ own }) => [...own!.values])).toEqual([
        [1, 2],
        [4, 4],
        [7, 9],
      ]);
      expect(outputs.map(({ sum }) => sum!.values[0])).toEqual([9, 9, 9]);
      expect([...(await session.read("s")).a!.values]).toEqual([1 + 4 * call, 2 + 5 * call]);
    }
  });

  test("writes a group to all replicas", async () => {
    const session = await opened(3);
    await session.write("s", { a: float32([5, 6], [2]) });
    const read = session.defineOnAll(({ s }) => ({ outputs: { a: s!.a! } }));
    for (const { a } of await read([{}, {}, {}])) expect([...a!.values]).toEqual([5, 6]);
  });

  test("keeps the replicas equal", async () => {
    const session = await opened(3);
    await session.defineOnAll(step)([x(1, 2), x(4, 4), x(7, 9)]);
    const read = session.defineOnAll(({ s }) => ({ outputs: { a: s!.a! } }));
    for (const { a } of await read([{}, {}, {}])) expect([...a!.values]).toEqual([5, 7]);
  });

  test("runs a step of define() on the first device, where means are its own values, but not one that changes the state", async () => {
    const session = await opened(3);
    const own = session.define((_, { x }) => ({ outputs: meanOverReplicas({ x: x! }) }));
    expect([...(await own(x(3))).x!.values]).toEqual([3]);
    await expect(session.define(step)(x(1, 2))).rejects.toThrow(
      "Cannot run a step on one of several devices: it changes the state; use defineOnAll().",
    );
  });

  test("wants inputs for each", async () => {
    const session = await opened(3);
    await expect(session.defineOnAll(step)([x(1, 2)])).rejects.toThrow(
      "Cannot run a step: inputs for 1 replicas were given; the session has 3.",
    );
  });

  test("ends a step on all when it fails on one of them, and says why", async () => {
    const session = await opened(2);
    const gather: Step = ({ s }, { at }) => {
      const row = gatherRows(tf.reshape(s!.a!, [2, 1]), at as tf.Tensor1D);
      return { outputs: meanOverReplicas({ row }) };
    };
    const run = session.defineOnAll(gather);
    const at = (index: number) => ({ at: int32([index], [1]) });
    const [first, second] = await run([at(0), at(1)]);
    expect([first!.row!.values[0], second!.row!.values[0]]).toEqual([1.5, 1.5]);
    await expect(run([at(0), at(7)])).rejects.toThrow(/Cannot run a step: .*7 is not in \[0, 2\)/);
  });
});

test("an eager session has one replica, and refuses devices", async () => {
  const session = await openSession({ s: { a: float32([1, 2], [2]) } }, { compile: false });
  onTestFinished(() => session.dispose());
  const run = session.defineOnAll((_, { x }) => ({ outputs: meanOverReplicas({ x: x! }) }));
  expect([...(await run([x(3)]))[0]!.x!.values]).toEqual([3]);
  await expect(run([x(1), x(2)])).rejects.toThrow("inputs for 2 replicas were given; the session has 1");
  await expect(openSession({}, { compile: false, devices: 2 })).rejects.toThrow(/Cannot run eagerly on 2 devices/);
});

test("buckets hold up to 25 MiB, the last tensors first", () => {
  const MiB = 2 ** 18; // numbers
  const names = (sizes: Record<string, number>) =>
    bucketsOf(Object.fromEntries(Object.entries(sizes).map(([name, size]) => [name, { size }]))).map((bucket) =>
      bucket.map(([name]) => name).join(""),
    );
  expect(names({ a: 1, b: 1, c: 1 })).toEqual(["cba"]);
  expect(names({ a: 1, b: 30 * MiB, c: 1 })).toEqual(["c", "b", "a"]);
  expect(names({ a: 5 * MiB, b: 20 * MiB, c: 5 * MiB })).toEqual(["cb", "a"]);
  expect(names({ a: 5 * MiB + 1, b: 20 * MiB })).toEqual(["b", "a"]);
});
