import { describe, expect, test } from "vitest";
import { findProblems, formatReport, inspectMachine, type MachineReport } from "../../lib/engine/doctor.js";
import { type Measurement, measuredReport } from "../../lib/engine/measurement.js";
import { importantInstructionSets } from "../../lib/engine/number-format.js";
import { parseGpus } from "../../lib/host/hardware.js";

const healthy: MachineReport = {
  versions: { Folio: "0.1.0", Node: "20.19.0", Python: undefined },
  tensorflow: {
    version: "2.21.0",
    backend: "tensorflow",
    operations: "TensorFlow's only, because of a test",
    usesGpu: false,
    error: undefined,
  },
  wheel: "cpu",
  system: "Linux",
  processor: "A processor",
  processors: 4,
  usableProcessors: 2,
  instructionSets: ["avx2", "fma"],
  device: { device: "cpu", reason: "TensorFlow sees no NVIDIA GPU" },
  target: null,
  dtype: { dtype: "float32", reason: "the processor has no bfloat16 instructions" },
  measured: { missing: "of a test" },
  gpus: [],
  webGpu: { missing: "WebGPU finds no GPU" },
  memory: { totalBytes: 16e9, freeBytes: 8e9 },
  disk: { path: "/somewhere", freeBytes: 50e9 },
  kernel: "/somewhere/kernel.json",
  problems: [],
};
const gpu = { name: "NVIDIA A100", driver: "550.54.15", totalBytes: 80e9, freeBytes: 79e9 };
const problems = (changes: Partial<MachineReport>) =>
  findProblems({ ...healthy, ...changes }, "npm run setup").map(({ problem, remedy }) => `${problem} ${remedy}`);

describe("findProblems()", () => {
  test("finds none on a healthy machine, with or without a GPU that is used", () => {
    expect(problems({})).toEqual([]);
    const tensorflow = { ...healthy.tensorflow, usesGpu: true };
    expect(problems({ gpus: [gpu], wheel: "cuda", tensorflow })).toEqual([]);
  });

  test("names a binding that does not load, and the command that makes it", () => {
    const tensorflow = {
      version: undefined,
      backend: undefined,
      operations: "none",
      usesGpu: false,
      error: "no such file",
    };
    expect(problems({ tensorflow })).toEqual(["TensorFlow does not load: no such file Run `npm run setup`."]);
  });

  test("names a GPU that is not used and why", () => {
    expect(problems({ gpus: [gpu] })[0]).toMatch("but the installed TensorFlow is for the CPU");
    expect(problems({ gpus: [gpu], wheel: "cuda" })[0]).toMatch("TensorFlow does not use it");
    const old = { ...gpu, driver: "470.82.01" };
    const tensorflow = { ...healthy.tensorflow, usesGpu: true };
    expect(problems({ gpus: [old], wheel: "cuda", tensorflow })[0]).toMatch("470.82.01 is too old");
  });

  test("names missing operations, the reason, and what to do", () => {
    const missingOperations = { reason: "they could not be made: no such instruction.", remedy: "Try clang." };
    expect(problems({ tensorflow: { ...healthy.tensorflow, missingOperations } })).toEqual([
      "TensorFlow's operations are used instead of Folio's faster ones: they could not be made: no such instruction. Try clang.",
    ]);
  });

  test("names little memory and a full disk", () => {
    expect(problems({ memory: { totalBytes: 4e9, freeBytes: 1e9 } })[0]).toMatch("Only 1.0 GB of memory");
    expect(problems({ disk: { path: "/d", freeBytes: 0 } })[0]).toMatch("Only 0.0 GB of disk space is free at /d");
  });
});

test("lines of nvidia-smi become GPUs, its messages do not", () => {
  expect(parseGpus("NVIDIA H100, 550.54.15, 81559, 81000\nNVIDIA H100, 550.54.15, 81559, 400\n")).toHaveLength(2);
  expect(parseGpus("NVIDIA H100, 550.54.15, 1, 1\n")[0]).toEqual({
    name: "NVIDIA H100",
    driver: "550.54.15",
    totalBytes: 2 ** 20,
    freeBytes: 2 ** 20,
  });
  expect(parseGpus("No devices were found\n")).toEqual([]);
});

