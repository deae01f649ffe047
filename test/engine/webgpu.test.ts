/**
 * WebGPU: on a GPU, or on SwiftShader from Debian's chromium; without either, tests that need an adapter are reported
 * as not run. The messages without an adapter are tested everywhere.
 */
import fs from "node:fs";
import * as tf from "@tensorflow/tfjs-core";
import koffi from "koffi";
import { afterEach, describe, expect, test } from "vitest";
import { chooseDevice, type DeviceSettings, mayBeWebGpu, resolveDevice } from "../../lib/engine/device.js";
import { float32, type HostTensor, toHost } from "../../lib/engine/host-tensors.js";
import { randomUniform } from "../../lib/engine/operations/raw.js";
import { openSession } from "../../lib/engine/session.js";
import type { State } from "../../lib/engine/steps.js";
import { loadTensorFlow, tensorflowLoaded, useBackend } from "../../lib/engine/tensorflow/load.js";
import { checkWebGpu, describeAdapter, findAdapter, type WebGpuAdapter } from "../../lib/engine/webgpu.js";
import { dropout } from "../../lib/model/functional.js";
import { needs } from "../needs.js";
import { ended, startChild, temporaryFolder, tinySettings, writeFox } from "../tiny-run.js";

process.env.CUDA_VISIBLE_DEVICES = "-1"; // even if there is a GPU

// SwiftShader has its own Vulkan loader, which must be loaded before Dawn searches for one.
const chromium = "/usr/lib/chromium";
const swiftShader = `${chromium}/vk_swiftshader_icd.json`;
if (fs.existsSync(swiftShader) && process.env.VK_ICD_FILENAMES === undefined) {
  process.env.VK_ICD_FILENAMES = swiftShader;
  koffi.load(`${chromium}/libvulkan.so.1`);
}
const absent = await findAdapter().then(
  () => undefined,
  (error: Error) => error.message,
);

const auto: DeviceSettings = { device: "auto", dtype: "auto", compile: true };
const mac = (found: WebGpuAdapter | Error) => ({
  platform: "darwin",
  arch: "arm64",
  adapter: async () => {
    if (found instanceof Error) throw found;
    return found;
  },
});
const m1: WebGpuAdapter = { name: "apple-m1", software: false, apple: true };

describe("without an adapter", () => {
  test("auto takes Apple's GPU, but no software adapter and no other GPU", async () => {
    expect(await chooseDevice(auto, mac(m1))).toEqual({
      device: "webgpu",
      reason: "TensorFlow has no build for this Mac's GPU",
    });
    const software = await chooseDevice(auto, mac({ ...m1, name: "a drawing", software: true }));
    expect(software).toEqual({ device: "tensorflow", reason: "WebGPU finds only a software adapter (a drawing)" });
    const none = await chooseDevice(auto, mac(new Error("Cannot use device webgpu: WebGPU finds no GPU here; do it.")));
    expect(none).toEqual({ device: "tensorflow", reason: "WebGPU cannot be used: WebGPU finds no GPU here" });
    const unasked = { ...mac(new Error("asked")), platform: "linux", arch: "x64" };
    expect(await chooseDevice(auto, unasked)).toEqual({ device: "tensorflow", reason: undefined });
    expect(mayBeWebGpu("auto", mac(m1))).toBe(true);
    expect(mayBeWebGpu("auto", unasked)).toBe(false);
  });

  test("auto uses TensorFlow for settings that WebGPU does not support", async () => {
    const { device, reason } = await chooseDevice({ ...auto, dtype: "bfloat16" }, mac(m1));
    expect([device, reason]).toEqual(["tensorflow", "WebGPU computes in float32, not bfloat16"]);
    expect((await chooseDevice({ ...auto, xla: true }, mac(m1))).reason).toBe("xla is TensorFlow's");
  });

  test("mps means Apple's GPU and never falls back", async () => {
    const mps = { ...auto, device: "mps" } as const;
    expect(await chooseDevice(mps, mac(m1))).toEqual({ device: "webgpu", reason: "asked for as mps" });
    await expect(chooseDevice(mps, mac({ ...m1, name: "a drawing", software: true }))).rejects.toThrow(
      "Cannot use device mps: WebGPU finds only a drawing, which is software, not a GPU; use --device=cpu.",
    );
    await expect(chooseDevice(mps, { ...mac(m1), platform: "linux" })).rejects.toThrow(
      /^Cannot use device mps: it means Apple's GPU, and this machine runs linux; use --device=webgpu for another GPU/,
    );
  });

  test("cuda without a GPU says what to do", async () => {
    await expect(resolveDevice({ ...auto, device: "cuda" })).rejects.toThrow(
      /^Cannot use device cuda: TensorFlow sees no NVIDIA GPU here\. Run `folio doctor` for details; .*--device=cpu/,
    );
  });

  test("auto on this machine says what it chose and why", async () => {
    if (process.platform === "darwin") return;
    const found = await resolveDevice(auto);
    expect([found.device, found.deviceReason]).toEqual(["cpu", "TensorFlow sees no NVIDIA GPU"]);
  });

  test("a software adapter is recognized by its description", () => {
    const info = { vendor: "apple", architecture: "metal-3", device: "apple-m1", description: "Metal driver" };
    expect(describeAdapter(info)).toEqual({ name: "apple-m1, Metal driver", software: false, apple: true });
    expect(describeAdapter({ ...info, isFallbackAdapter: true }).software).toBe(true);
    const mesa = { vendor: "mesa", architecture: "", device: "llvmpipe (LLVM 15)", description: "" };
    expect(describeAdapter(mesa)).toEqual({ name: "llvmpipe (LLVM 15)", software: true, apple: false });
  });

  test("webgpu reports in one line what is missing", async () => {
    const folder = temporaryFolder();
    writeFox(folder);
    const settings = { ...tinySettings(folder, "out"), device: "webgpu" };
    // An empty list of Vulkan drivers hides any GPU; Metal and D3D12 would still find one.
    const code = `process.env.VK_ICD_FILENAMES = "/nowhere.json"; process.env.VK_DRIVER_FILES = "/nowhere.json";
      const { train } = await load("lib/train/train.ts");
      try { for await (const record of train(argument)); } catch (error) { console.log(error.message); }`;
    const child = startChild(code, settings);
    expect(await ended(child)).toEqual({ code: 0, signal: null });
    if (process.platform !== "linux") return;
    expect(child.output()).toMatch(/^Cannot use device webgpu: WebGPU finds no GPU here; install .*--device=cpu\.\n$/);
    expect(fs.existsSync(settings.outDir)).toBe(false);
  });
});

