/**
 * Kernels for TensorFlow.js' WebAssembly backend: the one that it lacks for a model's gradients, and products with transposed
 * factors, which it computes element by element unless the factors are transposed before.
 */
import type { BackendWasm } from "@tensorflow/tfjs-backend-wasm";
import * as tf from "@tensorflow/tfjs-core";

/** To be called once the backend is started. */
export function addWasmKernels(): void {
  if (tf.getKernel("UnsortedSegmentSum", "wasm")) return;
  tf.registerKernel({ kernelName: "UnsortedSegmentSum", backendName: "wasm", kernelFunc: segmentSum });
  const { kernelFunc: multiply } = tf.getKernel("BatchMatMul", "wasm");
  const { kernelFunc: transpose } = tf.getKernel("Transpose", "wasm");
  tf.unregisterKernel("BatchMatMul", "wasm");
  tf.registerKernel({ kernelName: "BatchMatMul", backendName: "wasm", kernelFunc: transposed(multiply, transpose) });
}

/** `y[n] = Σ x[i] over all i with segmentIds[i] = n`: the gradient of an embedding. x [N, C] → [numSegments, C] */
const segmentSum: tf.KernelFunc = ({ inputs, attrs, backend }) => {
  const { x, segmentIds } = inputs as { x: tf.TensorInfo; segmentIds: tf.TensorInfo };
  const wasm = backend as BackendWasm;
  const { numSegments } = attrs as { numSegments: number };
  const rest = x.shape.slice(1);
  const sum = wasm.makeOutput([numSegments, ...rest], "float32");
  // Views of the heap, which making the output may have moved.
  const ids = wasm.typedArrayFromHeap(segmentIds);
  const [from, to] = [wasm.typedArrayFromHeap(x), wasm.typedArrayFromHeap(sum).fill(0)];
  const size = tf.util.sizeFromShape(rest);
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    if (id < 0 || id >= numSegments) continue;
    for (let c = 0; c < size; c++) to[id * size + c]! += from[i * size + c]!;
  }
  return sum;
};

/** Single products with transposed factors as a transposition and a plain product. */
const transposed =
  (multiply: tf.KernelFunc, transpose: tf.KernelFunc): tf.KernelFunc =>
  ({ inputs, attrs = {}, backend }) => {
    const { transposeA, transposeB } = attrs as unknown as { transposeA: boolean; transposeB: boolean };
    const factors = inputs as { a: tf.TensorInfo; b: tf.TensorInfo };
    const single = [factors.a, factors.b].every(({ shape }) => shape.slice(0, -2).every((size) => size === 1));
    if (!single || !(transposeA || transposeB)) return multiply({ inputs, attrs, backend });
    const made: tf.TensorInfo[] = [];
    const turned = (x: tf.TensorInfo, turn: boolean) => {
      if (!turn) return x;
      const axes = x.shape.map((_, axis) => axis);
      const perm = [...axes.slice(0, -2), axes.at(-1)!, axes.at(-2)!];
      const y = transpose({ inputs: { x }, attrs: { perm }, backend }) as tf.TensorInfo;
      made.push(y);
      return y;
    };
    const [a, b] = [turned(factors.a, transposeA), turned(factors.b, transposeB)];
    const product = multiply({ inputs: { a, b }, attrs: { transposeA: false, transposeB: false }, backend });
    for (const { dataId } of made) (backend as BackendWasm).disposeData(dataId);
    return product;
  };
