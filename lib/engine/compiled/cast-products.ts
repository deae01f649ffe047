/**
 * Matrix products in 16 bits: each factor is cast before the product, the result back after it, as PyTorch's autocast
 * does. trace.ts asks it while a step is traced. Not for bfloat16 on a CPU, where Folio's operations round their factors
 * themselves, or TensorFlow's own rewrite of the graph also keeps what lies between two products short. On a GPU it has none for bfloat16; that for float16 on a CPU
 * (auto_mixed_precision_cpu, TensorFlow 2.21) ends the process at a training step, so neither is relied on.
 */
import { capi, DataTypeNumber, type Output } from "../tensorflow/c-api.js";
import type { GraphBuilder, SetAttributes } from "./graph-builder.js";

/** TensorFlow's numbers. */
const SHORT = { float16: 19, bfloat16: 14 } as const;
const PRODUCTS = new Set(["MatMul", "BatchMatMul", "BatchMatMulV2"]);

/** Casts of one trace. Tensors go by the ids under which TensorFlow.js knows them. */
export class ProductCasts {
  // A tensor that goes into several products, as a weight does, is cast once.
  private readonly factors = new Map<number, Output>();

  constructor(
    private readonly builder: GraphBuilder,
    private readonly dtype: keyof typeof SHORT,
  ) {}

  /** Whether this is a product of two float32 tensors. */
  covers(type: string, ids: readonly number[]): boolean {
    const isFloat = (id: number) => capi().outputType(this.builder.outputOf(id)) === DataTypeNumber.float32;
    return PRODUCTS.has(type) && ids.every(isFloat);
  }

  /** Adds the product of shortened factors, and gives it in float32. */
  add(type: string, ids: readonly number[], setAttributes: SetAttributes): Output {
    const oper = this.builder.add(
      type,
      ids.map((id) => this.factor(id)),
      setAttributes,
    );
    return this.cast({ oper, index: 0 }, DataTypeNumber.float32);
  }

  private factor(id: number): Output {
    const cast = this.factors.get(id) ?? this.cast(this.builder.outputOf(id), SHORT[this.dtype]);
    this.factors.set(id, cast);
    return cast;
  }

  private cast(output: Output, to: number): Output {
    const oper = this.builder.add("Cast", [output], (description) => capi().setAttrType(description, "DstT", to));
    return { oper, index: 0 };
  }
}
