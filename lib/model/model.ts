/**
 * The GPT, top to bottom: parameters, embedding, attention, MLP, block, forward, loss (Radford 2019, GPT-2).
 * Written once in TensorFlow.js operations; session.ts runs it eagerly or compiled. It neither trains nor samples.
 * Notebook 00-start runs one forward pass and looks inside.
 *
 * Axes: B batch, T positions of this call, S positions attended to (S = T without a cache, blockSize with one), C nEmbd, H nHead,
 * D = C / H head size, V vocabulary.
 */
import * as tf from "@tensorflow/tfjs-core";
import { attendCache, project, rowsOf, writeAt } from "../engine/operations/decoding.js";
import { randomNormal } from "../engine/operations/raw.js";
import { key } from "../host/random.js";
import type { ModelSettings } from "../settings/settings.js";
import { causalAttention, crossEntropy, dropout, embedding, gelu, layerNorm, linear } from "./functional.js";

/** One parameter before it has values. Names and layouts are those of GPT-2's published weights. */
export interface ParameterSpec {
  readonly name: string;
  readonly shape: readonly number[];
  /** Deviation of the normal distribution that it starts from, or the constant that fills it. */
  readonly initializer: { readonly normal: number } | { readonly constant: number };
}

/** The model's parameters by name. */
export type Parameters = Readonly<Record<string, tf.Tensor>>;

/** Sees every named value of a forward pass, in order, and may return another of the same shape in its place. */
export type Tap = (name: string, value: tf.Tensor) => tf.Tensor;

/**
 * Keys and values of all positions, one a layer, each [B, H, S, D] with S = blockSize: what was computed for earlier
 * positions and need not be again. Of a compiled session's state, it is written where it stands.
 */
export interface Cache {
  readonly keys: readonly tf.Tensor4D[];
  readonly values: readonly tf.Tensor4D[];
  /** int32 scalar: how many positions are there already. Absent: none, and the ids may be one sequence for all B. */
  readonly position?: tf.Tensor | undefined;
}

/** What a forward pass may be given beside parameters, ids and settings. */
export interface ForwardOptions {
  /** Called as `at("h.0.attn.weights", x)` with every named value. */
  readonly at?: Tap | undefined;
  /** int32 [T], positions of the ids; default 0 … T − 1. */
  readonly positions?: tf.Tensor1D | undefined;
  /** Keys and values of the positions before these; `emptyCache()` (cache.ts) starts one. No gradient passes through it. */
  readonly cache?: Cache | undefined;
  /** int32 [2], turns dropout on: the masks follow from it. */
  readonly dropoutKey?: tf.Tensor1D | undefined;
  /** Compute the logits of one position only, [B, 1, V]: the last, or that of the number given (int32 scalar). */
  readonly lastOnly?: boolean | tf.Tensor | undefined;
}

/** What a part of the model needs beside its input. */
interface Context {
  readonly params: Parameters;
  readonly config: ModelSettings;
  readonly at: Tap;
  /** Whether somebody gave a tap, and whether dropout is on. */
  readonly observed: boolean;
  readonly dropping: boolean;
  readonly batch: number;
  /** [T, S], 0 where a position may look and −1e9 where it may not. */
  readonly mask: tf.Tensor2D;
  readonly cache: Cache | undefined;
  readonly newCache: { keys: tf.Tensor4D[]; values: tf.Tensor4D[] };
  readonly drop: <T extends tf.Tensor>(x: T, use: number) => T;
}

/**
 * The parameters that settings ask for, in the order of the forward pass.
 * Weights start from N(0, σ²) with σ = initStd, those that write to the residual stream from N(0, (σ / √(2L))²). GPT-2's
 * 0.02 is about 1/√C at its width; at a width of 64, 1/√C lets attention begin sooner.
 */
