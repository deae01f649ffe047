/**
 * How large a model is and what its training costs: parameters, FLOPs, memory, time. Arithmetic only, from settings, as
 * tables of rows. It builds nothing and measures nothing. nanoGPT's transformer_sizing and scaling_laws notebooks have
 * the same numbers. `folio sizes` prints them; shown in notebooks/06-experiments.
 *
 * Symbols: L nLayer, H nHead, C nEmbd, V vocabSize, T blockSize, B batchSize, N parameters, D tokens.
 */
import type { ModelShape } from "../settings/model.js";
import type { Settings } from "../settings/settings.js";
import { parameterSpecs } from "./model.js";

export { knownPeakFlops } from "../host/hardware.js";

/** The settings that parameters and FLOPs follow from. */
export type Shape = Omit<ModelShape, "gelu">;

/** The shapes of GPT-2's published weights, by nanoGPT's names. */
export const gpt2Shapes = {
  gpt2: gpt2Shape(12, 12, 768),
  "gpt2-medium": gpt2Shape(24, 16, 1024),
  "gpt2-large": gpt2Shape(36, 20, 1280),
  "gpt2-xl": gpt2Shape(48, 25, 1600),
} as const;

function gpt2Shape(nLayer: number, nHead: number, nEmbd: number): Shape {
  return { nLayer, nHead, nEmbd, blockSize: 1024, vocabSize: 50_257, bias: true, tieHead: true };
}

/** A part of the model and how much of something it has. `block` is one of nLayer, `blocks` all of them. */
export interface SizeRow {
  readonly part: string;
  readonly count: number;
  /** Of the last row, the total. */
  readonly share: number;
}

const asTable = (parts: Readonly<Record<string, number>>): SizeRow[] => {
  const total = Object.values(parts).at(-1)!;
  return Object.entries(parts).map(([part, count]) => ({ part, count, share: count / total }));
};

/** Parameters by part, the total last: those of the model's specification, added up. */
export function parameterTable(shape: Shape): SizeRow[] {
  checkVocabulary(shape.vocabSize);
  // All blocks are alike: one tells.
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
    head: sum(/^lm_head/), // 0: the token embedding's
    total: blocks + around,
  });
}

const totalOf = (rows: readonly SizeRow[]): number => rows.at(-1)!.count;

/** N, all parameters; `positions: false` leaves out the position embeddings, as nanoGPT's printed sizes do. */
export function countParameters(shape: Shape, { positions = true } = {}): number {
  return totalOf(parameterTable(shape)) - (positions ? 0 : shape.blockSize * shape.nEmbd);
}

/**
 * FLOPs of one sequence of T tokens by part: matrix products, 2 a multiply and add, whole squares of attention (no half
 * for the mask), nothing for norms, GELU and softmax. Backward is 2 × forward; the last row is the training total.
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
 * FLOPs of training on one token by PaLM's formula, nanoGPT's for MFU: `6N + 12·L·H·Q·T` with head size Q = C / H
 * (Chowdhery 2022, appendix B). N is without position embeddings and, with an untied head, without the token table,
 * which then takes part in no product.
 */
export function flopsPerToken(shape: Shape): number {
  const N = countParameters(shape, { positions: false }) - (shape.tieHead ? 0 : shape.vocabSize * shape.nEmbd);
  const { nLayer: L, nEmbd, blockSize: T } = shape;
  return 6 * N + 12 * L * nEmbd * T;
}

/**
 * MFU, the share of the hardware's peak that training reaches (Chowdhery 2022): `tokens/s · FLOPs/token / peak`.
 * @param options.peakFlops of all devices together
 */
export function modelFlopsUtilization(options: {
  flopsPerToken: number;
  tokensPerSecond: number;
  peakFlops: number;
}): number {
  return (options.flopsPerToken * options.tokensPerSecond) / options.peakFlops;
}

/** Seconds that `flops` take on `peakFlops` (of all devices together) of which `utilization` is reached. */
export function trainingSeconds(options: { flops: number; peakFlops: number; utilization: number }): number {
  return options.flops / (options.peakFlops * options.utilization);
}

/** Tokens of one update. */
export function tokensPerStep({
  batchSize,
  blockSize,
  gradientAccumulationSteps,
}: Pick<Settings, "batchSize" | "blockSize" | "gradientAccumulationSteps">): number {
  return batchSize * blockSize * gradientAccumulationSteps;
}

/** A model of the Chinchilla paper: unlike GPT, relative positions and a head of its own. */
export interface ChinchillaShape {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  /** Width of the MLP; four times the model's unless given. */
  readonly mlpWidth?: number;
  /** Tokens a sequence; 2,048 unless given. */
  readonly tokens?: number;
  /** 32,000 unless given. */
  readonly vocabulary?: number;
}

/** Parameters as table A9 of the Chinchilla paper counts them: the head, without the token embedding. */
export function chinchillaParameters({ layers, width: C, ...rest }: ChinchillaShape): number {
  const { mlpWidth: F = 4 * C, vocabulary: V = 32_000 } = rest;
  const attention = 3 * C * C + 3 * C + (C * C + C);
  const relativePositions = C * C + 2 * C; // keys, content bias, relative bias
  const mlp = C * F + F + (F * C + C);
  const norms = 4 * C;
  return layers * (attention + relativePositions + mlp + norms) + 2 * C + V * C;
}

/**
 * FLOPs of training on one sequence as the Chinchilla paper counts them (Hoffmann 2022, appendix F, table A4): softmax
 * included, embeddings and logits not, backward = 2 × forward. The head size is width / heads.
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
    "Cannot size the model: vocabSize is 0; set it to the number of ids, as 50257 for GPT-2's tokens.",
  );
}
