/**
 * Operations that disappear into the one before them: a residual or a bias added to a matrix product, GELU of a product,
 * the gradients of two branches, a gradient by rows added to that of the whole table. trace.ts asks it while a step is
 * traced; the operations are native/'s, and what nobody uses any more TensorFlow prunes.
 */

import { fusedEnabled } from "../operations/fused.js";
import type { Output, Pointer } from "../tensorflow/c-api.js";
import type { GraphBuilder, SetAttributes } from "./graph-builder.js";

/** An operation in the graph: what fills its inputs, lists included. */
export interface Placed {
  readonly type: string;
  readonly inputs: readonly (Output | Output[])[];
  readonly setAttributes: SetAttributes;
  readonly oper: Pointer;
}

/** The joins of one trace. Tensors go by the ids under which TensorFlow.js knows them. */
export class Joins {
  private readonly makers = new Map<number, Placed & { ids: readonly number[] }>();

  constructor(private readonly builder: GraphBuilder) {}

  /** Remembers an operation by the ids of its outputs. */
  note(placed: Placed, ids: readonly number[]): void {
    this.makers.set(ids[0]!, { ...placed, ids });
  }

  /** What is asked for, as an operation that also does what made one of the inputs; or nothing. */
  join(type: string, ids: readonly number[], setAttributes: SetAttributes): Placed | undefined {
    if (type === "FolioGelu") return this.geluOfProduct(ids[0]!, setAttributes);
    if (type === "FolioTimes") return this.scaledGradient(ids[0]!, ids[1]!);
    if (type !== "Add" && type !== "AddV2") return undefined;
    const [later = 0, earlier = 0] = [...ids].sort((a, b) => b - a);
    return this.sum(later, earlier) ?? this.sum(earlier, later);
  }

  private sum(id: number, added: number): Placed | undefined {
    const maker = this.makers.get(id);
    const [shape, other] = [this.builder.shapeOf(id), this.builder.shapeOf(added)];
    const isBias = maker?.type === "FolioMatMul" && other.length === 1 && other[0] === shape[1];
    if (!maker || (shape.join() !== other.join() && !isBias)) return undefined;
    const plus = this.builder.outputOf(added);
    if (maker.type === "UnsortedSegmentSum" && shape.length === 2 && fusedEnabled()) {
      const [rows, rowIds] = maker.inputs as Output[];
      return this.place("FolioAddRows", [plus, rowIds!, rows!], () => {});
    }
    return maker.type === "FolioMatMul" || maker.type === "FolioLayerNormGrad" ? this.extended(id, plus) : undefined;
  }

  private geluOfProduct(id: number, setTanh: SetAttributes): Placed | undefined {
    const maker = this.makers.get(id);
    if (maker?.type !== "FolioMatMul") return undefined;
    return this.place("FolioMatMulGelu", maker.inputs, (description) => {
      maker.setAttributes(description);
      setTanh(description);
    });
  }

  private scaledGradient(id: number, scale: number): Placed | undefined {
    const isGradient = this.makers.get(id)?.type === "FolioLinearGrad";
    return isGradient ? this.extended(id, this.builder.outputOf(scale)) : undefined;
  }

  /** The operation with an entry in the list that is its last input; nothing when it has one already. */
  private extended(id: number, entry: Output): Placed | undefined {
    const { type, inputs, setAttributes, ids } = this.makers.get(id)!;
    if ((inputs.at(-1) as Output[]).length > 0) return undefined;
    const placed = this.place(type, [...inputs.slice(0, -1), [entry]], setAttributes);
    // Its other outputs come from the new operation, or both would run.
    for (const [index, other] of ids.entries()) {
      if (index > 0) this.builder.redirect(other, { oper: placed.oper, index });
    }
    return placed;
  }

  private place(type: string, inputs: Placed["inputs"], setAttributes: SetAttributes): Placed {
    return { type, inputs, setAttributes, oper: this.builder.add(type, inputs, setAttributes) };
  }
}