export function parameterSpecs(config: ModelSettings): ParameterSpec[] {
  const { nLayer, nEmbd: C, vocabSize: V, blockSize, bias, tieHead } = config;
  if (V < 1) throw new RangeError("Cannot build the model: vocabSize is 0; set it to the tokenizer's vocabSize.");
  const std = (config.initStd ?? 0.02) || 1 / Math.sqrt(C);
  const weight = (name: string, shape: number[], normal = std): ParameterSpec => ({
    name: `${name}.weight`,
    shape,
    initializer: { normal },
  });
  const vector = (name: string, size: number, constant: number): ParameterSpec => ({
    name,
    shape: [size],
    initializer: { constant },
  });
  const linear = (name: string, [from, to]: [number, number], normal?: number): ParameterSpec[] => [
    weight(name, [from, to], normal),
    ...(bias ? [vector(`${name}.bias`, to, 0)] : []),
  ];
  const norm = (name: string): ParameterSpec[] => [
    vector(`${name}.weight`, C, 1),
    ...(bias ? [vector(`${name}.bias`, C, 0)] : []),
  ];
  const residual = std / Math.sqrt(2 * nLayer);
  const blocks = Array.from({ length: nLayer }, (_, layer) => [
    ...norm(`h.${layer}.ln_1`),
    ...linear(`h.${layer}.attn.c_attn`, [C, 3 * C]),
    ...linear(`h.${layer}.attn.c_proj`, [C, C], residual),
    ...norm(`h.${layer}.ln_2`),
    ...linear(`h.${layer}.mlp.c_fc`, [C, 4 * C]),
    ...linear(`h.${layer}.mlp.c_proj`, [4 * C, C], residual),
  ]);
  const head = tieHead ? [] : [weight("lm_head", [V, C])];
  return [weight("wte", [V, C]), weight("wpe", [blockSize, C]), ...blocks.flat(), ...norm("ln_f"), ...head];
}

/** Number of parameters; `positions: false` leaves out the position embeddings, as nanoGPT's printed sizes do. */
export function countParameters(config: ModelSettings, { positions = true } = {}): number {
  return parameterSpecs(config)
    .filter(({ name }) => positions || name !== "wpe.weight")
    .reduce((total, { shape }) => total + shape.reduce((product, axis) => product * axis, 1), 0);
}

/** First values of all parameters. The same seed gives the same values; the caller owns the tensors. */
export function initialParameters(config: ModelSettings, seed: number): Record<string, tf.Tensor> {
  const tensors = parameterSpecs(config).map(({ name, shape, initializer }) => {
    const tensor = tf.tidy(() =>
      "constant" in initializer
        ? tf.fill([...shape], initializer.constant)
        : tf.mul(randomNormal(shape, key(seed, "init", name)), initializer.normal),
    );
    return [name, tensor] as const;
  });
  return Object.fromEntries(tensors);
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
  checkIds(ids, config, options.cache);
  const { nLayer, vocabSize: V } = config;
  const { at = (_name, value) => value, cache, lastOnly = false } = options;
  const [B, T] = ids.shape;
  const own = tf.range(0, T, 1, "int32");
  const positions = options.positions ?? (cache?.position ? (tf.add(own, cache.position) as tf.Tensor1D) : own);
  const dropKey = options.dropoutKey;
  const dropping = dropKey !== undefined && config.dropout > 0;
  const context: Context = {
    params,
    config,
    at,
    observed: options.at !== undefined,
    dropping,
    batch: B,
    cache,
    mask: cache?.position ? causalMask(tf.add(own, cache.position), config.blockSize) : causalMask(own, T),
    newCache: { keys: [], values: [] },
    drop: (x, use) => (dropKey && dropping ? dropout(x, { rate: config.dropout, key: dropKey, use }) : x),
  };
  let x = embed(ids, positions, context); // [B·T, C]
  for (let layer = 0; layer < nLayer; layer++) x = block(x, layer, context);
  if (lastOnly && T > 1) x = rowsAt(x, lastOnly === true ? tf.scalar(T - 1, "int32") : lastOnly, B);
  x = at("ln_f", normalize(x, "ln_f", context)) as tf.Tensor2D;
  const head = param<tf.Tensor2D>(context, config.tieHead ? "wte.weight" : "lm_head.weight"); // [V, C]
  const products = cache ? project(x, head, { transposed: true }) : linear(x, head, { transposed: true });
  const logits = tf.reshape(products, [B, lastOnly ? 1 : T, V]) as tf.Tensor3D;
  const read = tf.scalar(T, "int32");
  const position = cache?.position ? tf.add(cache.position, read) : read;
  return { logits: at("logits", logits) as tf.Tensor3D, cache: cache && { ...context.newCache, position } };
}

/**
 * Mean cross-entropy in nats of the next token.
 * @param logits [B, T, V]
 * @param targets int32 [B, T]; −1: that position does not count
 */
export function loss(logits: tf.Tensor3D, targets: tf.Tensor2D): tf.Scalar {
  return crossEntropy(tf.reshape(logits, [-1, logits.shape[2]]), tf.reshape(targets, [-1]));
}

function embed(ids: tf.Tensor2D, positions: tf.Tensor1D, context: Context): tf.Tensor2D {
  const { at, batch: B, drop, config } = context;
  const T = ids.shape[1];
  const rows = context.cache ? rowsOf : embedding;
  const tokens = at("wte", rows(param(context, "wte.weight"), tf.reshape(ids, [B * T]))); // [B·T, C]
  const places = at("wpe", embedding(param(context, "wpe.weight"), positions)); // [T, C]
  const sum = tf.add(tf.reshape(tokens, [B, T, config.nEmbd]), places);
  return at("embed", tf.reshape(drop(sum, 0), [B * T, config.nEmbd])) as tf.Tensor2D;
}

