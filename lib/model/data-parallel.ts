/**
 * A model of data-parallel training: how long a step takes on N devices that compute equal shares of it and then take
 * the mean of their gradients in a ring. engine/compiled/all-reduce.ts takes the mean. `folio bench --devices`
 * shows the model's step beside the measured one; on GPUs and networks nobody has compared them yet.
 */
import { bucketsOf } from "../engine/operations/replicas.js";
import type { ModelShape } from "../settings/model.js";
import { parameterSpecs } from "./model.js";

/** The connection of a device to the next one in the ring. */
export interface Link {
  /** Bytes per second that a device sends while it receives as many. */
  readonly bandwidth: number;
  /** Seconds until the first byte arrives. */
  readonly latency: number;
}

export interface DataParallelStep {
  /** Bytes that each device sends per step: `2 (N − 1) / N` of the gradients, 4 bytes per parameter. */
  readonly bytesSent: number;
  /** Seconds that the mean takes by itself. */
  readonly meanSeconds: number;
  /** Seconds of it after the backward pass has ended. */
  readonly exposedSeconds: number;
  readonly stepSeconds: number;
  /** `computeSeconds / stepSeconds`, the speed relative to N devices that need not communicate. */
  readonly efficiency: number;
}

/**
 * Seconds in which N devices take the mean of b bytes: a ring all-reduce (Patarasu 2009) has `2 (N − 1)` rounds, in each
 * of which every device sends `b / N` bytes: `2 (N − 1) (latency + b / (N bandwidth))`.
 */
export function ringSeconds(bytes: number, devices: number, { bandwidth, latency }: Link): number {
  return 2 * (devices - 1) * (latency + bytes / devices / bandwidth);
}

/**
 * A step on several devices. The gradients travel in buckets, one after another, each as soon as the backward pass of the
 * last micro-batch has computed it: a bucket is complete when the pass has gone through its share of the parameters.
 * @param options.computeSeconds a device's share of the step, without the mean
 * @param options.micros micro-batches of each device; the backward pass takes two thirds of each
 */
export function dataParallelStep(
  shape: ModelShape,
  { computeSeconds, micros, devices, ...link }: { computeSeconds: number; micros: number; devices: number } & Link,
): DataParallelStep {
  const sizes = parameterSpecs({ ...shape, initStd: 0 }).map(({ name, shape: axes }) => [
    name,
    { size: axes.reduce((a, b) => a * b, 1) },
  ]);
  const buckets = bucketsOf(Object.fromEntries(sizes) as Record<string, { size: number }>).map((bucket) =>
    bucket.reduce((sum, [, { size }]) => sum + size, 0),
  );
  const parameters = buckets.reduce((sum, count) => sum + count, 0);
  const backward = (computeSeconds / micros) * (2 / 3);
  let [passed, free, meanSeconds] = [0, 0, 0];
  for (const count of buckets) {
    passed += count;
    const seconds = ringSeconds(4 * count, devices, link);
    free = Math.max(free, (backward * passed) / parameters) + seconds;
    meanSeconds += seconds;
  }
  const exposedSeconds = devices > 1 ? Math.max(0, free - backward) : 0;
  const stepSeconds = computeSeconds + exposedSeconds;
  return {
    bytesSent: (2 * (devices - 1) * 4 * parameters) / devices,
    meanSeconds: devices > 1 ? meanSeconds : 0,
    exposedSeconds,
    stepSeconds,
    efficiency: computeSeconds / stepSeconds,
  };
}
