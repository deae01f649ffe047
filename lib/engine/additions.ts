/**
 * Sums that disappear into the operation before them: a residual that is added to a matrix product, the gradients of two
 * branches, a gradient by rows added to that of the whole table. trace.ts asks it while a step is traced; the operations
 * are native/'s, and what is not used any more TensorFlow prunes.
 */
import type { Output, Pointer } from "./capi.js";
import { fusedEnabled } from "./fused.js";
import type { GraphBuilder, SetAttributes } from "./graph.js";

/** An operation whose first output may take something in that is added to it. */
interface Candidate {
  readonly type: string;
  readonly inputs: readonly (Output | Output[])[];
  readonly setAttributes: SetAttributes;
  readonly ids: readonly number[];
}

/** The last input of these is a list, of what is added to the first output. */
const TAKES_SUM = new Set(["FolioMatMul", "FolioLayerNormGrad"]);

/** The sums of one trace. Tensors go by the ids under which TensorFlow.js knows them. */
export class Additions {
  private readonly candidates = new Map<number, Candidate>();

  constructor(private readonly builder: GraphBuilder) {}

  /** Remembers an operation, by the ids of its outputs. */
  note(candidate: Candidate): void {
    const isRows = candidate.type === "UnsortedSegmentSum" && this.builder.shapeOf(candidate.ids[0]!).length === 2;
    if (TAKES_SUM.has(candidate.type) || (isRows && fusedEnabled())) this.candidates.set(candidate.ids[0]!, candidate);
  }

  /** The sum of two tensors as an output of the operation that made one of them, the later first; or nothing. */
  join(ids: readonly number[]): Output | undefined {
    const [first = 0, second = 0] = [...ids].sort((a, b) => b - a);
    return this.into(first, second) ?? this.into(second, first);
  }

  private into(id: number, added: number): Output | undefined {
    const candidate = this.candidates.get(id);
    if (!candidate) return undefined;
    const [shape, other] = [this.builder.shapeOf(id), this.builder.shapeOf(added)];
    const isBias = candidate.type === "FolioMatMul" && other.length === 1 && other[0] === shape[1];
    if (shape.join() !== other.join() && !isBias) return undefined;
    const { type, inputs, setAttributes, ids } = candidate;
    const plus = this.builder.outputOf(added);
    if (type === "UnsortedSegmentSum") {
      const [rows, rowIds] = inputs as Output[];
      return { oper: this.builder.add("FolioAddRows", [plus, rowIds!, rows!]), index: 0 };
    }
    const oper = this.builder.add(type, [...inputs.slice(0, -1), [plus]], setAttributes);
    this.redirect(ids, oper);
    return { oper, index: 0 };
  }

  /** Other outputs come from the new operation, or both would run. */
  private redirect(ids: readonly number[], oper: Pointer): void {
    for (const [index, id] of ids.entries()) if (index > 0) this.builder.redirect(id, { oper, index });
  }
}
