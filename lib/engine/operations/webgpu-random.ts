/**
 * TensorFlow's StatelessRandomUniform as a WebGPU program, one thread per element: Philox4x32-10 (Salmon 2011) under a
 * key that is first scrambled by Philox. It equals TensorFlow's bit for bit, so that a run on WebGPU has the same
 * dropout masks as elsewhere. host/random.ts computes the same on the host. It imports nothing from Node.
 */
import * as tf from "@tensorflow/tfjs-core";

/** The part of TensorFlow.js' WebGPU backend that is used here; it runs WGSL programs. */
interface ProgramBackend {
  runWebGPUProgram(program: Program, inputs: readonly tf.Tensor[], dtype: string): tf.TensorInfo;
}

/** The fields that the backend reads; it adds the pipeline. */
interface Program {
  readonly variableNames: readonly string[];
  readonly outputShape: readonly number[];
  readonly workgroupSize: readonly [number, number, number];
  readonly dispatchLayout: { readonly x: readonly number[] };
  readonly dispatch: readonly [number, number, number];
  readonly shaderKey: string;
  readonly size: boolean;
  getUserCode(): string;
}

const THREADS = 64;

// The outer key is TensorFlow's, the constants are Philox's. WGSL has no 64-bit product, so it is composed of 16-bit
// halves.
const CODE = `
  fn multiplyHigh(a: u32, b: u32) -> u32 {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let carry = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (middle >> 16u) + (carry >> 16u);
  }
  fn philox(counter: vec4<u32>, first: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var k = first;
    for (var round = 0; round < 10; round++) {
      let high = vec2<u32>(multiplyHigh(0xd2511f53u, c.x), multiplyHigh(0xcd9e8d57u, c.z));
      c = vec4<u32>(high.y ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high.x ^ c.w ^ k.y, 0xd2511f53u * c.x);
      k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
  }
  fn wide(word: i32) -> vec2<u32> {
    return vec2<u32>(bitcast<u32>(word), bitcast<u32>(word >> 31u));
  }
  fn main(index: i32) {
    if (index < uniforms.size) {
      let mixed = philox(vec4<u32>(wide(key[0]), wide(key[1])), vec2<u32>(0x3ec8f720u, 0x02461e29u));
      let drawn = philox(vec4<u32>(u32(index) / 4u, 0u, mixed.z, mixed.w), mixed.xy);
      setOutputAtIndex(index, bitcast<f32>((drawn[index % 4] & 0x7fffffu) | 0x3f800000u) - 1.0);
    }
  }
`;

/** Uniform on [0, 1). @param key int32 [2] */
export function webGpuUniform(shape: readonly number[], key: tf.Tensor1D): tf.Tensor {
  const count = shape.reduce((product, axis) => product * axis, 1);
  const program: Program = {
    variableNames: ["key"],
    outputShape: [count],
    workgroupSize: [THREADS, 1, 1],
    dispatchLayout: { x: [0] },
    dispatch: [Math.ceil(count / THREADS), 1, 1],
    shaderKey: "folio_uniform",
    size: true,
    getUserCode: () => CODE,
  };
  const backend = tf.backend() as unknown as ProgramBackend;
  const flat = tf.engine().makeTensorFromTensorInfo(backend.runWebGPUProgram(program, [key], "float32"));
  return tf.reshape(flat, [...shape]);
}