describe("with an adapter", needs(absent), () => {
  afterEach(() => {
    if (tensorflowLoaded()) useBackend("tensorflow");
  });
  const asked = { device: "webgpu", dtype: "auto", compile: true } as const;

  test("it is eager, in float32, and says so", async () => {
    const found = await resolveDevice(asked);
    expect(found).toMatchObject({ device: "webgpu", deviceReason: "asked for", dtype: "float32", compile: false });
    expect(found.dtypeReason).toBe("TensorFlow.js has no other format on WebGPU");
    await expect(resolveDevice({ ...asked, dtype: "bfloat16" })).rejects.toThrow(/Cannot use dtype bfloat16 on WebGPU/);
    await expect(resolveDevice({ ...asked, xla: true })).rejects.toThrow(/Cannot use xla on WebGPU/);
  });

  test("draws are TensorFlow's, bit for bit, and so are dropout's masks", async () => {
    const read = async (x: tf.Tensor): Promise<HostTensor> => {
      const host = await toHost(x);
      x.dispose();
      return host;
    };
    for (const key of [
      [3, 4],
      [-3, 2 ** 31 - 1],
    ]) {
      const draw = () => tf.tidy(() => randomUniform([3, 67], tf.tensor1d(key, "int32")));
      const drop = () =>
        tf.tidy(() => dropout(tf.ones([2, 33]), { rate: 0.3, key: tf.tensor1d(key, "int32"), use: 5 }));
      await resolveDevice(asked);
      const onGpu = [await read(draw()), await read(drop())];
      loadTensorFlow();
      useBackend("tensorflow");
      expect(onGpu).toEqual([await read(draw()), await read(drop())]);
    }
  });

  test("sessions on two devices take turns, and leave no tensor behind", async () => {
    const before = tf.memory().numTensors;
    const state = { numbers: { x: float32([1, 2, 3], [3]) } };
    const gpu = await openSession(state, { device: "webgpu" });
    const cpu = await openSession(state, { compile: false });
    const compiled = await openSession(state);
    expect([gpu, cpu, compiled].map((session) => session.compiled)).toEqual([false, false, true]);
    const step = ({ numbers }: State) => {
      const x = tf.mul(numbers!.x!, 2);
      return { state: { numbers: { x } }, outputs: { sum: tf.sum(x) } };
    };
    const runs = [gpu, cpu, compiled].map((session) => session.define(step));
    for (const sum of [12, 24]) {
      for (const outputs of await Promise.all(runs.map((run) => run({})))) expect(outputs.sum!.values[0]).toBe(sum);
    }
    await gpu.write("numbers", { x: float32([5, 6, 7], [3]) });
    expect([...(await gpu.read("numbers")).x!.values]).toEqual([5, 6, 7]);
    for (const session of [gpu, cpu, compiled]) session.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  test("an error of the device ends the step that caused it", async () => {
    const session = await openSession({ numbers: { x: float32([1], [1]) } }, { device: "webgpu" });
    // Each tensor needs a buffer, and a shader has only eight.
    const step = session.define(({ numbers }) => ({
      outputs: { x: tf.addN(Array.from({ length: 12 }, () => tf.add(numbers!.x!, tf.fill([2000], 1)))) },
    }));
    await expect(step({})).rejects.toThrow(/^Cannot run a step on WebGPU: .*storage buffers/);
    session.dispose();
    checkWebGpu(); // the warning appears once
  });
});
