/**
 * Computes a model's size and the cost of its training from settings: parameters, FLOPs and time, as tables of rows.
 * The numbers agree with nanoGPT's transformer_sizing and scaling_laws notebooks. `folio sizes` prints them; shown in
 * notebooks/06-experiments.
 *
 * Symbols: L nLayer, H nHead, C nEmbd, V vocabSize, T blockSize, B batchSize, N parameters, D tokens.
 */
import type { ModelShape } from "../settings/model.js";
import type { Settings } from "../settings/settings.js";
import { parameterSpecs } from "./model.js";

export { knownPeakFlops } from "../host/hardware.js";

/** The settings that determine parameters and FLOPs. */
export type Shape = Omit<ModelShape, "gelu">;

/** The shapes of GPT-2's published weights, by their names in nanoGPT. */
export const gpt2Shapes = {
  gpt2: gpt2Shape(12, 12, 768),
  "gpt2-medium": gpt2Shape(24, 16, 1024),
  "gpt2-large": gpt2Shape(36, 20, 1280),
  "gpt2-xl": gpt2Shape(48, 25, 1600),
} as const;

function gpt2Shape(nLayer: number, nHead: number, nEmbd: number): Shape {
  return { nLayer, nHead, nEmbd, blockSize: 1024, vocabSize: 50_257, bias: true, tieHead: true };
}

/** A part of the model and its number of parameters or FLOPs. `block` is one of nLayer blocks, `blocks` all of them. */
export interface SizeRow {
  readonly part: string;
  readonly count: number;
  /** Share of the last row, the total. */
  readonly share: number;
}

const asTable = (parts: Readonly<Record<string, number>>): SizeRow[] => {
  const total = Object.values(parts).at(-1)!;
  return Object.entries(parts).map(([part, count]) => ({ part, count, share: count / total }));
};

/** Parameters by part, the total last: sums over the model's specification. */
export function parameterTable(shape: Shape): SizeRow[] {
  checkVocabulary(shape.vocabSize);
  // All blocks have the same size, so one is enough.
  const specs = parameterSpecs({ ...shape, nLayer: 1, gelu: "erf" });
  const sum = (names: RegExp) =>
    specs
      .filter(({ name }) => names.test(name))
      .reduce((total, spec) => total + spec.shape.reduce((product, axis) => product * axis, 1), 0);
  const block = sum(/^h\./);
  const blocks = shape.nLayer * block;
  const around = sum(/^w[pt]e/) + sum(/^ln_f/) + sum(/^lm_head/);
  return asTable({
    "embedding/positions": sum(/^wpe/),
    "embedding/tokens": sum(/^wte/),
    embedding: sum(/^w[pt]e/),
    "attention/norm": sum(/\.ln_1\./),
    "attention/qkv": sum(/\.attn\.c_attn\./),
    "attention/projection": sum(/\.attn\.c_proj\./),
    attention: sum(/\.(ln_1|attn)\./),
    "mlp/norm": sum(/\.ln_2\./),
    "mlp/expand": sum(/\.mlp\.c_fc\./),
    "mlp/contract": sum(/\.mlp\.c_proj\./),
    mlp: sum(/\.(ln_2|mlp)\./),
    block,
    blocks,
    "final norm": sum(/^ln_f/),
    head: sum(/^lm_head/), // 0 if the head shares the token embedding
    total: blocks + around,
  });
}

const totalOf = (rows: readonly SizeRow[]): number => rows.at(-1)!.count;

/** N, the number of parameters; `positions: false` excludes the position embeddings, as in nanoGPT's printed sizes. */
export function countParameters(shape: Shape, { positions = true } = {}): number {
  const table = parameterTable(shape);
  const ofPositions = table.find(({ part }) => part === "embedding/positions")?.count ?? 0;
  return totalOf(table) - (positions ? 0 : ofPositions);
}

/**
 * FLOPs of one sequence of T tokens by part: matrix products only, 2 FLOPs per multiply-add, with the full attention
 * matrix (not half of it for the mask); norms, GELU and softmax count as 0. The backward pass is 2 × forward; the last
 * row is the training total.
 */
