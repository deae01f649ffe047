/** The device in a page, in place of ../device.ts: steps are eager and in float32, whatever the settings were in training. */
import * as tf from "@tensorflow/tfjs-core";
import type { ResolvedDevice } from "../device.js";

export const dtypeFor = (): "float32" => "float32";

export async function resolveDevice(): Promise<ResolvedDevice> {
  return {
    device: tf.getBackend() === "webgpu" ? "webgpu" : "cpu",
    deviceReason: "the fastest in this page",
    dtype: "float32",
    dtypeReason: "TensorFlow.js has no other format in a page",
    compile: false,
  };
}
