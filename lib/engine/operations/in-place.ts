/**
 * The door through which an operation may update a session's variables where they stand, in place of returning new
 * values: while a step is traced, the session sets an updater, and ops.ts asks it. It imports nothing of Node; without
 * an updater (eagerly, in a browser) the plain operations run.
 */
import type * as tf from "@tensorflow/tfjs-core";

/** One tensor's AdamW update; see `adamUpdate` in ops.ts for the formula. */
export interface AdamUpdate {
  readonly param: tf.Tensor;
  readonly m: tf.Tensor;
  readonly v: tf.Tensor;
  readonly gradient: tf.Tensor;
  /** Scalar that the gradient is multiplied by first, as clipping does. */
  readonly gradientScale: tf.Tensor;
  /** Scalars that vary from step to step. */
  readonly learningRate: tf.Tensor;
  readonly biasCorrection1: tf.Tensor;
  readonly biasCorrection2: tf.Tensor;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** λ; 0: no decay. */
  readonly weightDecay: number;
  /** Boolean scalar: where it is false, nothing changes. Default true. */
  readonly when?: tf.Tensor | undefined;
}

export interface Updated {
  readonly param: tf.Tensor;
  readonly m: tf.Tensor;
  readonly v: tf.Tensor;
}

/** Attention of T new positions over a cache: [B·T, 3C] → [B·T, C]. */
export interface CacheAttention {
  /** Keys and values of all positions, [B, H, S, D]. */
  readonly keys: tf.Tensor4D;
  readonly values: tf.Tensor4D;
  readonly qkv: tf.Tensor2D;
  /** int32 scalar: where the new positions begin. */
  readonly position: tf.Tensor;
}

export interface Attended {
  readonly out: tf.Tensor2D;
  readonly keys: tf.Tensor4D;
  readonly values: tf.Tensor4D;
}

/** A step of writing text: more tokens of each of B sequences through the whole model. */
export interface WritingStep {
  /** In the order of model.ts' `parameterSpecs`. */
  readonly weights: readonly tf.Tensor[];
  /** Keys and values of all positions, one a layer, each [B, H, S, D]. */
  readonly keys: readonly tf.Tensor4D[];
  readonly values: readonly tf.Tensor4D[];
  /** int32 [B, T]. */
  readonly ids: tf.Tensor2D;
  /** int32 scalar: how many positions are there already. */
  readonly position: tf.Tensor;
  /** int32 scalar: of which of the T the logits are wanted; those after it count for nothing. */
  readonly last: tf.Tensor;
  readonly bias: boolean;
  readonly gelu: "erf" | "tanh";
  readonly vocabSize: number;
}

export interface Written {
  /** [B, V] */
  readonly logits: tf.Tensor2D;
  readonly cache: { readonly keys: readonly tf.Tensor4D[]; readonly values: readonly tf.Tensor4D[] };
}

/**
 * How a session's matrix products are computed: in float32, of factors in bfloat16, or in a format that TensorFlow's alone
 * know, which it, or cast-products.ts, shortens to 16 bits.
 */
export type Products = "float32" | "bfloat16" | "shortened";

/** Whose operation computes a matrix product. */
export type Multiplier = "folio" | "tensorflow";

/** Whose, by size: a product of [M, K] and [K, N] is large from M·K·N = 2^27 on. */
export interface ProductChoice {
  readonly small: Multiplier;
  readonly large: Multiplier;
}

/** A step of a small model (768 × 128 × 512) stays below, one of GPT-2's width on one sequence (256 × 768 × 768) does not. */
const LARGE_PRODUCT = 2 ** 27;

export function multiplierOf(choice: ProductChoice, multiplications: number): Multiplier {
  return multiplications < LARGE_PRODUCT ? choice.small : choice.large;
}

/** Each updates in place and returns stand-ins for the new values, or nothing when the tensors are not variables. */
export interface InPlaceUpdater {
  readonly products: Products;
  readonly multipliers: ProductChoice;
  adam(update: AdamUpdate): Updated | undefined;
  /** See `writeAt` in decode.ts. */
  write(cache: tf.Tensor4D, value: tf.Tensor4D, position: tf.Tensor): tf.Tensor | undefined;
  /** Asked only where Folio's own operations are loaded. */
  attend(attention: CacheAttention): Attended | undefined;
  /** As `attend`. */
  writingStep(step: WritingStep): Written | undefined;
}

let current: InPlaceUpdater | undefined;

/** Runs `body` with `updater` to be asked. */
export function withUpdater<T>(updater: InPlaceUpdater, body: () => T): T {
  const before = current;
  current = updater;
  try {
    return body();
  } finally {
    current = before;
  }
}

export function currentUpdater(): InPlaceUpdater | undefined {
  return current;
}
