/**
 * The GPT, top to bottom: parameters, embedding, block, attention, MLP, forward, loss (Radford 2019, GPT-2). Written
 * once in TensorFlow.js operations; a session runs it eagerly or compiled. Notebook 00-start runs it and shows its
 * values.
 *
 *   B  sequences in a batch             C  nEmbd, features of a position      H  nHead, attention heads
 *   T  positions of each sequence       V  vocabSize, ids                     D  C / H, features of a head
 *   S  positions attended to: T, or with a cache of keys and values the cache's blockSize
 */
import * as tf from "@tensorflow/tfjs-core";
import { gatherRows, randomNormal } from "../engine/operations/raw.js";
import { key } from "../host/random.js";
import type { ModelSettings, ModelShape } from "../settings/model.js";
import type { ValueName } from "./activations.js";
import { type Forms, formsOf } from "./attention.js";
import { add, crossEntropy, dropout, embedding, gelu, layerNorm, positionOf } from "./functional.js";
import { type Cache, checkCache } from "./kv-cache.js";

// ------------------------------------------------------------------------------------------------------- parameters

/** The specification of one parameter. Names and layouts are those of GPT-2's published weights. */
export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /** Standard deviation of the normal distribution of its initial values, or their constant. */
  readonly initializer: { readonly normal: number } | { readonly constant: number };
}

/** The model's parameters by name. */
export type Parameters = Readonly<Record<string, tf.Tensor>>;

/**
 * The parameters of a model with these settings, in the order of the forward pass.
 * Weights are initialized from N(0, σ²) with σ = initStd, those that write to the residual stream from N(0, (σ /
 * √(2L))²). GPT-2's 0.02 is about 1/√C at its width; at a width of 64, attention is learned earlier with 1/√C.
 */
export function parameterSpecs(config: ModelShape & Pick<ModelSettings, "initStd">): ParameterSpec[] {
  const { nLayer, nEmbd: C, vocabSize: V, blockSize, bias, tieHead } = config;
  if (V < 1) throw new RangeError("Cannot build the model: vocabSize is 0; set it to the tokenizer's vocabSize.");
  const std = (config.initStd ?? 0.02) || 1 / Math.sqrt(C);
  const residual = std / Math.sqrt(2 * nLayer);
  const constant = (name: string, size: number, value: number): ParameterSpec => ({
    name,
    shape: [size],
    initializer: { constant: value },
  });
  const weight = (name: string, shape: number[], normal = std): ParameterSpec => ({
    name: `${name}.weight`,
    shape,
    initializer: { normal },
  });
  const biases = (name: string, size: number) => (bias ? [constant(`${name}.bias`, size, 0)] : []);
  const norm = (name: string) => [constant(`${name}.weight`, C, 1), ...biases(name, C)];
  const linear = (name: string, from: number, to: number, normal?: number) => [
    weight(name, [from, to], normal),
    ...biases(name, to),
  ];
  const block = (h: string) => [
    ...norm(`${h}.ln_1`),
    ...linear(`${h}.attn.c_attn`, C, 3 * C),
    ...linear(`${h}.attn.c_proj`, C, C, residual),
    ...norm(`${h}.ln_2`),
    ...linear(`${h}.mlp.c_fc`, C, 4 * C),
    ...linear(`${h}.mlp.c_proj`, 4 * C, C, residual),
  ];
  return [
    weight("wte", [V, C]),
    weight("wpe", [blockSize, C]),
    ...Array.from({ length: nLayer }, (_, layer) => block(`h.${layer}`)).flat(),
    ...norm("ln_f"),
    ...(tieHead ? [] : [weight("lm_head", [V, C])]),
  ];
}

/** Initial values of all parameters. The same seed gives the same values; the caller owns the tensors. */
export function initialParameters(config: ModelSettings, seed: number): Record<string, tf.Tensor> {
  const first = ({ name, shape, initializer }: ParameterSpec) =>
    "constant" in initializer
      ? tf.fill([...shape], initializer.constant)
      : tf.mul(randomNormal(shape, key(seed, "init", name)), initializer.normal);
  return Object.fromEntries(parameterSpecs(config).map((spec) => [spec.name, tf.tidy(() => first(spec))]));
}

