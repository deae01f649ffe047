/** `folio check gpu` with the processor as a stand-in for the GPU; the comparison, and the report, on numbers made here. */
import { expect, test } from "vitest";
import { type CheckReport, checked, checkReport, notChecked, reportMarkdown } from "../../lib/check/report.js";
import { compareSteps, type TakenSteps } from "../../lib/check/take-steps.js";
import { nvidiaGpus } from "../../lib/host/hardware.js";
import { folio } from "../cli/in-process.js";
import { needs } from "../needs.js";

const steps = (gradient: number, change: number, loss = 4): TakenSteps => ({
  ...{ deviceName: "", version: "", operations: "none" },
  losses: [4, loss],
  gradients: { a: Float32Array.of(3, gradient), b: Float32Array.of(1) },
  changes: { a: Float32Array.of(0, change), b: Float32Array.of(3) },
});

test("compareSteps() gives the largest difference of a loss and of a gradient, and that of all updates together", () => {
  const reference = steps(4, 4);
  expect(compareSteps(reference, reference)).toEqual({ loss: 0, gradient: 0, update: 0 });
  // ‖(0, 0.5)‖ / ‖(3, 4)‖, ‖(0, 1, 0)‖ / ‖(0, 4, 3)‖
  expect(compareSteps(reference, steps(4.5, 5, 4.4))).toEqual({
    loss: expect.closeTo(0.1, 12),
    gradient: expect.closeTo(0.1, 12),
    update: expect.closeTo(0.2, 12),
  });
  expect(compareSteps(reference, steps(Number.NaN, 4)).gradient).toBeNaN();
  expect(() => compareSteps(reference, { ...reference, gradients: {} })).toThrow("a is not the same parameter");
});

test("a report holds if something was checked and nothing failed", () => {
  const [right, wrong, left] = [
    checked("a", "1", "1", true),
    checked("b", "a | b", "x\ny", false),
    notChecked("c", "2", "no"),
  ];
  expect(checkReport("gpu", [right, left]).holds).toBe(true);
  expect(checkReport("gpu", [left]).holds).toBe(false);
  const report = checkReport("gpu", [right, wrong, left], new Date("2026-11-29T10:11:12Z"));
  expect(report.holds).toBe(false);
  const lines = reportMarkdown(report).split("\n");
  expect(lines[0]).toBe("### folio check gpu: 1 row does NOT hold");
  expect(lines).toContain("| b | a \\| b | x ↵ y | **NO** |");
  expect(lines).toContain("| c | 2 | no | – |");
  expect(lines.at(-1)).toMatch(/; 2026-11-29 10:11 UTC\. 2 of 3 rows were checked\.$/);
});

test("it holds on the processor as a stand-in, which it names, and shows the times of each format", async () => {
  const small = ["--n_layer=1", "--n_head=2", "--n_embd=16", "--block_size=8", "--steps=2"];
  const { code, out, err } = await folio("check", "gpu", "--device=cpu", "--json", ...small);
  expect(code, out + err).toBe(0);
  const report = JSON.parse(out) as CheckReport;
  const [float32, tf32, bfloat16] = report.rows;
  expect(float32).toMatchObject({ holds: true, wanted: "off by ≤ 1.0e-5, ≤ 1.0e-4, ≤ 1.0e-3" });
  expect(tf32).toMatchObject({ holds: null, found: "a processor has no TF32" });
  expect(bfloat16).toMatchObject({ holds: true, wanted: "off by ≤ 1.0e-3, ≤ 5.0e-2, ≤ 1.0e-1" });
  // bfloat16 was used: it is off by more than float32.
  const gradient = (row: typeof float32) => Number(/, (\S+),/.exec(row!.found)![1]);
  expect(gradient(bfloat16)).toBeGreaterThan(100 * gradient(float32));
  expect(report.facts).toContainEqual(expect.stringMatching(/^STAND-IN: .* nothing about a GPU$/));
  const [speed] = report.tables;
  expect(speed!.title).toContain("on the processor as a stand-in");
  expect(speed!.rows.map(([format]) => format)).toEqual(["float32", "bfloat16"]);
  for (const [, ms, tokens] of speed!.rows) {
    expect(ms).toMatch(/^\d+\.\d \(\d+\.\d to \d+\.\d\)$/);
    expect(Number(tokens!.replaceAll(",", ""))).toBeGreaterThan(0);
  }
});

const gpu = nvidiaGpus().length > 0 ? "this machine has a GPU" : undefined;
test("without a GPU it is refused with one message", needs(gpu), async () => {
  const { code, out, err } = await folio("check", "gpu");
  expect({ code, out }).toEqual({ code: 1, out: "" });
  expect(err).toMatch(/^folio: Cannot use device cuda: TensorFlow sees no NVIDIA GPU here\..*--device=cpu/);
  expect(err.trim().split("\n")).toHaveLength(1);
});

test.each([
  [["check"], "Cannot check: name one of the checks: gpu, gpt2, mac."],
  [["check", "gpt3"], "Cannot check gpt3: the checks are gpu, gpt2, mac; did you mean gpt2?"],
  [["check", "gpu", "--n_embd=9"], "nEmbd 9 is not divisible by nHead 12"],
])("%j is refused", async (args, message) => {
  const { code, err } = await folio(...args);
  expect(code).toBe(1);
  expect(err.replaceAll("--n_embd", "nEmbd").replaceAll("--n_head", "nHead")).toContain(message);
});
