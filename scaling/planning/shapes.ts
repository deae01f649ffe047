/**
 * The shape of a model with about N parameters, from a ladder of widths, each with a depth and a number of heads.
 * `folio scaling plan` shows the shapes.
 */
import { countParameters, type Shape } from "../../lib/model/sizing.js";

/** How depth and heads grow with the width. */
export interface Ladder {
  /** Distance between two widths. */
  readonly widthStep: number;
  /** The desired head size; the number of heads must divide the width. */
  readonly headSize: number;
  /** Width divided by depth. */
  readonly aspect: number;
  readonly fewestLayers: number;
  /** Fixed layers and heads for all shapes, so that the shape changes smoothly with N; by default, both grow. */
  readonly nLayer?: number;
  readonly nHead?: number;
}

export const defaultLadder: Ladder = { widthStep: 8, headSize: 16, aspect: 24, fewestLayers: 2 };

export type ModelShape = Pick<Shape, "nLayer" | "nHead" | "nEmbd">;

/** The settings besides the shape that determine the number of parameters. */
export type ShapeContext = Omit<Shape, keyof ModelShape>;

/** The ladder's shape for a width. @throws {RangeError} if the number of heads does not divide the width */
export function shapeOfWidth(nEmbd: number, ladder: Ladder): ModelShape {
  const { aspect, fewestLayers, nLayer = Math.max(fewestLayers, Math.round(nEmbd / aspect)) } = ladder;
  const { headSize, nHead = headsOfWidth(nEmbd, headSize) } = ladder;
  if (nEmbd % nHead !== 0) {
    throw new RangeError(
      `Cannot build a shape: the width ${nEmbd} is not divisible by ${nHead} heads; make the ladder's widthStep a multiple of nHead.`,
    );
  }
  return { nLayer, nHead, nEmbd };
}

/** The number of heads that divides the width and whose head size is nearest, in ratio, to the desired one. */
function headsOfWidth(nEmbd: number, headSize: number): number {
  const distance = (heads: number) => Math.abs(Math.log(nEmbd / heads / headSize));
  let nHead = 1;
  for (let heads = 2; heads <= nEmbd; heads++) {
    if (nEmbd % heads === 0 && distance(heads) < distance(nHead)) nHead = heads;
  }
  return nHead;
}

/** N of a shape: all parameters except the positions, which take part in no product. */
export function sizeOf(shape: ModelShape, context: ShapeContext): number {
  return countParameters({ ...context, ...shape }, { positions: false });
}

/** The shape on the ladder whose N is nearest, in ratio, to the desired N. */
export function nearestShape(parameters: number, ladder: Ladder, context: ShapeContext): ModelShape {
  const distance = (shape: ModelShape) => Math.abs(Math.log(sizeOf(shape, context) / parameters));
  let best = shapeOfWidth(ladder.widthStep, ladder);
  for (let width = 2 * ladder.widthStep; ; width += ladder.widthStep) {
    const shape = shapeOfWidth(width, ladder);
    if (distance(shape) < distance(best)) best = shape;
    if (sizeOf(shape, context) > 2 * parameters) return best;
  }
}
