/**
 * Which shape a model of about N parameters has: a ladder of widths, each with a depth and a number of heads. It knows
 * nothing of budgets; grid.ts asks it. `folio scaling plan` shows it.
 */
import { parameterCount, type Shape } from "../../lib/sizing.js";

/** How shapes grow. */
export interface Ladder {
  /** Distance between two widths. */
  readonly widthStep: number;
  /** The head size that is aimed at; heads must divide the width. */
  readonly headSize: number;
  /** Width over depth. */
  readonly aspect: number;
  readonly fewestLayers: number;
}

export const defaultLadder: Ladder = { widthStep: 8, headSize: 16, aspect: 24, fewestLayers: 2 };

export type ModelShape = Pick<Shape, "nLayer" | "nHead" | "nEmbd">;

/** What parameters follow from besides the shape. */
export type ShapeContext = Omit<Shape, keyof ModelShape>;

/** The ladder's shape of a width. */
export function shapeOfWidth(nEmbd: number, { headSize, aspect, fewestLayers }: Ladder): ModelShape {
  const nLayer = Math.max(fewestLayers, Math.round(nEmbd / aspect));
  const distance = (heads: number) => Math.abs(Math.log(nEmbd / heads / headSize));
  let nHead = 1;
  for (let heads = 2; heads <= nEmbd; heads++) {
    if (nEmbd % heads === 0 && distance(heads) < distance(nHead)) nHead = heads;
  }
  return { nLayer, nHead, nEmbd };
}

/** N of a shape: all parameters but the positions, which take part in no product. */
export function sizeOf(shape: ModelShape, context: ShapeContext): number {
  return parameterCount({ ...context, ...shape }, { positions: false });
}

/** The shape on the ladder whose N is nearest, in ratio, to the one that is wanted. */
export function nearestShape(parameters: number, ladder: Ladder, context: ShapeContext): ModelShape {
  const distance = (shape: ModelShape) => Math.abs(Math.log(sizeOf(shape, context) / parameters));
  let best = shapeOfWidth(ladder.widthStep, ladder);
  for (let width = 2 * ladder.widthStep; ; width += ladder.widthStep) {
    const shape = shapeOfWidth(width, ladder);
    if (distance(shape) < distance(best)) best = shape;
    if (sizeOf(shape, context) > 2 * parameters) return best;
  }
}
