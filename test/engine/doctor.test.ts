import { describe, expect, test } from "vitest";
import {
  findProblems,
  formatReport,
  importantInstructionSets,
  inspectMachine,
  type MachineReport,
} from "../../lib/engine/doctor.js";
import { parseGpus } from "../../lib/host/hardware.js";

const healthy: MachineReport = {
  versions: { Folio: "0.1.0", Node: "20.19.0", Python: undefined },
  tensorflow: {
    version: "2.21.0",
    backend: "tensorflow",
    operations: "TensorFlow's alone, because of a test",
    usesGpu: false,
    error: undefined,
  },
  wheel: "cpu",
  system: "Linux",
  processor: "A processor",
  processors: 4,
  usableProcessors: 2,
  instructionSets: ["avx2", "fma"],
  autoDtype: { dtype: "float32", reason: "the processor has no bfloat16 instructions" },
  autoDevice: { device: "cpu", reason: "TensorFlow sees no NVIDIA GPU" },
  gpus: [],
  webGpu: { missing: "no GPU that it could use" },
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
    expect(problems({ gpus: [gpu] })[0]).toMatch("TensorFlow is the CPU's");
    expect(problems({ gpus: [gpu], wheel: "cuda" })[0]).toMatch("TensorFlow does not use it");
    const old = { ...gpu, driver: "470.82.01" };
    const tensorflow = { ...healthy.tensorflow, usesGpu: true };
    expect(problems({ gpus: [old], wheel: "cuda", tensorflow })[0]).toMatch("470.82.01 is too old");
  });

  test("names little memory and a full disk", () => {
    expect(problems({ memory: { totalBytes: 4e9, freeBytes: 1e9 } })[0]).toMatch("Only 1.0 GB of memory");
    expect(problems({ disk: { path: "/d", freeBytes: 0 } })[0]).toMatch("Only 0.0 GB of disk are free at /d");
  });
});

test("nvidia-smi's lines become GPUs, its messages none", () => {
  expect(parseGpus("NVIDIA H100, 550.54.15, 81559, 81000\nNVIDIA H100, 550.54.15, 81559, 400\n")).toHaveLength(2);
  expect(parseGpus("NVIDIA H100, 550.54.15, 1, 1\n")[0]).toEqual({
    name: "NVIDIA H100",
    driver: "550.54.15",
    totalBytes: 2 ** 20,
    freeBytes: 2 ** 20,
  });
  expect(parseGpus("No devices were found\n")).toEqual([]);
});

test("of the processor's flags those are named that decide TensorFlow's speed", () => {
  expect(importantInstructionSets(["fpu", "avx512f", "avx2", "amx_bf16"])).toEqual(["avx2", "avx512f", "amx_bf16"]);
});

test("the report ends with what is wrong and its remedy, or says that nothing is", () => {
  expect(formatReport(healthy)).toMatch(/Nothing is wrong\.$/);
  expect(formatReport(healthy)).toContain("2 of 4 logical processors usable");
  const sick = { ...healthy, problems: [{ problem: "It is broken.", remedy: "Mend it." }] };
  expect(formatReport(sick)).toMatch(/✗ It is broken\.\n {2}Mend it\.$/);
});

test("this machine's TensorFlow loads in a process of its own", async () => {
  const report = await inspectMachine();
  expect(report.tensorflow.error).toBeUndefined();
  expect(report.tensorflow.backend).toBe("tensorflow");
  expect(report.versions["TensorFlow.js"]).toMatch(/^4\./);
  expect(report.memory.freeBytes).toBeGreaterThan(0);
  expect(report.usableProcessors).toBeGreaterThan(0);
});