/** `x + attention(ln_1(x))`, then `x + mlp(ln_2(x))`. [B·T, C] → [B·T, C] */
function block(x: tf.Tensor2D, layer: number, context: Context): tf.Tensor2D {
  const { at } = context;
  const name = `h.${layer}`;
  const attended = attention(at(`${name}.ln_1`, normalize(x, `${name}.ln_1`, context)) as tf.Tensor2D, layer, context);
  const middle = at(`${name}.resid_mid`, tf.add(x, attended)) as tf.Tensor2D;
  const thought = mlp(at(`${name}.ln_2`, normalize(middle, `${name}.ln_2`, context)) as tf.Tensor2D, layer, context);
  return at(`${name}.resid_out`, tf.add(middle, thought)) as tf.Tensor2D;
}

/**
 * Causal self-attention over H heads: `softmax(q kᵀ / √D + mask) v`, heads side by side, projected. [B·T, C] → [B·T, C]
 */
function attention(x: tf.Tensor2D, layer: number, context: Context): tf.Tensor2D {
  const { at, batch, config, observed, cache, dropping } = context;
  const name = `h.${layer}.attn`;
  const qkv = affine(x, `${name}.c_attn`, context); // [B·T, 3C]
  // Compiled, and nobody looks inside: one operation does it all. It keeps no weights, to be seen or to be dropped.
  const closed =
    observed || dropping
      ? undefined
      : cache?.position
        ? cachedAttention(qkv, layer, context)
        : causalAttention(qkv, { batch, heads: config.nHead });
  if (closed && cache && !cache.position) remember(splitHeads(qkv, context).slice(1), layer, context);
  const joined = closed ?? openAttention(qkv, layer, context); // [B·T, C]
  const projected = at(`${name}.out`, affine(joined, `${name}.c_proj`, context)) as tf.Tensor2D;
  return dropRows(projected, 2 + 3 * layer, context);
}

/** Attention step by step. [B·T, 3C] → [B·T, C] */
function openAttention(qkv: tf.Tensor2D, layer: number, context: Context): tf.Tensor2D {
  const { at, batch: B, cache, mask, drop, config } = context;
  const { nHead: H, nEmbd: C } = config;
  const T = qkv.shape[0] / B;
  const D = C / H;
  const name = `h.${layer}.attn`;
  const parts = splitHeads(qkv, context);
  const [q, k, v] = ["q", "k", "v"].map((part, i) => at(`${name}.${part}`, parts[i]!)) as [
    tf.Tensor4D,
    tf.Tensor4D,
    tf.Tensor4D,
  ];
  const all = cache ? remember([k, v], layer, context) : undefined;
  const [keys, values] = (cache?.position && all) || [k, v]; // [B, H, S, D]
  const S = keys.shape[2];
  const flat = (heads: tf.Tensor4D) => tf.reshape(heads, [B * H, heads.shape[2], D]) as tf.Tensor3D;
  const products = tf.mul(tf.matMul(flat(q), flat(keys), false, true), 1 / Math.sqrt(D)); // [B·H, T, S]
  const scores = at(`${name}.scores`, tf.reshape(products, [B, H, T, S]));
  const weights = at(`${name}.weights`, tf.softmax(tf.add(scores, mask))); // [B, H, T, S], rows sum to 1
  const dropped = tf.reshape(drop(weights, 1 + 3 * layer), [B * H, T, S]);
  const mixed = tf.reshape(tf.matMul(dropped, flat(values)), [B, H, T, D]);
  const heads = at(`${name}.heads`, mixed) as tf.Tensor4D;
  return tf.reshape(tf.transpose(heads, [0, 2, 1, 3]), [B * T, C]);
}

/** Queries, keys and values of all heads: [B·T, 3C] → 3 × [B, H, T, D] */
function splitHeads(qkv: tf.Tensor2D, { batch: B, config: { nHead: H, nEmbd: C } }: Context): tf.Tensor4D[] {
  const split = tf.reshape(qkv, [B, qkv.shape[0] / B, 3, H, C / H]);
  return tf.unstack(tf.transpose(split, [2, 0, 3, 1, 4])) as tf.Tensor4D[];
}

