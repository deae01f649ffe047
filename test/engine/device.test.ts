/** The device and number format that the settings ask for. Tests that choose a device run in separate processes. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { chooseProducts } from "../../lib/engine/choices.js";
import { resolveDevice } from "../../lib/engine/device.js";
import { measuredHere } from "../../lib/engine/measurement.js";
import { autoDtype, instructionFlags } from "../../lib/engine/number-format.js";
import { loadTensorFlow, tensorflowBackend } from "../../lib/engine/tensorflow/load.js";
import { operationsVariant } from "../../lib/engine/tensorflow/own-operations.js";
import { needs } from "../needs.js";
import { ended, startChild } from "../tiny-run.js";

process.env.CUDA_VISIBLE_DEVICES = "-1"; // even if there is a GPU
delete process.env.FOLIO_DTYPE; // one test sets it

/** What `code` prints in a new process, as JSON. */
async function answer(code: string): Promise<unknown> {
  const child = startChild(code, null);
  expect(await ended(child)).toEqual({ code: 0, signal: null });
  return JSON.parse(child.output().trim().split("\n").at(-1)!);
}

describe("resolveDevice()", () => {
  const settings = { device: "cpu", dtype: "auto", compile: true } as const;

  test("reports the number format and the reason", async () => {
    loadTensorFlow();
    const facts = { operations: operationsVariant(), flags: instructionFlags() };
    const measured = await measuredHere(facts.operations);
    const { dtype, reason } = autoDtype({ device: "cpu", ...facts, measured, compile: true });
    const operations = facts.operations ?? "none";
    const asked = { device: "cpu", deviceReason: "asked for", compile: true, operations } as const;
    const products = (format: string) => chooseProducts(format, facts, measured);
    expect(await resolveDevice(settings)).toEqual({ ...asked, dtype, dtypeReason: reason, products: products(dtype) });
    const wanted = { ...settings, dtype: "float16" } as const;
    const found = { dtype: "float16", dtypeReason: "asked for", products: products("float16") };
    expect(await resolveDevice(wanted)).toEqual({ ...asked, ...found });
  });

  test("FOLIO_DTYPE replaces auto, and only auto", async () => {
    try {
      process.env.FOLIO_DTYPE = "bfloat16";
      expect(await resolveDevice(settings)).toMatchObject({ dtype: "bfloat16", dtypeReason: "FOLIO_DTYPE" });
      expect(await resolveDevice({ ...settings, dtype: "float32" })).toMatchObject({ dtypeReason: "asked for" });
      expect(await resolveDevice({ ...settings, compile: false })).toMatchObject({ dtype: "float32" });
      process.env.FOLIO_DTYPE = "bf16";
      await expect(resolveDevice(settings)).rejects.toThrow(
        "Cannot read FOLIO_DTYPE: it is bf16; wanted float32, bfloat16 or float16.",
      );
    } finally {
      delete process.env.FOLIO_DTYPE;
    }
  });

  test("refuses formats that only compiled steps support", async () => {
    const eager = { ...settings, compile: false };
    expect(await resolveDevice(eager)).toMatchObject({
      dtype: "float32",
      dtypeReason: "eager steps have no other format",
    });
    await expect(resolveDevice({ ...eager, dtype: "bfloat16" })).rejects.toThrow(/Cannot use dtype bfloat16 eagerly/);
    await expect(resolveDevice({ ...eager, xla: true })).rejects.toThrow(/Cannot use xla eagerly/);
  });

  describe("with a GPU that TensorFlow has loaded", () => {
    loadTensorFlow();
    const backend = tensorflowBackend() as { isUsingGpuDevice: boolean };
    const before = { gpu: backend.isUsingGpuDevice, override: process.env.NVIDIA_TF32_OVERRIDE };
    beforeEach(() => {
      backend.isUsingGpuDevice = true;
      delete process.env.NVIDIA_TF32_OVERRIDE;
    });
    afterEach(() => {
      backend.isUsingGpuDevice = before.gpu;
      if (before.override === undefined) delete process.env.NVIDIA_TF32_OVERRIDE;
      else process.env.NVIDIA_TF32_OVERRIDE = before.override;
    });

    test("refuses to change to the CPU or to switch TF32 off, because it is too late", async () => {
      await expect(resolveDevice(settings)).rejects.toThrow(
        /loaded with the GPU in this process; .*CUDA_VISIBLE_DEVICES=-1/,
      );
      const exact = { ...settings, device: "cuda", tf32: false } as const;
      await expect(resolveDevice(exact)).rejects.toThrow(/Cannot switch tf32 off: .*NVIDIA_TF32_OVERRIDE=0/);
      process.env.NVIDIA_TF32_OVERRIDE = "0";
      expect((await resolveDevice(exact)).device).toBe("cuda");
    });
  });
});

describe("importing Folio", () => {
  const mapped = `(await import("node:fs")).readFileSync("/proc/self/maps", "utf8").includes("libtensorflow_cc")`;
  const imports = `const folio = await load("lib/index.ts"); const tf = await import("@tensorflow/tfjs-core");`;

  const linux = process.platform === "linux" ? undefined : "only Linux lists a process's libraries in /proc";
  test("does not choose the device; the settings of the first run do", needs(linux), async () => {
    const code = `${imports} const before = ${mapped};
      const { resolveDevice } = await load("lib/engine/device.ts");
      const { device } = await resolveDevice({ device: "cpu", dtype: "float32", compile: true, tf32: false });
      const { CUDA_VISIBLE_DEVICES, NVIDIA_TF32_OVERRIDE } = process.env;
      console.log(JSON.stringify({ before, after: ${mapped}, device, CUDA_VISIBLE_DEVICES, NVIDIA_TF32_OVERRIDE }));`;
    const found = { before: false, after: true, device: "cpu", CUDA_VISIBLE_DEVICES: "-1", NVIDIA_TF32_OVERRIDE: "0" };
    expect(await answer(code)).toEqual(found);
  });

  test("makes TensorFlow the backend of the first tensor, gradients and chained operations included", async () => {
    const code = `${imports} const name = tf.getBackend();
      // A raw operation first, because it asks for the backend.
      const settings = { ...folio.defaultSettings, nLayer: 1, nHead: 1, nEmbd: 4, blockSize: 4, vocabSize: 5 };
      const [first, again] = [0, 1].map(() => folio.initialParameters(settings, 1)["wpe.weight"].dataSync().join());
      const x = tf.tensor1d([1, 2, 3]);
      const gradient = tf.grad((y) => tf.sum(y.square()))(x);
      console.log(JSON.stringify({ name, now: tf.getBackend(), gradient: [...gradient.dataSync()],
        same: first === again, engine: tf.backend().constructor.name }));`;
    const engine = "NodeJSKernelBackend";
    expect(await answer(code)).toEqual({
      name: "tensorflow",
      now: "tensorflow",
      gradient: [2, 4, 6],
      same: true,
      engine,
    });
  });
});
