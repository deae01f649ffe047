/**
 * Merges an operation into the one before it: a residual or a bias added to a matrix product, GELU of a product, the
 * sum of two branches' gradients, a gradient by rows added to that of the whole table. trace.ts uses it while a step is
 * traced. The merged operations are in native/; TensorFlow prunes the ones that are no longer used.
 */

import { fusedEnabled } from "../operations/fused.js";
import type { Output, Pointer } from "../tensorflow/c-api.js";
import type { GraphBuilder, SetAttributes } from "./graph-builder.js";

/** An operation in the graph and its inputs, including lists. */
export interface Placed {
  readonly type: string;
  readonly inputs: readonly (Output | Output[])[];
  readonly setAttributes: SetAttributes;
  readonly oper: Pointer;
}

/** The merges of one trace. Tensors are identified by their ids in TensorFlow.js. */
export class Joins {
  private readonly makers = new Map<number, Placed & { ids: readonly number[] }>();

  constructor(private readonly builder: GraphBuilder) {}

  /** Remembers an operation by the ids of its outputs. */
  note(placed: Placed, ids: readonly number[]): void {
    this.makers.set(ids[0]!, { ...placed, ids });
  }

  /**
   * Adds one operation that does the requested operation and the one that made an input; undefined if there is none.
   */
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

  /**
   * The operation with `entry` added to the list that is its last input; undefined if the list already has an entry.
   */
  private extended(id: number, entry: Output): Placed | undefined {
    const { type, inputs, setAttributes, ids } = this.makers.get(id)!;
    if ((inputs.at(-1) as Output[]).length > 0) return undefined;
    const placed = this.place(type, [...inputs.slice(0, -1), [entry]], setAttributes);
    // Its other outputs must come from the new operation too, or both would run.
    for (const [index, other] of ids.entries()) {
      if (index > 0) this.builder.redirect(other, { oper: placed.oper, index });
    }
    return placed;
  }

  private place(type: string, inputs: Placed["inputs"], setAttributes: SetAttributes): Placed {
    return { type, inputs, setAttributes, oper: this.builder.add(type, inputs, setAttributes) };
  }
}
