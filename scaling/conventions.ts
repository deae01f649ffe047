/**
 * How parameters and training FLOPs are counted. Every table and fit names its conventions, because exponents depend on
 * them (published.ts has a sweep whose exponent is .375, .536 or .696, depending on how N is counted). The arithmetic
 * is in lib/model/sizing.ts. Notebook 08-scaling-laws shows them.
 */
import {
  chinchillaFlops,
  countParameters as countAll,
  flopsPerToken,
  flopsTable,
  parameterTable,
  type Shape,
} from "../lib/model/sizing.js";

/** What counts as a parameter. */
export const parameterConventions = {
  blocks: "the blocks and the final norm, no embeddings, no head (Kaplan 2020)",
  "blocks-head": "the blocks, the final norm and the head: all that take part in products (Hoffmann 2022, nanochat)",
  total: "all parameters, including positions and token embeddings",
} as const;

/** What counts as a training FLOP. */
export const flopsConventions = {
  "6ND": "6 per parameter and token, N as counted",
  attention:
    "every matrix product, attention scores included; the backward pass costs twice the forward pass (nanoGPT)",
  chinchilla: "blocks with attention and softmax, no embeddings, no logits (Hoffmann 2022, table A4)",
  palm: "6N + 12·L·C·T per token, N without positions (Chowdhery 2022, appendix B)",
} as const;

export type ParameterConvention = keyof typeof parameterConventions;
export type FlopsConvention = keyof typeof flopsConventions;

/** The conventions of a table or a fit. */
export interface Conventions {
  readonly parameters: ParameterConvention;
  readonly flops: FlopsConvention;
}

/** The N of a shape by a convention. */
export function countParameters(shape: Shape, convention: ParameterConvention): number {
  if (convention === "total") return countAll(shape);
  const part = (name: string) => parameterTable(shape).find((row) => row.part === name)!.count;
  const blocks = part("blocks") + part("final norm");
  // The head takes part in a product whether or not it shares the token table.
  return convention === "blocks" ? blocks : blocks + shape.vocabSize * shape.nEmbd;
}

/** The C of training a shape on `tokens`. */
export function countFlops(shape: Shape, tokens: number, { parameters, flops }: Conventions): number {
  return tokens * trainingFlopsPerToken(shape, { parameters, flops });
}

function trainingFlopsPerToken(shape: Shape, { parameters, flops }: Conventions): number {
  const { nLayer: layers, nHead: heads, nEmbd: width, blockSize: tokens } = shape;
  switch (flops) {
    case "6ND":
      return 6 * countParameters(shape, parameters);
    case "attention":
      return flopsTable(shape).at(-1)!.count / tokens;
    case "chinchilla":
      return chinchillaFlops({ layers, width, heads, tokens }) / tokens;
    case "palm":
      return flopsPerToken(shape);
  }
}