/** Writes keys and values [B, H, T, D] into the layer's cache. @returns the whole of it, [B, H, S, D] each */
function remember([k, v]: tf.Tensor4D[], layer: number, { cache, newCache }: Context): [tf.Tensor4D, tf.Tensor4D] {
  const position = cache!.position ?? tf.scalar(0, "int32");
  const [keys, values] = [writeAt(cache!.keys[layer]!, k!, position), writeAt(cache!.values[layer]!, v!, position)];
  newCache.keys.push(keys);
  newCache.values.push(values);
  return [keys, values];
}

/** Attention over the cache in one operation. [B·T, 3C] → [B·T, C], or nothing: see `openAttention`. */
function cachedAttention(qkv: tf.Tensor2D, layer: number, { cache, newCache }: Context): tf.Tensor2D | undefined {
  const { keys, values, position } = cache!;
  const attended = attendCache({ keys: keys[layer]!, values: values[layer]!, qkv, position: position! });
  if (!attended) return undefined;
  newCache.keys.push(attended.keys);
  newCache.values.push(attended.values);
  return attended.out;
}

/** `gelu(x W_fc) W_proj`. [B·T, C] → [B·T, 4C] → [B·T, C] */
function mlp(x: tf.Tensor2D, layer: number, context: Context): tf.Tensor2D {
  const { at, config } = context;
  const name = `h.${layer}.mlp`;
  const before = at(`${name}.pre`, affine(x, `${name}.c_fc`, context)) as tf.Tensor2D;
  const hidden = at(`${name}.act`, gelu(before, config.gelu)) as tf.Tensor2D;
  const projected = at(`${name}.out`, affine(hidden, `${name}.c_proj`, context)) as tf.Tensor2D;
  return dropRows(projected, 3 + 3 * layer, context);
}

/** `x W + b`. [N, from] → [N, to] */
function affine(x: tf.Tensor2D, name: string, context: Context): tf.Tensor2D {
  const weight = param<tf.Tensor2D>(context, `${name}.weight`);
  if (context.cache) {
    return project(x, weight, { bias: context.config.bias ? param(context, `${name}.bias`) : undefined });
  }
  const y = linear(x, weight);
  return context.config.bias ? tf.add(y, param(context, `${name}.bias`)) : y;
}

function normalize(x: tf.Tensor2D, name: string, context: Context): tf.Tensor2D {
  const bias = context.config.bias ? param<tf.Tensor1D>(context, `${name}.bias`) : undefined;
  return layerNorm(x, param(context, `${name}.weight`), bias);
}

/** Dropout of [B·T, C] with a mask for each sequence of the batch. */
function dropRows(x: tf.Tensor2D, use: number, { batch: B, drop }: Context): tf.Tensor2D {
  const sequences = tf.reshape(x, [B, -1]);
  const dropped = drop(sequences, use);
  return dropped === sequences ? x : (tf.reshape(dropped, x.shape) as tf.Tensor2D);
}

/** The row of one position of each sequence: [B·T, C] → [B, C] */
function rowsAt(x: tf.Tensor2D, position: tf.Tensor, B: number): tf.Tensor2D {
  const T = x.shape[0] / B;
  return rowsOf(x, tf.add(tf.range(0, B * T, T, "int32"), position) as tf.Tensor1D);
}

/** [T, S]: 0 at positions up to one's own, −1e9 after. */
function causalMask(positions: tf.Tensor, S: number): tf.Tensor2D {
  const own = tf.expandDims(positions, 1);
  const others = tf.expandDims(tf.range(0, S, 1, "int32"), 0);
  return tf.mul(tf.cast(tf.greater(others, own), "float32"), -1e9);
}

function param<T extends tf.Tensor>({ params }: Context, name: string): T {
  const tensor = params[name];
  if (!tensor)
    throw new RangeError(
      `Cannot run the model: there is no parameter ${name}; found ${Object.keys(params).length} others.`,
    );
  return tensor as T;
}

function checkIds(ids: tf.Tensor2D, { blockSize }: ModelSettings, cache: Cache | undefined): void {
  if (ids.rank !== 2 || ids.dtype !== "int32") {
    throw new TypeError(`Cannot run the model: ids are ${ids.dtype} [${ids.shape}]; wanted int32 [B, T].`);
  }
  if (ids.shape[1] > blockSize || ids.shape[1] === 0) {
    throw new RangeError(`Cannot run the model: ids have T = ${ids.shape[1]}; wanted 1 to blockSize = ${blockSize}.`);
  }
  const [keys] = cache?.keys ?? [];
  if (cache && (keys?.shape[2] !== blockSize || (cache.position && keys.shape[0] !== ids.shape[0]))) {
    throw new RangeError(
      `Cannot run the model: the cache has keys of ${keys ? `[${keys.shape}]` : "no layer"}; wanted those of blockSize = ${blockSize} for ${ids.shape[0]} sequences, as emptyCache() makes them.`,
    );
  }
}
