/**
 * Matrix products in bfloat16 for devices on which TensorFlow has no rewrite of its own: each factor is cast before the
 * product, the result back after it, as PyTorch's autocast does. trace.ts asks it while a step is traced.
 */
import { capi, DataTypeNumber, type Output } from "./capi.js";
import type { GraphBuilder, SetAttributes } from "./graph.js";

const BFLOAT16 = 14;
const PRODUCTS = new Set(["MatMul", "BatchMatMul", "BatchMatMulV2"]);

/** Casts of one trace. Tensors go by the ids under which TensorFlow.js knows them. */
export class ProductCasts {
  // A tensor that goes into several products, as a weight does, is cast once.
  private readonly factors = new Map<number, Output>();

  constructor(private readonly builder: GraphBuilder) {}

  /** Whether this is a product of two float32 tensors. */
  covers(type: string, ids: readonly number[]): boolean {
    const isFloat = (id: number) => capi().outputType(this.builder.outputOf(id)) === DataTypeNumber.float32;
    return PRODUCTS.has(type) && ids.every(isFloat);
  }

  /** Adds the product of factors in bfloat16, and gives it in float32. */
  add(type: string, ids: readonly number[], setAttributes: SetAttributes): Output {
    const oper = this.builder.add(
      type,
      ids.map((id) => this.factor(id)),
      setAttributes,
    );
    return this.cast({ oper, index: 0 }, DataTypeNumber.float32);
  }

  private factor(id: number): Output {
    const cast = this.factors.get(id) ?? this.cast(this.builder.outputOf(id), BFLOAT16);
    this.factors.set(id, cast);
    return cast;
  }

  private cast(output: Output, to: number): Output {
    const oper = this.builder.add("Cast", [output], (description) => capi().setAttrType(description, "DstT", to));
    return { oper, index: 0 };
  }
}