test("only the processor flags that affect TensorFlow's speed are named", () => {
  expect(importantInstructionSets(["fpu", "avx512f", "avx2", "amx_bf16"])).toEqual(["avx2", "avx512f", "amx_bf16"]);
});

test("the report ends with the problems and their remedies, or says that there are none", () => {
  expect(formatReport(healthy)).toMatch(/No problems found\.$/);
  expect(formatReport(healthy)).toContain("2 of 4 logical processors usable");
  const sick = { ...healthy, problems: [{ problem: "It is broken.", remedy: "Mend it." }] };
  expect(formatReport(sick)).toMatch(/✗ It is broken\.\n {2}Mend it\.$/);
});

describe("the measured choice", () => {
  const step = (folio: number, tensorflow: number) => ({
    shape: "2L 4H 128, 12 × 64",
    gigaflop: 2,
    ms: { "float32 folio": [folio, folio, folio], "float32 tensorflow": [tensorflow, tensorflow, tensorflow] },
  });
  const measurement: Measurement = {
    ...{ format: "folio-measurement", version: 1, at: "2026-11-28T09:00:00.000Z", processor: "A processor" },
    ...{ threads: 2, tensorflow: "2.21.0", operations: "avx2", small: step(10, 20), large: step(20, 16) },
  };
  const measured = measuredReport(measurement, "/somewhere/measured.json", { operations: "avx2", flags: ["avx2"] });

  test("is reported with its figures, as lines and as JSON", () => {
    const lines = formatReport({ ...healthy, target: "avx2", measured });
    expect(lines).toMatch(/^target +avx2$/m);
    expect(lines).toMatch(/^measured +2026-11-28T09:00:00\.000Z, 2 threads; /m);
    expect(lines).toContain(
      "small step (2L 4H 128, 12 × 64): float32 folio 10.0 ms (200 GFLOP/s), float32 tensorflow 20.0 ms (100 GFLOP/s)",
    );
    expect(lines).toMatch(/^products +float32: Folio's for small products, TensorFlow's for large ones$/m);
    expect(JSON.parse(JSON.stringify({ ...healthy, target: "avx2", measured }))).toMatchObject({
      target: "avx2",
      dtype: { dtype: "float32" },
      measured: {
        products: { float32: { small: "folio", large: "tensorflow" } },
        steps: [{ size: "small", candidates: [{ name: "float32 folio", ms: 10, gigaflops: 200 }, {}] }, {}],
      },
    });
  });

  test("says that nothing was measured and why, and that the machine was busy", () => {
    expect(formatReport(healthy)).toMatch(/^measured +nothing: of a test; the default choices apply$/m);
    expect(formatReport({ ...healthy, measured })).not.toContain("busy");
    const uneven = { ...measurement, small: { ...step(10, 20), ms: { "float32 folio": [10, 40, 90] } } };
    const busy = measuredReport(uneven, "/somewhere/measured.json", { operations: "avx2", flags: [] });
    expect(formatReport({ ...healthy, measured: busy })).toContain("run `folio doctor --measure` to measure again");
  });
});

test("this machine's TensorFlow loads in a separate process", async () => {
  const report = await inspectMachine();
  expect(report.tensorflow.error).toBeUndefined();
  expect(report.tensorflow.backend).toBe("tensorflow");
  expect(report.versions["TensorFlow.js"]).toMatch(/^4\./);
  expect(report.memory.freeBytes).toBeGreaterThan(0);
  expect(report.usableProcessors).toBeGreaterThan(0);
  expect(report.target === null).toBe(report.tensorflow.missingOperations !== undefined);
  expect(["float32", "bfloat16"]).toContain(report.dtype.dtype);
  expect("missing" in report.measured || report.measured.steps.length === 2).toBe(true);
});
