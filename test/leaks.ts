import * as tf from "@tensorflow/tfjs-core";
import { expect } from "vitest";

/** Runs `body` once to fill caches, then again; the second call must not change the number of tensors. */
export function expectNoLeak(body: () => void): void {
  body();
  const { numTensors } = tf.memory();
  body();
  expect(tf.memory().numTensors).toBe(numTensors);
}
