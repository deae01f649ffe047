/**
 * How parameters and training FLOPs are counted: named choices that every table and fit carries, for exponents change with
 * them (published.ts has a sweep that gives .375, .536 and .696 by how N is counted). The arithmetic is lib/model/sizing.ts.
 * Notebook 08-scaling-laws shows them.
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
  "blocks-head": "the blocks, the final norm and the head: what takes part in products (Hoffmann 2022, nanochat)",
  total: "all parameters, positions and token embeddings too",
} as const;

/** What counts as a training FLOP. */
export const flopsConventions = {
  "6ND": "6 a parameter and token, N as counted",
  attention: "every matrix product, attention's squares too, backward twice the forward pass (nanoGPT)",
  chinchilla: "blocks with attention and softmax, no embeddings, no logits (Hoffmann 2022, table A4)",
  palm: "6N + 12·L·C·T a token, N without positions (Chowdhery 2022, appendix B)",
} as const;

export type ParameterConvention = keyof typeof parameterConventions;
export type FlopsConvention = keyof typeof flopsConventions;

/** How a table or a fit counts. */
export interface Conventions {
  readonly parameters: ParameterConvention;
  readonly flops: FlopsConvention;
}

/** N of a shape by a convention. */
export function countParameters(shape: Shape, convention: ParameterConvention): number {
  if (convention === "total") return countAll(shape);
  const part = (name: string) => parameterTable(shape).find((row) => row.part === name)!.count;
  const blocks = part("blocks") + part("final norm");
  // The head multiplies whether it is the token table or a table of its own.
  return convention === "blocks" ? blocks : blocks + shape.vocabSize * shape.nEmbd;
}

/** C of training a shape on `tokens`, by conventions. */
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
