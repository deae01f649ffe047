import * as tf from "@tensorflow/tfjs-core";
import { expect } from "vitest";

/** Runs `body` once to warm up caches, then again: it must leave as many tensors as it found. */
export function expectNoLeak(body: () => void): void {
  body();
  const { numTensors } = tf.memory();
  body();
  expect(tf.memory().numTensors).toBe(numTensors);
}
