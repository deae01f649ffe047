/**
 * The interface by which operations update a session's variables in place instead of returning new values: while a step
 * is traced, the session installs an updater, which raw.ts and decoding.ts use. Without an updater (eagerly, in a
 * browser) the plain operations run. It imports nothing from Node.
 */
import type * as tf from "@tensorflow/tfjs-core";

/** One tensor's AdamW update; see `adamUpdate` in raw.ts for the formula. */
export interface AdamUpdate {
  readonly param: tf.Tensor;
  readonly m: tf.Tensor;
  readonly v: tf.Tensor;
  readonly gradient: tf.Tensor;
  /** Scalar that the gradient is first multiplied by, for clipping. */
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
  /** Boolean scalar; if false, nothing changes. Default true. */
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

/** A step of generating text: new tokens of each of B sequences through the whole model. */
export interface WritingStep {
  /** In the order of model.ts' `parameterSpecs`. */
  readonly weights: readonly tf.Tensor[];
  /** Keys and values of all positions, one tensor per layer, each [B, H, S, D]. */
  readonly keys: readonly tf.Tensor4D[];
  readonly values: readonly tf.Tensor4D[];
  /** int32 [B, T]. */
  readonly ids: tf.Tensor2D;
  /** int32 scalar: the number of earlier positions. */
  readonly position: tf.Tensor;
  /** int32 scalar: which of the T new tokens the logits are for; later ones are ignored. */
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
 * How a session's matrix products are computed: in float32; from factors in bfloat16; or in a 16-bit format that only
 * TensorFlow's products support, with casts by TensorFlow or cast-products.ts.
 */
export type Products = "float32" | "bfloat16" | "shortened";

/** Which operation computes a matrix product. */
export type Multiplier = "folio" | "tensorflow";

/** The choice by size: a product of [M, K] and [K, N] is large if M·K·N is 2^27 or more. */
export interface ProductChoice {
  readonly small: Multiplier;
  readonly large: Multiplier;
}

/**
 * A small model's products (768 × 128 × 512) are below it; those of GPT-2's width on one sequence (256 × 768 × 768) are
 * not.
 */
const LARGE_PRODUCT = 2 ** 27;

export function multiplierOf(choice: ProductChoice, multiplications: number): Multiplier {
  return multiplications < LARGE_PRODUCT ? choice.small : choice.large;
}

/**
 * Each method updates in place and returns stand-ins for the new values, or undefined if the tensors are not variables.
 */
export interface InPlaceUpdater {
  readonly products: Products;
  readonly multipliers: ProductChoice;
  adam(update: AdamUpdate): Updated | undefined;
  /** See `writeAt` in decoding.ts. */
  write(cache: tf.Tensor4D, value: tf.Tensor4D, position: tf.Tensor): tf.Tensor | undefined;
  /** Called only if Folio's operations are loaded. */
  attend(attention: CacheAttention): Attended | undefined;
  /** Called only if Folio's operations are loaded. */
  writingStep(step: WritingStep): Written | undefined;
}

let current: InPlaceUpdater | undefined;

/** Runs `body` with `updater` installed. */
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