// ------------------------------------------------------------------------------------------------------ forward pass

/**
 * Receives the named values of a forward pass in order (activations.ts lists them), and may return a replacement of the same
 * shape. `positions`, int32 [T], are those of the pass's tokens.
 */
export type Tap = (name: ValueName, value: tf.Tensor, positions: tf.Tensor1D) => tf.Tensor;

/** Options of a forward pass. */
export interface ForwardOptions {
  /** Called as `at("h.0.attn.weights", x)` with every named value. */
  readonly at?: Tap | undefined;
  /**
   * Which names `at` is called for; default all. Attention is written out only in layers where a value inside it is
   * wanted.
   */
  readonly wants?: ((name: ValueName) => boolean) | undefined;
  /** int32 [T], positions of the ids; default 0 … T − 1. */
  readonly positions?: tf.Tensor1D | undefined;
  /** Keys and values of the positions before these; `emptyCache()` starts one. No gradient passes through it. */
  readonly cache?: Cache | undefined;
  /** int32 [2], turns dropout on; the masks depend on it. */
  readonly dropoutKey?: tf.Tensor1D | undefined;
  /** Compute the logits of only one position, [B, 1, V]: the last, or the given one (int32 scalar). */
  readonly lastOnly?: boolean | tf.Tensor | undefined;
}

/** What every part of the model can use during a forward pass. */
interface Pass extends Pick<Forms, "attend" | "linear" | "embedding" | "positions" | "mask"> {
  readonly params: Parameters;
  readonly config: ModelSettings;
  /** The tap, called if it wants this name. */
  readonly at: <T extends tf.Tensor>(name: ValueName, value: T) => T;
  readonly wants: (name: ValueName) => boolean;
  /** Dropout, if it is on; `use` numbers its places in the model. */
  readonly drop: <T extends tf.Tensor>(x: T, use: number) => T;
}

/**
 * One forward pass: `logits = head(ln_f(block_L(… block_1(wte[ids] + wpe[positions]))))`.
 * @param ids int32 [B, T], T ≤ blockSize
 * @returns logits [B, T, V] (the caller's), and the cache extended by these positions when one was given
 * @throws {RangeError} when the ids are not [B, T] with T ≤ blockSize
 */
export function forward(
  params: Parameters,
  ids: tf.Tensor2D,
  config: ModelSettings,
  options: ForwardOptions = {},
): { logits: tf.Tensor3D; cache: Cache | undefined } {
  checkIds(ids, config);
  if (options.cache) checkCache(options.cache, ids.shape[0], config.blockSize);
  const { pass, extended } = openPass(params, ids.shape[1], config, options);
  const { at, linear } = pass;

  let x = embed(ids, pass); // [B, T, C]
  for (let layer = 0; layer < config.nLayer; layer++) x = block(x, layer, pass); // [B, T, C]
  if (options.lastOnly) x = positionOf(x, options.lastOnly); // [B, 1, C]
  x = at("ln_f", norm(x, "ln_f", pass)); // [B, T, C]
  const head = param<tf.Tensor2D>(pass, config.tieHead ? "wte.weight" : "lm_head.weight"); // [V, C]
  const logits = at("logits", linear(x, head, { transposed: true })); // [B, T, V]

  return { logits, cache: extended() };
}

/** `x = wte[ids] + wpe[positions]`. [B, T] → [B, T, C] */
function embed(ids: tf.Tensor2D, pass: Pass): tf.Tensor3D {
  const { at, drop, positions } = pass;
  const tokens = at("wte", pass.embedding(param(pass, "wte.weight"), ids)); // [B, T, C]
  const places = at("wpe", embedding(param(pass, "wpe.weight"), positions)); // [T, C]
  return at("embed", drop(tf.add(tokens, places), 0));
}

/** `x = x + attention(ln_1(x))`, then `x = x + mlp(ln_2(x))`. [B, T, C] → [B, T, C] */
function block(x: tf.Tensor3D, layer: number, pass: Pass): tf.Tensor3D {
  const { at } = pass;
  const h = `h.${layer}` as const;
  const attended = attention(at(`${h}.ln_1`, norm(x, `${h}.ln_1`, pass)), layer, pass);
  const middle = at(`${h}.resid_mid`, add(x, attended));
  const thought = mlp(at(`${h}.ln_2`, norm(middle, `${h}.ln_2`, pass)), layer, pass);
  return at(`${h}.resid_out`, add(middle, thought));
}

