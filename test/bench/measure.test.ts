/** How long a measurement takes, by a fake clock that the steps advance. */
import { expect, test } from "vitest";
import { timeInTurns } from "../../lib/bench/measure.js";

/** Steps that take a given number of milliseconds each, and their count. */
function machine(...stepMs: number[]) {
  const clock = { ms: 0, taken: 0 };
  const steps = stepMs.map((ms) => async () => {
    clock.taken++;
    clock.ms += ms;
    return 0;
  });
  return { clock, steps, now: () => clock.ms };
}

test("a quiet machine is measured in about a second, and each candidate in the same rounds", async () => {
  const { clock, steps, now } = machine(20, 30, 40);
  const ms = await timeInTurns(steps, now);
  expect(ms.map((times) => new Set(times))).toEqual([new Set([20]), new Set([30]), new Set([40])]);
  expect(new Set(ms.map((times) => times.length))).toEqual(new Set([9])); // the first ended after 800 ms or more
  expect(clock.ms).toBe((2 + 9) * 90);
});

test("fast steps are measured fifteen times", async () => {
  const { steps, now } = machine(1, 2);
  expect((await timeInTurns(steps, now)).map(({ length }) => length)).toEqual([15, 15]);
});

test("a slow machine is measured in the fewest rounds", async () => {
  const { steps, now } = machine(200, 200);
  expect((await timeInTurns(steps, now)).map(({ length }) => length)).toEqual([5, 5]);
});

test("on a busy machine, the measurement soon gives up, reports what it found, and stores nothing", async () => {
  const { clock, steps, now } = machine(400, 400);
  await expect(timeInTurns(steps, now)).rejects.toThrow(
    "the machine was too busy: 1 of 5 rounds of training steps took 3.2 s",
  );
  expect(clock.taken).toBe(8);
  const stuck = machine(40_000, 40_000);
  await expect(timeInTurns(stuck.steps, stuck.now)).rejects.toThrow("0 of 5 rounds of training steps took 40.0 s");
  expect(stuck.clock.taken).toBe(1);
});
