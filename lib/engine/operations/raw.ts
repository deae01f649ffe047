/**
 * Raw TensorFlow operations that TensorFlow.js lacks, or implements slowly, each beside a plain version in
 * TensorFlow.js' own operations. On the "tensorflow" backend the raw operation runs, elsewhere (in a browser, on
 * WebGPU) the plain version, so that models run there too. It imports nothing from Node.
 */
import * as tf from "@tensorflow/tfjs-core";
import { standardNormals } from "../../host/random.js";
import { type AdamUpdate, currentUpdater, type Updated } from "./in-place.js";
import { webGpuUniform } from "./webgpu-random.js";

/** The part of tfjs-node's backend that runs a TensorFlow operation by its name, eagerly or while tracing. */
export interface RawBackend {
  readonly binding: Readonly<Record<string, number>>;
  executeSingleOutput(type: string, attributes: RawAttribute[], inputs: tf.Tensor[]): tf.Tensor;
  executeMultipleOutputs(type: string, attributes: RawAttribute[], inputs: tf.Tensor[], count: number): tf.Tensor[];
}
export interface RawAttribute {
  name: string;
  type: number | undefined;
  value: unknown;
}

/**
 * Rows of a table: `gatherRows(table [V, C], ids [N]) [N, C]`, without TensorFlow.js' check, which reads the ids back.
 * It has no gradient; see `embedding`.
 */
export function gatherRows(table: tf.Tensor2D, ids: tf.Tensor1D): tf.Tensor2D {
  return choose(
    (raw) =>
      raw.executeSingleOutput(
        "GatherV2",
        [
          { name: "batch_dims", type: raw.binding.TF_ATTR_INT, value: 0 },
          typeAttribute(raw, "Tparams", table.dtype),
          typeAttribute(raw, "Tindices", "int32"),
          typeAttribute(raw, "Taxis", "int32"),
        ],
        [table, ids, tf.scalar(0, "int32")],
      ) as tf.Tensor2D,
    () => tf.gather(table, ids),
  );
}

/**
 * Cross-entropy of each row with its target, and its gradient with respect to the logits:
 * `loss[n] = −ln softmax(logits[n])[targets[n]]`, `backprop = softmax(logits) − onehot(targets)`.
 * @param logits [N, V]
 * @param targets [N] ids in [0, V)
 */
export function sparseCrossEntropy(
  logits: tf.Tensor2D,
  targets: tf.Tensor1D,
): { loss: tf.Tensor1D; backprop: tf.Tensor2D } {
  return choose(
    (raw) => {
      const [loss, backprop] = raw.executeMultipleOutputs(
        "SparseSoftmaxCrossEntropyWithLogits",
        [typeAttribute(raw, "T", "float32"), typeAttribute(raw, "Tlabels", "int32")],
        [logits, targets],
        2,
      );
      return { loss: loss as tf.Tensor1D, backprop: backprop as tf.Tensor2D };
    },
    () => {
      const logProbabilities = tf.logSoftmax(logits);
      const hot = tf.cast(tf.oneHot(targets, logits.shape[1]), "float32") as tf.Tensor2D;
      return {
        loss: tf.neg(tf.sum(tf.mul(logProbabilities, hot), 1)) as tf.Tensor1D,
        backprop: tf.sub(tf.exp(logProbabilities), hot) as tf.Tensor2D,
      };
    },
  );
}

/** The sum of scalars. TensorFlow.js' addN on WebGPU needs one buffer per scalar, and a GPU allows only eight. */
export function addAll(scalars: tf.Scalar[]): tf.Scalar {
  return choose(
    () => tf.addN(scalars),
    () => tf.sum(tf.stack(scalars)),
  );
}

/**
 * Uniform values in [0, 1) that depend only on the key and the shape. The raw version is TensorFlow's Philox, and the
 * one on WebGPU is equal bit for bit. The plain version, a Feistel network over the element's number, is as
 * reproducible but gives other values.
 * @param key int32 [2]
 */
export function randomUniform(shape: readonly number[], key: tf.Tensor1D): tf.Tensor {
  return choose(
    (raw) => statelessRandom(raw, "StatelessRandomUniform", shape, key),
    () => (tf.getBackend() === "webgpu" ? webGpuUniform(shape, key) : feistelUniform(shape, key)),
  );
}

/**
 * Normal values of mean 0 and standard deviation 1 that depend only on the key and the shape, on any backend. The key
 * becomes a constant of a traced function, so this is for initial values, not for steps.
 * @param key [2]
 */
export function randomNormal(shape: readonly number[], key: Int32Array): tf.Tensor {
  return choose(
    (raw) => statelessRandom(raw, "StatelessRandomNormal", shape, tf.tensor1d(key, "int32")),
    () => {
      const size = shape.reduce((product, axis) => product * axis, 1);
      return tf.tensor(standardNormals(size, key), [...shape], "float32");
    },
  );
}