/**
 * Causal self-attention over H heads: `softmax(q kᵀ / √D + mask) v`, heads side by side, projected. [B, T, C] → [B, T,
 * C] If no value inside is observed, `attend` computes the same in fewer operations (attention.ts).
 */
function attention(x: tf.Tensor3D, layer: number, pass: Pass): tf.Tensor3D {
  const { at, attend, drop, mask, config } = pass;
  const [B, T, C] = x.shape;
  const [H, D] = [config.nHead, C / config.nHead];
  const name = `h.${layer}.attn` as const;

  const qkv = affine(x, `${name}.c_attn`, pass); // [B, T, 3C]
  const mixed = attend(qkv, layer, {
    split() {
      const heads = tf.transpose(tf.reshape(qkv, [B, T, 3, H, D]), [2, 0, 3, 1, 4]); // [3, B, H, T, D]
      const [q, k, v] = tf.unstack(heads) as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
      return [at(`${name}.q`, q), at(`${name}.k`, k), at(`${name}.v`, v)]; // [B, H, T, D] each
    },
    mix(q, k, v) {
      const scores = at(`${name}.scores`, tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(D))); // [B, H, T, S]
      const weights = at(`${name}.weights`, tf.softmax(tf.add(scores, mask))); // [B, H, T, S], rows sum to 1
      const heads = at(`${name}.heads`, tf.matMul(drop(weights, useOfWeights(layer)), v)); // [B, H, T, D]
      return tf.reshape(tf.transpose(heads, [0, 2, 1, 3]), [B, T, C]); // heads side by side
    },
  }); // [B, T, C]
  const out = pass.wants(`${name}.head_out`) ? sumOfHeads(mixed, name, pass) : affine(mixed, `${name}.c_proj`, pass);
  return drop(at(`${name}.out`, out), 2 + 3 * layer);
}

/** `mixed W_proj + b` as a sum over heads, where somebody looks at what each of them adds. [B, T, C] → [B, T, C] */
function sumOfHeads(mixed: tf.Tensor3D, name: `h.${number}.attn`, pass: Pass): tf.Tensor3D {
  const { nHead: H, bias } = pass.config;
  const [B, T, C] = mixed.shape;
  const heads = tf.transpose(tf.reshape(mixed, [B, T, H, C / H]), [0, 2, 1, 3]); // [B, H, T, D]
  const weight = tf.reshape(param(pass, `${name}.c_proj.weight`), [1, H, C / H, C]); // [1, H, D, C]
  const sum = tf.sum(pass.at(`${name}.head_out`, tf.matMul(heads, weight)), 1) as tf.Tensor3D; // [B, T, C]
  return bias ? tf.add(sum, param(pass, `${name}.c_proj.bias`)) : sum;
}

/** `gelu(x W_fc) W_proj`. [B, T, C] → [B, T, 4C] → [B, T, C] */
function mlp(x: tf.Tensor3D, layer: number, pass: Pass): tf.Tensor3D {
  const { at, config, drop } = pass;
  const name = `h.${layer}.mlp` as const;
  const before = at(`${name}.pre`, affine(x, `${name}.c_fc`, pass)); // [B, T, 4C]
  const hidden = at(`${name}.act`, gelu(before, config.gelu)); // [B, T, 4C]
  return drop(at(`${name}.out`, affine(hidden, `${name}.c_proj`, pass)), 3 + 3 * layer);
}

/** `x W + b`. [B, T, from] → [B, T, to] */
function affine(x: tf.Tensor3D, name: string, pass: Pass): tf.Tensor3D {
  const bias = pass.config.bias ? param<tf.Tensor1D>(pass, `${name}.bias`) : undefined;
  return pass.linear(x, param(pass, `${name}.weight`), { bias });
}