export function flopsTable({ nLayer, nEmbd: C, blockSize: T, vocabSize: V }: Shape): SizeRow[] {
  checkVocabulary(V);
  const qkv = 2 * T * C * 3 * C;
  const scores = 2 * T * T * C;
  const projection = 2 * T * C * C;
  const attention = qkv + 2 * scores + projection;
  const half = 2 * T * C * 4 * C;
  const block = attention + 2 * half;
  const blocks = nLayer * block;
  const head = 2 * T * C * V;
  const forward = blocks + head;
  return asTable({
    "attention/qkv": qkv,
    "attention/scores": scores,
    "attention/reduce": scores,
    "attention/projection": projection,
    attention,
    "mlp/expand": half,
    "mlp/contract": half,
    mlp: 2 * half,
    block,
    blocks,
    head,
    forward,
    backward: 2 * forward,
    total: 3 * forward,
  });
}

/**
 * Training FLOPs per token by PaLM's formula, which nanoGPT uses for MFU: `6N + 12·L·H·Q·T` with head size Q = C / H
 * (Chowdhery 2022, appendix B). N excludes position embeddings and, with an untied head, the token table, which is then
 * in no product.
 */
export function flopsPerToken(shape: Shape): number {
  const N = countParameters(shape, { positions: false }) - (shape.tieHead ? 0 : shape.vocabSize * shape.nEmbd);
  const { nLayer: L, nEmbd, blockSize: T } = shape;
  return 6 * N + 12 * L * nEmbd * T;
}

/**
 * MFU, the fraction of the hardware's peak that training reaches (Chowdhery 2022): `tokens/s · FLOPs/token / peak`.
 * @param options.peakFlops of all devices together
 */
export function modelFlopsUtilization(options: {
  flopsPerToken: number;
  tokensPerSecond: number;
  peakFlops: number;
}): number {
  return (options.flopsPerToken * options.tokensPerSecond) / options.peakFlops;
}

/** Seconds that `flops` take at the fraction `utilization` of `peakFlops` (of all devices together). */
export function trainingSeconds(options: { flops: number; peakFlops: number; utilization: number }): number {
  return options.flops / (options.peakFlops * options.utilization);
}

/** Tokens per update. */
export function tokensPerStep({
  batchSize,
  blockSize,
  gradientAccumulationSteps,
}: Pick<Settings, "batchSize" | "blockSize" | "gradientAccumulationSteps">): number {
  return batchSize * blockSize * gradientAccumulationSteps;
}

/** A model of the Chinchilla paper: unlike GPT, it has relative positions and an untied head. */
export interface ChinchillaShape {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  /** Width of the MLP; default four times the model's. */
  readonly mlpWidth?: number;
  /** Tokens per sequence; default 2,048. */
  readonly tokens?: number;
  /** Default 32,000. */
  readonly vocabulary?: number;
}

/** Parameters as counted in table A9 of the Chinchilla paper: with the head, without the token embedding. */
export function chinchillaParameters({ layers, width: C, ...rest }: ChinchillaShape): number {
  const { mlpWidth: F = 4 * C, vocabulary: V = 32_000 } = rest;
  const attention = 3 * C * C + 3 * C + (C * C + C);
  const relativePositions = C * C + 2 * C; // keys, content bias, relative bias
  const mlp = C * F + F + (F * C + C);
  const norms = 4 * C;
  return layers * (attention + relativePositions + mlp + norms) + 2 * C + V * C;
}

/**
 * Training FLOPs per sequence as counted in the Chinchilla paper (Hoffmann 2022, appendix F, table A4): with softmax,
 * without embeddings and logits; backward = 2 × forward. The head size is width / heads.
 */
export function chinchillaFlops({
  layers,
  width: C,
  heads: H,
  mlpWidth: F = 4 * C,
  tokens: T = 2048,
}: ChinchillaShape) {
  const qkv = 2 * 3 * T * C * C;
  const scores = 2 * T * T * C;
  const softmax = 3 * H * T * T;
  const projection = 2 * T * C * C;
  const mlp = 2 * T * (C * F + C * F);
  return 3 * layers * (qkv + 2 * scores + softmax + projection + mlp);
}

function checkVocabulary(vocabSize: number): void {
  if (vocabSize >= 1) return;
  throw new RangeError(
    "Cannot size the model: vocabSize is 0; set it to the number of ids, such as 50257 for GPT-2's tokens.",
  );
}
