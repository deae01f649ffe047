import * as tf from "@tensorflow/tfjs-core";
import { expect } from "vitest";

/** Runs `body` once to fill caches, then again; the second call must not change the number of tensors. */
export function expectNoLeak(body: () => void): void {
  body();
  const { numTensors } = tf.memory();
  body();
  expect(tf.memory().numTensors).toBe(numTensors);
}

/** The same for a body that is awaited; the bytes must not change either. */
export async function expectNoLeakAwaited(body: () => Promise<void>): Promise<void> {
  await body();
  const { numTensors, numBytes } = tf.memory();
  await body();
  const after = tf.memory();
  expect([after.numTensors, after.numBytes]).toEqual([numTensors, numBytes]);
}