/** Layer normalization with this place's weight and bias. [B, T, C] → [B, T, C] */
function norm(x: tf.Tensor3D, name: "ln_f" | `h.${number}.ln_${1 | 2}`, pass: Pass): tf.Tensor3D {
  const bias = pass.config.bias ? param<tf.Tensor1D>(pass, `${name}.bias`) : undefined;
  const weight = param<tf.Tensor1D>(pass, `${name}.weight`);
  if (!pass.wants(`${name}.scale`)) return layerNorm(x, weight, bias);
  const centered = tf.sub(x, tf.mean(x, -1, true));
  const scale = pass.at(`${name}.scale`, tf.sqrt(tf.add(tf.mean(tf.square(centered), -1, true), 1e-5))); // [B, T, 1]
  const y = tf.mul(tf.div(centered, scale), weight) as tf.Tensor3D;
  return bias ? tf.add(y, bias) : y;
}

/**
 * Mean cross-entropy in nats of the next token.
 * @param logits [B, T, V]
 * @param targets int32 [B, T]; −1: the position is ignored
 */
export function loss(logits: tf.Tensor3D, targets: tf.Tensor2D): tf.Scalar {
  return crossEntropy(tf.reshape(logits, [-1, logits.shape[2]]), tf.reshape(targets, [-1]));
}

// ------------------------------------------------------------------------------------------------- around the pass

/** The names of values inside attention; if one of them is wanted, attention is written out. */
const INSIDE = ["q", "k", "v", "scores", "weights", "heads"] as const;
/** The number of the dropout of a layer's attention weights. */
const useOfWeights = (layer: number) => 1 + 3 * layer;

/** The names after which, where the logits of one position are asked for, that one is left. */
const AFTER_LAST = /^(ln_f|logits)/;

function openPass(params: Parameters, T: number, config: ModelSettings, options: ForwardOptions) {
  const { at: tap, cache, dropoutKey: key } = options;
  const { dropout: rate, nHead: heads } = config;
  const wants = (name: ValueName) => tap !== undefined && (options.wants?.(name) ?? true);
  const opened = (layer: number) => INSIDE.some((part) => wants(`h.${layer}.attn.${part}`));
  const dropoutOf = (use: number) => (key && rate > 0 ? { rate, key, use } : undefined);
  const ofWeights = (layer: number) => dropoutOf(useOfWeights(layer));
  const { extended, ...forms } = formsOf({ T, heads, cache, opened, dropout: ofWeights });
  const positions = options.positions ?? forms.positions;
  const where = (name: ValueName) =>
    options.lastOnly && AFTER_LAST.test(name) ? lastPlace(positions, options.lastOnly) : positions;
  const pass: Pass = {
    ...{ ...forms, positions, params, config, wants },
    at: (name, value) => (tap && wants(name) ? (tap(name, value, where(name)) as typeof value) : value),
    drop(x, use) {
      const how = dropoutOf(use);
      return how ? dropout(x, how) : x;
    },
  };
  return { pass, extended };
}

/** Where the position stands whose logits alone are computed. int32 [1] */
function lastPlace(positions: tf.Tensor1D, which: true | tf.Tensor): tf.Tensor1D {
  if (positions.size === 1) return positions;
  const index = which === true ? tf.scalar(positions.size - 1, "int32") : which;
  const column = tf.cast(tf.expandDims(positions, 1), "float32") as tf.Tensor2D; // GatherV2 of int32 has no kernel on a GPU
  return tf.cast(tf.reshape(gatherRows(column, tf.reshape(index, [1])), [1]), "int32");
}

function param<T extends tf.Tensor>({ params }: Pass, name: string): T {
  const tensor = params[name];
  if (tensor) return tensor as T;
  throw new RangeError(
    `Cannot run the model: there is no parameter ${name}; found ${Object.keys(params).length} others.`,
  );
}

function checkIds(ids: tf.Tensor2D, { blockSize }: ModelSettings): void {
  if (ids.rank !== 2 || ids.dtype !== "int32") {
    throw new TypeError(`Cannot run the model: ids are ${ids.dtype} [${ids.shape}]; wanted int32 [B, T].`);
  }
  if (ids.shape[1] > blockSize || ids.shape[1] === 0) {
    throw new RangeError(`Cannot run the model: ids have T = ${ids.shape[1]}; wanted 1 to blockSize = ${blockSize}.`);
  }
}