/**
 * One AdamW update of one tensor (Loshchilov 2019, as PyTorch's):
 * `g ← s g` (s the scale of gradient clipping), `m ← β1 m + (1 − β1) g`, `v ← β2 v + (1 − β2) g²`,
 * `p ← p (1 − η λ) − η / (1 − β1ᵗ) · m / (√v / √(1 − β2ᵗ) + ε)`. In a compiled session TensorFlow's fused operation
 * updates the variables in place.
 */
export function adamUpdate(update: AdamUpdate): Updated {
  return currentUpdater()?.adam(update) ?? tidied(() => plainAdam(update));
}

/** tf.tidy for a record of tensors, whose type TensorFlow.js does not accept. */
function tidied(body: () => Updated): Updated {
  return tf.tidy(() => body() as unknown as tf.TensorContainer) as unknown as Updated;
}

function plainAdam(update: AdamUpdate): Updated {
  const { learningRate, biasCorrection1, biasCorrection2, beta1, beta2, epsilon, weightDecay } = update;
  const gradient = tf.mul(update.gradient, update.gradientScale);
  const m = tf.add(tf.mul(update.m, beta1), tf.mul(gradient, 1 - beta1));
  const v = tf.add(tf.mul(update.v, beta2), tf.mul(tf.square(gradient), 1 - beta2));
  const direction = tf.div(m, tf.add(tf.mul(tf.sqrt(v), tf.rsqrt(biasCorrection2)), epsilon));
  const shrunk = weightDecay > 0 ? tf.mul(update.param, tf.sub(1, tf.mul(learningRate, weightDecay))) : update.param;
  const param = tf.sub(shrunk, tf.mul(tf.div(learningRate, biasCorrection1), direction));
  const { when } = update;
  return !when
    ? { param, m, v }
    : { param: tf.where(when, param, update.param), m: tf.where(when, m, update.m), v: tf.where(when, v, update.v) };
}

/** The backend that runs TensorFlow's operations, if it is the current one. */
export function rawBackend(): RawBackend | undefined {
  return tf.getBackend() === "tensorflow" ? (tf.backend() as unknown as RawBackend) : undefined;
}

function choose<T extends tf.TensorContainer>(raw: (backend: RawBackend) => T, plain: () => T): T {
  const backend = rawBackend();
  return tf.tidy(() => (backend ? raw(backend) : plain()));
}

function typeAttribute(raw: RawBackend, name: string, dtype: string): RawAttribute {
  return {
    name,
    type: raw.binding.TF_ATTR_TYPE,
    value: dtype === "int32" ? raw.binding.TF_INT32 : raw.binding.TF_FLOAT,
  };
}

function statelessRandom(raw: RawBackend, type: string, shape: readonly number[], key: tf.Tensor): tf.Tensor {
  const attributes = [
    typeAttribute(raw, "dtype", "float32"),
    typeAttribute(raw, "T", "int32"),
    typeAttribute(raw, "Tseed", "int32"),
  ];
  return raw.executeSingleOutput(type, attributes, [tf.tensor1d([...shape], "int32"), key]);
}

// Eight rounds of a Feistel network on two halves of 16 bits; products stay below 2^31, so that they fit int32 on every
// backend. A round multiplies a half by itself plus a constant (arbitrary, odd, 15 bits). Multiplying by the constant
// alone would be almost linear, and neighbouring keys would correlate.
const ROUND_CONSTANTS = [26125, 17389, 30011, 12289, 22699, 28657, 19211, 31337];

function feistelUniform(shape: readonly number[], key: tf.Tensor1D): tf.Tensor {
  return tf.tidy(() => {
    const size = shape.reduce((product, axis) => product * axis, 1);
    const half = tf.scalar(65536, "int32");
    const two15 = tf.scalar(32768, "int32");
    const positive = (x: tf.Tensor) => tf.mod(tf.add(tf.mod(x, half), half), half);
    const number = tf.range(0, size, 1, "int32");
    const [first, second] = tf.split(key, 2) as [tf.Tensor, tf.Tensor];
    const keys = [first, tf.floorDiv(first, half), second, tf.floorDiv(second, half)].map(positive);
    let left: tf.Tensor = tf.floorDiv(number, half);
    let right: tf.Tensor = tf.mod(number, half);
    for (const [round, constant] of ROUND_CONSTANTS.entries()) {
      const mixed = tf.mod(tf.add(right, keys[round % 4]!), two15);
      const other = tf.mod(tf.add(mixed, tf.scalar(constant, "int32")), two15);
      const product = tf.add(tf.mul(mixed, other), keys[(round + 1) % 4]!);
      const scrambled = tf.add(tf.floorDiv(product, tf.scalar(256, "int32")), right);
      [left, right] = [right, positive(tf.add(left, scrambled))];
    }
    const value = tf.add(tf.mul(tf.cast(left, "float32"), 1 / 65536), tf.mul(tf.cast(right, "float32"), 2 ** -32));
    // Rounding to 24 bits may give 1, which the half-open interval excludes.
    return tf.reshape(tf.minimum(value, 1 - 2 ** -24), [...shape]);
  });
}
