import { describe, expect, test } from "vitest";
import { dataParallelStep, ringSeconds } from "../../lib/model/data-parallel.js";
import { countParameters, gpt2Shapes } from "../../lib/model/sizing.js";

const gpt2 = { ...gpt2Shapes.gpt2, gelu: "tanh" as const };
const link = { bandwidth: 25e9, latency: 1e-5 };

test("ringSeconds() is 2 (N − 1) rounds of b / N bytes", () => {
  // 8 devices: 14 rounds of 1e9 / 8 bytes, 5 ms each at 25 GB/s, and 10 µs each.
  expect(ringSeconds(1e9, 8, link)).toBeCloseTo(14 * (5e-3 + 1e-5), 12);
  expect(ringSeconds(1e9, 2, link)).toBeCloseTo(2 * (0.02 + 1e-5), 12);
  expect(ringSeconds(1e9, 1, link)).toBe(0);
});

describe("dataParallelStep()", () => {
  test("sends 2 (N − 1) / N of the gradients, and without communication is as fast as its share", () => {
    const bytes = 4 * countParameters(gpt2);
    const of = (devices: number, bandwidth: number) =>
      dataParallelStep(gpt2, { computeSeconds: 0.5, micros: 1, devices, bandwidth, latency: 0 });
    expect(of(8, 25e9).bytesSent).toBeCloseTo((14 / 8) * bytes, 3);
    expect(of(8, 25e9).meanSeconds).toBeCloseTo(((14 / 8) * bytes) / 25e9, 9);
    expect(of(1, 25e9)).toEqual({ bytesSent: 0, meanSeconds: 0, exposedSeconds: 0, stepSeconds: 0.5, efficiency: 1 });
    expect(of(64, Number.POSITIVE_INFINITY).efficiency).toBe(1);
  });

  test("exposes what the backward pass does not hide: the last bucket at least, all at most", () => {
    const of = (computeSeconds: number, micros = 1) =>
      dataParallelStep(gpt2, { computeSeconds, micros, devices: 2, bandwidth: 10e9, latency: 0 });
    // The token table, 50,257 × 768, and the positions are the first parameters, so they travel last.
    const last = 4 * 768 * 50_257;
    const slow = of(100);
    // The positions' bucket is before the table's, and is hidden.
    expect(slow.exposedSeconds).toBeCloseTo(last / 10e9, 4);
    expect(slow.efficiency).toBeCloseTo(100 / (100 + slow.exposedSeconds), 9);
    const fast = of(1e-6);
    expect(fast.exposedSeconds).toBeGreaterThan(0.999 * fast.meanSeconds);
    expect(fast.exposedSeconds).toBeLessThanOrEqual(fast.meanSeconds);
    // Only the last micro-batch's backward pass hides it.
    expect(of(0.1, 10).exposedSeconds).toBeGreaterThan(of(0.1).exposedSeconds);
    expect(of(0.1).stepSeconds).toBeCloseTo(0.1 + of(0.1).exposedSeconds, 12);
  });
});
